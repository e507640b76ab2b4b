//! All that is said of a database, by precedence: the url, its service, the environment, libpq's defaults.

use super::parameters::Parameters;
use super::passfile::Passfile;
use super::{account, service, text};
use crate::config::mistake::Complaint;
use crate::config::substitute::Environment;
use crate::pg::{DEFAULT_PORT, Endpoint, Host, SslMode, TargetSession};
use std::path::{Path, PathBuf};
use std::{net::IpAddr, str::FromStr, time::Duration};

/// Where Debian's, Ubuntu's and Red Hat's servers have their socket.
const SOCKET_FOLDER: &str = "/var/run/postgresql";
/// libpq has none; a daemon that waits for ever for a host that is away would never try the next one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(in crate::config) fn endpoint(url: &str, env: Environment<'_>) -> Result<Endpoint, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let given = gather(url, env, &mut complaints);
    let home = account::home(env);
    let found = assemble(&given, home.as_deref(), env, &mut complaints);
    match found {
        Some(endpoint) if complaints.is_empty() => Ok(endpoint),
        _ => Err(complaints),
    }
}

fn gather(url: &str, env: Environment<'_>, complaints: &mut Vec<Complaint>) -> Parameters {
    let mut given = text::parse(url, complaints);
    let environment = Parameters::from_environment(env, complaints);
    if let Some(name) = given.get("service").or_else(|| environment.get("service")) {
        let own = given.get("servicefile").or_else(|| environment.get("servicefile")).map(PathBuf::from);
        let own = own.or_else(|| Some(account::home(env)?.join(".pg_service.conf")));
        let shared = env("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".into());
        let files: Vec<_> = own.into_iter().chain([Path::new(&shared).join("pg_service.conf")]).collect();
        given.fill_from(service::read(name, &files, complaints));
    }
    given.fill_from(environment);
    given
}

fn assemble(given: &Parameters, home: Option<&Path>, env: Environment<'_>, complaints: &mut Vec<Complaint>) -> Option<Endpoint> {
    let hosts = hosts(given, complaints);
    let user = given.get("user").map(str::to_owned).or_else(|| account::user(env));
    if user.is_none() {
        complaints.push(Complaint::new("the url names no user, and the operating system has no name for ours"));
    }
    let user = user?;
    let database = given.get("dbname").unwrap_or(&user).to_owned();
    let passfile = given.get("passfile").map(PathBuf::from).or_else(|| Some(home?.join(".pgpass")));
    let passwords = passwords(given, &hosts, &database, &user, passfile);
    let (ssl_mode, ssl_root_cert) = trust(given, home, complaints);
    let (ssl_cert, ssl_key) = own_certificate(given, home);
    Some(Endpoint {
        hosts,
        passwords,
        ssl_mode,
        ssl_root_cert,
        ssl_cert,
        ssl_key,
        target_session: word(given, "target_session_attrs", TargetSession::WORDS, complaints).unwrap_or(TargetSession::Any),
        connect_timeout: connect_timeout(given, complaints),
        options: given.get("options").map(str::to_owned),
        user,
        database,
    })
}

/// `host`, `hostaddr` and `port` are lists of one length; one port may serve for all.
fn hosts(given: &Parameters, complaints: &mut Vec<Complaint>) -> Vec<Host> {
    let list = |name| given.get(name).map(|text| text.split(',').map(str::trim).collect::<Vec<_>>());
    let (names, addresses) = (list("host"), list("hostaddr"));
    let count = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    let ports = match list("port") {
        None => vec![""; count],
        Some(ports) if ports.len() == 1 => vec![ports[0]; count],
        Some(ports) => ports,
    };
    if ports.len() != count || addresses.as_ref().is_some_and(|addresses| addresses.len() != count) {
        complaints.push(Complaint::new("there are not as many ports or addresses (`port`, `hostaddr`) as there are hosts"));
        return Vec::new();
    }
    let of = |list: &Option<Vec<&str>>, at: usize| list.as_ref().map_or("", |list| list[at]).to_owned();
    let host = |at: usize| host(of(&names, at), &of(&addresses, at), ports[at]);
    (0..count).filter_map(|at| host(at).map_err(|complaint| complaints.push(complaint)).ok()).collect()
}

fn host(name: String, address: &str, port: &str) -> Result<Host, Complaint> {
    let port = match port {
        "" => Some(DEFAULT_PORT),
        port => port.parse().ok().filter(|port| *port != 0),
    };
    let port = port.ok_or_else(|| Complaint::new("a port is not a number from 1 to 65535").hint(COLON))?;
    let address = match address {
        "" => None,
        address => {
            let wrong =
                |_| Complaint::new("`hostaddr` holds something that is not an IP address").hint("a name goes into `host`");
            Some(address.parse::<IpAddr>().map_err(wrong)?)
        }
    };
    Ok(match (name, address) {
        (name, None) if name.is_empty() => Host::unix(SOCKET_FOLDER, port),
        (name, None) if name.starts_with(['/', '@']) => Host::unix(name, port),
        (name, address) if name.is_empty() => Host::Tcp { name: address.map_or(name, |found| found.to_string()), address, port },
        (name, address) => Host::Tcp { name, address, port },
    })
}

