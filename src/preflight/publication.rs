//! The publications: to be made, to be followed, or a person's own that is never altered.

use super::Survey;
use super::listed;
use super::survey::Source;
use crate::change::TableName;
use crate::finding::Finding;
use crate::pg::quote;
use crate::source::publication::{NOTICES_PARTITIONS, add_sql, create_sql, remove_sql};
use crate::source::{Publication, Published};
use std::collections::BTreeSet;

/// What one of the two publications has to carry.
struct Wanted {
    name: String,
    tables: Vec<TableName>,
    published: Published,
}

/// Not the tables whose updates the source would refuse once they are published: they have their own finding, and come when that is cured.
fn wanted(survey: &Survey<'_>, source: &Source) -> [Wanted; 2] {
    let tables = |insert_only: bool| -> Vec<TableName> {
        let fits = |name: &TableName| insert_only || !source.mute.contains(name);
        let rules = survey.rules.iter().filter(|rule| rule.insert_only == insert_only && fits(&rule.source));
        let named = rules.map(|rule| rule.source.clone());
        let unique: BTreeSet<TableName> = named.filter(|name| source.access.contains_key(name)).collect();
        unique.into_iter().collect()
    };
    [
        Wanted { name: survey.connector.publication(), tables: tables(false), published: Published::ALL },
        Wanted { name: survey.connector.inserts_publication(), tables: tables(true), published: Published::INSERTS },
    ]
}

/// Ours: made by `prepare`, which may need somebody who owns the tables.
pub(super) fn ours(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if survey.connector.source.publication.is_some() {
        return Vec::new();
    }
    let [main, inserts] = wanted(survey, source);
    let mut findings = creatable(source, &main, source.main.as_ref());
    if !inserts.tables.is_empty() {
        findings.extend(creatable(source, &inserts, source.inserts.as_ref()));
    }
    findings.extend(muted_strangers(survey, source));
    findings
}

fn creatable(source: &Source, wanted: &Wanted, found: Option<&(Publication, bool)>) -> Vec<Finding> {
    let role = &source.server.role;
    match found {
        None => {
            let foreign = not_owned(source, &wanted.tables);
            if source.server.may_create && foreign.is_empty() {
                return Vec::new();
            }
            let mut reasons = Vec::new();
            if !source.server.may_create {
                reasons.push(format!("has no CREATE on database `{}`", source.server.database));
            }
            if !foreign.is_empty() {
                reasons.push(format!("does not own {}", listed(&foreign)));
            }
            let what = format!("the role `{role}` cannot make the publication `{}`: it {}", wanted.name, reasons.join(", and "));
            let sql = format!(
                "-- as a role that owns the tables and may create in the database:\n{};\nALTER PUBLICATION {} OWNER TO {};",
                create_sql(&wanted.name, &wanted.tables, wanted.published),
                quote::ident(&wanted.name),
                quote::ident(role)
            );
            vec![Finding::error("publication.not_creatable", "source", what).sql(sql)]
        }
        // It is here already: made by `prepare`, or for it by the tables' owner.
        Some((found, may_alter)) => {
            let missing = found.missing(&wanted.tables);
            let foreign = not_owned(source, &missing);
            if missing.is_empty() || *may_alter && foreign.is_empty() && !found.all_tables {
                return shortcomings(source, wanted, (found, *may_alter));
            }
            let what =
                format!("the publication `{}` lacks {}, and the role `{role}` cannot add them", wanted.name, listed(&missing));
            let mut findings = vec![
                Finding::error("publication.incomplete", "source", what).sql(format!("{};", add_sql(&wanted.name, &missing))),
            ];
            findings.extend(shortcomings(source, wanted, (found, *may_alter)));
            findings
        }
    }
}

/// A person's own: what it lacks is told, with the SQL.
pub(super) fn theirs(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(source) = &survey.source else { return Vec::new() };
    if survey.connector.source.publication.is_none() {
        return Vec::new();
    }
    let [main, inserts] = wanted(survey, source);
    let mut findings = complete(source, &main, source.main.as_ref());
    if !inserts.tables.is_empty() {
        findings.extend(complete(source, &inserts, source.inserts.as_ref()));
        findings.extend(published_updates(source, &inserts.tables));
    }
    findings.extend(muted_strangers(survey, source));
    findings
}

/// Tables that no entry is about, named in the publication: as they are, the source refuses the application's updates of them.
fn muted_strangers(survey: &Survey<'_>, source: &Source) -> Option<Finding> {
    let (main, _) = source.main.as_ref()?;
    if main.all_tables || !main.published.old_rows() {
        return None;
    }
    let is_ours = |name: &TableName| survey.rules.iter().any(|rule| &rule.source == name);
    let named = main.tables.iter().map(|table| &table.name).filter(|name| source.mute.contains(name) && !is_ours(name));
    let named: Vec<TableName> = named.cloned().collect();
    if named.is_empty() {
        return None;
    }
    let what = format!(
        "the publication `{}` publishes updates of {}, which no entry is about and nothing tells the rows of: the application's own \
         UPDATEs and DELETEs fail there",
        main.name,
        listed(&named)
    );
    let finding = Finding::warning("publication.publishes_updates", "source", what);
    Some(finding.sql(format!("{};", remove_sql(&main.name, &named))))
}

