//! Connecting to a real PostgreSQL: every sslmode against every kind of server, each kind of login, several hosts, a standby.
//! Starts its own clusters, on ports of its own, and ends them.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tablelift::config::Connector;
use tablelift::fate::Fate;
use tablelift::pg::{
    Attempts, CertificateUse, ConnectError, Connected, Endpoint, Host, SslMode, Step, TargetSession, connect, open_transport,
};
use tokio::net::TcpListener;

const CA: &str = "ca.crt";
const OTHER_CA: &str = "other.crt";

/// A folder with certificates and a primary in it; what it started ends with it.
struct Lab {
    folder: PathBuf,
    port: u16,
    standby_port: u16,
}

impl Lab {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("tablelift-it-pg-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let lab = Self { folder, port: free_port(), standby_port: free_port() };
        lab.make_certificates();
        lab.own();
        let data = lab.path("primary");
        lab.pg("initdb", &["-D", &data, "-U", "postgres", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        let settings = "fsync = off\nlisten_addresses = '127.0.0.1'\nssl = on\nssl_cert_file = '../san.crt'\n\
            ssl_key_file = '../server.key'\nssl_ca_file = '../ca.crt'\nwal_level = logical\nmax_wal_senders = 5\n\
            shared_buffers = 16MB\nlog_min_messages = warning\n";
        append(&lab.folder.join("primary/postgresql.conf"), settings);
        let hba = "local all all trust\nlocal replication all trust\nhostssl all cert_user 127.0.0.1/32 cert\n\
            hostssl all tls_only 127.0.0.1/32 scram-sha-256\nhostnossl all plain_only 127.0.0.1/32 scram-sha-256\n\
            host all scram_user 127.0.0.1/32 scram-sha-256\nhost all md5_user 127.0.0.1/32 md5\n\
            host all clear_user 127.0.0.1/32 password\n";
        std::fs::write(lab.folder.join("primary/pg_hba.conf"), hba).unwrap();
        lab.start_server("primary", lab.port);
        lab.sql(
            "SET password_encryption = 'scram-sha-256';
             CREATE ROLE scram_user LOGIN PASSWORD 'p w''d'; CREATE ROLE tls_only LOGIN PASSWORD 'secret';
             CREATE ROLE plain_only LOGIN PASSWORD 'secret'; CREATE ROLE clear_user LOGIN PASSWORD 'secret';
             CREATE ROLE cert_user LOGIN; CREATE ROLE limited LOGIN CONNECTION LIMIT 0;
             SET password_encryption = 'md5'; CREATE ROLE md5_user LOGIN PASSWORD 'secret';",
        );
        lab.sql("CREATE DATABASE read_only");
        lab.sql("ALTER DATABASE read_only SET default_transaction_read_only = on");
        lab
    }

    fn start_standby(&self) {
        let (data, port) = (self.path("standby"), self.port.to_string());
        self.pg(
            "pg_basebackup",
            &["-D", &data, "-h", &self.path(""), "-p", &port, "-U", "postgres", "-R", "-c", "fast", "--no-sync"],
        );
        self.start_server("standby", self.standby_port);
    }

    fn start_server(&self, name: &str, port: u16) {
        let options = format!("-p {port} -k {}", self.path(""));
        let log = self.path(&format!("{name}.log"));
        self.pg("pg_ctl", &["start", "-w", "-t", "30", "-D", &self.path(name), "-l", &log, "-o", &options]);
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Runs one of PostgreSQL's programs, as user postgres where we are root.
    fn pg(&self, program: &str, arguments: &[&str]) {
        let program = newest_bin().join(program);
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&program) };
        if is_root() {
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        run(command.args(arguments).current_dir(&self.folder));
    }

    fn sql(&self, text: &str) {
        self.pg(
            "psql",
            &["-Xq", "-v", "ON_ERROR_STOP=1", "-h", &self.path(""), "-p", &self.port.to_string(), "-U", "postgres", "-c", text],
        );
    }

    /// Takes another certificate, or none, and waits until new sessions see it.
    fn serve(&self, certificate: Option<&str>) {
        if let Some(name) = certificate {
            self.sql(&format!("ALTER SYSTEM SET ssl_cert_file = '../{name}'"));
        }
        self.sql(&format!("ALTER SYSTEM SET ssl = {}", if certificate.is_some() { "on" } else { "off" }));
        self.pg("pg_ctl", &["reload", "-D", &self.path("primary")]);
        std::thread::sleep(Duration::from_millis(150));
    }

    fn own(&self) {
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(&self.folder));
        }
    }

