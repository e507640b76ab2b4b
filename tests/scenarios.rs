//! Runs every folder of `tests/scenario/` through {local, kafka} x {stream, copy}. A story needs no Rust: `tests/scenario/README.md` says what
//! its files mean. `cargo test --test scenarios [part of a name]`; `STORIES="truncates types_times"` before it: only these.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a panic is how a test fails")]

#[path = "it/support/mod.rs"]
mod support;

use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use support::{Daemon, Db, File, Log, PATIENCE, Side, World, eventually};

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
    /// The oldest majors that it runs on.
    source_from: u32,
    target_from: u32,
    /// Encodings of the two databases, then in locale C; the cluster's where there is none.
    source_encoding: String,
    target_encoding: String,
    /// Tables of the source that halt, each with a part of the reason.
    halts: BTreeMap<String, String>,
    /// Codes of the findings by which `check` refuses it; the story ends there.
    refuses: Vec<String>,
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
        let new_enough = Side::Source.major() >= self.source_from && Side::Target.major() >= self.target_from;
        new_enough
            && (self.only.is_empty() || self.only.iter().any(|only| only.split('/').all(|part| part == log || part == when)))
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let chosen = std::env::var("STORIES").unwrap_or_default();
    for story in chosen.split_whitespace() {
        assert!(root().join(story).is_dir(), "there is no story `{story}`");
    }
    if !chosen.trim().is_empty() {
        folders.retain(|folder| chosen.split_whitespace().any(|story| folder.ends_with(story)));
    }
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
    let w = World::encoded(&short, log, [&story.source_encoding, &story.target_encoding]).await;
    for (file, database) in
        [("schema.sql", &w.source), ("schema.sql", &w.target), ("source.sql", &w.source), ("target.sql", &w.target)]
    {
        run(folder, file, database).await;
    }
    let tables = read(folder, "tables.toml").unwrap_or_else(|| "[[table]]\nsource = 'public.*'\n".to_owned());
    let add = |file: &mut File| {
        let given = (&story.top, &story.source, &story.target, &story.log);
        (file.top, file.source, file.target, file.log) = (given.0.clone(), given.1.clone(), given.2.clone(), given.3.clone());
    };
    w.connector_with(add, &tables);
    if !story.refuses.is_empty() {
        let found = w.cli("check", &["--json"]).await.assert_code(1).json();
        let is_told = |code: &String| {
            let mut findings = found["findings"].as_array().into_iter().flatten();
            findings.any(|finding| finding["code"] == **code && finding["level"] == "error")
        };
        let untold: Vec<&String> = story.refuses.iter().filter(|code| !is_told(code)).collect();
        assert!(untold.is_empty(), "`check` does not say {untold:?}: {found:#}");
        return;
    }
    story.warns.iter().for_each(|text| w.expect_log(text));
    if !story.halts.is_empty() {
        w.expect_log("halted");
    }
    let following = if when == When::Stream { Some(follow(&w).await) } else { None };
    run(folder, "changes.sql", &w.source).await;
    let daemon = following.unwrap_or_else(|| Daemon::run(&w));
    if !story.halts.is_empty() {
        halted(&w, story).await;
        let source = run(folder, "cure.source.sql", &w.source).await;
        let target = run(folder, "cure.target.sql", &w.target).await;
        if !source && !target {
            return;
        }
        daemon.hup();
        eventually("nothing is halted", PATIENCE, async || {
            w.status().await["tables"].as_array().unwrap().iter().all(|table| table["state"] != "halted")
        })
        .await;
    }
    w.settle().await;
    let open = "select count(*) from tablelift.after_load where done_at is null";
    eventually("what follows a load is done", PATIENCE, async || w.target.text(open).await == "0").await;
    compare(&w, folder).await;
}

/// Starts the daemon, and waits until it has copied what was there.
async fn follow(w: &World) -> Daemon {
    let daemon = Daemon::run(w);
    eventually("everything follows", PATIENCE, async || {
        let status = w.status().await;
        let tables = status["tables"].as_array().unwrap();
        !tables.is_empty() && tables.iter().all(|table| table["state"] == "follow")
    })
    .await;
    daemon
}

async fn halted(w: &World, story: &Story) {
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
}

/// Sends a file's paragraphs. Gives whether there were any.
async fn run(folder: &Path, file: &str, database: &Db) -> bool {
    let paragraphs = paragraphs(folder, file);
    for sql in &paragraphs {
        database.batch(sql).await;
    }
    !paragraphs.is_empty()
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
