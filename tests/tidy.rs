//! The laws of the house, held. A failure names the file and the cure. To change a law, change its table here, with the reason in
//! the commit's message.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "tidy/reading.rs"]
mod reading;

use reading::{File, files};
use std::io::Write;

struct Room {
    name: &'static str,
    /// No clock, no I/O, no tokio, no environment.
    pure: bool,
    /// The rooms that it may name, besides `fate` and `finding` (any room), `telemetry` (rooms with I/O) and the pure items of `pg`.
    may: &'static [&'static str],
}

const fn pure(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, pure: true, may }
}

const fn room(name: &'static str, may: &'static [&'static str]) -> Room {
    Room { name, pure: false, may }
}

/// In the order of the data. `*` is every room.
const ROOMS: &[Room] = &[
    room("main", &["*"]),
    room("lib", &["*"]),
    room("cli", &["*"]),
    pure("fate", &[]),
    // Rules that the simulation breaks: nothing of it is in the daemon.
    pure("broken", &[]),
    pure("finding", &[]),
    pure("change", &[]),
    pure("chunk", &[]),
    pure("mapping", &["change"]),
    // The SQL that makes a table follows from its rule and shapes, as a plan does.
    pure("ddl", &["change", "mapping"]),
    room("config", &["change", "mapping"]),
    room("pg", &["change"]),
    // `ddl`: what a table has beside its shape is read for it.
    room("catalog", &["change", "chunk", "ddl", "mapping", "pg"]),
    // `catalog`: what publications carry is asked without waiting for locks, as all that stands there.
    room("source", &["catalog", "change", "pg", "store"]),
    pure("event", &["change"]),
    // `config`: the brokers and their settings are one value, made there.
    room("log", &["change", "config", "event"]),
    room("apply", &["change", "event", "mapping", "log", "target", "letters"]),
    room("target", &["change", "pg", "store", "mapping"]),
    room("letters", &["event", "log"]),
    // `ddl`, `mapping`: statements that are still to run, and what a plan must expect of them.
    room("store", &["change", "chunk", "ddl", "mapping", "pg"]),
    // `chunk`: what is not read in ranges has its key from the first. `event`: the names of topics. `source`: the right to replicate is tried by a replication connection, and a slot's facts are its.
    room("preflight", &["change", "catalog", "chunk", "config", "ddl", "event", "mapping", "pg", "log", "source", "store"]),
    room("verify", &["change", "mapping", "pg", "store"]),
    room("cutover", &["status", "verify", "store"]),
    room(
        "pipeline",
        &[
            "change",
            "chunk",
            "mapping",
            "config",
            "ddl",
            "pg",
            "catalog",
            "source",
            "event",
            "log",
            "apply",
            "target",
            "letters",
            "store",
            "preflight",
            "verify",
            "cutover",
            "status",
        ],
    ),
    pure("status", &["change"]),
    room("telemetry", &["change"]),
    room("http", &["status", "telemetry", "cutover"]),
];

/// What of `pg` touches no server: any room may name it.
const PURE_PG: &[&str] = &[
    "quote",
    "types",
    "Endpoint",
    "Host",
    "SslMode",
    "TargetSession",
    "NotOneOf",
    "DEFAULT_PORT",
    "SESSION_SETTINGS",
    "fate_of",
    "fate_of_sqlstate",
];

fn room_of(file: &File) -> Option<&'static Room> {
    let name = file.room()?;
    Some(ROOMS.iter().find(|r| r.name == name).unwrap_or_else(|| {
        panic!(
            "{}: the room `{name}` is unknown\ncure: give it a line in ROOMS of tests/tidy.rs, and in src/ARCHITECTURE.md",
            file.path
        )
    }))
}

fn sources() -> Vec<File> {
    files().into_iter().filter(|f| f.path.starts_with("src/") && f.path.ends_with(".rs") && !f.is_test()).collect()
}

