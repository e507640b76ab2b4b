//! A connector file for a reader who never saw one: what `init` writes. The text is read back by the same code as any other file.

use super::{ConfigErrors, Connector, GivenUrl};
use crate::change::TableName;
use std::fmt::Write;
use std::path::Path;

/// What the file is to say.
pub struct Draft {
    pub name: String,
    pub source: GivenUrl,
    pub target: GivenUrl,
    /// How many of the tables the target lacks.
    pub missing: usize,
    /// The SQL that would let our role switch triggers off, where it may not.
    pub no_triggers_off: Option<String>,
    pub patterns: Vec<DraftPattern>,
    pub entries: Vec<DraftEntry>,
    /// Tables that were asked for, and cannot be taken.
    pub refused: Vec<Refusal>,
    /// What no pattern takes: the reason, the names.
    pub apart: Vec<(String, Vec<TableName>)>,
}

/// A `[[table]]` with a `*`.
pub struct DraftPattern {
    /// As in the file.
    pub source: String,
    pub tables: Vec<DraftTable>,
    pub exclude: Vec<Refusal>,
}

/// A table that is taken.
pub struct DraftTable {
    pub name: TableName,
    /// In a few words.
    pub about: String,
}

/// A `[[table]]` of one table.
pub struct DraftEntry {
    pub table: DraftTable,
    /// Lines for the file, each with its reason.
    pub keys: Vec<(String, String)>,
    pub columns: Vec<(String, String)>,
}

/// A table that would not pass the checks, and why.
pub struct Refusal {
    pub name: TableName,
    pub reasons: Vec<Reason>,
}

/// What stands in the way, and its cure.
pub struct Reason {
    pub what: String,
    pub cure: String,
}

const SHOWN: usize = 40;
const WIDTH: usize = 116;

