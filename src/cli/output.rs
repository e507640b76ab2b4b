//! What a person, or a script, gets to see: findings and reports on stdout, complaints on stderr.

use crate::finding::{Finding, Level, Remedy};
use anstream::{AutoStream, ColorChoice};
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";
const PLAIN: &str = "\x1b[0m";

/// Where results go, and in which form.
pub struct Output {
    json: bool,
    color: ColorChoice,
}

impl Output {
    pub fn new(json: bool, color: ColorChoice) -> Self {
        Self { json, color }
    }

    /// `--json` was asked for.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Text as it stands, escape sequences taken out where there is no colour. A reader that went away (`| head`) is no failure.
    pub fn text(&self, text: &str) {
        let mut out = AutoStream::new(io::stdout().lock(), self.color);
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }

    /// One JSON document.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn document(&self, document: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(document)?;
        text.push('\n');
        self.text(&text);
        Ok(())
    }

    /// To stderr.
    pub fn complain(&self, text: &str) {
        let mut err = AutoStream::new(io::stderr().lock(), self.color);
        writeln!(err, "{}", text.trim_end()).ok();
    }

    /// Asks on the terminal; `None` where there is none to answer.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() {
            return None;
        }
        let mut err = io::stderr().lock();
        write!(err, "{question} [y/N] ").and_then(|()| err.flush()).ok()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Findings, the worst first, and one line that counts them.
pub(super) fn findings(findings: &[Finding]) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.level);
    let mut text: String = sorted.into_iter().map(finding).collect();
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings, notes) = (count(Level::Error), count(Level::Warning), count(Level::Note));
    let color = if errors > 0 { RED } else { GREEN };
    let parts = [(errors, "error"), (warnings, "warning"), (notes, "note")];
    let parts: Vec<String> = parts.iter().map(|&(count, name)| plural(count, name)).collect();
    text.push_str(&format!("{color}{}{PLAIN}\n", parts.join(", ")));
    text
}

fn finding(finding: &Finding) -> String {
    let (color, level) = match finding.level {
        Level::Error => (RED, "error"),
        Level::Warning => (YELLOW, "warning"),
        Level::Note => (BLUE, "note"),
    };
    let Finding { code, subject, what, .. } = finding;
    let mut text = format!("{color}{level}{PLAIN}: {BOLD}{subject}{PLAIN}: {what} {DIM}[{code}]{PLAIN}\n");
    match &finding.remedy {
        None => (),
        Some(Remedy::Sql(sql)) => text.push_str(&format!("  hint: run on the {}:\n{}", side(code), block(sql))),
        Some(Remedy::Config(lines)) => text.push_str(&format!("  hint: in the connector file:\n{}", block(lines))),
        Some(Remedy::Do(what)) => text.push_str(&format!("  hint: {}\n", what.replace('\n', "\n        "))),
    }
    text
}

/// The database that a finding's SQL is for.
fn side(code: &str) -> &'static str {
    let on_target = ["target.", "table.target_", "table.identity_always"];
    if on_target.iter().any(|start| code.starts_with(start)) { "target" } else { "source" }
}

/// Indented, and easy to select.
pub(super) fn block(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// `1 error`, `2 errors`, `no errors`.
pub(super) fn plural(count: usize, name: &str) -> String {
    match count {
        0 => format!("no {name}s"),
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    }
}

/// A heading of a longer text.
pub(super) fn heading(text: &str) -> String {
    format!("{BOLD}{text}{PLAIN}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_remedies_stand_on_their_own_lines() {
        let list = [
            Finding::note("a.note", "source", "has views"),
            Finding::error("a.error", "public.t", "has no key").sql("ALTER TABLE t\nADD PRIMARY KEY (id);"),
        ];
        let text = anstream::adapter::strip_str(&findings(&list)).to_string();
        assert_eq!(
            text,
            "error: public.t: has no key [a.error]\n  hint: run on the source:\n    ALTER TABLE t\n    ADD PRIMARY KEY (id);\n\
             note: source: has views [a.note]\n1 error, no warnings, 1 note\n"
        );
    }
}
