//! The target's server and database.

use super::survey::OwnSchema;
use super::{Survey, listed};
use crate::catalog::Server;
use crate::change::TableName;
use crate::config::{Connector, Triggers};
use crate::finding::Finding;
use crate::mapping::TargetShape;
use crate::pg::quote;

const OLDEST: i32 = 13;
/// The first whose settings can be granted one by one.
const GRANTED_SETTINGS: i32 = 15;

pub(super) fn version(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    if target.server.major() >= OLDEST {
        return Vec::new();
    }
    let what = format!("PostgreSQL {} is too old to be written to: {OLDEST} is the oldest", target.server.version_text);
    vec![Finding::error("target.version", "target", what).hint("upgrade the target")]
}

pub(super) fn standby(survey: &Survey<'_>) -> Vec<Finding> {
    let standby = survey.target.as_ref().is_some_and(|target| target.server.in_recovery);
    let found = standby.then(|| Finding::error("target.standby", "target", "it is a standby, which takes no writes"));
    found.map(|finding| finding.config("url = \"...?target_session_attrs=read-write\"")).into_iter().collect()
}

/// Schema `tablelift`, for checkpoints and records: there and usable, or to be made.
pub(super) fn schema(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    let (role, database) = (quote::ident(&target.server.role), quote::ident(&target.server.database));
    match target.own_schema {
        OwnSchema::There { usable: true } => Vec::new(),
        OwnSchema::Missing if target.server.may_create => Vec::new(),
        OwnSchema::There { usable: false } => {
            let what = format!("the role `{}` may not use the schema `tablelift`", target.server.role);
            let sql = format!(
                "GRANT USAGE, CREATE ON SCHEMA tablelift TO {role};\n\
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tablelift TO {role};"
            );
            vec![Finding::error("target.schema_right", "target", what).sql(sql)]
        }
        OwnSchema::Missing => {
            let what =
                format!("the role `{}` may not make the schema `tablelift`, which holds its checkpoints", target.server.role);
            let sql =
                format!("CREATE SCHEMA tablelift AUTHORIZATION {role};\n-- or: GRANT CREATE ON DATABASE {database} TO {role};");
            vec![Finding::error("target.schema_right", "target", what).sql(sql)]
        }
    }
}

/// Large batches are staged in temporary tables.
pub(super) fn temporary(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(Server { may_make_temporary: false, role, database, .. }) = survey.target.as_ref().map(|target| &target.server)
    else {
        return Vec::new();
    };
    let what = format!("the role `{role}` may not make temporary tables, in which rows are staged");
    let sql = format!("GRANT TEMPORARY ON DATABASE {} TO {};", quote::ident(database), quote::ident(role));
    vec![Finding::error("target.temporary", "target", what).sql(sql)]
}

/// `triggers = "off"` was tried.
pub(super) fn triggers(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    let Err(refused) = &target.triggers_off else { return Vec::new() };
    let role = quote::ident(&target.server.role);
    let what = format!("`triggers = \"off\"` needs to set `session_replication_role`, and the server refuses: {refused}");
    let finding = Finding::error("target.triggers", "target", what);
    let else_fire = "-- or, in the connector file, so that triggers and foreign keys fire: triggers = \"fire\"";
    vec![if target.server.major() >= GRANTED_SETTINGS {
        finding.sql(format!("GRANT SET ON PARAMETER session_replication_role TO {role};\n{else_fire}"))
    } else {
        finding.sql(format!("ALTER ROLE {role} SUPERUSER;\n{else_fire}"))
    }]
}

/// Deferrable keys are checked by triggers, and ours do not fire.
pub(super) fn unchecked(survey: &Survey<'_>) -> Vec<Finding> {
    if survey.connector.target.triggers == Triggers::Fire {
        return Vec::new();
    }
    let shapes = survey.compiled.iter().filter_map(|one| one.target.as_ref());
    let unchecked =
        shapes.flat_map(|shape| shape.uniques.iter().filter(|unique| unique.deferrable).map(move |unique| (shape, unique)));
    unchecked
        .map(|(shape, unique)| {
            let what = format!(
                "with `triggers = \"off\"` PostgreSQL does not check the deferrable constraint `{}` for our rows: what only the target \
                 forbids would enter",
                unique.name
            );
            let hint = "harmless where the source has the same constraint; else make it NOT DEFERRABLE";
            Finding::warning("table.unique_unchecked", shape.name.to_string(), what).hint(hint)
        })
        .collect()
}