impl Draft {
    /// The file as the daemon would read it. Its passwords are known without their variables.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn connector(&self) -> Result<Connector, ConfigErrors> {
        let secret = |name: &str| {
            let given = [&self.source.secret, &self.target.secret].into_iter().flatten().find(|(variable, _)| variable == name);
            given.map(|(_, text)| text.clone())
        };
        Connector::parse(&self.text(), Path::new("init"), &|name| secret(name).or_else(|| std::env::var(name).ok()))
    }

    /// The tables that it takes, as far as they are known.
    pub fn tables(&self) -> impl Iterator<Item = &DraftTable> {
        self.entries.iter().map(|entry| &entry.table).chain(self.patterns.iter().flat_map(|pattern| &pattern.tables))
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut text = self.head();
        self.entries.iter().for_each(|entry| text.push_str(&entry_text(entry)));
        self.patterns
            .iter()
            .filter(|pattern| !pattern.source.is_empty())
            .for_each(|pattern| text.push_str(&pattern_text(pattern)));
        text.push_str(&self.left_out());
        text
    }

    fn head(&self) -> String {
        let mut text = comment(
            "",
            &format!(
                "What `tablelift` copies from the database `{}` into `{}`, and then keeps equal. Written by `tablelift init`; the commands, with this file's name for FILE:",
                self.source.database, self.target.database
            ),
        );
        text.push_str(
            "#   tablelift check FILE     what stands in the way, each with its remedy. Changes nothing\n\
             #   tablelift plan  FILE     what `run` will do, in SQL. Changes nothing\n\
             #   tablelift run   FILE     copies what is there, then follows every commit until it is stopped\n\
             # Every key that there is stands in connectors/shop-orders.toml of the project.\n\n",
        );
        let object = format!("tablelift_{}", self.name.replace('-', "_"));
        let name = format!("name = {}", quoted(&self.name));
        text.push_str(&beside(&name, &format!("for good: slot and publication are called `{object}`")));
        text.push_str("\n[source]\n");
        text.push_str(&url(
            &self.source,
            "it is read, and never written to but for the publication, the slot and marks in its WAL",
        ));
        text.push_str("\n[target]\n");
        text.push_str(&url(&self.target, "rows are written here, and our own records into its schema `tablelift`"));
        text.push_str(&self.create());
        text.push_str(&self.triggers());
        text.push_str(LOG);
        text
    }

    fn create(&self) -> String {
        match self.missing {
            0 => beside("# create = \"missing\"", "makes tables that the target lacks; all of these are there"),
            count => {
                let lacks =
                    if count == 1 { "lacks one of the tables".to_owned() } else { format!("lacks {count} of the tables") };
                beside(
                    "create = \"missing\"",
                    &format!("the target {lacks}: made as they are on the source. `plan` prints the DDL"),
                )
            }
        }
    }

    fn triggers(&self) -> String {
        match &self.no_triggers_off {
            None => beside(
                "triggers = \"off\"",
                "triggers and foreign keys of the target do not fire for our rows: they did on the source",
            ),
            Some(sql) => {
                let first = format!(
                    "The role `{}` may not switch the target's triggers and foreign keys off for our rows, so they fire. Better is \"off\", for they did their work on the source; it needs, on the target:",
                    self.target.user
                );
                let sql: String =
                    sql.lines().filter(|line| !line.starts_with("--")).map(|line| format!("#   {}\n", clean(line))).collect();
                format!("{}{sql}triggers = \"fire\"\n", comment("", &first))
            }
        }
    }

    /// How many tables are not taken that could have been meant.
    pub fn refusals(&self) -> usize {
        self.refused.len() + self.patterns.iter().map(|pattern| pattern.exclude.len()).sum::<usize>()
    }

    /// What is not taken, for the reader to decide about.
    fn left_out(&self) -> String {
        let mut text = String::new();
        let dropped = self.patterns.iter().filter(|pattern| pattern.source.is_empty()).flat_map(|pattern| &pattern.exclude);
        for one in self.refused.iter().chain(dropped) {
            text.push_str(&format!("\n# Not taken: {}\n{}", clean(&super::written(&one.name)), reasons("", one)));
            text.push_str(&format!("# [[table]]\n# source = {}\n", clean(&quoted(&super::written(&one.name)))));
        }
        if !self.apart.is_empty() {
            text.push_str("\n# No pattern takes these:\n");
        }
        for (reason, names) in &self.apart {
            let mut list: Vec<String> = names.iter().take(SHOWN).map(super::written).collect();
            list.extend((names.len() > SHOWN).then(|| format!("and {} more", names.len() - SHOWN)));
            let each = if names.len() > 1 { "each " } else { "" };
            text.push_str(&comment("", &format!("- {}: {each}{reason}", list.join(", "))));
        }
        text
    }
}

const LOG: &str = "
[log]
kind = \"local\"                    # nothing stands between the two: the source's replication slot is the durable log
# Through Kafka instead, with Debezium's envelope on the topics:
# kind = \"kafka\"
# brokers = \"kafka-1:9092,kafka-2:9092\"

[http]
listen = \"127.0.0.1:7411\"         # /status, /metrics, /healthz, /readyz of `run`; \"off\" for none

# [copy]
# max_bytes_per_second = \"50MB\"   # spares the source while it is copied; default: no limit
";

fn url(given: &GivenUrl, about: &str) -> String {
    let mut text = comment("", &format!("Database `{}`, as `{}`: {about}.", given.database, given.user));
    match given.variable() {
        Some(name) => {
            let told = format!("The password is in no file: export {name}, as it would stand in the url (@ is %40, and so on).");
            text.push_str(&comment("", &told));
        }
        None => text.push_str("# As in libpq, a password that is not in the url comes from PGPASSWORD or ~/.pgpass.\n"),
    }
    writeln!(text, "url = {}", quoted_as_given(&given.written)).ok();
    text
}

