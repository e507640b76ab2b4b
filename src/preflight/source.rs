//! The source's server: may, and can, it be followed?

use super::Survey;
use super::survey::{Source, unreachable};
use crate::catalog::{Platform, Server};
use crate::finding::Finding;
use crate::pg::quote;
use crate::source::WalStatus;

/// The oldest major that publishes partitioned tables as themselves.
const OLDEST: i32 = 13;
/// The first whose pgoutput carries logical messages, which our marks are.
const MESSAGES: i32 = 14;

pub(super) fn version(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(server) = survey.source.as_ref().map(|source| &source.server) else { return Vec::new() };
    let (major, text) = (server.major(), &server.version_text);
    if major < OLDEST {
        let what = format!("PostgreSQL {text} is too old to be followed: {OLDEST} is the oldest");
        return vec![
            Finding::error("source.version", "source", what).hint("upgrade the source, or follow a logical replica of it"),
        ];
    }
    if major >= MESSAGES {
        return Vec::new();
    }
    let what = format!(
        "PostgreSQL {text} does not send logical messages: while nothing else is written, `wait --lsn current` waits, and the slot \
         moves on only with changes of published tables and with keepalives"
    );
    vec![Finding::warning("source.version", "source", what).hint(format!("PostgreSQL {MESSAGES} or later has them"))]
}

pub(super) fn standby(survey: &Survey<'_>) -> Vec<Finding> {
    let standby = survey.source.as_ref().is_some_and(|source| source.server.in_recovery);
    let what = "it is a standby: publications and marks can only be made on the primary";
    let found = standby.then(|| Finding::error("source.standby", "source", what));
    found.map(|finding| finding.config("url = \"...?target_session_attrs=primary\"")).into_iter().collect()
}

/// The server that was recorded is the only one whose positions mean anything to us.
pub(super) fn identity(survey: &Survey<'_>) -> Vec<Finding> {
    let (Some(source), Some(target)) = (&survey.source, &survey.target) else { return Vec::new() };
    let Some(record) = &target.record else { return Vec::new() };
    if (&record.source_system, &record.source_database) == (&source.server.system_id, &source.server.database) {
        return Vec::new();
    }
    let what = format!(
        "it is not the source that this connector started from: system {} database `{}` then, {} `{}` now",
        record.source_system, record.source_database, source.server.system_id, source.server.database
    );
    vec![
        Finding::error("source.identity", "source", what)
            .hint("correct `[source] url`; or `tablelift drop` this connector and start a new one, which copies anew"),
    ]
}

pub(super) fn wal_level(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if source.wal.wal_level == "logical" {
        return Vec::new();
    }
    let what = format!("`wal_level` is `{}`, and the WAL tells rows only with `logical`", source.wal.wal_level);
    let finding = Finding::error("source.wal_level", "source", what);
    vec![match source.server.platform {
        Platform::Plain => finding.sql("ALTER SYSTEM SET wal_level = 'logical';\n-- then restart the server"),
        Platform::Rds => finding.hint(
            "set `rds.logical_replication = 1` in the parameter group of the instance (Aurora: of the cluster), and reboot",
        ),
        Platform::CloudSql => finding.hint("set the flag `cloudsql.logical_decoding = on`; the instance restarts"),
        Platform::Azure => finding.hint("set the server parameter `wal_level = logical`, and restart"),
    }]
}

/// Tried by opening the connection: membership, attributes and `pg_hba.conf` all play into it, and hosted servers have ways of their own.
pub(super) fn right_to_replicate(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    let Err(error) = &source.replication else { return Vec::new() };
    let role = &source.server.role;
    match error.sqlstate() {
        Some("42501") => {
            let what = format!("the role `{role}` may not replicate");
            vec![Finding::error("source.replication_right", "source", what).sql(grant_replication(&source.server))]
        }
        Some("53300") => vec![no_sender(source)],
        Some("28000") => {
            let what =
                format!("`pg_hba.conf` does not let `{role}` replicate, though it lets it in: {}", crate::pg::chain(error));
            let line = format!("host  {}  {}  ADDRESS  scram-sha-256", source.server.database, role);
            let hint = format!(
                "a line in `pg_hba.conf`, with our address (logical replication is matched by the database's name), then reload:\n{line}"
            );
            vec![Finding::error("source.replication_hba", "source", what).hint(hint)]
        }
        // A pooler does not know the startup parameter.
        Some("08P01") if survey.seen.iter().any(|finding| finding.code == "source.pooler") => Vec::new(),
        Some("08P01") => {
            let what = format!(
                "what stands before this server, perhaps a pooler, lets no replication through: {}",
                crate::pg::chain(error)
            );
            vec![Finding::error("source.pooler", "source", what).hint("let `[source] url` name the server itself")]
        }
        _ => vec![unreachable("source.replication", "source", error)],
    }
}

