//! Logging in to a replication connection.

use crate::support::{Cluster, Db, Log, World};
use tablelift::fate::Fate;
use tablelift::pg::{ConnectError, Endpoint, Host, TargetSession};
use tablelift::source::Connection;

async fn log_in(endpoint: &Endpoint) -> Result<Connection, ConnectError> {
    Connection::open(endpoint, "test").await
}

fn as_user(port: u16, user: &str, password: Option<&str>) -> Endpoint {
    Endpoint { passwords: vec![password.map(str::to_owned)], ..Endpoint::new(Host::tcp("127.0.0.1", port), user, "postgres") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_login() {
    let cluster = Cluster::source(&["log_connections = on"]).await;
    let db = Db::new(cluster.port, "postgres");
    for (user, encryption) in [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("password", "md5")] {
        db.batch(&format!("set password_encryption = '{encryption}'; create role \"{user}\" login replication password 'it''s'"))
            .await;
    }
    db.batch("create role plain login password 'x'").await;
    let file = db.text("show hba_file").await;
    let methods = ["scram-sha-256", "md5", "password", "reject"];
    let line =
        |method| format!("host all,replication \"{}\" 127.0.0.1/32 {method}\n", if method == "reject" { "no" } else { method });
    let trust = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, methods.map(line).concat() + &trust).unwrap();
    db.batch("select pg_reload_conf(); create role no login replication").await;

    for user in ["scram-sha-256", "md5", "password"] {
        // The postmaster reads the file when it hears of it.
        crate::support::eventually("the login is asked for", crate::support::PATIENCE, async || {
            log_in(&as_user(cluster.port, user, None)).await.is_err()
        })
        .await;
        let mut connection = log_in(&as_user(cluster.port, user, Some("it's"))).await.unwrap();
        assert_eq!(connection.identify().await.unwrap().timeline, 1, "{user}");
        let settings = "SELECT current_user, current_setting('client_encoding'), current_setting('extra_float_digits'), \
            current_setting('timezone'), current_setting('application_name')";
        let row = &connection.query("tell its settings", settings).await.unwrap()[0];
        let told: Vec<_> = (0..5).map(|at| row.text(at).unwrap()).collect();
        assert_eq!(told, [user, "UTF8", "3", "UTC", "test"]);

        let wrong = log_in(&as_user(cluster.port, user, Some("wrong"))).await.err().unwrap();
        assert_eq!((wrong.sqlstate(), wrong.fate()), (Some("28P01"), Fate::Halt), "{user}: {wrong}");
        let missing = log_in(&as_user(cluster.port, user, None)).await.err().unwrap();
        assert_eq!((missing.fate(), format!("{missing:?}").contains("it's")), (Fate::Halt, false), "{user}: {missing}");
    }
    let refused = log_in(&as_user(cluster.port, "no", None)).await.err().unwrap();
    assert_eq!((refused.sqlstate(), refused.fate()), (Some("28000"), Fate::Halt), "{refused}");
    let role = log_in(&as_user(cluster.port, "plain", None)).await.err().unwrap();
    assert_eq!((role.sqlstate(), role.fate()), (Some("42501"), Fate::Halt), "{role}");
}

/// The second host is taken where the first does not fit, with its own password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_hosts() {
    let world = World::own_source("hosts", Log::Local, &[]).await;
    let cluster = world.source_cluster.as_ref().unwrap();
    let standby = cluster.standby().await;
    let closed = crate::support::servers::free_port();
    let mut endpoint = as_user(closed, "postgres", None);
    endpoint.hosts.extend([Host::tcp("127.0.0.1", standby.port), Host::tcp("127.0.0.1", cluster.port)]);
    endpoint.passwords = vec![None; 3];
    assert_eq!(log_in(&endpoint).await.unwrap().host(), 1);
    endpoint.target_session = TargetSession::Primary;
    assert_eq!(log_in(&endpoint).await.unwrap().host(), 2);
    endpoint.hosts.truncate(2);
    let error = log_in(&endpoint).await.err().unwrap();
    assert_eq!(error.fate(), Fate::Retry, "{error}");
}
