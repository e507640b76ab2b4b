//! Room for our sessions on both servers.

use super::Survey;
use crate::catalog::{Limit, Server};
use crate::finding::Finding;
use crate::pg::quote;

/// Sessions that we open on a server at the most, beside one for each of the copy's workers; the stream's own is a walsender.
const OURS: i64 = 8;

/// A daemon that runs has its sessions, and they are counted.
pub(super) fn sessions(survey: &Survey<'_>) -> Vec<Finding> {
    if survey.source.as_ref().and_then(|source| source.slot.as_ref()).is_some_and(|slot| slot.active_pid.is_some()) {
        return Vec::new();
    }
    let wanted = OURS + i64::try_from(survey.connector.copy.workers).unwrap_or(OURS);
    let source = survey.source.as_ref().map(|source| short("source", &source.server, wanted));
    let target = survey.target.as_ref().map(|target| short("target", &target.server, wanted));
    source.into_iter().chain(target).flatten().collect()
}

fn short(side: &'static str, server: &Server, wanted: i64) -> Vec<Finding> {
    let sessions = &server.sessions;
    let code = if side == "source" { "source.no_free_connection" } else { "target.no_free_connection" };
    let finding = |limit: &Limit, of: String, sql: &dyn Fn(i64) -> String| {
        // what is there now may go, and ours wait for it: no more than a warning, unless not even one is left
        let what = format!("{} of {} sessions {of} are taken; we open up to {wanted}", limit.used, limit.most);
        (limit.most - limit.used < wanted).then(|| Finding::warning(code, side, what).sql(sql(limit.used + wanted + 10)))
    };
    let (role, database) = (&server.role, &server.database);
    let server = finding(&sessions.server, "that the server has for our role".to_owned(), &|most| {
        format!("ALTER SYSTEM SET max_connections = {};\n-- then restart the server", most + 10)
    });
    let database = sessions.database.as_ref().and_then(|limit| {
        finding(limit, format!("of the database `{database}`"), &|most| {
            format!("ALTER DATABASE {} CONNECTION LIMIT {most};", quote::ident(database))
        })
    });
    let role = sessions.role.as_ref().and_then(|limit| {
        finding(limit, format!("of the role `{role}`"), &|most| {
            format!("ALTER ROLE {} CONNECTION LIMIT {most};", quote::ident(role))
        })
    });
    [server, database, role].into_iter().flatten().collect()
}