    fn make_certificates(&self) {
        let openssl = |line: &str| {
            run(Command::new("openssl").args(line.split(' ')).current_dir(&self.folder));
        };
        for key in ["ca", "other", "server", "client"] {
            openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {key}.key"));
        }
        openssl("req -new -x509 -key ca.key -subj /CN=lab-ca -days 2 -out ca.crt");
        openssl("req -new -x509 -key other.key -subj /CN=other-ca -days 2 -out other.crt");
        let extension = |name: &str, text: &str| std::fs::write(self.folder.join(name), text).unwrap();
        extension("san.ext", "basicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n");
        extension("cn.ext", "basicConstraints = CA:FALSE\n");
        openssl("req -new -key server.key -subj /CN=localhost -out server.csr");
        let sign = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial";
        openssl(&format!("{sign} -days 2 -extfile san.ext -out san.crt"));
        openssl(&format!("{sign} -days 2 -extfile cn.ext -out cn.crt"));
        openssl(&format!("{sign} -days 2 -out v1.crt"));
        openssl("req -new -x509 -key server.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -out self.crt");
        openssl("x509 -in self.crt -signkey server.key -days -1 -out expired.crt");
        openssl("req -new -key client.key -subj /CN=cert_user -out client.csr");
        openssl("x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile cn.ext -out client.crt");
        openssl(
            "x509 -req -in client.csr -CA other.crt -CAkey other.key -CAcreateserial -days 2 -extfile cn.ext -out stranger.crt",
        );
        std::fs::copy(self.folder.join("client.key"), self.folder.join("open.key")).unwrap();
        run(Command::new("chmod").args(["0644", "open.key"]).current_dir(&self.folder));
    }

    /// `scram_user` over TCP.
    fn endpoint(&self, mode: SslMode) -> Endpoint {
        let address = Some("127.0.0.1".parse().unwrap());
        let host = Host::Tcp { name: "localhost".into(), address, port: self.port };
        let mut endpoint = Endpoint::new(host, "scram_user", "postgres");
        endpoint.passwords = vec![Some("p w'd".into())];
        endpoint.ssl_mode = mode;
        endpoint
    }

    fn login(&self, mode: SslMode, user: &str, password: Option<&str>) -> Endpoint {
        let mut endpoint = self.endpoint(mode);
        endpoint.user = user.into();
        endpoint.passwords = vec![password.map(Into::into)];
        endpoint
    }

