//! SQLSTATE to fate (PostgreSQL's manual, appendix A). The class decides; single codes are named where they stand out of it.

use crate::fate::Fate;
use std::{error::Error, io};

/// What becomes of a statement that failed, or of the session it failed in.
pub fn fate_of(error: &tokio_postgres::Error) -> Fate {
    if let Some(answer) = error.as_db_error() {
        return fate_of_sqlstate(answer.code().code());
    }
    let broken = error.is_closed() || error.source().is_some_and(|source| source.is::<io::Error>());
    // What is left is about our own parameters and columns: a belief is wrong.
    if broken { Fate::Retry } else { Fate::Halt }
}

/// What becomes of a failure with this SQLSTATE. A state that is not known is a `Halt`.
pub fn fate_of_sqlstate(sqlstate: &str) -> Fate {
    match sqlstate {
        // Somebody else's lock, transaction, cancel or time-out; a slot or a database that is still in use.
        "40000" | "40001" | "40003" | "40P01" | "55P03" | "55006" | "57014" | "25P03" | "25P04" => Fate::Retry,
        // A failover is under way: the old primary takes no writes any more.
        "25006" => Fate::Retry,
        // The row breaks a rule of the target: of a view, of a trigger, of an index's page.
        "44000" | "P0001" | "54000" => Fate::Reject,
        _ => match sqlstate.get(..2) {
            // Connection, resources, operator.
            Some("08" | "53") => Fate::Retry,
            Some("57") if sqlstate.starts_with("57P0") => Fate::Retry,
            // The row's values.
            Some("22" | "23") => Fate::Reject,
            _ => Fate::Halt,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_fate() {
        let table = [
            (Fate::Retry, "08000 08006 53100 53200 53300 57P01 57P02 57P03 57P05 40001 40P01 55P03 55006 57014 25006 25P03"),
            (Fate::Reject, "22001 22003 22P02 22021 23502 23503 23505 23514 23P01 44000 P0001 54000"),
            (Fate::Halt, "42501 42703 42P01 42P10 28000 28P01 3D000 0A000 25P02 40002 54011 55000 58P01 XX000 XX001 F0000 57000"),
            (Fate::Halt, "? \u{e9}"),
        ];
        for (fate, states) in table {
            for state in states.split(' ') {
                assert_eq!(fate_of_sqlstate(state), fate, "{state}");
            }
        }
    }
}
