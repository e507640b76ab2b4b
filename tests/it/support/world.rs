//! The world of one test: its databases, its connector file, its commands.

use super::servers::{broker, clusters, free_port, run_dir, unique};
use super::wait::{PATIENCE, eventually};
use super::{Cluster, Db, Output, Proxy, blocking, daemon};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Local,
    Kafka,
}

/// Lines that a test adds to the sections of its connector file.
#[derive(Default)]
pub struct File {
    pub source: String,
    pub target: String,
    pub log: String,
    /// Before the first section.
    pub top: String,
}

pub struct World {
    /// The connector's name, also of its folder and (with `_`) its databases. No other test has it.
    pub name: String,
    pub source: Db,
    pub target: Db,
    pub log: Log,
    /// Where the daemon's HTTP listens.
    pub http: u16,
    /// Where the connector file says that source, target and broker are: a proxy's port, say.
    pub source_url: Mutex<String>,
    pub target_url: Mutex<String>,
    pub brokers: Mutex<String>,
    pub env: Vec<(String, String)>,
    pub(super) expected: Arc<Mutex<Vec<String>>>,
    /// The clusters that are this test's own, if any.
    pub source_cluster: Option<Cluster>,
    pub target_cluster: Option<Cluster>,
}

impl World {
    /// With the embedded log, in the shared clusters.
    pub async fn new(name: &str) -> Self {
        Self::encoded(name, Log::Local, ["", ""]).await
    }

    /// With the shared broker, in the shared clusters.
    pub async fn kafka(name: &str) -> Self {
        Self::encoded(name, Log::Kafka, ["", ""]).await
    }

    /// In the shared clusters, source and target in databases of these encodings; an empty one is the cluster's.
    pub async fn encoded(name: &str, log: Log, encodings: [&str; 2]) -> Self {
        Self::build(name, log, None, None, encodings).await
    }

    /// The source in a cluster of its own, with these lines in its configuration.
    pub async fn own_source(name: &str, log: Log, conf: &[&str]) -> Self {
        Self::build(name, log, Some(Cluster::source(conf).await), None, ["", ""]).await
    }

    pub async fn own_target(name: &str, log: Log, conf: &[&str]) -> Self {
        Self::build(name, log, None, Some(Cluster::target(conf).await), ["", ""]).await
    }

    pub async fn own_both(name: &str, log: Log, conf: &[&str]) -> Self {
        Self::build(name, log, Some(Cluster::source(conf).await), Some(Cluster::target(conf).await), ["", ""]).await
    }

    async fn build(name: &str, log: Log, source: Option<Cluster>, target: Option<Cluster>, encodings: [&str; 2]) -> Self {
        let shared = if source.is_some() && target.is_some() { (0, 0) } else { blocking(clusters).await };
        let brokers = if log == Log::Kafka { blocking(broker).await.to_string() } else { String::new() };
        // a connector's name has at most 40 characters
        let (name, number) = (name.replace('_', "-").to_lowercase(), unique().to_string());
        let name = format!("{}-{number}", &name[..name.len().min(39 - number.len())]);
        std::fs::create_dir_all(run_dir().join(&name)).expect("the run's folder can be written");
        let object = name.replace('-', "_");
        let source_db = make(source.as_ref().map_or(shared.0, |c| c.port), &format!("{object}_source"), encodings[0]).await;
        let target_db = make(target.as_ref().map_or(shared.1, |c| c.port), &format!("{object}_target"), encodings[1]).await;
        Self {
            http: free_port(),
            source_url: Mutex::new(source_db.url()),
            target_url: Mutex::new(target_db.url()),
            brokers: Mutex::new(brokers),
            source: source_db,
            target: target_db,
            env: Vec::new(),
            expected: Arc::default(),
            source_cluster: source,
            target_cluster: target,
            name,
            log,
        }
    }

    /// Runs the same statements on both sides.
    pub async fn both(&self, sql: &str) {
        self.source.batch(sql).await;
        self.target.batch(sql).await;
    }

    /// The connector file will reach the source through this proxy.
    pub fn source_through(&self, proxy: &Proxy) {
        *self.source_url.lock().expect("nothing panics with it") = self.source.url_through(proxy.port);
    }

    pub fn target_through(&self, proxy: &Proxy) {
        *self.target_url.lock().expect("nothing panics with it") = self.target.url_through(proxy.port);
    }

    /// A variable in the environment of the binary.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    /// This text may stand in a WARN or ERROR of the daemon's log.
    pub fn expect_log(&self, text: &str) {
        self.expected.lock().expect("nothing panics with it").push(text.into());
    }

    pub fn config_file(&self) -> PathBuf {
        run_dir().join(&self.name).join("connector.toml")
    }

    /// Writes the connector file: `tables` follows the sections.
    pub fn connector(&self, tables: &str) {
        self.connector_with(|_| (), tables);
    }

