//! What every session of ours is set to, so that a value's text form, and the reading of it, is the same on every server, and
//! no time-out of a role or database cuts our work short. Whoever wants a time-out sets it for its own statements.
//!
//! `search_path` is not among them: the users' expressions run under it, with `pg_catalog` before it (`connect`).

/// Settings by name and value, for any server: by SET once a session stands (a pooler refuses unknown startup parameters),
/// and in the startup packet of the replication connection, where nothing may come between.
pub const SESSION_SETTINGS: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("timezone", "UTC"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    // A policy that would hide rows from us is an error, never a silent hole.
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
];

/// The first major version, name and value of what only newer servers know.
const NEWER_SETTINGS: &[(u32, &str, &str)] = &[(14, "idle_session_timeout", "0"), (17, "transaction_timeout", "0")];

/// The settings that a server of this major version knows.
pub(super) fn for_version(major: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
    let newer = NEWER_SETTINGS.iter().filter(move |(since, ..)| *since <= major).map(|(_, name, value)| (*name, *value));
    SESSION_SETTINGS.iter().copied().chain(newer)
}

/// The major version in parameter `server_version`, such as `15.9 (Debian 15.9-0+deb12u1)` or `18beta1`; 0 where it is unclear.
pub(super) fn major(server_version: &str) -> u32 {
    let digits = server_version.find(|c: char| !c.is_ascii_digit()).unwrap_or(server_version.len());
    server_version[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majors() {
        for (text, expected) in [("15.9 (Debian)", 15), ("18beta1", 18), ("9.6.24", 9), ("", 0), ("devel", 0)] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
