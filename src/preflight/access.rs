//! Rights on the tables, and row-level security, on both sides.

use super::Survey;
use crate::catalog::Access;
use crate::change::TableName;
use crate::finding::Finding;
use crate::pg::quote;
use std::collections::BTreeSet;

/// The copy reads the tables; the stream needs no right on them.
pub(super) fn source(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    unreadable(&source.server.role, &source.access)
}

/// What keeps `role` from all rows of these tables of the source.
pub fn unreadable<'a>(role: &str, tables: impl IntoIterator<Item = (&'a TableName, &'a Access)> + Clone) -> Vec<Finding> {
    let mut findings = missing_schemas("source.schema_right", role, tables.clone());
    for (name, access) in tables {
        if !access.select {
            let what = format!("the role `{role}` may not read it");
            let sql = format!("GRANT SELECT ON TABLE {} TO {};", quote::table(name), quote::ident(role));
            findings.push(Finding::error("table.source_right", name.to_string(), what).sql(sql));
        }
        if access.row_security {
            let what = format!("row-level security would hide rows of it from the role `{role}`");
            let sql = format!("ALTER ROLE {} BYPASSRLS;", quote::ident(role));
            findings.push(Finding::error("table.source_row_security", name.to_string(), what).sql(sql));
        }
    }
    findings
}

pub(super) fn target(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(target) = &survey.target else { return Vec::new() };
    let role = &target.server.role;
    let mut findings = missing_schemas("target.table_schema_right", role, &target.access);
    for (name, access) in &target.access {
        let insert_only = survey.rules.iter().any(|rule| rule.table() == name && rule.insert_only);
        let mut lacks = Vec::new();
        lacks.extend((!access.select).then_some("SELECT"));
        lacks.extend((!access.insert).then_some("INSERT"));
        lacks.extend((!access.update && !insert_only).then_some("UPDATE"));
        lacks.extend((!access.delete).then_some("DELETE"));
        let grant = |rights: &str| format!("GRANT {rights} ON TABLE {} TO {};", quote::table(name), quote::ident(role));
        if !lacks.is_empty() {
            let what = format!("the role `{role}` lacks {} on it", lacks.join(", "));
            findings.push(Finding::error("table.target_right", name.to_string(), what).sql(grant(&lacks.join(", "))));
        }
        if !access.truncate {
            let what = format!("the role `{role}` lacks TRUNCATE on it: a TRUNCATE of the source becomes a DELETE of every row");
            findings.push(Finding::warning("table.target_truncate", name.to_string(), what).sql(grant("TRUNCATE")));
        }
        if access.row_security {
            let what = format!("row-level security would hide rows of it from the role `{role}`, or refuse them");
            let sql = format!("ALTER ROLE {} BYPASSRLS;", quote::ident(role));
            findings.push(Finding::error("table.target_row_security", name.to_string(), what).sql(sql));
        }
    }
    findings
}

fn missing_schemas<'a>(
    code: &'static str,
    role: &str,
    access: impl IntoIterator<Item = (&'a TableName, &'a Access)>,
) -> Vec<Finding> {
    let closed: BTreeSet<&str> =
        access.into_iter().filter(|(_, access)| !access.schema).map(|(name, _)| name.schema.as_str()).collect();
    let finding = |schema: &str| {
        let what = format!("the role `{role}` may not use the schema `{schema}`");
        let side = if code.starts_with("source") { "source" } else { "target" };
        let sql = format!("GRANT USAGE ON SCHEMA {} TO {};", quote::ident(schema), quote::ident(role));
        Finding::error(code, side, what).sql(sql)
    };
    closed.into_iter().map(finding).collect()
}
