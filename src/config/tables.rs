//! `[[table]]`: explicit entries to rules, entries with `*` to patterns.

use super::mistake::{Complaint, Place};
use super::names::{self, Glob};
use super::pattern::Pattern;
use super::section::{Reader, Section, Text};
use crate::change::TableName;
use crate::mapping::{Ignore, OnNewColumn, Rule};
use std::collections::{HashMap, HashSet, hash_map::Entry};

/// What an entry says of one table only.
const EXPLICIT_ONLY: [&str; 4] = ["where", "key", "columns", "insert_only"];

#[derive(Default)]
pub(super) struct Tables {
    pub rules: Vec<Rule>,
    pub patterns: Vec<Pattern>,
    /// Where each target table, and each pattern, was first written.
    targets: HashMap<TableName, Place>,
    sources: HashMap<String, Place>,
}

type Name = (Glob, Glob);

impl Tables {
    pub fn read(reader: &mut Reader<'_>, top: &mut Section<'_>) -> Self {
        let mut tables = Self::default();
        if !top.has("table") {
            let hint = "a `[[table]]` with `source = \"public.*\"` takes every table of schema public";
            reader.missing(Place::START, Complaint::new("the file names no table").hint(hint));
        }
        for mut section in reader.sections(top, "table") {
            tables.read_entry(reader, &mut section);
            reader.close(&section);
        }
        tables
    }

    fn read_entry(&mut self, reader: &mut Reader<'_>, section: &mut Section<'_>) {
        let source = reader.required_text(section, "source");
        let place = source.as_ref().map_or(section.place, |text| text.place);
        let source = source.and_then(|text| name_of(reader, &text));
        let target_text = reader.text(section, "target");
        let target_place = target_text.as_ref().map_or(place, |text| text.place);
        let target = match target_text {
            Some(text) => name_of(reader, &text),
            None => source.clone(),
        };
        let explicit = source.as_ref().is_none_or(|name| names::table(name).is_some());
        let entry = read_keys(reader, section, explicit);
        match (source, target) {
            (Some(source), Some(target)) if explicit => self.add_rule(reader, entry, &source, (&target, target_place)),
            (Some(source), Some(target)) => self.add_pattern(reader, entry, (source, place), (target, target_place)),
            _ => {}
        }
    }

    fn add_rule(&mut self, reader: &mut Reader<'_>, entry: Keys, source: &Name, (target, place): (&Name, Place)) {
        let Some(source) = names::table(source) else { return };
        let Some(target) = names::table(target) else {
            let complaint = Complaint::new("the target holds `*`, and the source is one table");
            return reader.complain(place, complaint.hint("a `*` that belongs to a name stands in double quotes"));
        };
        let Keys { filter, key, ignore, insert_only, on_new_column, columns, .. } = entry;
        let first = *self.targets.entry(target.clone()).or_insert(place);
        let bare = |rule: &Rule| *rule.table() == target && rule.columns.is_empty();
        if first != place && (columns.is_empty() || self.rules.iter().any(bare)) {
            let what = format!("two entries write to the same table, the first in line {}", first.line);
            let hint = "name another target; or give each of them a constant of its own for a column of the target's key, in [table.columns]";
            reader.complain(place, Complaint::new(what).hint(hint));
        }
        let (target, shared) = self.share(&source, target);
        self.rules.push(Rule { source, target, shared, filter, key, ignore, insert_only, on_new_column, columns });
    }

    /// An entry's name in our records, and the target table where an earlier entry fills it too. So that what is recorded of the first stays its
    /// own when another is added, only the others' names have their source in them.
    fn share(&mut self, source: &TableName, target: TableName) -> (TableName, Option<TableName>) {
        let Some(first) = self.rules.iter_mut().find(|rule| *rule.table() == target) else { return (target, None) };
        first.shared = Some(target.clone());
        let name = |nth: usize| match nth {
            1 => format!("{} ({source})", target.name),
            _ => format!("{} ({source} {nth})", target.name),
        };
        let names = (1..).map(|nth| TableName::new(target.schema.clone(), name(nth)));
        let free = names.into_iter().find(|name| self.rules.iter().all(|rule| rule.target != *name)).expect("numbers do not end");
        (free, Some(target))
    }

    fn add_pattern(&mut self, reader: &mut Reader<'_>, entry: Keys, source: (Name, Place), target: (Name, Place)) {
        let ((source_schema, source_name), place) = source;
        let ((target_schema, target_name), target_place) = target;
        // Nothing that was defaulted from the source is a mistake of its own.
        if target_place != place {
            for (source, target) in [(&source_schema, &target_schema), (&source_name, &target_name)] {
                check_star(reader, target_place, source, target);
            }
            if source_name.fixed().is_none() && target_name.fixed().is_some() {
                let what = "the source means many tables, and the target is one";
                reader.complain(target_place, Complaint::new(what).hint("`*` as the target's name keeps each table's own"));
            }
        }
        let written = format!("{source_schema}.{source_name}");
        match self.sources.entry(written) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) => {
                let what = format!("the pattern `{}` stands in line {} already", first.key(), first.get().line);
                reader.complain(place, Complaint::new(what));
            }
        }
        for ((schema, name), place) in &entry.exclude {
            if let (Some(ours), Some(other)) = (source_schema.fixed(), schema.fixed())
                && ours != other
            {
                let what = format!("`{schema}.{name}` excludes nothing: the source is in schema `{ours}`");
                reader.complain(*place, Complaint::new(what).hint("a name without a schema is in `public`"));
            }
        }
        let exclude = entry.exclude.into_iter().map(|(name, _)| name).collect();
        let Keys { ignore, on_new_column, .. } = entry;
        let pattern = Pattern { source_schema, source_name, target_schema, target_name, exclude, ignore, on_new_column };
        self.patterns.push(pattern);
    }
}

