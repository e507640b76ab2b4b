//! What is wrong with the world, and its remedy. A finding is not an error: an error says that we could not look.

use serde::Serialize;
use std::fmt;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Stops `prepare` and `run` on the first start; later it halts its table.
    Error,
    /// Works, but not as well as it could, or not for ever.
    Warning,
    /// Something to know, such as what is not carried.
    Note,
}

/// What cures a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "text")]
pub enum Remedy {
    /// SQL that can be run as it stands, on the database that the finding's subject names.
    Sql(String),
    /// A line for the connector file.
    Config(String),
    /// Something to do by hand.
    Do(String),
}

/// One thing that is wrong with the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// A stable name for scripts, such as `source.wal_level`.
    pub code: &'static str,
    /// What it is about: a half (`source`), a table (`public.orders`), a topic.
    pub subject: String,
    /// What is wrong: one line, lower case, objects in backticks, never a row's values.
    pub what: String,
    pub remedy: Option<Remedy>,
}

impl Finding {
    pub fn error(code: &'static str, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Error, code, subject: subject.into(), what: what.into(), remedy: None }
    }

    pub fn warning(code: &'static str, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, subject, what) }
    }

    pub fn note(code: &'static str, subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::error(code, subject, what) }
    }

    pub fn sql(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::Sql(text.into()));
        self
    }

    pub fn config(mut self, text: impl Into<String>) -> Self {
        // the file would take it for a variable
        self.remedy = Some(Remedy::Config(text.into().replace("${", "$${")));
        self
    }

    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::Do(text.into()));
        self
    }

    /// The remedy alone; empty where there is none.
    pub fn remedy_text(&self) -> &str {
        match &self.remedy {
            Some(Remedy::Sql(text) | Remedy::Config(text) | Remedy::Do(text)) => text,
            None => "",
        }
    }

    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        write!(f, "{level}: {}: {}", self.subject, self.what)?;
        match &self.remedy {
            None => Ok(()),
            Some(Remedy::Sql(text)) => write!(f, "\n  hint: run on the database:\n{}", indent(text)),
            Some(Remedy::Config(text)) => write!(f, "\n  hint: in the connector file:\n{}", indent(text)),
            Some(Remedy::Do(text)) => write!(f, "\n  hint: {text}"),
        }
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