#[track_caller]
fn hold(law: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{law}\n{}", broken.join("\n"));
}

#[test]
fn rooms_name_only_whom_they_may() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(room) = room_of(&file) else { continue };
        for (line, named, item) in file.names() {
            let is_room = ROOMS.iter().any(|r| r.name == named);
            let may = room.may.iter().any(|m| *m == "*" || *m == named)
                || named == room.name
                || ["fate", "finding"].contains(&named.as_str())
                || (named == "telemetry" && !room.pure)
                || (named == "pg" && PURE_PG.contains(&item.as_str()));
            if is_room && !may {
                let path = if item.is_empty() { named } else { format!("{named}::{item}") };
                broken.push(format!("{}:{line}: `{}` may not name `{path}`", file.path, room.name));
            }
        }
    }
    hold(
        "cure: let the rooms meet in one that both may name, or argue for the arrow in the commit and in ROOMS of tests/tidy.rs",
        &broken,
    );
}

/// Words that code may hold only in some rooms: the words, who may (files or rooms), the cure.
struct Ban {
    words: &'static [&'static str],
    allowed: fn(&File) -> bool,
    cure: &'static str,
}

fn is_pure(file: &File) -> bool {
    room_of(file).is_some_and(|r| r.pure)
}

const BANS: &[Ban] = &[
    Ban {
        words: &["tokio", "Instant", "SystemTime", "std::fs", "std::env", "std::net::Tcp", "std::thread", "std::process"],
        allowed: |file| !is_pure(file),
        cure: "a pure room has no clock and no I/O: take the time or the bytes as an argument",
    },
    Ban {
        words: &["std::env", "env::var", "env::args"],
        allowed: |file| file.room() == Some("config") || is_pure(file),
        cure: "only `config` reads the environment: make it a value of the connector",
    },
    Ban {
        words: &["process::exit", "process::abort"],
        allowed: |file| file.path == "src/main.rs",
        cure: "only `main.rs` exits: return the status to it",
    },
    Ban {
        words: &["tokio::spawn", "task::spawn", "JoinSet", "spawn_local"],
        allowed: |file| file.room() == Some("pipeline"),
        cure: "tasks start only through the handle of `pipeline/`: hand it the future",
    },
    Ban { words: &["todo!", "unimplemented!"], allowed: |_| false, cure: "finish it, or leave it out" },
];

#[test]
fn words_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for file in sources() {
        for (line, code) in file.code() {
            for ban in BANS.iter().filter(|b| !(b.allowed)(&file)) {
                for word in ban.words.iter().filter(|w| holds(&code, w)) {
                    broken.push(format!("{}:{line}: `{word}`\n  cure: {}", file.path, ban.cure));
                }
            }
        }
    }
    hold("words outside their rooms", &broken);
}

/// Whether the code holds the word, not as a part of a longer one.
fn holds(code: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| !code[..at].ends_with(inside) && !code[at + word.len()..].starts_with(inside))
}

#[test]
fn names_say_something() {
    let banned = ["utils", "util", "common", "helpers", "helper", "types", "misc"];
    let bad = |path: &str| path.split(['/', '.']).any(|part| banned.contains(&part));
    let broken: Vec<String> = files()
        .iter()
        .filter(|f| f.path.starts_with("src/") || f.path.starts_with("tests/"))
        .filter(|f| bad(&f.path) && f.path != "src/pg/types.rs")
        .map(|f| f.path.clone())
        .collect();
    hold("cure: name the file or folder after what it does (not utils, common, helpers, types, misc)", &broken);
}

#[test]
fn every_room_says_what_it_is() {
    let is_head = |f: &File| f.path.ends_with("/mod.rs") || (f.path.matches('/').count() == 1 && f.path != "src/lib.rs");
    let broken: Vec<String> =
        sources().iter().filter(|f| is_head(f) && !f.text.starts_with("//!")).map(|f| f.path.clone()).collect();
    hold("cure: begin it with `//!`: what it does, what it promises, what it will not do", &broken);
}

