//! Opening sessions: TCP or Unix socket, TLS, several hosts, the settings that every session of ours has.

use super::attempts::{Attempts, Opened};
use super::connect_error::{ConnectError, Step};
use super::{Endpoint, ServerError, Transport, quote, settings};
use futures_util::future::poll_fn;
use std::{io, pin::Pin};
use tokio::time::timeout_at;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage, error::DbError, tls::NoTlsStream};

/// Runs a session until it ends. The error is the server's last word, where it gave one.
pub type Driver = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// An ordinary session: the client, and its driver, which the caller runs as a task (it ends when the connection does, or
/// when the client is dropped).
pub struct Connected {
    pub client: Client,
    pub driver: Driver,
    /// Index into the endpoint's `hosts`: where it ended up.
    pub host: usize,
    pub encrypted: bool,
}

/// Opens an ordinary session on the first host that answers and fits `target_session_attrs`.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(endpoint: &Endpoint, application: &str) -> Result<Connected, ConnectError> {
    enter(endpoint, Attempts::new(endpoint), application).await
}

/// The same for a session that sends a COPY of any length: the server may stop reading for as long as it likes.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_for_copy_in(endpoint: &Endpoint, application: &str) -> Result<Connected, ConnectError> {
    enter(endpoint, Attempts::new(endpoint).for_copy_in(), application).await
}

async fn enter(endpoint: &Endpoint, mut attempts: Attempts<'_>, application: &str) -> Result<Connected, ConnectError> {
    loop {
        let opened = attempts.next().await?;
        let host = opened.host;
        let login = timeout_at(opened.deadline, log_in(endpoint, opened, application));
        let timed_out = ConnectError::TimedOut {
            host: endpoint.hosts[host].clone(),
            step: Step::Authentication,
            after: endpoint.connect_timeout,
        };
        match Box::pin(login).await.unwrap_or(Err(timed_out)) {
            Ok(connected) => return Ok(connected),
            Err(error) => attempts.refused(error)?,
        }
    }
}

/// Opens the bytes only, on the first host that can be reached, for a caller that speaks the protocol itself. Whoever wants
/// the next host after a login that failed uses [`Attempts`].
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_transport(endpoint: &Endpoint) -> Result<Box<dyn Transport>, ConnectError> {
    Ok(Attempts::new(endpoint).next().await?.transport)
}

async fn log_in(endpoint: &Endpoint, opened: Opened, application: &str) -> Result<Connected, ConnectError> {
    let Opened { transport, host, encrypted, wanted, .. } = opened;
    let failed = |error| login_error(endpoint, host, error);
    let mut config = Config::new();
    config.user(&endpoint.user).dbname(&endpoint.database).application_name(application);
    // The transport is encrypted already, where it shall be.
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    if let Some(password) = &endpoint.passwords[host] {
        config.password(password);
    }
    if let Some(options) = &endpoint.options {
        config.options(options);
    }
    let (client, connection) = config.connect_raw(transport, NoTls).await.map_err(failed)?;
    let sql = settings_sql(connection.parameter("server_version").unwrap_or_default());
    let mut driver = drive(connection);
    // Nobody runs the driver yet: it is polled here, beside the one query.
    let answer = tokio::select! {
        biased;
        answer = client.simple_query(&sql) => answer,
        ended = &mut driver => match ended {
            Err(error) => Err(error),
            Ok(()) => return Err(broken_off(endpoint, host)),
        },
    };
    let (in_recovery, read_only) = server_state(&answer.map_err(failed)?);
    if wanted.fits(in_recovery, read_only) {
        return Ok(Connected { client, driver, host, encrypted });
    }
    drop(client);
    // The server's farewell is of no interest.
    driver.await.ok();
    Err(ConnectError::SessionAttributes { host: endpoint.hosts[host].clone(), wanted })
}

/// The users' expressions run under the role's `search_path`, and so do our own statements; but PostgreSQL's own types, functions and operators
/// come first, whatever a schema has that is named like them.
const BUILT_IN_FIRST: &str = "SELECT pg_catalog.set_config('search_path', pg_catalog.rtrim(pg_catalog.concat(
    'pg_catalog, ', pg_catalog.current_setting('search_path')), ', '), false);\n";

/// The session settings as SQL, and last a query for what `target_session_attrs` wants to know: one round trip.
fn settings_sql(server_version: &str) -> String {
    let set = |(name, value): (&str, &str)| format!("SET {name} = {};\n", quote::literal(value));
    let sets: String = settings::for_version(settings::major(server_version)).map(set).collect();
    format!("{sets}{BUILT_IN_FIRST}SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')")
}

fn server_state(answer: &[SimpleQueryMessage]) -> (bool, bool) {
    let row = answer.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
        _ => None,
    });
    row.unwrap_or((false, false))
}

fn broken_off(endpoint: &Endpoint, host: usize) -> ConnectError {
    ConnectError::Login {
        host: endpoint.hosts[host].clone(),
        user: endpoint.user.clone(),
        with_password: endpoint.passwords[host].is_some(),
        source: Box::new(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

fn login_error(endpoint: &Endpoint, host: usize, error: tokio_postgres::Error) -> ConnectError {
    let with_password = endpoint.passwords[host].is_some();
    let (user, host) = (endpoint.user.clone(), endpoint.hosts[host].clone());
    match error.as_db_error().map(|answer| Box::new(ServerError::from(answer))) {
        Some(source) => ConnectError::Refused { host, user, database: endpoint.database.clone(), source },
        None => ConnectError::Login { host, user, with_password, source: Box::new(error) },
    }
}

fn drive(mut connection: Connection<Box<dyn Transport>, NoTlsStream>) -> Driver {
    Box::pin(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message? {
                log_notice(&notice);
            }
        }
        Ok(())
    })
}

/// What a trigger or function RAISEs can hold a row's values, so its text stays out of the log.
fn log_notice(notice: &DbError) {
    let raised = notice.routine() == Some("exec_stmt_raise");
    let message = if raised { "(raised by a function)" } else { notice.message() };
    tracing::debug!(severity = notice.severity(), sqlstate = notice.code().code(), message, "notice from the server");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_settings_travel_in_one_query() {
        let sql = settings_sql("15.9 (Debian 15.9-0+deb12u1)");
        assert!(sql.starts_with("SET client_encoding = 'UTF8';\nSET datestyle = 'ISO, MDY';\n"), "{sql}");
        assert!(sql.contains("SET idle_session_timeout") && !sql.contains("transaction_timeout = '0';\nSET trans"), "{sql}");
        assert!(!settings_sql("15.9").contains("\nSET transaction_timeout"));
        assert!(settings_sql("17.2").contains("\nSET transaction_timeout = '0';\n"));
        assert!(!settings_sql("").contains("idle_session_timeout"));
    }
}