/// What the target's tables do by themselves.
pub(super) fn acting(survey: &Survey<'_>) -> Vec<Finding> {
    survey.compiled.iter().filter_map(|one| one.target.as_ref()).flat_map(|shape| actions(survey.connector, shape)).collect()
}

/// What a target table does by itself to what we write, or to other rows because of it.
pub fn actions(connector: &Connector, shape: &TargetShape) -> Vec<Finding> {
    let off = connector.target.triggers == Triggers::Off;
    let mut findings = Vec::new();
    if !off && connector.kafka().is_some() {
        findings.extend(shape.cascades.iter().map(|constraint| cascading(shape, constraint)));
    }
    for action in shape.actions.iter().filter(|action| action.fires(off)) {
        let (table, name) = (quote::table(&action.table), quote::ident(&action.name));
        if action.rule {
            let what = format!("the rule `{}` rewrites what we write to it: rows would not arrive, or not go", action.name);
            let sql = format!("ALTER TABLE {table} DISABLE RULE {name};");
            findings.push(Finding::error("table.target_rule", action.table.to_string(), what).sql(sql));
        } else if off {
            let what = format!("the trigger `{}` fires for what we write, too, in spite of `triggers = \"off\"`", action.name);
            let sql = format!("-- for the service's own writes only:\nALTER TABLE {table} ENABLE TRIGGER {name};");
            findings.push(Finding::warning("table.target_trigger", action.table.to_string(), what).sql(sql));
        }
    }
    findings
}

/// Through Kafka a row may go and come back before, or behind, what hangs on it: the target's own actions would take rows that are to stay.
fn cascading(shape: &TargetShape, constraint: &str) -> Finding {
    let what = format!(
        "the foreign key `{constraint}` acts on other rows when one of these goes (ON DELETE CASCADE and the like), and through Kafka \
         tables do not keep the order of each other: it would take rows that are to stay"
    );
    let hint = "`triggers = \"off\"` (what the source's own actions do is carried), `log.kind = \"local\"`, or make the \
                foreign key NO ACTION until the cutover";
    Finding::error("target.cascades", shape.name.to_string(), what).hint(hint)
}

/// Works without; but then nobody can tell our writes from others'.
pub(super) fn origin(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(Server { may_set_origin: false, role, .. }) = survey.target.as_ref().map(|target| &target.server) else {
        return Vec::new();
    };
    let what = "our writes will not carry a replication origin: with it, subscriptions of this database with `origin = none`, and a later \
                flow back to the source, tell them from the service's own";
    let role = quote::ident(role);
    let sql = ["pg_replication_origin_create(text)", "pg_replication_origin_session_setup(text)"]
        .map(|function| format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {role};"));
    vec![Finding::note("target.origin", "target", what).sql(sql.join("\n"))]
}

/// Tables that `prepare` makes, and what could not be built on those that it made.
pub(super) fn made(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    let names: Vec<&TableName> =
        survey.compiled.iter().filter(|one| one.design.is_some() && one.plan.is_ok()).map(|one| &one.rule.target).collect();
    let mut findings = Vec::new();
    if !names.is_empty() {
        let what = format!("tables that it lacks and that `prepare` makes: {}", listed(&names));
        findings.push(Finding::note("target.tables_made", "target", what).hint("`tablelift plan` prints their DDL"));
    }
    findings.extend(target.after_load.iter().filter_map(|open| {
        let (because, hint) = open.failed.as_ref()?;
        Some(Finding::warning("table.target_after_load", open.table.to_string(), because.clone()).hint(hint.clone()))
    }));
    findings
}

pub(super) fn encoding(survey: &Survey<'_>) -> Vec<Finding> {
    let (Some(source), Some(target)) = (&survey.source, &survey.target) else { return Vec::new() };
    let (from, to) = (&source.server.encoding, &target.server.encoding);
    if to == "UTF8" || from == to && to != "SQL_ASCII" {
        return Vec::new();
    }
    let what = format!("its encoding is {to}, the source's {from}: a text that {to} cannot hold halts its table");
    vec![Finding::warning("target.encoding", "target", what).hint("a target database with encoding UTF8 takes every text")]
}
