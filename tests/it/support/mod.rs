//! The stack for integration tests, in thirty lines.
//!
//! ```ignore
//! #[tokio::test]
//! async fn an_update_arrives() {
//!     let w = World::new("update").await;                     // a source db, a target db, a connector name, all of its own
//!     w.both("create table t (id int primary key, v text)").await;      // the same DDL on both sides
//!     w.connector("[[table]]\nsource = 'public.t'");           // the file: source, target, log and http are filled in
//!     let d = Daemon::run(&w);                                 // the real binary; killed on drop
//!     w.source.batch("insert into t values (1, 'a')").await;
//!     w.settle().await;                                        // `tablelift wait --lsn current`
//!     w.equal("select * from t").await;                        // both sides, by hash; shows the difference
//!     assert_eq!(w.target.text("select v from t").await, "a"); // as psql -At
//! }
//! ```
//!
//! - `World::kafka("name")` is the same through the shared broker; `both_logs!(name, |w| { ... })` makes a test of each kind.
//! - One shared source cluster, one shared target cluster, one broker, started when first asked for; tests run in parallel in databases
//!   of their own. So in the shared ones: no open transactions beyond a moment (they hold up every slot's creation), no prepared
//!   ones, no ALTER SYSTEM, no restarts. For those: `World::own_source("name")`, `own_target`, or `Cluster::source(&[conf lines])`, with
//!   `stop(mode)`, `start_again`, `restart(mode)`, `kill9`, `promote`, `set(lines)`, `standby()`, `db(name)`.
//! - `w.cli("check", &["--json"])` runs a command on the connector's file: `.code`, `.stdout`, `.stderr`, `.json()`, `.assert_code(0)`;
//!   `tablelift(&[...])` runs with exactly these arguments. `w.status()` is `status --json`; `w.get("/metrics")` asks the daemon.
//! - `Daemon::start(&w, "capture", &[options])`; `.term()`, `.int()`, `.hup()`, `.kill9()`, `.exit().await`, `.logged(text).await`, `.log()`.
//!   **A WARN or ERROR in its log that the test did not list by `w.expect_log(text)` fails the test.**
//! - `w.connector_with(|f| f.target += "triggers = 'fire'\n", tables)` adds lines to a section; `w.env("VAR", "value")` for the binary.
//! - `Proxy::before(port)`: `.cut()`, `.silence()`, `.silence_open()`, `.delay(half a round trip)`, `.mend()`; `w.source_through(&proxy)` before `connector`.
//! - `Load::start(&w, clients)`: inserts, updates, deletes, key changes, transfers; `.stop().await`; survives restarts; `Load::equal(&w)`.
//! - `eventually(what, PATIENCE, async || ...)` for conditions, `steadily(what, time, ...)` for what must stay so. No sleeps.
//! - `w.topic("public.t")`, `w.read_topic(&topic)`: the events of a topic, as an ordinary consumer sees them.
//! - `TABLELIFT_SOURCE_PG=13 TABLELIFT_TARGET_PG=18` before `cargo test`: servers of these versions. A test of what only newer ones have begins
//!   with `if Side::Source.major() < 16 { return; }`.
//! - A watchdog process ends all servers and daemons and removes their folder when the test process is gone, also by SIGKILL.
//!
//! Use it from another test file with `#[path = "it/support/mod.rs"] mod support;`, or, better, add a module to `tests/it/main.rs`.

#![allow(dead_code, unused_imports, reason = "not every test file uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and the log of a failed one is printed"
)]

mod cluster;
mod daemon;
mod db;
mod load;
mod proxy;
pub mod servers;
mod topic;
mod wait;
mod world;

pub use cluster::{Cluster, blocking};
pub use daemon::{Daemon, Output, tablelift};
pub use db::{Db, said};
pub use load::Load;
pub use proxy::Proxy;
pub use servers::Side;
pub use topic::Event;
pub use wait::{PATIENCE, eventually, steadily};
pub use world::{File, Log, World};

impl Proxy {
    /// A proxy before a server on this machine.
    pub async fn before(server: u16) -> Self {
        Self::on(servers::free_port(), server).await
    }
}

/// One test for each kind of log: `both_logs!(truncate, |w| { ... })` makes `truncate::local` and `truncate::kafka`.
#[macro_export]
macro_rules! both_logs {
    ($name:ident, |$w:ident| $body:block) => {
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all of it")]
            use super::*;
            async fn story($w: World) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn local() {
                story(World::new(stringify!($name)).await).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn kafka() {
                story(World::kafka(stringify!($name)).await).await;
            }
        }
    };
}
