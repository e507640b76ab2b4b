//! The little that we read of an expression ourselves: is it one column, one lossless cast of a column, or a constant?

/// What an expression is, where that matters for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    Column(String),
    /// A column cast to the named type.
    Cast(String, String),
    Other,
}

/// Reads `name`, `"Name"`, `src.name`, `name::type` and `cast(name as type)`; anything else is `Other`.
pub fn form(text: &str) -> Form {
    let text = text.trim();
    if let Some(inner) = strip_call(text, "cast") {
        let lower = inner.to_ascii_lowercase();
        return match lower.rfind(" as ").map(|at| (column(&inner[..at]), inner[at + 4..].trim())) {
            Some((Some(name), kind)) => Form::Cast(name, kind.to_ascii_lowercase()),
            _ => Form::Other,
        };
    }
    if let Some(name) = column(text) {
        return Form::Column(name);
    }
    match text.split_once("::").map(|(left, kind)| (column(left), kind.trim())) {
        Some((Some(name), kind)) if !kind.contains("::") => Form::Cast(name, kind.to_ascii_lowercase()),
        _ => Form::Other,
    }
}

/// Whether an expression is the same value for as long as it stands there: a number, a boolean or a string, perhaps with casts. Words that
/// types of dates and times read as the present are none.
pub fn is_literal(text: &str) -> bool {
    let text = text.trim();
    let (value, rest) = match text.strip_prefix('\'') {
        Some(quoted) => {
            let bytes = quoted.as_bytes();
            let mut at = 0;
            while at < bytes.len() && (bytes[at] != b'\'' || bytes.get(at + 1) == Some(&b'\'')) {
                at += if bytes[at] == b'\'' { 2 } else { 1 };
            }
            let Some(rest) = quoted.get(at + 1..) else { return false };
            let moves = ["now", "today", "tomorrow", "yesterday"].contains(&quoted[..at].trim().to_ascii_lowercase().as_str());
            (!moves, rest)
        }
        None => {
            let end = text.find("::").unwrap_or(text.len());
            let value = text[..end].trim();
            let digits = value.strip_prefix('-').unwrap_or(value);
            let number = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.parse::<f64>().is_ok();
            (number || value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"), &text[end..])
        }
    };
    let named = |kind: &str| {
        !kind.trim().is_empty()
            && kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ' ' | '.' | '"' | '(' | ')' | ','))
    };
    let mut casts = rest.trim().split("::");
    value && casts.next().is_some_and(str::is_empty) && casts.all(named)
}

fn strip_call<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.get(..name.len())?;
    let rest = text.get(name.len()..)?.trim_start();
    head.eq_ignore_ascii_case(name).then(|| rest.strip_prefix('(')?.strip_suffix(')')).flatten()
}

/// A column's name as the catalog has it, or nothing.
fn column(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("src.").or_else(|| text.strip_prefix("\"src\".")).unwrap_or(text);
    if let Some(quoted) = text.strip_prefix('"') {
        let inner = quoted.strip_suffix('"')?;
        let whole = !inner.replace("\"\"", "").contains('"');
        return (whole && !inner.is_empty()).then(|| inner.replace("\"\"", "\""));
    }
    let mut letters = text.chars();
    let starts = letters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    (starts && letters.all(|c| c.is_alphanumeric() || c == '_' || c == '$')).then(|| text.to_lowercase())
}

/// Whether a cast keeps different values different. The types are as `format_type` prints them, without typmod.
pub fn lossless(from: &str, to: &str) -> bool {
    const INTEGERS: [&str; 3] = ["smallint", "integer", "bigint"];
    let to = match to {
        "int2" => "smallint",
        "int" | "int4" => "integer",
        "int8" => "bigint",
        "varchar" => "character varying",
        "decimal" => "numeric",
        "timestamptz" => "timestamp with time zone",
        other => other,
    };
    let rank = |name: &str| INTEGERS.iter().position(|known| *known == name);
    if from == to {
        return true;
    }
    match (rank(from), rank(to)) {
        (Some(a), Some(b)) => a <= b,
        (Some(_), None) => matches!(to, "numeric" | "text" | "character varying"),
        (None, None) => {
            matches!(to, "text" | "character varying") && matches!(from, "text" | "character varying" | "uuid" | "name" | "date")
        }
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_told_from_what_moves() {
        for text in
            ["'eu'", " 'it''s' ", "7", "-1.5", "1e3", "true", "'x'::region", "'x'::shop.\"Kind\"::text", "5::numeric(3, 1)", "''"]
        {
            assert!(is_literal(text), "{text}");
        }
        for text in [
            "now()",
            "'now'",
            "' Today '::date",
            "current_user",
            "'a' || 'b'",
            "(select 1)",
            "'x",
            "''x'",
            "inf",
            "nan",
            "7 + 1",
            "'eu' -- c",
            "",
        ] {
            assert!(!is_literal(text), "{text}");
        }
    }

    #[test]
    fn only_plain_forms_are_read() {
        let column = |name: &str| Form::Column(name.into());
        let cast = |name: &str, kind: &str| Form::Cast(name.into(), kind.into());
        for (text, want) in [
            ("id", column("id")),
            (" ID ", column("id")),
            ("\"Id\"", column("Id")),
            ("\"a\"\"b\"", column("a\"b")),
            ("src.id", column("id")),
            ("id::bigint", cast("id", "bigint")),
            ("CAST(id AS text)", cast("id", "text")),
            ("id + 1", Form::Other),
            ("lower(id)", Form::Other),
            ("'x'", Form::Other),
            ("\"a\" || \"b\"", Form::Other),
            ("id::text::int", Form::Other),
            ("1", Form::Other),
        ] {
            assert_eq!(form(text), want, "{text}");
        }
    }

    #[test]
    fn casts_that_lose_are_known() {
        assert!(lossless("integer", "bigint") && lossless("uuid", "text") && lossless("bigint", "numeric"));
        assert!(!lossless("bigint", "integer") && !lossless("text", "integer") && !lossless("numeric", "bigint"));
    }
}
