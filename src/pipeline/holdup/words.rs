//! Who holds us up, in words, as far as our role may see. Pure.

use super::Side;
use crate::catalog::{Blocker, Holder, LockHolder};
use std::time::Duration;

/// A lock that a session of ours waits for.
pub(super) fn lock(side: Side, holders: &[LockHolder]) -> String {
    let side = side.word();
    let Some(holder) = holders.first() else { return String::new() };
    let more = match holders.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let lock = holder.table.as_ref().map_or_else(|| "a lock that we need".to_owned(), |table| format!("a lock on {table}"));
    let Some(pid) = holder.pid else {
        return format!("a prepared transaction of the {side} holds {lock}{more}; hint: see pg_prepared_xacts there");
    };
    let facts = facts(holder.application.as_deref(), holder.state.as_deref(), holder.age);
    format!("{side} pid {pid}{facts} holds {lock}{more}; hint: on the {side}, SELECT pg_terminate_backend({pid})")
}

/// ` (psql, idle in transaction, since 5 s)`, as far as the role may see.
fn facts(application: Option<&str>, state: Option<&str>, age: Option<Duration>) -> String {
    let age = age.map(|age| format!("since {} s", age.as_secs()));
    let parts: Vec<&str> = [application, state, age.as_deref()].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// The transactions that a new slot waits for.
pub(super) fn slot(blockers: &[Blocker]) -> String {
    let Some(blocker) = blockers.first() else {
        return "the slot to be made: the source's open transactions have to end first".to_owned();
    };
    let more = match blockers.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let xid = &blocker.xid;
    match &blocker.holder {
        Holder::Session { pid, application } => {
            let facts = facts(application.as_deref(), None, blocker.age);
            format!(
                "the slot to be made: source pid {pid}{facts} has transaction {xid} open{more}; \
                 hint: end it, or on the source, SELECT pg_terminate_backend({pid})"
            )
        }
        Holder::Prepared { gid, database } => {
            let facts = facts(None, None, blocker.age);
            format!(
                "the slot to be made: the prepared transaction `{gid}`{facts} of database `{database}` is open{more}; \
                 hint: COMMIT PREPARED or ROLLBACK PREPARED it there"
            )
        }
    }
}

/// A transaction that a copy's snapshot has to see.
pub(super) fn invisible(xid: u64, blockers: &[Blocker]) -> String {
    // pg_locks has the lower half of the number
    let short = (xid & u64::from(u32::MAX)).to_string();
    let what = format!("transaction {xid} to become visible");
    match blockers.iter().find(|blocker| blocker.xid == short) {
        None => format!("{what}: a synchronous standby may be away"),
        Some(Blocker { holder: Holder::Session { pid, .. }, waits_for_standby: true, .. }) => {
            format!("{what}: source pid {pid} has committed it and waits for a synchronous standby, which may be away")
        }
        Some(Blocker { holder: Holder::Session { pid, application }, age, .. }) => {
            let facts = facts(application.as_deref(), None, *age);
            format!(
                "{what}: source pid {pid}{facts} has it open; hint: end it, or on the source, SELECT pg_terminate_backend({pid})"
            )
        }
        Some(Blocker { holder: Holder::Prepared { gid, database }, age, .. }) => {
            let facts = facts(None, None, *age);
            format!(
                "{what}: it is the prepared transaction `{gid}`{facts} of database `{database}`; \
                 hint: COMMIT PREPARED or ROLLBACK PREPARED it there"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TableName;

    #[test]
    fn the_holder_is_named_as_far_as_it_may_be_seen() {
        let seen = LockHolder {
            pid: Some(123),
            application: Some("psql".into()),
            state: Some("idle in transaction".into()),
            age: Some(Duration::from_secs(5)),
            table: Some(TableName::new("public", "t")),
        };
        let hidden = LockHolder { pid: Some(7), application: None, state: None, age: None, table: None };
        assert_eq!(
            lock(Side::Target, &[seen.clone(), hidden.clone()]),
            "target pid 123 (psql, idle in transaction, since 5 s) holds a lock on public.t (and 1 more); \
             hint: on the target, SELECT pg_terminate_backend(123)"
        );
        assert!(lock(Side::Source, &[hidden]).starts_with("source pid 7 holds a lock that we need; hint"));
        let prepared = LockHolder { pid: None, ..seen };
        assert!(lock(Side::Target, &[prepared]).starts_with("a prepared transaction of the target holds a lock on public.t;"));
    }

    #[test]
    fn a_slot_waits_for_transactions() {
        let age = Some(Duration::from_secs(30));
        let holder = Holder::Session { pid: 5, application: Some("psql".into()) };
        let session = Blocker { xid: "77".into(), holder, age, waits_for_standby: false };
        let prepared = Holder::Prepared { gid: "g".into(), database: "d".into() };
        let prepared = Blocker { xid: "78".into(), holder: prepared, age: None, waits_for_standby: false };
        assert!(
            slot(&[session.clone(), prepared.clone()])
                .starts_with("the slot to be made: source pid 5 (psql, since 30 s) has transaction 77 open (and 1 more); hint")
        );
        assert!(
            slot(std::slice::from_ref(&prepared))
                .contains("prepared transaction `g` of database `d` is open; hint: COMMIT PREPARED")
        );
        let xid = (5 << 32) + 77;
        let away = Blocker { waits_for_standby: true, ..session.clone() };
        for (blocker, says) in [
            (session, "source pid 5 (psql, since 30 s) has it open; hint"),
            (away, "source pid 5 has committed it and waits for a synchronous standby, which may be away"),
            (Blocker { xid: "77".into(), ..prepared }, "it is the prepared transaction `g` of database `d`; hint"),
        ] {
            assert!(invisible(xid, &[blocker]).starts_with(&format!("transaction {xid} to become visible: {says}")), "{says}");
        }
        assert_eq!(invisible(9, &[]), "transaction 9 to become visible: a synchronous standby may be away");
    }
}
