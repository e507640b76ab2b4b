//! Connector files: each of `tests/config/` gives exactly the text in the `.expected` file beside it, and each of `connectors/`
//! loads. `BLESS=1` writes the `.expected` files anew; read the difference before you commit it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test fails, and it says why")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use tablelift::config::{Connector, LogKind, Pattern};
use tablelift::mapping::Rule;

/// Secrets are marked, so that a leak is seen.
fn env(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/nonexistent".into()),
        "USER" => Some("os".into()),
        "REGION" => Some("EU".into()),
        name if name.ends_with("PASSWORD") && !name.starts_with("PG") => Some("hunter2".into()),
        "SECRET_URL" => Some("postgres://u:hunter2@[broken".into()),
        "SECRET" => Some("hunter2 ?".into()),
        _ => None,
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found: Vec<_> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    found.sort();
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

fn parse(file: &Path) -> Result<Connector, String> {
    let text = std::fs::read_to_string(file).unwrap();
    Connector::parse(&text, Path::new(file.file_name().unwrap()), &env).map_err(|errors| errors.to_string())
}

/// Returns whether it was as expected, and says how it was not.
fn compare(file: &Path, found: &str) -> bool {
    let expected_file = file.with_extension("expected");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected_file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
    let same = expected == found;
    if !same {
        let mut lines = expected.lines().zip(found.lines()).enumerate();
        let at = lines.find(|(_, (expected, found))| expected != found).map_or(0, |(at, _)| at + 1);
        println!("{} differs, first in line {at}; it is now:\n{found}", expected_file.display());
    }
    same
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let mut same = true;
    for file in files("tests/config/bad") {
        let found = parse(&file).err().unwrap_or_else(|| panic!("{} has no mistake", file.display())) + "\n";
        assert!(!found.contains("hunter2"), "{} shows a secret:\n{found}", file.display());
        same &= compare(&file, &found);
    }
    assert!(same);
}

#[test]
fn good_files_mean_what_they_say() {
    let mut same = true;
    for file in files("tests/config/good") {
        let connector = parse(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(!format!("{connector:?}").contains("hunter2"), "Debug shows a secret");
        same &= compare(&file, &describe(&connector));
    }
    assert!(same);
}

#[test]
fn every_connector_of_the_project_loads() {
    for file in files("connectors") {
        let text = std::fs::read_to_string(&file).unwrap();
        // Any variable that a file asks for is there, and could be a port; the demo's are whole urls.
        let set = |name: &str| match name {
            _ if name.starts_with("PG") => None,
            "DEMO_SOURCE" | "DEMO_TARGET" => Some("postgres://demo@localhost/demo".to_owned()),
            _ => Some("5432".to_owned()),
        };
        let connector = Connector::parse(&text, &file, &set).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert!(!connector.tables.is_empty() || !connector.patterns.is_empty());
    }
}

#[test]
fn a_file_that_is_not_there() {
    let error = Connector::load(Path::new("/nonexistent/shop.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/shop.toml: cannot read the connector file: No such file or directory (os error 2)"
    );
}

fn describe(connector: &Connector) -> String {
    let mut text = format!("{} ({})\n", connector.name, connector.object_name());
    let Connector { source, target, .. } = connector;
    writeln!(
        text,
        "source {} {} slot {} publication {}",
        source.endpoint,
        source.endpoint.ssl_mode,
        connector.slot(),
        connector.publication()
    )
    .unwrap();
    writeln!(
        text,
        "target {} {} create {:?} triggers {:?}",
        target.endpoint, target.endpoint.ssl_mode, target.create, target.triggers
    )
    .unwrap();
    match &connector.log {
        LogKind::Local => writeln!(text, "log local").unwrap(),
        LogKind::Kafka(kafka) => {
            let settings: Vec<_> = kafka.settings.iter().map(|(key, value)| format!("{key} ({} bytes)", value.len())).collect();
            let (prefix, partitions, copies) = (&kafka.topic_prefix, kafka.partitions, kafka.replication_factor);
            writeln!(text, "log kafka {} prefix {prefix} {partitions}x{copies} {settings:?}", kafka.brokers).unwrap();
        }
    }
    writeln!(text, "http {:?}", connector.http).unwrap();
    for Rule { source, target, shared, filter, key, ignore, insert_only, on_new_column, columns } in &connector.tables {
        let shared = shared.as_ref().map_or_else(String::new, |table| format!(" in {table:?}"));
        writeln!(text, "table {source:?} -> {target:?}{shared}\n  where {filter:?} key {key:?} ignore {ignore:?}").unwrap();
        writeln!(text, "  insert_only {insert_only} on_new_column {on_new_column:?} columns {columns:?}").unwrap();
    }
    for pattern in &connector.patterns {
        let Pattern { source_schema, source_name, target_schema, target_name, exclude, ignore, on_new_column } = pattern;
        let exclude: Vec<_> = exclude.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
        writeln!(text, "pattern {source_schema}.{source_name} -> {target_schema}.{target_name}").unwrap();
        writeln!(text, "  exclude {exclude:?} ignore {ignore:?} on_new_column {on_new_column:?}").unwrap();
    }
    text
}
