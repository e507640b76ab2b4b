//! The real binary: as a daemon, and as a command that ends.

use super::World;
use super::wait::{PATIENCE, eventually};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_tablelift");

/// What a command that ended has left.
#[derive(Debug)]
pub struct Output {
    /// Exit status; 128 + the signal when one ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Stdout as JSON: nothing else may stand there.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is not one JSON document: {e}\n{self:#?}"))
    }

    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "another exit status than expected: {self:#?}");
        self
    }

    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs the binary with exactly these arguments, for a minute at most.
pub async fn tablelift(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args);
    output(command, PATIENCE).await
}

pub(super) async fn output(mut command: Command, limit: Duration) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let (stdout, stderr) = (slurp(child.stdout.take()), slurp(child.stderr.take()));
    let start = std::time::Instant::now();
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if start.elapsed() > limit => {
                child.kill().ok();
                child.wait().ok();
                panic!("not ended within {limit:?}: {command:?}\n{}{}", join(stdout), join(stderr));
            }
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    Output { code: code(status), stdout: join(stdout), stderr: join(stderr) }
}

fn slurp(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.expect("it is piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn join(reader: JoinHandle<String>) -> String {
    reader.join().expect("the reader does not panic")
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// A daemon under test. Killed when dropped; then its log is held against what the test expects: a WARN or ERROR that it did not
/// list (`World::expect_log`) fails it. The log is printed when the test fails.
pub struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    expected: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// `tablelift run CONFIG`.
    pub fn run(w: &World) -> Self {
        Self::start(w, "run", &[])
    }

    /// Any command that stays, such as `capture`, with its options.
    pub fn start(w: &World, command: &str, options: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args(["--color", "never", command])
            .arg(w.config_file())
            .args(options)
            .envs(w.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            follow(child.stderr.take().expect("it is piped"), lines.clone()),
            follow(child.stdout.take().expect("it is piped"), lines.clone()),
        ];
        Self { child, lines, readers, expected: w.expected.clone() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, name: &str) {
        Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill is there");
    }

    pub fn term(&self) {
        self.signal("TERM");
    }

    pub fn int(&self) {
        self.signal("INT");
    }

    pub fn hup(&self) {
        self.signal("HUP");
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill9(mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    pub fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // After the name, which may hold anything, comes the state; a zombie has ended.
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> i32 {
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return code(status);
            }
            assert!(start.elapsed() < PATIENCE, "the daemon has not ended within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything it said so far, stderr and stdout.
    pub fn log(&self) -> String {
        self.lines.lock().expect("no reader panics").join("\n")
    }

    /// Waits until the log holds this text.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("the log says `{text}`"), PATIENCE, async || self.log().contains(text)).await;
    }

    /// Resident memory now and at its peak, in KiB.
    pub fn memory_kib(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        (field("VmRSS:").unwrap_or(0), field("VmHWM:").unwrap_or(0))
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            lines.lock().expect("no reader panics").push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// Whether a log line is a WARN or an ERROR: the level is its first or second word.
fn complains(line: &str) -> bool {
    line.split_whitespace().take(2).any(|word| word == "WARN" || word == "ERROR")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon, pid {}\n{log}\n---", self.pid());
            return;
        }
        let expected = self.expected.lock().expect("nothing panics with it");
        let unexpected: Vec<&str> =
            log.lines().filter(|line| complains(line) && !expected.iter().any(|text| line.contains(text.as_str()))).collect();
        if log.contains("panicked at") || !unexpected.is_empty() {
            eprintln!("--- log of the daemon, pid {}\n{log}\n---", self.pid());
            panic!("the daemon's log holds what the test did not expect:\n{}", unexpected.join("\n"));
        }
    }
}