const COLON: &str = "a `:` or `@` in a user's name or password is written %3A, %40; an IPv6 address stands in brackets";

/// `password` is for all hosts; else the password file's, which knows a socket folder as such and libpq's own as `localhost`.
fn passwords(given: &Parameters, hosts: &[Host], database: &str, user: &str, file: Option<PathBuf>) -> Vec<Option<String>> {
    if let Some(password) = given.get("password") {
        return vec![Some(password.to_owned()); hosts.len()];
    }
    let file = Passfile::read(file);
    let look_up = |host: &Host| match host {
        Host::Tcp { name, port, .. } => file.password(name, *port, database, user),
        Host::Unix { folder, port } if folder == Path::new(SOCKET_FOLDER) => file.password("localhost", *port, database, user),
        Host::Unix { folder, port } => file.password(&folder.to_string_lossy(), *port, database, user),
    };
    hosts.iter().map(look_up).collect()
}

fn word<T: FromStr>(given: &Parameters, name: &str, words: &[&str], complaints: &mut Vec<Complaint>) -> Option<T> {
    let found = given.get(name)?.parse().ok();
    if found.is_none() {
        complaints.push(Complaint::new(format!("`{name}` is one of {}", words.join(", "))));
    }
    found
}

fn default_file(home: Option<&Path>, name: &str) -> Option<PathBuf> {
    Some(home?.join(".postgresql").join(name)).filter(|path| path.exists())
}

fn trust(given: &Parameters, home: Option<&Path>, complaints: &mut Vec<Complaint>) -> (SslMode, Option<PathBuf>) {
    let root = given.get("sslrootcert").map(PathBuf::from).or_else(|| default_file(home, "root.crt"));
    let system = root.as_deref() == Some(Path::new("system"));
    let mode = word(given, "sslmode", SslMode::WORDS, complaints);
    let mode = mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
    if system && mode != SslMode::VerifyFull {
        let complaint = Complaint::new("`sslrootcert=system` goes with sslmode `verify-full` only");
        complaints.push(complaint.hint("anyone can have a certificate that the system trusts: the name must be checked"));
    }
    (mode, root)
}

/// As libpq: the files of ~/.postgresql are used where they are there. Without a key, it is taken to be in the certificate's file.
fn own_certificate(given: &Parameters, home: Option<&Path>) -> (Option<PathBuf>, Option<PathBuf>) {
    let file = |name, default| given.get(name).map(PathBuf::from).or_else(|| default_file(home, default));
    match file("sslcert", "postgresql.crt") {
        None => (None, None),
        _ if given.get("sslcertmode") == Some("disable") => (None, None),
        certificate => (certificate, file("sslkey", "postgresql.key")),
    }
}

