//! What is wrong in a connector file, and where.

use crate::fate::Fate;
use std::{fmt, path::PathBuf};

/// Line and column of a character, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte in a text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = &text[..text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// One thing that is wrong, before its place is known. Never holds a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub what: String,
    pub hint: Option<String>,
}

impl Complaint {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn at(self, place: Place) -> Mistake {
        Mistake { place, what: self.what, hint: self.hint }
    }
}

/// One thing that is wrong, and what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    pub what: String,
    pub hint: Option<String>,
}

/// Why a connector file cannot be used: each mistake as `file:line:column: what`, its cure beneath.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    #[error("{}: cannot read the connector file: {source}", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{}", List(.file, .mistakes))]
    Mistakes { file: PathBuf, mistakes: Vec<Mistake> },
}

impl ConfigErrors {
    /// Nothing but an edit can help.
    pub fn fate(&self) -> Fate {
        Fate::Halt
    }
}

struct List<'a>(&'a PathBuf, &'a [Mistake]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Mistake { place: Place { line, column }, what, hint }) in self.1.iter().enumerate() {
            let newline = if at > 0 { "\n" } else { "" };
            write!(f, "{newline}{}:{line}:{column}: {what}", self.0.display())?;
            if let Some(hint) = hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let text = "a = 1\nä = \"é\"";
        assert_eq!(Place::of(text, 0), Place::START);
        assert_eq!(Place::of(text, 6), Place { line: 2, column: 1 });
        assert_eq!(Place::of(text, text.len()), Place { line: 2, column: 8 });
    }
}