/// The form of the server's platform first, where it can be told.
fn grant_replication(server: &Server) -> String {
    let role = quote::ident(&server.role);
    let plain = (Platform::Plain, "your own server, as a superuser", format!("ALTER ROLE {role} REPLICATION;"));
    let mut forms = vec![
        (Platform::Rds, "Amazon RDS and Aurora", format!("GRANT rds_replication TO {role};")),
        (Platform::CloudSql, "Google Cloud SQL", format!("ALTER USER {role} WITH REPLICATION;")),
        (Platform::Azure, "Azure, as a member of azure_pg_admin", format!("ALTER ROLE {role} REPLICATION;")),
    ];
    match forms.iter().position(|(platform, ..)| *platform == server.platform) {
        Some(at) => forms.remove(at).2,
        None => {
            let others: Vec<String> = forms.into_iter().map(|(_, name, sql)| format!("-- {name}: {sql}")).collect();
            format!("{}\n{}", plain.2, others.join("\n"))
        }
    }
}

/// A slot that is there already: ours to go on with, or a person's to be adopted.
pub(super) fn slot(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    let name = survey.connector.slot();
    let recorded = survey.target.as_ref().is_some_and(|target| target.started);
    let Some(slot) = &source.slot else {
        let what = format!("the slot `{name}` is gone, and with it the changes since the last commit that was applied");
        return recorded.then(|| Finding::error("source.slot_lost", "source", what).hint(START_ANEW)).into_iter().collect();
    };
    let error = |code, what: String| vec![Finding::error(code, "source", what)];
    let remove = format!("SELECT pg_drop_replication_slot({});", quote::literal(&name));
    if slot.plugin.as_deref() != Some("pgoutput") {
        let has = slot.plugin.as_deref().unwrap_or("none: it is a physical slot");
        let what = format!("the slot `{name}` has another output plugin than pgoutput: {has}");
        return error("source.slot_plugin", what).into_iter().map(|finding| finding.config("slot = \"...\"")).collect();
    }
    if !slot.database_is_ours {
        let what = format!("the slot `{name}` is of database `{}`", slot.database.as_deref().unwrap_or_default());
        return error("source.slot_database", what).into_iter().map(|finding| finding.config("slot = \"...\"")).collect();
    }
    if slot.two_phase {
        let what = format!("the slot `{name}` was made with two_phase, which changes what it sends");
        return error("source.slot_two_phase", what).into_iter().map(|finding| finding.sql(remove.clone())).collect();
    }
    if slot.wal_status == WalStatus::Lost {
        let what = format!(
            "the slot `{name}` is lost: the server has removed WAL that it needed (`max_slot_wal_keep_size`, `idle_replication_slot_timeout`)"
        );
        return error("source.slot_lost", what).into_iter().map(|finding| finding.hint(START_ANEW)).collect();
    }
    match slot.active_pid {
        Some(pid) if recorded => {
            vec![Finding::note(
                "source.slot_active",
                "source",
                format!("the slot `{name}` is being read (pid {pid}): the daemon runs"),
            )]
        }
        Some(pid) => {
            let what = format!("the slot `{name}` is being read by somebody else (pid {pid})");
            error("source.slot_taken", what).into_iter().map(|finding| finding.config("slot = \"...\"")).collect()
        }
        None => Vec::new(),
    }
}

const START_ANEW: &str =
    "compare both sides; then `tablelift drop` this connector, empty its target tables, and run it again: it copies anew";

