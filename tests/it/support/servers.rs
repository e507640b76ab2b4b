//! The servers that all tests of one run share: a source cluster, a target cluster, a broker. Started when first asked for.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// A folder of this project, such as `tests/servers`.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs one of `tests/servers/*.sh` and panics with what it said when it fails.
pub fn script(name: &str, args: &[&str]) {
    let out = project("tests/servers").join(name);
    let out = Command::new("bash").arg(out).args(args).stdin(Stdio::null()).output().expect("bash is there");
    assert!(out.status.success(), "{name} {args:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
}

/// A port that is free now, below the range from which outgoing connections take theirs: a server that is down for a moment
/// must find it free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.compare_exchange(0, 20_000 + (std::process::id() % 10_000) as u16, Ordering::SeqCst, Ordering::SeqCst).ok();
    loop {
        // Steps of two: a broker takes the next port too.
        let port = NEXT.fetch_add(2, Ordering::SeqCst);
        if port > 32_700 {
            NEXT.store(20_000, Ordering::SeqCst);
        } else if [port, port + 1].iter().all(|p| TcpListener::bind(("127.0.0.1", *p)).is_ok()) {
            return port;
        }
    }
}

/// A number that no other test of this run has.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// The folder of this run. A watchdog ends what runs in it, and removes it, when this process is gone, however it went.
pub fn run_dir() -> &'static Path {
    static DIR: OnceLock<(PathBuf, std::process::ChildStdin)> = OnceLock::new();
    &DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("tablelift-it.{}.{:08x}", std::process::id(), rand_seed() as u32));
        std::fs::create_dir_all(&dir).expect("the temp folder can be written");
        let mut watch = Command::new("bash");
        watch.arg(project("tests/servers/watch.sh")).arg(&dir).stdin(Stdio::piped()).process_group(0);
        let mut stdin = watch.spawn().expect("bash is there").stdin.take().expect("it is piped");
        stdin.write_all(b"\n").expect("the watchdog reads");
        (dir, stdin)
    })
    .0
}

/// A number that differs from run to run.
pub fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

const SHARED: &[&str] = &[
    "shared_buffers = 128MB",
    "fsync = off",
    "full_page_writes = off",
    "max_wal_size = 4GB",
    "checkpoint_timeout = 30min",
    "autovacuum_naptime = 5min",
    "jit = off",
];

/// Starts a cluster in a folder of this run, and returns its port. `conf`: lines for `postgresql.conf`.
pub fn start_cluster(dir: &Path, conf: &[&str]) -> u16 {
    let port = free_port();
    let mut args = vec!["start".to_string(), dir.display().to_string(), port.to_string()];
    args.extend(SHARED.iter().chain(conf).map(|line| (*line).to_string()));
    script("pg.sh", &args.iter().map(String::as_str).collect::<Vec<_>>());
    port
}

/// The ports of the shared source and target.
pub fn clusters() -> (u16, u16) {
    static PORTS: OnceLock<(u16, u16)> = OnceLock::new();
    *PORTS.get_or_init(|| {
        let target = std::thread::spawn(|| start_cluster(&run_dir().join("target"), &[]));
        (start_cluster(&run_dir().join("source"), &[]), target.join().expect("the target's cluster starts"))
    })
}

/// The address of the shared broker.
pub fn broker() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| start_broker("kafka"))
}

/// Starts a broker of one's own, for tests that take it away. Returns its address.
pub fn start_broker(name: &str) -> String {
    let (dir, port) = (run_dir().join(name), free_port());
    script("kafka.sh", &["start", &dir.display().to_string(), &port.to_string()]);
    format!("127.0.0.1:{port}")
}
