//! What does not come along, and what the target refused: in words, without a row's values.

use super::{Kind, Step};
use crate::change::TableName;
use crate::finding::Finding;

/// Something of the source's table that the target's goes without.
pub fn left_out(target: &TableName, kind: &str, name: &str, why: &str) -> Finding {
    let code = match kind {
        "index" => "table.target_index",
        "foreign key" => "table.target_foreign_key",
        _ => "table.target_constraint",
    };
    let what = format!("{kind} `{name}` of the source is left out: {why}");
    Finding::note(code, target.to_string(), what).hint("where you want it, make it yourself once the table is copied")
}

/// Why a statement behind the load failed, and what to do. `message`: the server's own, of no use where it could show a row.
pub fn because(step: &Step, sqlstate: &str, message: &str) -> (String, String) {
    let of_rows = sqlstate.starts_with("22") || sqlstate.starts_with("23");
    let why = match (sqlstate, step.kind) {
        ("23505", _) => "rows of the target are equal in its columns".to_owned(),
        ("23503", _) => "rows of the target refer to rows that are not there".to_owned(),
        ("23514", _) => "rows of the target break it".to_owned(),
        ("55P03" | "40P01", _) => "another session holds the table".to_owned(),
        (_, Kind::Key | Kind::Index) if of_rows => "a row's value does not fit it".to_owned(),
        _ if of_rows => "rows of the target do not fit it".to_owned(),
        _ => message.to_owned(),
    };
    let hint = match sqlstate {
        "55P03" | "40P01" => "it is tried again; pg_stat_activity of the target shows who",
        _ => "deploy/runbooks/after-load.md; it is tried again every 30 s",
    };
    (format!("the {step} cannot be made: {why} (SQLSTATE {sqlstate})"), hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_shows() {
        let step = Step::new(Kind::Index, "mail_key", String::new());
        let (what, hint) = because(&step, "23505", "could not create unique index \"mail_key\"");
        assert_eq!(what, "the index `mail_key` cannot be made: rows of the target are equal in its columns (SQLSTATE 23505)");
        assert!(hint.contains("after-load.md"));
        assert!(!because(&step, "22012", "secret 7").0.contains("secret"));
        assert!(because(&step, "58030", "disk full").0.contains("disk full"));
    }
}