fn check_star(reader: &mut Reader<'_>, place: Place, source: &Glob, target: &Glob) {
    if target.fixed().is_none() && !target.is_any() {
        let complaint = Complaint::new("a target's `*` stands for the whole name, and this one is a part of a name");
        reader.complain(place, complaint.hint("`*` keeps the name; another name needs an entry of its own"));
    } else if target.is_any() && source.fixed().is_some() {
        let what = format!("the target's `*` has nothing to keep: the source has `{source}` there");
        reader.complain(place, Complaint::new(what).hint(format!("write `{source}`, or another name")));
    }
}

/// Everything of an entry but its names.
struct Keys {
    filter: Option<String>,
    key: Option<Vec<String>>,
    ignore: Ignore,
    insert_only: bool,
    on_new_column: OnNewColumn,
    columns: Vec<(String, String)>,
    exclude: Vec<(Name, Place)>,
}

fn read_keys(reader: &mut Reader<'_>, section: &mut Section<'_>, explicit: bool) -> Keys {
    for key in if explicit { &["exclude"][..] } else { &EXPLICIT_ONLY[..] } {
        if let Some(place) = section.place_of(key) {
            let (what, hint) = match explicit {
                true => ("is about a pattern, and this entry names one table", "leave it out, or put a `*` in the source"),
                false => ("is about one table, and this entry is a pattern", "give that table an entry of its own"),
            };
            reader.complain(place, Complaint::new(format!("`{key}` {what}")).hint(hint));
        }
    }
    let filter = reader.text(section, "where").and_then(|text| expression(reader, "where", text));
    let key_place = section.place_of("key");
    let key = reader.texts(section, "key").map(|texts| column_list(reader, "key", texts));
    if let (Some([]), Some(place)) = (key.as_deref(), key_place) {
        reader.complain(place, Complaint::new("`key` is empty").hint("leave it out: the replica identity gives the key"));
    }
    let ignore = read_ignore(reader, section, explicit, key.as_deref().unwrap_or_default());
    let insert_only = reader.boolean(section, "insert_only").unwrap_or(false);
    let words = [("halt", OnNewColumn::Halt), ("ignore", OnNewColumn::Ignore)];
    let on_new_column = reader.word(section, "on_new_column", &words).unwrap_or(OnNewColumn::Halt);
    let exclude = reader.texts(section, "exclude").unwrap_or_default();
    let exclude = exclude.into_iter().filter_map(|text| Some((name_of(reader, &text)?, text.place))).collect();
    let columns = match reader.section(section, "columns") {
        Some(section) => read_columns(reader, section),
        None => Vec::new(),
    };
    Keys { filter, key, ignore, insert_only, on_new_column, columns, exclude }
}

fn name_of(reader: &mut Reader<'_>, text: &Text) -> Option<Name> {
    reader.check(text.place, names::qualified(&text.value, &text.written))
}

fn column_list(reader: &mut Reader<'_>, what: &str, texts: Vec<Text>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for text in texts {
        let Some(name) = reader.check(text.place, names::exact(&text.value, &text.written)) else { continue };
        if seen.insert(name.clone()) {
            found.push(name);
        } else {
            reader.complain(text.place, Complaint::new(format!("`{what}` names `{}` twice", text.written)));
        }
    }
    found
}

fn read_ignore(reader: &mut Reader<'_>, section: &mut Section<'_>, explicit: bool, key: &[String]) -> Ignore {
    let Some(texts) = reader.texts(section, "ignore") else { return Ignore::Columns(Vec::new()) };
    if let Some(star) = texts.iter().position(|text| text.value == "*") {
        if texts.len() > 1 {
            let complaint = Complaint::new("`*` in `ignore` is all that nothing uses, so the names beside it say nothing");
            reader.complain(texts[star].place, complaint.hint("ignore = [\"*\"]"));
        }
        return Ignore::Rest;
    }
    for text in texts.iter().filter(|_| !explicit) {
        let complaint = Complaint::new("a pattern ignores all that nothing uses, or nothing");
        reader.complain(text.place, complaint.hint("ignore = [\"*\"], or give that table an entry of its own"));
    }
    for text in texts.iter().filter(|text| key.contains(&text.value)) {
        reader.complain(text.place, Complaint::new(format!("`{}` is ignored and in `key`", text.written)));
    }
    Ignore::Columns(column_list(reader, "ignore", texts))
}

fn read_columns(reader: &mut Reader<'_>, mut section: Section<'_>) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for (written, place, text) in reader.free_texts(&mut section) {
        let name = reader.check(place, names::exact(&written, &written));
        let Some((name, expression)) = name.zip(expression(reader, &written, text)) else { continue };
        if !seen.insert(name.clone()) {
            reader.complain(place, Complaint::new(format!("the column `{name}` is mapped twice")));
        }
        found.push((name, expression));
    }
    found
}

fn expression(reader: &mut Reader<'_>, key: &str, text: Text) -> Option<String> {
    if text.value.trim().is_empty() {
        reader.complain(text.place, Complaint::new(format!("`{key}` is empty, and an SQL expression is meant")));
        return None;
    }
    // what follows it in a statement is not to be part of its comment
    Some(if text.value.contains("--") { text.value + "\n" } else { text.value })
}