fn entry_text(entry: &DraftEntry) -> String {
    let DraftEntry { table, keys, columns } = entry;
    let mut text = format!("\n[[table]]                         # {}\n", clean(&table.about));
    writeln!(text, "source = {}", quoted(&super::written(&table.name))).ok();
    for (line, why) in keys {
        text.push_str(&beside(line, why));
    }
    if !columns.is_empty() {
        text.push_str("[table.columns]                   # target column = SQL over the source's columns\n");
        columns.iter().for_each(|(line, why)| text.push_str(&beside(line, why)));
    }
    text
}

fn pattern_text(pattern: &DraftPattern) -> String {
    let mut text = format!("\n# {} now, and each that comes later:\n", tables(pattern.tables.len()));
    for table in pattern.tables.iter().take(SHOWN) {
        writeln!(text, "#   {}: {}", clean(&super::written(&table.name)), clean(&table.about)).ok();
    }
    if pattern.tables.len() > SHOWN {
        writeln!(text, "#   and {} more", pattern.tables.len() - SHOWN).ok();
    }
    text.push_str("[[table]]\n");
    let source = format!("source = {}", quoted(&pattern.source));
    text.push_str(&beside(&source, "a table that has an entry of its own goes by that"));
    let target = format!("# target = {}", quoted(&pattern.source));
    text.push_str(&beside(&target, "default: the same names; \"orders.*\" puts them into the schema `orders`"));
    if !pattern.exclude.is_empty() {
        text.push_str("exclude = [\n");
        for one in &pattern.exclude {
            text.push_str(&reasons("    ", one));
            writeln!(text, "    {},", quoted(&super::written(&one.name))).ok();
        }
        text.push_str("]\n");
    }
    text
}

fn tables(count: usize) -> String {
    if count == 1 { "One table".to_owned() } else { format!("{count} tables") }
}

fn reasons(indent: &str, refusal: &Refusal) -> String {
    let mut text = String::new();
    for Reason { what, cure } in &refusal.reasons {
        text.push_str(&comment(indent, what));
        for (at, line) in cure.lines().enumerate() {
            let deeper = if at == 0 { "" } else { "    " };
            text.push_str(&format!("{indent}#   {deeper}{}\n", clean(line)));
        }
    }
    text
}

/// A line with what is to be said of it behind, or above where there is no room.
fn beside(line: &str, why: &str) -> String {
    let padded = format!("{line:<33} # {}", clean(why));
    if padded.chars().count() <= WIDTH + 16 { format!("{padded}\n") } else { format!("{}{line}\n", comment("", why)) }
}

/// Words in lines of a comment.
fn comment(indent: &str, words: &str) -> String {
    let (mut text, mut line) = (String::new(), format!("{indent}#"));
    let begin = line.clone();
    for word in clean(words).split(' ').filter(|word| !word.is_empty()) {
        if line.chars().count() + word.chars().count() >= WIDTH && line != begin {
            text.push_str(&format!("{line}\n"));
            line.clone_from(&begin);
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}

/// A comment ends with its line, whatever stands in a name.
fn clean(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A TOML string; `${` in it is no variable.
fn quoted(text: &str) -> String {
    quoted_as_given(&text.replace("${", "$${"))
}

fn quoted_as_given(text: &str) -> String {
    let literal = (text.contains('"') || text.contains('\\')) && !text.contains(|c: char| c == '\'' || c.is_control());
    if literal {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_as_they_were() {
        for name in ["plain", "with \"quotes\"", "it's", "both \" and '", "back\\slash", "line\nbreak", "${VAR}", "ü"] {
            let table: toml::Table = toml::from_str(&format!("a = {}", quoted(name))).unwrap();
            assert_eq!(table["a"].as_str().unwrap().replace("$${", "${"), name);
        }
    }

    #[test]
    fn a_comment_stays_one() {
        let text = comment("    ", &format!("{} \nx = 1\r", "word ".repeat(60)));
        assert!(text.lines().all(|line| line.starts_with("    # ") && line.chars().count() <= WIDTH), "{text}");
        assert_eq!(beside("a = 1", "why\nx = 2"), format!("{:<33} # why x = 2\n", "a = 1"));
    }
}