/// Free slots and walsenders: one of each for the stream, and one more while tables are copied.
pub(super) fn room(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    let mut findings = Vec::new();
    let wal = &source.wal;
    let free = wal.max_replication_slots.saturating_sub(wal.replication_slots_used);
    let wanted = if source.slot.is_some() { 1 } else { 2 };
    if free < wanted {
        let what = format!("{} of {} replication slots are taken", wal.replication_slots_used, wal.max_replication_slots);
        let purpose = match (free, source.slot.is_some()) {
            (0, false) => "none is left for the stream",
            (0, true) => "none is left for the copy of a table",
            _ => "one is left for the stream, none for the copy of its tables",
        };
        let finding = match source.slot.is_some() {
            true => Finding::warning("source.no_free_slot", "source", format!("{what}: {purpose}")),
            false => Finding::error("source.no_free_slot", "source", format!("{what}: {purpose}")),
        };
        findings.push(finding.sql(more_slots(source)));
    }
    let senders = wal.max_wal_senders.saturating_sub(wal.wal_senders_used);
    // The probe's own is gone again, or not yet counted.
    if senders < if source.is_read() { 1 } else { 2 }
        && !matches!(&source.replication, Err(error) if error.sqlstate() == Some("53300"))
    {
        findings.push(no_sender(source));
    }
    findings
}

fn more_slots(source: &Source) -> String {
    let more = format!(
        "ALTER SYSTEM SET max_replication_slots = {};\n-- then restart the server",
        source.wal.max_replication_slots.max(source.wal.replication_slots_used) + 5
    );
    let idle: Vec<String> = source.server.idle_slots.iter().map(|name| format!("-- {}", drop_slot(name))).collect();
    if idle.is_empty() {
        more
    } else {
        format!("{more}\n-- or drop what nobody needs; these are not being read now:\n{}", idle.join("\n"))
    }
}

fn drop_slot(name: &str) -> String {
    format!("SELECT pg_drop_replication_slot({});", quote::literal(name))
}

fn no_sender(source: &Source) -> Finding {
    let what = format!(
        "{} of {} walsenders are taken; the stream needs one, and the copy of a table another",
        source.wal.wal_senders_used, source.wal.max_wal_senders
    );
    Finding::error("source.no_free_walsender", "source", what).sql(format!(
        "ALTER SYSTEM SET max_wal_senders = {};\n-- then restart the server",
        source.wal.max_wal_senders.max(source.wal.wal_senders_used) + 5
    ))
}

pub(super) fn encoding(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if source.server.encoding != "SQL_ASCII" {
        return Vec::new();
    }
    let what = "the database's encoding is SQL_ASCII: nobody checked its texts, and a value that is not UTF-8 halts its table";
    vec![Finding::warning("source.encoding", "source", what).hint("find such values first, or `ignore` their columns")]
}

/// An insert-only table is watched by its counters.
pub(super) fn counts(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if source.server.track_counts || !survey.rules.iter().any(|rule| rule.insert_only) {
        return Vec::new();
    }
    let what = "`track_counts` is off, so updates and deletes of `insert_only` tables would be missed silently";
    vec![
        Finding::error("source.track_counts", "source", what)
            .sql("ALTER SYSTEM SET track_counts = on;\nSELECT pg_reload_conf();"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Limit, Sessions};

    fn server(platform: Platform) -> Server {
        Server {
            version: 150_000,
            version_text: "15.0".into(),
            system_id: "1".into(),
            in_recovery: false,
            platform,
            database: "db".into(),
            encoding: "UTF8".into(),
            role: "Mover".into(),
            superuser: false,
            may_create: true,
            may_make_temporary: true,
            may_set_origin: false,
            track_counts: true,
            idle_slots: Vec::new(),
            sessions: Sessions { server: Limit { most: 100, used: 1 }, database: None, role: None },
        }
    }

    #[test]
    fn the_grant_has_the_form_of_the_platform() {
        let plain = grant_replication(&server(Platform::Plain));
        for part in
            ["ALTER ROLE \"Mover\" REPLICATION;\n", "GRANT rds_replication", "ALTER USER \"Mover\" WITH", "azure_pg_admin"]
        {
            assert!(plain.contains(part), "{plain}");
        }
        assert_eq!(grant_replication(&server(Platform::Rds)), "GRANT rds_replication TO \"Mover\";");
        assert_eq!(grant_replication(&server(Platform::CloudSql)), "ALTER USER \"Mover\" WITH REPLICATION;");
        assert_eq!(grant_replication(&server(Platform::Azure)), "ALTER ROLE \"Mover\" REPLICATION;");
    }
}
