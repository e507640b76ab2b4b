//! Brokers for these tests: the one that all share, and own ones that can be killed.

use crate::servers::{broker, free_port, run_dir, script};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Broker {
    dir: PathBuf,
    port: u16,
}

impl Broker {
    /// The address of the one that all tests share.
    pub fn shared() -> String {
        broker().to_owned()
    }

    /// One of its own.
    pub fn start(name: &str) -> Self {
        let broker = Self::reserved(name);
        broker.start_again();
        broker
    }

    /// A place for one that is started later.
    pub fn reserved(name: &str) -> Self {
        Self { dir: run_dir().join(name), port: free_port() }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// On the same port, with the data that it has.
    pub fn start_again(&self) {
        script("kafka.sh", &["start", &self.dir.display().to_string(), &self.port.to_string()]);
    }

    pub fn kill9(&self) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
        while Path::new("/proc").join(pid.trim()).join("exe").read_link().is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
