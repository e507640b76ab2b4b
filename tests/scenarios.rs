//! Runs every folder of `tests/scenario/` through {local, kafka} x {stream, copy}. A story needs no Rust: `tests/scenario/README.md` says what
//! its files mean. `cargo test --test scenarios [part of a name]`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a panic is how a test fails")]

#[path = "it/support/mod.rs"]
mod support;

use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use support::{Daemon, File, Log, PATIENCE, World, eventually};

/// When the changes happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// While the daemon follows.
    Stream,
    /// Before it starts: the copy brings their outcome.
    Copy,
}

/// `story.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Story {
    /// Runs only there: `local`, `kafka`, `stream`, `copy`, or two of them such as `local/stream`.
    only: Vec<String>,
    /// Tables of the source that halt, each with a part of the reason.
    halts: BTreeMap<String, String>,
    /// What the daemon may warn of.
    warns: Vec<String>,
    /// Lines for the connector's sections.
    top: String,
    source: String,
    target: String,
    log: String,
}

impl Story {
    fn runs(&self, log: Log, when: When) -> bool {
        let (log, when) =
            (if log == Log::Local { "local" } else { "kafka" }, if when == When::Stream { "stream" } else { "copy" });
        self.only.is_empty() || self.only.iter().any(|only| only.split('/').all(|part| part == log || part == when))
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut trials = Vec::new();
    for folder in folders {
        let story: Story = toml::from_str(&read(&folder, "story.toml").unwrap_or_default())
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for (log, when) in
            [(Log::Local, When::Stream), (Log::Local, When::Copy), (Log::Kafka, When::Stream), (Log::Kafka, When::Copy)]
        {
            if !story.runs(log, when) {
                continue;
            }
            let (folder, story) = (folder.clone(), story.clone());
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let called = format!("{name}::{log:?}::{when:?}").to_lowercase();
            trials.push(Trial::test(called, move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                let told = catch_unwind(AssertUnwindSafe(|| runtime.block_on(play(&name, &folder, &story, log, when))));
                told.map_err(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default().into()
                })
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenario")
}

fn read(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

/// A file's paragraphs. Each is sent at once: its statements are one transaction, unless they say otherwise.
fn paragraphs(folder: &Path, file: &str) -> Vec<String> {
    let text = read(folder, file).unwrap_or_default();
    let is_said = |part: &&str| part.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"));
    text.split("\n\n").filter(is_said).map(str::to_owned).collect()
}

async fn play(name: &str, folder: &Path, story: &Story, log: Log, when: When) {
    let short: String = name.chars().take(24).collect();
    let w = match log {
        Log::Local => World::new(&short).await,
        Log::Kafka => World::kafka(&short).await,
    };
    for sql in paragraphs(folder, "schema.sql") {
        w.both(&sql).await;
    }
    for sql in paragraphs(folder, "source.sql") {
        w.source.batch(&sql).await;
    }
    for sql in paragraphs(folder, "target.sql") {
        w.target.batch(&sql).await;
    }
    let tables = read(folder, "tables.toml").unwrap_or_else(|| "[[table]]\nsource = 'public.*'\n".to_owned());
    let add = |file: &mut File| {
        let given = (&story.top, &story.source, &story.target, &story.log);
        (file.top, file.source, file.target, file.log) = (given.0.clone(), given.1.clone(), given.2.clone(), given.3.clone());
    };
    w.connector_with(add, &tables);
    story.warns.iter().for_each(|text| w.expect_log(text));
    if !story.halts.is_empty() {
        w.expect_log("halted");
    }
    let changes = paragraphs(folder, "changes.sql");
    let daemon = if when == When::Stream {
        let daemon = Daemon::run(&w);
        eventually("everything follows", PATIENCE, async || {
            let status = w.status().await;
            let tables = status["tables"].as_array().unwrap();
            !tables.is_empty() && tables.iter().all(|table| table["state"] == "follow")
        })
        .await;
        for sql in changes {
            w.source.batch(&sql).await;
        }
        daemon
    } else {
        for sql in changes {
            w.source.batch(&sql).await;
        }
        Daemon::run(&w)
    };
    for (source, because) in &story.halts {
        eventually(&format!("`{source}` halts: {because}"), PATIENCE, async || {
            let status = w.status().await;
            let mut tables = status["tables"].as_array().into_iter().flatten();
            tables.any(|table| {
                let says = table["halted_because"].as_str().is_some_and(|text| text.contains(because));
                table["source"] == **source && table["state"] == "halted" && says
            })
        })
        .await;
    }
    let cure = (paragraphs(folder, "cure.source.sql"), paragraphs(folder, "cure.target.sql"));
    if !story.halts.is_empty() && cure.0.is_empty() && cure.1.is_empty() {
        return;
    }
    for sql in &cure.0 {
        w.source.batch(sql).await;
    }
    for sql in &cure.1 {
        w.target.batch(sql).await;
    }
    if !story.halts.is_empty() {
        daemon.hup();
        eventually("nothing is halted", PATIENCE, async || {
            w.status().await["tables"].as_array().unwrap().iter().all(|table| table["state"] != "halted")
        })
        .await;
    }
    w.settle().await;
    compare(&w, folder).await;
}

/// By the story's queries, or all tables that both sides have.
async fn compare(w: &World, folder: &Path) {
    let expected = paragraphs(folder, "expect.sql");
    for paragraph in &expected {
        let side = |word: &str| {
            let at = paragraph.find(word)? + word.len();
            let rest = &paragraph[at..];
            let end = ["source:", "target:"].iter().filter_map(|other| rest.find(other)).min().unwrap_or(rest.len());
            Some(rest[..end].trim().to_owned())
        };
        match (side("source:"), side("target:")) {
            (Some(source), Some(target)) => w.equal_as(&source, &target).await,
            _ => w.equal(paragraph).await,
        }
    }
    if !expected.is_empty() {
        return;
    }
    let sql = "select string_agg(c.oid::regclass::text, ',' order by c.oid::regclass::text) from pg_class c
               where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace";
    let (source, target) = (w.source.text(sql).await, w.target.text(sql).await);
    let theirs: Vec<&str> = target.split(',').collect();
    let both: Vec<&str> = source.split(',').filter(|table| theirs.contains(table)).collect();
    assert!(!both.is_empty() && both != [""], "nothing to compare: {source} | {target}");
    for table in both {
        w.equal(&format!("select * from {table}")).await;
    }
}