fn complete(source: &Source, wanted: &Wanted, found: Option<&(Publication, bool)>) -> Vec<Finding> {
    let Some((found, may_alter)) = found else {
        let what = format!("there is no publication `{}`", wanted.name);
        let sql = format!("{};", create_sql(&wanted.name, &wanted.tables, wanted.published));
        return vec![Finding::error("publication.missing", "source", what).sql(sql)];
    };
    let mut findings = Vec::new();
    let missing = found.missing(&wanted.tables);
    if !missing.is_empty() {
        let what = format!("the publication `{}` does not carry {}", found.name, listed(&missing));
        findings
            .push(Finding::error("publication.incomplete", "source", what).sql(format!("{};", add_sql(&found.name, &missing))));
    }
    findings.extend(shortcomings(source, wanted, (found, *may_alter)));
    findings
}

/// A keyless table in a publication that publishes updates: the source refuses its own application's UPDATEs and DELETEs.
fn published_updates(source: &Source, tables: &[TableName]) -> Vec<Finding> {
    let Some((main, _)) = &source.main else { return Vec::new() };
    if !main.published.old_rows() {
        return Vec::new();
    }
    let carried: Vec<TableName> = tables.iter().filter(|table| main.carries(table)).cloned().collect();
    if carried.is_empty() {
        return Vec::new();
    }
    let what = format!(
        "the publication `{}` publishes updates of {}, so the application's own UPDATEs and DELETEs of it may fail",
        main.name,
        listed(&carried)
    );
    let finding = Finding::error("publication.publishes_updates", "source", what);
    vec![if main.all_tables {
        finding.hint("a publication FOR ALL TABLES leaves none out: name the tables instead")
    } else {
        finding.sql(format!("{};", remove_sql(&main.name, &carried)))
    }]
}

/// What a publication keeps from us of the tables that it carries.
fn shortcomings(source: &Source, wanted: &Wanted, (found, may_alter): (&Publication, bool)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = quote::ident(&found.name);
    if !found.published.has_all_of(wanted.published) {
        let all = create_sql(&found.name, &[], wanted.published);
        let publish = all.split("publish = ").nth(1).and_then(|rest| rest.split(", publish_via").next()).unwrap_or_default();
        let what = format!("the publication `{}` does not publish all of {publish}", found.name);
        let sql = format!("ALTER PUBLICATION {name} SET (publish = {publish});");
        findings.push(Finding::error("publication.operations", "source", what).sql(sql));
    }
    if !found.via_root && wanted.tables.iter().any(|table| source.leaves.contains_key(table)) {
        let what = format!("the publication `{}` publishes partitions under their own names", found.name);
        let sql = format!("ALTER PUBLICATION {name} SET (publish_via_partition_root = true);");
        findings.push(Finding::error("publication.via_root", "source", what).sql(sql));
    }
    let is_partitioned = |table: &&TableName| source.access.get(*table).is_some_and(|access| access.partitioned);
    let partitioned: Vec<TableName> = wanted.tables.iter().filter(is_partitioned).cloned().collect();
    if source.server.version < NOTICES_PARTITIONS && !may_alter && !partitioned.is_empty() {
        findings.push(not_alterable(found, &listed(&partitioned), &source.server.role));
    }
    for table in found.tables.iter().filter(|table| wanted.tables.contains(&table.name)) {
        let subject = table.name.to_string();
        // in one transaction, for between two the table's changes would not be published
        let whole = [table.name.clone()];
        let sql = format!("BEGIN;\n{};\n{};\nCOMMIT;", remove_sql(&found.name, &whole), add_sql(&found.name, &whole));
        if table.filtered {
            let what = format!("the publication `{}` has a row filter for it: rows that fail it are never seen", found.name);
            findings.push(Finding::error("publication.row_filter", subject.clone(), what).sql(sql.clone()));
        }
        if table.partial {
            let what = format!("the publication `{}` has a column list for it: the other columns are never seen", found.name);
            findings.push(Finding::error("publication.column_list", subject, what).sql(sql));
        }
    }
    findings
}

/// Before 15 the stream notices that a table becomes a partition, or ceases to be one, only once the publication is altered.
pub fn not_alterable(found: &Publication, tables: &str, role: &str) -> Finding {
    let what = format!(
        "PostgreSQL before 15 may leave out the changes of a table that becomes a partition of {tables}, until the publication `{}` is altered; \
         and the role `{role}` may not alter it",
        found.name
    );
    let sql = format!("ALTER PUBLICATION {} OWNER TO {};", quote::ident(&found.name), quote::ident(role));
    Finding::error("publication.not_alterable", "source", what).sql(sql)
}

fn not_owned(source: &Source, tables: &[TableName]) -> Vec<TableName> {
    if source.server.superuser {
        return Vec::new();
    }
    tables.iter().filter(|name| source.access.get(name).is_some_and(|access| !access.owned)).cloned().collect()
}
