//! Names that are still free in a schema.

use std::collections::BTreeSet;

/// PostgreSQL's limit, in bytes.
const LONGEST: usize = 63;

/// `name`, or where it is taken `name_1` and so on; it is taken then.
pub(super) fn free(taken: &mut BTreeSet<String>, name: &str) -> String {
    let mut found = cut(name, LONGEST).to_owned();
    for nth in 1_u32.. {
        if taken.insert(found.clone()) {
            break;
        }
        let suffix = format!("_{nth}");
        found = format!("{}{suffix}", cut(name, LONGEST - suffix.len()));
    }
    found
}

/// At most so many bytes, whole characters.
fn cut(name: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(name.len())).rev().find(|&end| name.is_char_boundary(end)).unwrap_or(0);
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_gets_a_number_and_stays_short_enough() {
        let mut taken = BTreeSet::from(["a".to_owned(), "a_1".to_owned()]);
        assert_eq!((free(&mut taken, "a"), free(&mut taken, "b")), ("a_2".to_owned(), "b".to_owned()));
        let long = "ü".repeat(31);
        assert_eq!(free(&mut taken, &long), long);
        assert_eq!(free(&mut taken, &long), format!("{}_1", "ü".repeat(30)));
        assert_eq!(free(&mut taken, &"x".repeat(80)).len(), 63);
    }
}
