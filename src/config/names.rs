//! Names of tables, read as psql reads them, and their patterns. Names of columns are taken as they stand.

use super::mistake::Complaint;
use crate::change::TableName;
use std::fmt;

/// `NAMEDATALEN - 1`: what PostgreSQL keeps of a name, in bytes.
const MAX_NAME: usize = 63;

/// One part of a name, in which `*` may stand for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Any,
}

impl Glob {
    /// The name, where there is no `*` in it.
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// This name.
    pub(super) fn of(name: &str) -> Self {
        Self(vec![Piece::Text(name.to_owned())])
    }

    /// Nothing but `*`.
    pub fn is_any(&self) -> bool {
        self.0 == [Piece::Any]
    }

    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }
}

fn matches(pieces: &[Piece], name: &str) -> bool {
    match pieces {
        [] => name.is_empty(),
        [Piece::Text(text), rest @ ..] => name.strip_prefix(text.as_str()).is_some_and(|name| matches(rest, name)),
        [Piece::Any, rest @ ..] => name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..])),
    }
}

impl fmt::Display for Glob {
    /// As it could be written: quoted where it must be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Any => f.write_str("*"),
            Piece::Text(text) if text.chars().all(|c| plain(c) && !c.is_ascii_uppercase()) => f.write_str(text),
            Piece::Text(text) => write!(f, "\"{}\"", text.replace('"', "\"\"")),
        })
    }
}

/// What a name may hold without quotes. A digit in front is let through, as psql does.
fn plain(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Schema and name of a table or of a pattern; a missing schema is `public`. `written` is what a complaint may show.
pub(super) fn qualified(value: &str, written: &str) -> Result<(Glob, Glob), Complaint> {
    let mut parts = split(value, written)?;
    for part in &parts {
        check_part(part, written)?;
    }
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(name), Some(schema), true) => Ok((schema, name)),
        (Some(name), None, _) => Ok((Glob(vec![Piece::Text("public".into())]), name)),
        _ => Err(Complaint::new(format!("`{written}` has more than two parts: a table is `schema.name`"))
            .hint("a dot that belongs to a name stands in double quotes, as in 'public.\"a.b\"'")),
    }
}

/// Schema and name of one table.
pub(super) fn table((schema, name): &(Glob, Glob)) -> Option<TableName> {
    Some(TableName::new(schema.fixed()?, name.fixed()?))
}

/// A table's name outside the connector file, as psql reads it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn table_name(text: &str) -> Result<TableName, String> {
    let said = |complaint: Complaint| match complaint.hint {
        Some(hint) => format!("{}\n  hint: {hint}", complaint.what),
        None => complaint.what,
    };
    let name = qualified(text, text).map_err(said)?;
    table(&name).ok_or_else(|| format!("`{text}` is a pattern, and the name of one table is meant"))
}

fn split(value: &str, written: &str) -> Result<Vec<Glob>, Complaint> {
    let mut parts = vec![Glob(Vec::new())];
    let mut quoted = false;
    let mut characters = value.trim().chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                push(&mut parts, '"');
            }
            '"' => quoted = !quoted,
            _ if quoted => push(&mut parts, c),
            '.' => parts.push(Glob(Vec::new())),
            '*' => push_any(&mut parts),
            _ if plain(c) => push(&mut parts, c.to_ascii_lowercase()),
            _ => {
                return Err(Complaint::new(format!("`{written}` holds `{c}`, which a name holds only in double quotes"))
                    .hint("in a TOML string of single quotes, as in 'public.\"My Table\"'"));
            }
        }
    }
    if quoted { Err(Complaint::new(format!("`{written}` lacks its closing double quote"))) } else { Ok(parts) }
}

fn push(parts: &mut [Glob], c: char) {
    let pieces = &mut parts.last_mut().expect("there is always a part under way").0;
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(c),
        _ => pieces.push(Piece::Text(c.into())),
    }
}

fn push_any(parts: &mut [Glob]) {
    let pieces = &mut parts.last_mut().expect("there is always a part under way").0;
    if pieces.last() != Some(&Piece::Any) {
        pieces.push(Piece::Any);
    }
}

fn check_part(part: &Glob, written: &str) -> Result<(), Complaint> {
    if part.0.is_empty() {
        return Err(
            Complaint::new(format!("`{written}` has an empty part")).hint("a table is `schema.name`, or `name` in schema public")
        );
    }
    part.0.iter().try_for_each(|piece| match piece {
        Piece::Text(text) => check_length(text, written),
        Piece::Any => Ok(()),
    })
}

fn check_length(name: &str, written: &str) -> Result<(), Complaint> {
    if name.len() > MAX_NAME {
        let what = format!("`{written}` has a name of {} bytes, and PostgreSQL keeps {MAX_NAME}", name.len());
        return Err(Complaint::new(what));
    }
    if name.contains('\0') { Err(Complaint::new("a name cannot hold a zero byte")) } else { Ok(()) }
}

/// A name of a column, slot or publication: exactly as written, upper case and all, unless the whole of it stands in double
/// quotes, which are then taken off.
pub(super) fn exact(value: &str, written: &str) -> Result<String, Complaint> {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let name = inner.map_or_else(|| value.to_owned(), |inner| inner.replace("\"\"", "\""));
    check_length(&name, written)?;
    if name.is_empty() { Err(Complaint::new("a name cannot be empty")) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Result<String, String> {
        qualified(written, written).map(|(schema, name)| format!("{schema}|{name}")).map_err(|complaint| complaint.what)
    }

    #[test]
    fn names_are_read_as_psql_reads_them() {
        for (written, expected) in [
            ("orders", "public|orders"),
            ("Public.Orders", "public|orders"),
            (" s.t ", "s|t"),
            ("\"S\".\"a.b\"", "\"S\"|\"a.b\""),
            ("s.\"quo\"\"te\"", "s|\"quo\"\"te\""),
            ("s.\"a*\"", "s|\"a*\""),
            ("s.a*b**", "s|a*b*"),
            ("*.*", "*|*"),
            ("s.Straße_$1", "s|straße_$1"),
            ("s.A\"B\"c", "s|\"aBc\""),
        ] {
            assert_eq!(read(written).as_deref(), Ok(expected), "{written}");
        }
        for wrong in ["", ".", "a.", ".a", "a.b.c", "a b", "a-b", "\"a", "a;b", &"x".repeat(64), &"é".repeat(32)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stars_match_any_characters() {
        let glob = |written: &str| qualified(written, written).unwrap().1;
        for (pattern, name, expected) in [
            ("audit_*", "audit_", true),
            ("audit_*", "audits", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*é", "caféé", true),
            ("\"a*\"", "a*", true),
            ("\"a*\"", "ab", false),
            ("Orders", "orders", true),
            ("\"Orders\"", "orders", false),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_of_columns_stand_as_they_are() {
        assert_eq!(exact("Weird Col", "").as_deref(), Ok("Weird Col"));
        assert_eq!(exact("\"a\"\"b\"", "").as_deref(), Ok("a\"b"));
        assert!(exact("", "").is_err() && exact("\"\"", "").is_err());
    }
}
