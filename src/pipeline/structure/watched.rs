//! What tells that a statement gave stored rows other values, where the columns look as they did before: `ALTER TYPE ... USING` to the type
//! that the column has. It writes the rows anew, and the column's entry in the catalog; what does only one of the two changes no value.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A table's files and its columns' entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// `pg_class.relfilenode` of the table and each of its partitions, by `pg_class.oid`.
    pub files: BTreeMap<u32, i64>,
    /// `pg_attribute.xmin`, by number.
    pub columns: BTreeMap<i32, i64>,
}

impl Watched {
    /// Since `before`, rows that were there have been written anew, and a column that `is_used` was altered.
    pub fn may_have_other_values(&self, before: &Self, is_used: impl Fn(i32) -> bool) -> bool {
        let is_other = |oid, file| before.files.get(oid).is_some_and(|before| before != file);
        let was_altered = |number, xmin| before.columns.get(number).is_some_and(|before| before != xmin);
        self.files.iter().any(|(oid, file)| is_other(oid, file))
            && self.columns.iter().any(|(number, xmin)| is_used(*number) && was_altered(number, xmin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_both_together_are_suspicious() {
        let watched = |files: &[(u32, i64)], columns: &[(i32, i64)]| Watched {
            files: files.iter().copied().collect(),
            columns: columns.iter().copied().collect(),
        };
        let before = watched(&[(1, 10), (2, 20)], &[(1, 100), (2, 100)]);
        let is_used = |number| number == 1;
        let suspicious = |now: Watched| now.may_have_other_values(&before, is_used);
        assert!(suspicious(watched(&[(1, 11), (2, 20)], &[(1, 101), (2, 100)])));
        assert!(!suspicious(watched(&[(1, 11), (2, 21)], &[(1, 100), (2, 100)])), "TRUNCATE, VACUUM FULL");
        assert!(!suspicious(watched(&[(1, 10), (2, 20)], &[(1, 101), (2, 101)])), "SET DEFAULT");
        assert!(!suspicious(watched(&[(1, 11), (2, 20)], &[(1, 100), (2, 101)])), "of another column");
        assert!(!suspicious(watched(&[(1, 10), (3, 30)], &[(1, 101), (2, 100)])), "a partition came, another went");
        assert!(!Watched::default().may_have_other_values(&before, is_used));
        assert!(!before.may_have_other_values(&Watched::default(), is_used), "nothing was recorded");
    }
}