/// A warning, on the terminal even when the test passes: past 600 lines a file holds a second idea.
#[test]
fn long_files_are_reported() {
    for file in files().iter().filter(|f| f.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        if lines > 600 {
            writeln!(std::io::stderr(), "tidy: {} has {lines} lines: look for the second idea in it", file.path).unwrap();
        }
    }
}

/// Text that no file may hold: what, where it is let through, the cure. Put together here, so that this file passes.
fn forbidden() -> Vec<(String, &'static [&'static str], &'static str)> {
    let machine = "a path of one machine: make it relative, or take it from the environment";
    let registry = "a registry's host: a clone uses what its tools are set to";
    let unfinished = "finish it, or write an issue";
    let lock: &[&str] = &["Cargo.lock"];
    vec![
        (["/wo", "rk/"].concat(), &[], machine),
        (["/ro", "ot/"].concat(), &[], machine),
        (["crates", ".io"].concat(), lock, registry),
        (["repo.maven", ".apache"].concat(), &[], registry),
        (["repo1", ".maven"].concat(), &[], registry),
        (["registry.npm", "js"].concat(), &[], registry),
        (["pypi", ".org"].concat(), &[], registry),
        (["proxy.go", "lang"].concat(), &[], registry),
        (["TO", "DO"].concat(), lock, unfinished),
        (["FIX", "ME"].concat(), lock, unfinished),
    ]
}

#[test]
fn no_file_holds_what_it_must_not() {
    let mut broken = Vec::new();
    let forbidden = forbidden();
    for file in files() {
        for (word, _, cure) in forbidden.iter().filter(|(_, exempt, _)| !exempt.contains(&file.path.as_str())) {
            for (at, line) in file.text.lines().enumerate() {
                let before = |found: usize| line[..found].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
                if line.match_indices(word.as_str()).any(|(found, _)| !before(found)) {
                    broken.push(format!("{}:{}: `{word}`\n  cure: {cure}", file.path, at + 1));
                }
            }
        }
    }
    hold("text that no file may hold", &broken);
}

#[test]
fn every_connector_is_named_for_the_reader() {
    let all = files();
    let readme = |f: &&File| f.path == "README.md" || (f.path.ends_with(".md") && f.path.starts_with("connectors/"));
    let docs: String = all.iter().filter(readme).map(|f| f.text.as_str()).collect();
    let connectors = all.iter().filter(|f| f.path.starts_with("connectors/") && f.path.ends_with(".toml"));
    let broken: Vec<String> =
        connectors.filter(|f| !docs.contains(f.path.rsplit('/').next().unwrap())).map(|f| f.path.clone()).collect();
    hold("cure: say in README.md what this connector is for", &broken);
}

#[test]
fn links_lead_somewhere() {
    let all = files();
    let mut broken = Vec::new();
    for file in all.iter().filter(|f| f.path.ends_with(".md") && f.path != "src/ARCHITECTURE.md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in file.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let target = std::path::Path::new(folder).join(link);
            if !link.contains("://") && !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists() {
                broken.push(format!("{}: `{link}`", file.path));
            }
        }
    }
    hold("cure: mend the link, or write what it promises", &broken);
}

#[test]
fn the_top_level_is_what_a_visitor_looks_for() {
    let known = [
        ".ci",
        ".gitignore",
        ".git",
        "Cargo.lock",
        "Cargo.toml",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "BENCHMARKS.md",
        "clippy.toml",
        "connectors",
        "deploy",
        "docker",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "src",
        "tests",
    ];
    let mut broken: Vec<String> = files()
        .iter()
        .map(|f| f.path.split('/').next().unwrap().to_string())
        .filter(|top| !known.contains(&top.as_str()))
        .collect();
    broken.dedup();
    hold("cure: put it into one of the folders, or argue for it here", &broken);
}