    fn trusting(&self, mode: SslMode, root: &str) -> Endpoint {
        Endpoint { ssl_root_cert: Some(self.folder.join(root)), ..self.endpoint(mode) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in ["standby", "primary"] {
            let pid_file = self.folder.join(name).join("postmaster.pid");
            let Ok(text) = std::fs::read_to_string(pid_file) else { continue };
            let Some(pid) = text.lines().next() else { continue };
            Command::new("kill").args(["-QUIT", pid]).status().ok();
            let until = Instant::now() + Duration::from_secs(5);
            while Path::new("/proc").join(pid).exists() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn append(path: &Path, text: &str) {
    let old = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, old + text).unwrap();
}

fn run(command: &mut Command) {
    let output = command.env_remove("PGPASSWORD").stdin(Stdio::null());
    let log = words_file();
    let status = output.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).status().unwrap();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    std::fs::remove_file(&log).ok();
    assert!(status.success(), "{command:?}: {text}");
}

/// A server inherits the stream, so its words go to a file and not to a pipe that would never end.
fn words_file() -> PathBuf {
    std::env::temp_dir().join(format!("tablelift-it-pg-{}.stderr", std::process::id()))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's programs are in /usr/lib/postgresql");
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max().unwrap();
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn enter(endpoint: &Endpoint) -> Connected {
    match connect(endpoint, "it_pg").await {
        Ok(connected) => connected,
        Err(error) => panic!("{endpoint} {}: {error:?}", endpoint.ssl_mode),
    }
}

async fn error_of(endpoint: &Endpoint) -> ConnectError {
    match connect(endpoint, "it_pg").await {
        Ok(_) => panic!("{endpoint} {} let us in", endpoint.ssl_mode),
        Err(error) => error,
    }
}

async fn one(connected: Connected, sql: &str) -> String {
    let Connected { client, driver, .. } = connected;
    let query = async {
        let row = client.query_one(sql, &[]).await.unwrap();
        drop(client);
        row.get::<_, String>(0)
    };
    let (text, ended) = tokio::join!(query, driver);
    ended.unwrap();
    text
}

#[tokio::test]
async fn everything_about_connecting() {
    let lab = Lab::start();
    every_mode_without_roots(&lab).await;
    every_mode_with_roots(&lab).await;
    logins(&lab).await;
    client_certificates(&lab).await;
    old_certificates(&lab).await;
    without_tls(&lab).await;
    sessions(&lab).await;
    several_hosts(&lab).await;
    from_a_connector_file(&lab).await;
    lab.start_standby();
    session_attributes(&lab).await;
}

const MODES: [SslMode; 6] =
    [SslMode::Disable, SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull];

async fn every_mode_without_roots(lab: &Lab) {
    for mode in MODES {
        let endpoint = lab.endpoint(mode);
        match mode {
            SslMode::VerifyCa | SslMode::VerifyFull => {
                let error = error_of(&endpoint).await;
                assert!(matches!(error, ConnectError::CertificateFile { what: CertificateUse::Roots, .. }), "{error:?}");
                assert_eq!((error.fate(), error.step()), (Fate::Halt, Step::Tls));
            }
            _ => assert_eq!(enter(&endpoint).await.encrypted, mode >= SslMode::Prefer, "{mode}"),
        }
    }
}

async fn every_mode_with_roots(lab: &Lab) {
    for mode in MODES {
        assert_eq!(enter(&lab.trusting(mode, CA)).await.encrypted, mode >= SslMode::Prefer, "{mode}");
        let wrong = lab.trusting(mode, OTHER_CA);
        match mode {
            // As libpq: a certificate that cannot be checked makes `prefer` go without TLS.
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => assert!(!enter(&wrong).await.encrypted, "{mode}"),
            _ => {
                let error = error_of(&wrong).await;
                assert_eq!((error.fate(), error.step()), (Fate::Halt, Step::Tls), "{mode}: {error:?}");
                assert!(error.hint().unwrap().contains("sslrootcert"), "{error:?}");
            }
        }
    }
    // The name: an address in the certificate will do, a name that is not in it will not.
    let name = |mode, name: &str| {
        let address = Some("127.0.0.1".parse().unwrap());
        Endpoint { hosts: vec![Host::Tcp { name: name.into(), address, port: lab.port }], ..lab.trusting(mode, CA) }
    };
    assert!(enter(&name(SslMode::VerifyFull, "127.0.0.1")).await.encrypted);
    assert!(enter(&name(SslMode::VerifyCa, "db.example.com")).await.encrypted);
    assert!(enter(&name(SslMode::VerifyCa, "not a dns name")).await.encrypted);
    for wrong in ["db.example.com", "127.0.0.2", "not a dns name"] {
        let error = error_of(&name(SslMode::VerifyFull, wrong)).await;
        assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    }
    let system = Endpoint { ssl_root_cert: Some("system".into()), ..lab.endpoint(SslMode::VerifyFull) };
    let error = error_of(&system).await;
    assert_eq!((error.fate(), error.step()), (Fate::Halt, Step::Tls), "{error:?}");
    let missing = error_of(&lab.trusting(SslMode::Require, "no-such.crt")).await;
    assert!(matches!(missing, ConnectError::CertificateFile { .. }), "{missing:?}");
}

async fn logins(lab: &Lab) {
    for mode in [SslMode::Disable, SslMode::Require] {
        for user in ["md5_user", "clear_user"] {
            enter(&lab.login(mode, user, Some("secret"))).await;
        }
        for user in ["md5_user", "clear_user", "scram_user", "no_such_user"] {
            for password in [Some("wrong"), None] {
                let error = error_of(&lab.login(mode, user, password)).await;
                assert_eq!((error.fate(), error.step()), (Fate::Halt, Step::Authentication), "{user}: {error:?}");
                assert_eq!(error.hint().is_some(), password.is_none() || user == "no_such_user", "{user}: {error:?}");
            }
        }
    }
    // What pg_hba.conf allows only with TLS, or only without.
    for mode in MODES {
        let mut endpoint = lab.login(mode, "tls_only", Some("secret"));
        endpoint.ssl_root_cert = Some(lab.folder.join(CA));
        match mode {
            SslMode::Disable => assert_eq!(error_of(&endpoint).await.sqlstate(), Some("28000")),
            _ => assert!(enter(&endpoint).await.encrypted, "{mode}"),
        }
        endpoint.user = "plain_only".into();
        match mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => assert!(!enter(&endpoint).await.encrypted, "{mode}"),
            _ => assert_eq!(error_of(&endpoint).await.sqlstate(), Some("28000")),
        }
    }
    let both_ways = error_of(&lab.login(SslMode::Prefer, "stranger", None)).await;
    assert!(matches!(&both_ways, ConnectError::Several { tried } if tried.len() >= 2), "{both_ways:?}");
    assert_eq!(both_ways.fate(), Fate::Halt);
    let database = Endpoint { database: "no_such".into(), ..lab.endpoint(SslMode::Prefer) };
    let error = error_of(&database).await;
    assert_eq!((error.fate(), error.sqlstate()), (Fate::Halt, Some("3D000")));
    assert!(!format!("{error:?} {error}").contains("p w'd"));
    let mut full = Endpoint::new(Host::unix(&lab.folder, lab.port), "limited", "postgres");
    full.ssl_mode = SslMode::VerifyFull;
    let error = error_of(&full).await;
    assert_eq!((error.fate(), error.sqlstate()), (Fate::Retry, Some("53300")));
}

async fn client_certificates(lab: &Lab) {
    let with = |cert: &str, key: &str| Endpoint {
        ssl_cert: Some(lab.folder.join(cert)),
        ssl_key: Some(lab.folder.join(key)),
        ssl_root_cert: Some(lab.folder.join(CA)),
        ..lab.login(SslMode::VerifyFull, "cert_user", None)
    };
    assert!(enter(&with("client.crt", "client.key")).await.encrypted);
    let none = error_of(&lab.login(SslMode::Require, "cert_user", None)).await;
    assert_eq!((none.fate(), none.sqlstate()), (Fate::Halt, Some("28000")), "{none:?}");
    let stranger = error_of(&with("stranger.crt", "client.key")).await;
    assert_eq!(stranger.fate(), Fate::Halt, "{stranger:?}");
    for (cert, key) in [("client.crt", "server.key"), ("client.crt", "open.key"), ("client.crt", "none.key")] {
        let error = error_of(&with(cert, key)).await;
        assert!(matches!(error, ConnectError::CertificateFile { what: CertificateUse::Key, .. }), "{error:?}");
    }
}

async fn old_certificates(lab: &Lab) {
    let texts = |error: &ConnectError| (tablelift::pg::chain(error), error.hint().unwrap_or_default());
    lab.serve(Some("cn.crt"));
    assert!(enter(&lab.trusting(SslMode::VerifyCa, CA)).await.encrypted);
    let (text, hint) = texts(&error_of(&lab.trusting(SslMode::VerifyFull, CA)).await);
    assert!(text.contains("not valid for") && hint.contains("subjectAltName"), "{text}\n{hint}");
    lab.serve(Some("v1.crt"));
    assert!(enter(&lab.endpoint(SslMode::Require)).await.encrypted);
    let (text, hint) = texts(&error_of(&lab.trusting(SslMode::VerifyCa, CA)).await);
    assert!(hint.contains("version 1"), "{text}\n{hint}");
    lab.serve(Some("self.crt"));
    assert!(enter(&lab.trusting(SslMode::VerifyFull, "self.crt")).await.encrypted);
    assert!(matches!(error_of(&lab.trusting(SslMode::VerifyCa, CA)).await, ConnectError::Tls { .. }));
    lab.serve(Some("expired.crt"));
    let (text, _) = texts(&error_of(&lab.trusting(SslMode::VerifyCa, "expired.crt")).await);
    assert!(text.to_lowercase().contains("expired"), "{text}");
}

async fn without_tls(lab: &Lab) {
    lab.serve(None);
    for mode in MODES {
        let endpoint = lab.trusting(mode, CA);
        match mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => assert!(!enter(&endpoint).await.encrypted, "{mode}"),
            _ => {
                let error = error_of(&endpoint).await;
                let offered = match &error {
                    ConnectError::Several { tried } => tried.last().unwrap(),
                    error => error,
                };
                assert!(matches!(offered, ConnectError::TlsNotOffered { .. }), "{error:?}");
            }
        }
    }
    lab.serve(Some("san.crt"));
}

async fn sessions(lab: &Lab) {
    let mut endpoint = Endpoint::new(Host::unix(&lab.folder, lab.port), "postgres", "postgres");
    endpoint.options = Some("-c search_path=pg_catalog -c datestyle=German".into());
    let sql = "SELECT concat_ws('|', current_setting('application_name'), current_setting('search_path'),
        '2024-02-03'::date::text, '1.5 days'::interval::text, current_setting('TimeZone'), '\\xff'::bytea::text)";
    let connected = enter(&endpoint).await;
    assert!(!connected.encrypted);
    assert_eq!(one(connected, sql).await, "it_pg|pg_catalog, pg_catalog|2024-02-03|1 day 12:00:00|UTC|\\xff");
    // The driver keeps the server's last word.
    let victim = enter(&endpoint).await;
    lab.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'it_pg'");
    let error = victim.driver.await.unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("57P01"), "{error:?}");
    assert_eq!(tablelift::pg::fate_of(&error), Fate::Retry);
    assert!(open_transport(&lab.trusting(SslMode::VerifyFull, CA)).await.is_ok());
}