/// Whole seconds; zero or less is no limit, as in libpq.
fn connect_timeout(given: &Parameters, complaints: &mut Vec<Complaint>) -> Duration {
    let Some(text) = given.get("connect_timeout") else { return CONNECT_TIMEOUT };
    let seconds = text.trim().parse::<i32>();
    if seconds.is_err() {
        complaints.push(Complaint::new("`connect_timeout` is not a whole number of seconds"));
    }
    Duration::from_secs(seconds.unwrap_or(0).max(0).unsigned_abs().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// A home with a password file, a service file, a root certificate and a certificate of our own.
    fn home(name: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let home = std::env::temp_dir().join(format!("tablelift-home-{name}-{}", std::process::id()));
        std::fs::create_dir_all(home.join(".postgresql")).unwrap();
        let file = |name: &str, text: &str| std::fs::write(home.join(name), text).unwrap();
        file(".pgpass", "h1:5432:*:*:one\nh2:*:db:u:two\nlocalhost:*:*:*:socket\n/run/pg:*:*:*:folder\n");
        file(".pg_service.conf", "[prod]\nhost=h9\nport=9999\nsslmode=require\nbad=1\n[plain]\nhost=h8\nuser=eight\n");
        std::fs::set_permissions(home.join(".pgpass"), PermissionsExt::from_mode(0o600)).unwrap();
        home
    }

    fn describe(endpoint: &Endpoint) -> String {
        let mut text = format!("{endpoint} {}", endpoint.ssl_mode);
        for password in &endpoint.passwords {
            write!(text, " {}", password.as_deref().unwrap_or("-")).unwrap();
        }
        text
    }

    fn read(url: &str, env: &[(&str, &str)]) -> Result<Endpoint, Vec<Complaint>> {
        endpoint(url, &|name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn precedence_and_defaults() {
        let home = home("precedence");
        let home = home.to_str().unwrap();
        for (url, env, expected) in [
            ("postgres://", "", "os@/var/run/postgresql:5432/os prefer socket"),
            ("postgres://u@h1,h2,h3:7/db", "", "u@h1:5432,h2:5432,h3:7/db prefer one two -"),
            ("postgres://u:p@h1,h2/db", "PGPASSWORD=q", "u@h1:5432,h2:5432/db prefer p p"),
            ("postgres://h1", "PGPASSWORD=q PGUSER=pu PGDATABASE=pd PGPORT=6 PGSSLMODE=disable", "pu@h1:6/pd disable q"),
            ("user=x", "PGHOST=/run/pg,h1 PGPORT=1,5432", "x@/run/pg:1,h1:5432/x prefer folder one"),
            ("host=a,b port=1", "", "os@a:1,b:1/os prefer - -"),
            ("hostaddr=::1 user=u", "", "u@[::1]:5432/u prefer -"),
            ("service=plain", "PGUSER=other PGHOST=other", "eight@h8:5432/eight prefer -"),
            ("postgres://me@/db?service=plain", "", "me@h8:5432/db prefer -"),
            ("postgres://u@h1", "PGSERVICE=plain", "u@h1:5432/u prefer one"),
            ("postgres://u@h1", "PGPASSFILE=/nowhere", "u@h1:5432/u prefer -"),
            ("postgres://u@h?sslrootcert=system", "", "u@h:5432/u verify-full -"),
            ("postgres://u@h?sslmode=", "PGSSLMODE=require", "u@h:5432/u require -"),
            ("host='' port='' user=u", "", "u@/var/run/postgresql:5432/u prefer socket"),
        ] {
            let mut variables = vec![("HOME", home), ("USER", "os")];
            variables.extend(env.split(' ').filter_map(|pair| pair.split_once('=')));
            let found = read(url, &variables).map(|endpoint| describe(&endpoint));
            assert_eq!(found.as_deref(), Ok(expected), "{url} {env}");
        }
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn files_of_the_home_folder() {
        use std::os::unix::fs::PermissionsExt;
        let home = home("files");
        let variables = [("HOME", home.to_str().unwrap())];
        let url = "postgres://u@h1/db?connect_timeout=0&target_session_attrs=primary&options=-c%20a%3D1";
        let found = read(url, &variables).unwrap();
        assert_eq!((found.ssl_root_cert, found.ssl_cert, found.ssl_key), (None, None, None));
        assert_eq!((found.connect_timeout, found.target_session), (Duration::ZERO, TargetSession::Primary));
        assert_eq!(found.options.as_deref(), Some("-c a=1"));
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            std::fs::write(home.join(".postgresql").join(name), "").unwrap();
        }
        let found = read(url, &variables).unwrap();
        let own = |name| Some(home.join(".postgresql").join(name));
        assert_eq!(
            (found.ssl_root_cert, found.ssl_cert, found.ssl_key),
            (own("root.crt"), own("postgresql.crt"), own("postgresql.key"))
        );
        let found = read("postgres://u@h1?sslrootcert=/r&sslcert=/c&sslkey=/k&sslcertmode=disable", &variables).unwrap();
        assert_eq!((found.ssl_root_cert, found.ssl_cert), (Some("/r".into()), None));
        std::fs::set_permissions(home.join(".pgpass"), PermissionsExt::from_mode(0o640)).unwrap();
        assert_eq!(read(url, &variables).unwrap().passwords, [None], "others can read the password file");
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn what_is_wrong() {
        let home = home("wrong");
        let home = home.to_str().unwrap();
        for (url, expected) in [
            ("postgres://h:0", "a port is not"),
            ("postgres://h:1?port=65536", "a port is not"),
            ("host=a,b port=1,2,3", "not as many ports"),
            ("host=a hostaddr=b", "not an IP address"),
            ("host=a sslmode=no", "`sslmode` is one of disable,"),
            ("host=a target_session_attrs=no", "`target_session_attrs` is one of any,"),
            ("host=a connect_timeout=1s", "`connect_timeout` is not"),
            ("host=a sslrootcert=system sslmode=require", "`verify-full` only"),
            ("host=a channel_binding=require", "`channel_binding` that is not supported"),
            ("host=a sslcrl=x", "`sslcrl` that is not supported"),
            ("service=none", "no service file has"),
            ("service=prod", "a parameter that is unknown"),
        ] {
            let complaints = read(url, &[("HOME", home), ("USER", "u")]).unwrap_err();
            assert!(complaints.len() == 1 && complaints[0].what.contains(expected), "{url}: {complaints:?}");
        }
        std::fs::remove_dir_all(home).unwrap();
    }
}
