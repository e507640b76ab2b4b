//! Room for our sessions on both servers.

use super::Survey;
use super::survey::Source;
use crate::catalog::{Limit, Server};
use crate::finding::Finding;
use crate::pg::quote;

/// Sessions that we open on a server at the most, beside one for each of the copy's workers; the stream's own is a walsender.
const OURS: i64 = 8;

/// A daemon that runs has its sessions, and they are counted.
pub(super) fn sessions(survey: &Survey<'_>) -> Vec<Finding> {
    if survey.source.as_ref().is_some_and(Source::is_read) {
        return Vec::new();
    }
    let wanted = OURS + i64::try_from(survey.connector.copy.workers).unwrap_or(OURS);
    let source = survey.source.as_ref().map(|source| short("source", &source.server, wanted));
    let target = survey.target.as_ref().map(|target| short("target", &target.server, wanted));
    source.into_iter().chain(target).flatten().collect()
}

/// What is there now may go, and ours wait for it: no more than a warning.
fn short(side: &'static str, server: &Server, wanted: i64) -> Vec<Finding> {
    let (sessions, role, database) = (server.sessions, &server.role, &server.database);
    let code = if side == "source" { "source.no_free_connection" } else { "target.no_free_connection" };
    let enough = |limit: Limit| limit.used + wanted + 10;
    let of_server = (
        sessions.server,
        "that the server has for our role".to_owned(),
        format!("ALTER SYSTEM SET max_connections = {};\n-- then restart the server", enough(sessions.server) + 10),
    );
    let of_database = sessions.database.map(|limit| {
        let sql = format!("ALTER DATABASE {} CONNECTION LIMIT {};", quote::ident(database), enough(limit));
        (limit, format!("of the database `{database}`"), sql)
    });
    let of_role = sessions.role.map(|limit| {
        let sql = format!("ALTER ROLE {} CONNECTION LIMIT {};", quote::ident(role), enough(limit));
        (limit, format!("of the role `{role}`"), sql)
    });
    let limits = [Some(of_server), of_database, of_role].into_iter().flatten();
    let short = limits.filter(|(limit, _, _)| limit.most - limit.used < wanted);
    short
        .map(|(limit, of, sql)| {
            let what = format!("{} of {} sessions {of} are taken; we open up to {wanted}", limit.used, limit.most);
            Finding::warning(code, side, what).sql(sql)
        })
        .collect()
}