    /// The same, with lines added to its sections.
    pub fn connector_with(&self, add: impl FnOnce(&mut File), tables: &str) {
        let mut file = File::default();
        add(&mut file);
        let log = match self.log {
            Log::Local => "kind = \"local\"\n".to_string(),
            // In a log of one broker, one replica, written as the interface asks.
            Log::Kafka => format!(
                "kind = \"kafka\"\nbrokers = \"{}\"\nreplication_factor = 1\n",
                self.brokers.lock().expect("nothing panics with it")
            ),
        };
        let text = format!(
            "name = \"{}\"\n{}\n[source]\nurl = \"{}\"\n{}\n[target]\nurl = \"{}\"\n{}\n[log]\n{log}{}\n[http]\nlisten = \"127.0.0.1:{}\"\n\n{tables}\n",
            self.name,
            file.top,
            self.source_url.lock().expect("nothing panics with it"),
            file.source,
            self.target_url.lock().expect("nothing panics with it"),
            file.target,
            file.log,
            self.http,
        );
        std::fs::write(self.config_file(), text).expect("the run's folder can be written");
    }

    /// `tablelift COMMAND CONFIG OPTIONS`. A command of two words, such as `letters list`, is one string.
    pub async fn cli(&self, command: &str, options: &[&str]) -> Output {
        self.cli_within(command, options, PATIENCE * 2).await
    }

    pub async fn cli_within(&self, command: &str, options: &[&str], limit: Duration) -> Output {
        let mut run = Command::new(env!("CARGO_BIN_EXE_tablelift"));
        run.args(["--color", "never"]).args(command.split(' ')).arg(self.config_file()).args(options);
        run.envs(self.env.iter().map(|(k, v)| (k, v)));
        daemon::output(run, limit).await
    }

    /// `status --json`.
    pub async fn status(&self) -> serde_json::Value {
        self.cli("status", &["--json"]).await.json()
    }

    /// One table's entry in the status, by its source.
    pub async fn table(&self, source: &str) -> serde_json::Value {
        let status = self.status().await;
        let tables = status["tables"].as_array().unwrap_or_else(|| panic!("no tables in the status: {status}"));
        tables
            .iter()
            .find(|t| t["source"] == source)
            .unwrap_or_else(|| panic!("`{source}` is not in the status: {status}"))
            .clone()
    }

    /// Waits until the target holds all that is committed on the source now.
    pub async fn settle(&self) {
        self.cli("wait", &["--lsn", "current", "--timeout", "60s"]).await.assert_code(0);
    }

    /// The same where a table may be halted on the way there: apply, too, may start before capture has told it of a new shape.
    pub async fn settle_at_last(&self) {
        eventually("all is there", PATIENCE, async || self.cli("wait", &["--timeout", "5s"]).await.code == 0).await;
    }

    /// The same query gives the same rows on both sides.
    pub async fn equal(&self, sql: &str) {
        self.equal_as(sql, sql).await;
    }

    /// One query on the source and another on the target give the same rows, whatever their order.
    pub async fn equal_as(&self, source: &str, target: &str) {
        if self.source.digest(source).await == self.target.digest(target).await {
            return;
        }
        let sorted = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
            lines.sort();
            lines
        };
        let (a, b) = (sorted(self.source.text(source).await), sorted(self.target.text(target).await));
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|l| b.binary_search(l).is_err()).take(10).cloned().collect::<Vec<_>>();
        panic!(
            "source and target differ: {} and {} rows\nonly source: {:#?}\nonly target: {:#?}\n(same lines, if both are empty: duplicates differ)\n{source}",
            a.len(),
            b.len(),
            only(&a, &b),
            only(&b, &a)
        );
    }

    /// Asks the daemon's HTTP: status and body. `None`: nobody there.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.http)).await.ok()?;
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_string()))
    }

    /// The name of this connector's objects: slot, publication, consumer group.
    pub fn object_name(&self) -> String {
        format!("tablelift_{}", self.name.replace('-', "_"))
    }

    /// The topic of a source table.
    pub fn topic(&self, table: &str) -> String {
        format!("{}.{table}", self.name)
    }
}

/// With an encoding: in locale C, which has any.
async fn make(port: u16, name: &str, encoding: &str) -> Db {
    let other = format!("template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
    let other = if encoding.is_empty() { "" } else { &other };
    Db::new(port, "postgres").batch(&format!("create database {name} {other}")).await;
    Db::new(port, name)
}

impl Drop for World {
    /// A slot left behind would hold the shared source's WAL for the rest of the run.
    fn drop(&mut self) {
        let drop = |db: &Db| {
            let name = &db.name;
            let slots = format!("from pg_replication_slots where database = '{name}'");
            let psql = Command::new("psql")
                .args(["-XqAt", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p", &db.port.to_string()])
                .args(["-c", &format!("select pg_terminate_backend(active_pid, 5000) {slots} and active")])
                .args(["-c", &format!("select pg_drop_replication_slot(slot_name) {slots}")])
                .args(["-c", &format!("drop database if exists {name} with (force)")])
                .stdin(Stdio::null())
                .output();
            psql.ok()
        };
        if self.source_cluster.is_none() {
            drop(&self.source);
        }
        if self.target_cluster.is_none() {
            drop(&self.target);
        }
    }
}