async fn several_hosts(lab: &Lab) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_host = Host::tcp("127.0.0.1", silent.local_addr().unwrap().port());
    let closed = Host::tcp("127.0.0.1", free_port());
    let mut endpoint = lab.endpoint(SslMode::Prefer);
    let password = endpoint.passwords[0].clone();
    endpoint.connect_timeout = Duration::from_millis(300);
    endpoint.hosts = vec![closed.clone()];
    let error = error_of(&endpoint).await;
    assert!(matches!(error, ConnectError::Reach { .. }) && error.fate() == Fate::Retry, "{error:?}");
    endpoint.hosts = vec![silent_host.clone()];
    let error = error_of(&endpoint).await;
    assert!(matches!(error, ConnectError::TimedOut { step: Step::Tls, .. }) && error.fate() == Fate::Retry, "{error:?}");
    endpoint.hosts = vec![Host::tcp("no-such-host.invalid", 5432)];
    let error = error_of(&endpoint).await;
    assert!(matches!(error, ConnectError::Resolve { .. }) && error.fate() == Fate::Retry, "{error:?}");
    endpoint.hosts = vec![closed, silent_host, Host::tcp("localhost", lab.port)];
    endpoint.passwords = vec![None, None, password];
    assert_eq!(enter(&endpoint).await.host, 2);
    let mut attempts = Attempts::new(&endpoint);
    assert_eq!(attempts.next().await.ok().map(|opened| opened.host), Some(2));
    endpoint.hosts.pop();
    let error = error_of(&endpoint).await;
    assert!(matches!(&error, ConnectError::Several { tried } if tried.len() == 2), "{error:?}");
    assert_eq!(error.fate(), Fate::Retry);
}

