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

/// Runs one of `tests/servers/*.sh`, and panics with what it said when it fails. Gives what it printed.
pub fn script(name: &str, args: &[&str]) -> String {
    finish(Command::new("bash").arg(project("tests/servers").join(name)).args(args))
}

/// Runs `pg.sh` with the programs of this side's version.
pub fn pg_sh(side: Side, args: &[&str]) {
    let mut command = Command::new("bash");
    finish(command.arg(project("tests/servers/pg.sh")).args(args).envs(side.bin().map(|bin| ("PGBIN", bin))));
}

fn finish(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().expect("bash is there");
    assert!(out.status.success(), "{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

/// The side that a cluster stands on. Each has a version of its own: `TABLELIFT_SOURCE_PG=13 TABLELIFT_TARGET_PG=18`, a major that
/// `tests/servers/pg-version.sh` brings; without them the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Source,
    Target,
}

impl Side {
    /// The folder of its programs; `None`: the system's.
    fn bin(self) -> Option<&'static str> {
        static BINS: [OnceLock<Option<String>>; 2] = [const { OnceLock::new() }; 2];
        let variable = ["TABLELIFT_SOURCE_PG", "TABLELIFT_TARGET_PG"][self as usize];
        let fetch = || std::env::var(variable).ok().map(|major| script("pg-version.sh", &[&major]));
        BINS[self as usize].get_or_init(fetch).as_deref()
    }

    /// Such as 15. For tests of what only newer versions have.
    pub fn major(self) -> u32 {
        static MAJORS: [OnceLock<u32>; 2] = [const { OnceLock::new() }; 2];
        *MAJORS[self as usize].get_or_init(|| {
            let ask = ". tests/servers/env.sh; \"$(find_pgbin)/postgres\" --version";
            let mut command = Command::new("bash");
            command.args(["-c", ask]).current_dir(project(".")).envs(self.bin().map(|bin| ("PGBIN", bin)));
            let said = finish(&mut command);
            let digits = said.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no version: {said}"))
        })
    }
}

/// A port that is free now, below the range from which outgoing connections take theirs: a server that is down for a moment
/// must find it free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Anywhere: several runs may look for theirs at once.
    NEXT.compare_exchange(0, 20_000 + (rand_seed() % 12_000) as u16, Ordering::SeqCst, Ordering::SeqCst).ok();
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
pub fn start_cluster(side: Side, dir: &Path, conf: &[&str]) -> u16 {
    let port = free_port();
    let mut args = vec!["start".to_string(), dir.display().to_string(), port.to_string()];
    args.extend(SHARED.iter().chain(conf).map(|line| (*line).to_string()));
    pg_sh(side, &args.iter().map(String::as_str).collect::<Vec<_>>());
    port
}

/// The ports of the shared source and target.
pub fn clusters() -> (u16, u16) {
    static PORTS: OnceLock<(u16, u16)> = OnceLock::new();
    *PORTS.get_or_init(|| {
        let target = std::thread::spawn(|| start_cluster(Side::Target, &run_dir().join("target"), &[]));
        (start_cluster(Side::Source, &run_dir().join("source"), &[]), target.join().expect("the target's cluster starts"))
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
