//! One value as JSON: which types are JSON's own, and how text is escaped.

use crate::change::Column;

/// What a column's values look like in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// int2, int4, int8: a number.
    Integer,
    /// `true`, `false` for PostgreSQL's `t`, `f`.
    Boolean,
    /// PostgreSQL's text in a string.
    Text,
}

impl Form {
    /// By the OIDs of `pg_type.dat`, fixed for ever. A domain over int4 has its own OID, so its values are strings.
    pub fn of(column: &Column) -> Self {
        match column.type_oid {
            20 | 21 | 23 => Self::Integer,
            16 => Self::Boolean,
            _ => Self::Text,
        }
    }

    /// Appends `text` as a value. `None`: it is not UTF-8. What is not in the canonical form of its type is a string whatever the type, so
    /// that it comes back as it was.
    pub fn write(self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match (self, text) {
            (Self::Integer, _) if is_canonical_integer(text) => out.extend_from_slice(text),
            (Self::Boolean, b"t") => out.extend_from_slice(b"true"),
            (Self::Boolean, b"f") => out.extend_from_slice(b"false"),
            _ => string(std::str::from_utf8(text).ok()?, out),
        }
        Some(())
    }
}

/// The text that printing the same number as an `i64` gives.
fn is_canonical_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, rest @ ..] => matches!(first, b'1'..=b'9') && rest.iter().all(u8::is_ascii_digit),
    };
    plain && (digits.len() < 19 || std::str::from_utf8(text).is_ok_and(|text| text.parse::<i64>().is_ok()))
}

/// How a byte stands in a JSON string (RFC 8259, 7): 0 as it is, else the letter after the backslash, `u` for `\u00XX`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

/// Appends `text` as a JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some(at) = rest.iter().position(|byte| ESCAPES[usize::from(*byte)] != 0) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        match ESCAPES[usize::from(byte)] {
            b'u' => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends an integer.
pub(super) fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_numbers() {
        for text in ["0", "7", "-7", "9223372036854775807", "-9223372036854775808", "100000000000000000"] {
            assert!(is_canonical_integer(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "-0", "007", "+1", "1.0", "9223372036854775808", "-9223372036854775809", "1e3", " 1"] {
            assert!(!is_canonical_integer(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn strings_are_what_serde_json_reads() {
        let all: String =
            (0..0x250).filter_map(char::from_u32).chain("\u{2028}\u{D7FF}\u{E000}\u{FFFF}\u{10FFFF}\\ud800".chars()).collect();
        let mut out = Vec::new();
        string(&all, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), all);
    }
}