/// What `config` makes of urls, the environment and the files of a home folder opens sessions.
async fn from_a_connector_file(lab: &Lab) {
    std::fs::write(lab.folder.join(".pgpass"), format!("localhost:{}:*:scram_user:p w'd\n", lab.port)).unwrap();
    run(Command::new("chmod").args(["0600", ".pgpass"]).current_dir(&lab.folder));
    let (home, port) = (lab.path(""), lab.port);
    let (home, ca, crt, key) = (home.as_str(), lab.path(CA), lab.path("client.crt"), lab.path("client.key"));
    let env = |name: &str| match name {
        "HOME" => Some(home.to_owned()),
        "PGSSLROOTCERT" => Some(ca.clone()),
        "PGDATABASE" => Some("postgres".to_owned()),
        "ENCODED" => Some("p%20w%27d".to_owned()),
        _ => None,
    };
    for (url, encrypted) in [
        (format!("postgres://scram_user@localhost:{port}/?hostaddr=127.0.0.1&sslmode=verify-full"), true),
        (format!("postgres://scram_user:${{ENCODED}}@127.0.0.1:{port}/?sslmode=verify-full"), true),
        (format!("host=127.0.0.1 port={port} user=scram_user password='p w\\\\'d' sslmode=disable"), false),
        (format!("postgres://cert_user@127.0.0.1:{port}/?sslcert={crt}&sslkey={key}"), true),
        (format!("postgres://postgres@{}:{port}/", home.replace('/', "%2F")), false),
        (format!("postgres://scram_user@/?host=/nowhere,localhost&hostaddr=,127.0.0.1&port={port}"), true),
    ] {
        let text =
            format!("name = \"it\"\n[source]\nurl = \"{url}\"\n[target]\nurl = \"host=x user=y\"\n[[table]]\nsource = \"t\"\n");
        let connector = Connector::parse(&text, Path::new("it.toml"), &env).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(enter(&connector.source.endpoint).await.encrypted, encrypted, "{url}");
    }
}

