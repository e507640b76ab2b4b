//! Brokers for these tests: started by `tests/servers/kafka.sh`, ended with the test process however it goes.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

pub struct Broker {
    dir: PathBuf,
    port: u16,
}

impl Broker {
    /// The one that all tests share: its address.
    pub fn shared() -> String {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Broker::start("shared")).address()
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
        let mut start = Command::new("bash");
        start.arg(scripts().join("kafka.sh")).arg("start").arg(&self.dir).arg(self.port.to_string()).stdin(Stdio::null());
        let out = start.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn kill9(&self) {
        let pid = std::fs::read_to_string(self.dir.join("pid")).unwrap();
        Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
        while Path::new("/proc").join(pid.trim()).join("exe").read_link().is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn scripts() -> PathBuf {
    std::env::var_os("TABLELIFT_SERVERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers"), PathBuf::from)
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.compare_exchange(0, 20_000 + (std::process::id() % 5_000) as u16 * 2, Ordering::SeqCst, Ordering::SeqCst).ok();
    loop {
        let port = NEXT.fetch_add(2, Ordering::SeqCst);
        if [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}

/// The folder of this run. A watchdog ends what runs in it, and removes it, when this process is gone.
fn run_dir() -> &'static Path {
    static DIR: OnceLock<(PathBuf, std::process::ChildStdin)> = OnceLock::new();
    let (dir, _) = DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("tablelift-kafka.{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut watch = Command::new("bash");
        watch.arg(scripts().join("watch.sh")).arg(&dir).stdin(Stdio::piped()).process_group(0);
        let mut stdin = watch.spawn().unwrap().stdin.take().unwrap();
        stdin.write_all(b"\n").unwrap();
        (dir, stdin)
    });
    dir
}
