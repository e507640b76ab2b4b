//! A replication connection before it streams: replication commands and plain SQL by the simple protocol, answers as text.

use super::{
    login,
    pace::{FAR, NEAR, SMALL_WINDOW},
    wire::Wire,
};
use crate::{
    pg::{Attempts, ConnectError, Endpoint, Opened, ServerError, Step},
    source::SourceError,
};
use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::{backend::Message, frontend};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::time::timeout_at;

/// Time-outs that only newer servers know are switched off here, the rest is in the startup packet. A SQL_ASCII database has
/// bytes in no encoding: the server sends them as they are only to one who asks for that.
const SESSION: &str = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'), \
    (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'), \
    (SELECT pg_catalog.count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings \
      WHERE name IN ('idle_session_timeout', 'transaction_timeout')), \
    (SELECT pg_catalog.count(pg_catalog.set_config('client_encoding', 'SQL_ASCII', false)) \
      WHERE pg_catalog.current_setting('server_encoding') = 'SQL_ASCII')";

/// A connection with `replication=database`.
pub struct Connection {
    pub(super) wire: Wire,
    round_trip: Duration,
    server_major: u32,
    sender_timeout: Duration,
    host: usize,
}

/// One row of an answer, as text.
pub struct TextRow(Vec<Option<Bytes>>);

impl TextRow {
    pub fn bytes(&self, column: usize) -> Option<&[u8]> {
        self.0.get(column)?.as_deref()
    }

    /// The cell, if it is there, not null, and UTF-8.
    pub fn text(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(column)?).ok()
    }
}

impl Connection {
    /// Opens one for streaming: with a small receive window where the server is near, else with the kernel's own.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn open_for_stream(endpoint: &Endpoint, application: &str) -> Result<Self, SourceError> {
        let mut connection = Self::open(endpoint, application).await?;
        if connection.is_near().await? {
            connection.wire.transport.narrow(SMALL_WINDOW)?;
        }
        Ok(connection)
    }

    /// Opens one on the first host that answers and fits `target_session_attrs`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn open(endpoint: &Endpoint, application: &str) -> Result<Self, ConnectError> {
        let mut attempts = Attempts::new(endpoint);
        loop {
            let opened = attempts.next().await?;
            let (host, deadline) = (opened.host, opened.deadline);
            let login = Box::pin(Self::log_in(opened, endpoint, application));
            let timed_out = |_| {
                let (host, after) = (endpoint.hosts[host].clone(), endpoint.connect_timeout);
                Err(ConnectError::TimedOut { host, step: Step::Authentication, after })
            };
            match timeout_at(deadline, login).await.unwrap_or_else(timed_out) {
                Ok(connection) => return Ok(connection),
                Err(error) => attempts.refused(error)?,
            }
        }
    }

    async fn log_in(opened: Opened, endpoint: &Endpoint, application: &str) -> Result<Self, ConnectError> {
        let Opened { transport, host, wanted, encrypted, .. } = opened;
        let mut wire = Wire::new(transport, encrypted);
        let server_major = login::log_in(&mut wire, endpoint, host, application).await?;
        let mut connection = Self { wire, round_trip: Duration::MAX, server_major, sender_timeout: Duration::ZERO, host };
        let answer = connection.query("read its settings", SESSION).await;
        let rows = answer.map_err(|error| login::failed(endpoint, host, error))?;
        let on = |column, yes| rows.first().and_then(|row| row.text(column)) == Some(yes);
        if !wanted.fits(on(0, "t"), on(1, "on")) {
            return Err(ConnectError::SessionAttributes { host: endpoint.hosts[host].clone(), wanted });
        }
        let timeout = rows.first().and_then(|row| row.text(2)?.parse().ok());
        connection.sender_timeout = Duration::from_millis(timeout.unwrap_or(0));
        Ok(connection)
    }

    /// Asks something light a few times, for a busy server answers late now and then.
    async fn is_near(&mut self) -> Result<bool, SourceError> {
        for _ in 0..5 {
            if self.round_trip < NEAR {
                return Ok(true);
            }
            if self.round_trip > FAR {
                return Ok(false);
            }
            self.identify().await?;
        }
        Ok(self.round_trip < NEAR)
    }

    /// The least time that a question and its answer took so far.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Index into the endpoint's `hosts`: where it ended up.
    pub fn host(&self) -> usize {
        self.host
    }

    /// The server's major version, such as 15.
    pub fn server_major(&self) -> u32 {
        self.server_major
    }

    /// The server's `wal_sender_timeout`; zero: it never gives up.
    pub fn sender_timeout(&self) -> Duration {
        self.sender_timeout
    }

    /// Runs one replication command or SQL statement. `doing` completes "the source refused to ...".
    ///
    /// # Errors
    /// See [`SourceError`]; after `Refused` the connection can be used again, unless the server closed it.
    pub async fn query(&mut self, doing: &'static str, sql: &str) -> Result<Vec<TextRow>, SourceError> {
        let asked = Instant::now();
        self.ask(sql).await?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            match self.wire.message().await {
                Ok(Message::DataRow(body)) => {
                    let cells = body.ranges().map(|range| Ok(range.map(|range| body.buffer_bytes().slice(range))));
                    rows.push(TextRow(cells.collect()?));
                }
                Ok(Message::ErrorResponse(body)) => refused = Some(ServerError::from_body(&body)?),
                Ok(Message::ReadyForQuery(_)) => break,
                Ok(
                    Message::RowDescription(_)
                    | Message::CommandComplete(_)
                    | Message::EmptyQueryResponse
                    | Message::NoticeResponse(_)
                    | Message::ParameterStatus(_),
                ) => {}
                Ok(_) => return Err(SourceError::Answer { doing }),
                // After its last word the server closes the connection.
                Err(error) if refused.is_none() => return Err(ended(error)),
                Err(_) => break,
            }
        }
        self.round_trip = self.round_trip.min(asked.elapsed());
        refused.map_or(Ok(rows), |source| Err(SourceError::Refused { doing, source }))
    }

    /// Runs a command after which the connection streams both ways.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub(super) async fn stream(&mut self, doing: &'static str, command: &str) -> Result<(), SourceError> {
        self.ask(command).await?;
        while !self.wire.copy_both().await.map_err(ended)? {
            match self.wire.message().await.map_err(ended)? {
                Message::ErrorResponse(body) => {
                    return Err(SourceError::Refused { doing, source: ServerError::from_body(&body)? });
                }
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => return Err(SourceError::Answer { doing }),
            }
        }
        Ok(())
    }

    async fn ask(&mut self, sql: &str) -> Result<(), SourceError> {
        frontend::query(sql, &mut self.wire.output)?;
        Ok(self.wire.flush().await?)
    }
}

fn ended(error: io::Error) -> SourceError {
    if error.kind() == io::ErrorKind::UnexpectedEof { SourceError::Closed } else { SourceError::Io(error) }
}
