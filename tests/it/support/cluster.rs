//! A cluster of one's own: for tests that restart, kill or promote it, hold or prepare transactions, or need other settings.

use super::Db;
use super::servers::{Side, pg_sh, run_dir, start_cluster, unique};
use super::wait::{PATIENCE, eventually};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stopped and removed when dropped.
pub struct Cluster {
    pub port: u16,
    dir: PathBuf,
    side: Side,
}

impl Cluster {
    /// A new cluster of the source's version with `max_prepared_transactions = 20` and the given lines in `postgresql.conf`.
    pub async fn source(conf: &[&str]) -> Self {
        Self::start(Side::Source, conf).await
    }

    /// The same of the target's version.
    pub async fn target(conf: &[&str]) -> Self {
        Self::start(Side::Target, conf).await
    }

    async fn start(side: Side, conf: &[&str]) -> Self {
        let dir = run_dir().join(format!("own{}", unique()));
        let conf: Vec<String> =
            ["max_prepared_transactions = 20", "shared_buffers = 32MB"].iter().chain(conf).map(|l| (*l).into()).collect();
        blocking(move || {
            let port = start_cluster(side, &dir, &conf.iter().map(String::as_str).collect::<Vec<_>>());
            Self { port, dir, side }
        })
        .await
    }

    /// A streaming standby of this cluster.
    pub async fn standby(&self) -> Self {
        let (dir, from, side) = (run_dir().join(format!("own{}", unique())), self.port.to_string(), self.side);
        blocking(move || {
            let port = super::servers::free_port();
            pg_sh(side, &["copy", &dir.display().to_string(), &port.to_string(), &from]);
            Self { port, dir, side }
        })
        .await
    }

    /// A database of this cluster, made if it is not there.
    pub async fn db(&self, name: &str) -> Db {
        let postgres = Db::new(self.port, "postgres");
        if postgres.text(&format!("select 1 from pg_database where datname = '{name}'")).await.is_empty() {
            postgres.batch(&format!("create database {name}")).await;
        }
        Db::new(self.port, name)
    }

    async fn ctl(&self, what: &'static str, more: &'static str) {
        let (dir, side) = (self.dir.display().to_string(), self.side);
        blocking(move || pg_sh(side, &[what, &dir, more])).await;
    }

    /// `fast`, `immediate` or `smart`. Returns when it has stopped.
    pub async fn stop(&self, mode: &'static str) {
        self.ctl("stop", mode).await;
    }

    pub async fn restart(&self, mode: &'static str) {
        self.stop(mode).await;
        self.start_again().await;
    }

    pub async fn start_again(&self) {
        self.ctl("start", "").await;
    }

    pub async fn promote(&self) {
        self.ctl("promote", "").await;
    }

    /// Lines for `postgresql.conf`, and a reload.
    pub async fn set(&self, lines: &[&str]) {
        let mut conf =
            std::fs::OpenOptions::new().append(true).open(self.dir.join("postgresql.conf")).expect("the cluster is there");
        writeln!(conf, "{}", lines.join("\n")).expect("the file can be written");
        self.ctl("reload", "").await;
    }

    /// SIGKILL to the postmaster: a crash. Returns when its children have noticed and left.
    pub async fn kill9(&self) {
        let Some(pid) = self.pid() else { return };
        Command::new("kill").args(["-9", &pid]).status().expect("kill is there");
        eventually("the crashed server's processes are gone", PATIENCE, async || {
            let pid_is_free = !Path::new("/proc").join(&pid).exists();
            pid_is_free && !processes().any(|p| std::fs::read_link(p.join("cwd")).is_ok_and(|cwd| cwd == self.dir))
        })
        .await;
    }

    fn pid(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join("postmaster.pid")).ok()?.lines().next().map(str::to_string)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = std::panic::catch_unwind(|| pg_sh(self.side, &["stop", &self.dir.display().to_string(), "immediate"]));
        // A second panic would end the whole run; the watchdog sees to what is left.
        if stop.is_ok() {
            std::fs::remove_dir_all(&self.dir).ok();
        }
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir("/proc").expect("this is Linux").filter_map(|entry| Some(entry.ok()?.path()))
}

/// Runs what blocks away from the test's own tasks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
