//! Transactions that would stall a slot's creation: it waits for each one that has an xid when it begins.

use super::Survey;
use crate::catalog::{Blocker, Holder};
use crate::finding::Finding;
use crate::pg::quote;
use std::time::Duration;

/// What is younger is ordinary traffic.
const ORDINARY: Duration = Duration::from_secs(5);

/// Only while the slot is still to be made. An open transaction ends by itself, a prepared one does not.
pub(super) fn open(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if source.slot.is_some() {
        return Vec::new();
    }
    let old = source.blockers.iter().filter(|blocker| blocker.age.is_none_or(|age| age >= ORDINARY));
    old.map(|blocker| stall(blocker, &source.server.database)).collect()
}

fn stall(blocker: &Blocker, database: &str) -> Finding {
    let Blocker { xid, holder, age, .. } = blocker;
    let age = age.map_or("of unknown age, for the role may not see it".to_owned(), |age| format!("open for {}", time(age)));
    match holder {
        Holder::Session { pid, application } => {
            let who = application.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
            let what = format!("transaction {xid}{who} (pid {pid}), {age}, stalls the making of the slot until it ends");
            Finding::warning("source.open_transaction", "source", what).sql(format!("SELECT pg_terminate_backend({pid});"))
        }
        Holder::Prepared { gid, database: theirs } => {
            let what = format!("prepared transaction {xid} `{gid}`, {age}, stalls the making of the slot until somebody ends it");
            let place = if theirs == database { String::new() } else { format!("-- in database {}:\n", quote::ident(theirs)) };
            let gid = quote::literal(gid);
            let gid = gid.trim();
            Finding::error("source.prepared_transaction", "source", what)
                .sql(format!("{place}COMMIT PREPARED {gid};\n-- or: ROLLBACK PREPARED {gid};"))
        }
    }
}

fn time(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stalls_is_named_with_its_end() {
        let holder = Holder::Prepared { gid: "it's".into(), database: "Other".into() };
        let finding =
            stall(&Blocker { xid: "7".into(), holder, age: Some(Duration::from_secs(7300)), waits_for_standby: false }, "db")
                .to_string();
        assert!(finding.starts_with("error: source: prepared transaction 7 `it's`, open for 2 h, "), "{finding}");
        assert!(finding.contains("-- in database \"Other\":\n    COMMIT PREPARED 'it''s';"), "{finding}");
        let holder = Holder::Session { pid: 42, application: None };
        let finding = stall(&Blocker { xid: "8".into(), holder, age: None, waits_for_standby: false }, "db").to_string();
        assert!(finding.contains("(pid 42), of unknown age") && finding.contains("pg_terminate_backend(42);"), "{finding}");
    }
}