async fn session_attributes(lab: &Lab) {
    let mut endpoint = Endpoint::new(Host::unix(&lab.folder, lab.port), "postgres", "postgres");
    endpoint.hosts.push(Host::unix(&lab.folder, lab.standby_port));
    endpoint.passwords.push(None);
    let (primary, standby) = (0, 1);
    for (wanted, first, second) in [
        (TargetSession::Any, primary, standby),
        (TargetSession::ReadWrite, primary, primary),
        (TargetSession::Primary, primary, primary),
        (TargetSession::ReadOnly, standby, standby),
        (TargetSession::Standby, standby, standby),
        (TargetSession::PreferStandby, standby, standby),
    ] {
        endpoint.target_session = wanted;
        assert_eq!(enter(&endpoint).await.host, first, "{wanted}");
        let turned = Endpoint { hosts: endpoint.hosts.iter().rev().cloned().collect(), ..endpoint.clone() };
        assert_eq!(1 - enter(&turned).await.host, second, "{wanted}, turned round");
    }
    endpoint.hosts.truncate(1);
    endpoint.passwords.truncate(1);
    assert_eq!(enter(&endpoint).await.host, primary, "prefer-standby takes a primary when there is nothing else");
    endpoint.target_session = TargetSession::Standby;
    let error = error_of(&endpoint).await;
    assert!(matches!(error, ConnectError::SessionAttributes { .. }) && error.fate() == Fate::Retry, "{error:?}");
    endpoint.database = "read_only".into();
    endpoint.target_session = TargetSession::ReadWrite;
    assert_eq!(error_of(&endpoint).await.step(), Step::Session);
    endpoint.target_session = TargetSession::Primary;
    enter(&endpoint).await;
}
