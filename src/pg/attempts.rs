//! The way to a server as libpq goes it: hosts in their order, each name's addresses in theirs, each address with or without TLS
//! as sslmode has it. Whoever speaks on the transport says how the login went, and that decides what is tried next.

use super::connect_error::{ConnectError, Step};
use super::socket::{self, Address, BusyReader, Plain};
use super::stream::Stream;
use super::{Endpoint, Host, SslMode, TargetSession, Transport, tls};
use crate::fate::Fate;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::{collections::VecDeque, io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

/// SQLSTATE of "no pg_hba.conf entry": the other kind of connection, with TLS or without, may have one.
const INVALID_AUTHORIZATION: &str = "28000";

/// A transport on which nothing was sent yet, and what is known of it.
pub struct Opened {
    pub transport: Box<dyn Transport>,
    /// Index into the endpoint's `hosts` and `passwords`.
    pub host: usize,
    pub encrypted: bool,
    /// What the server must turn out to be.
    pub wanted: TargetSession,
    /// When the login must be done.
    pub deadline: Instant,
}

/// Whether to ask for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Never,
    /// Go on without where the server does not offer it.
    Offer,
    Insist,
}

/// One address, one way to enter.
#[derive(Clone, Debug)]
struct Door {
    host: usize,
    address: Address,
    ask: Ask,
    wanted: TargetSession,
}

/// The attempts at one session. `next` opens a transport; `refused` says that the login on it failed.
pub struct Attempts<'a> {
    endpoint: &'a Endpoint,
    busy_reader: BusyReader,
    hosts: VecDeque<(usize, TargetSession)>,
    doors: VecDeque<Door>,
    present: Option<(Door, bool)>,
    tried: Vec<ConnectError>,
}

impl<'a> Attempts<'a> {
    pub fn new(endpoint: &'a Endpoint) -> Self {
        let pass = |wanted| (0..endpoint.hosts.len()).map(move |host| (host, wanted));
        let hosts = match endpoint.target_session {
            TargetSession::PreferStandby => pass(TargetSession::Standby).chain(pass(TargetSession::Any)).collect(),
            wanted => pass(wanted).collect(),
        };
        Self { endpoint, busy_reader: BusyReader::default(), hosts, doors: VecDeque::new(), present: None, tried: Vec::new() }
    }

    /// For a COPY into the server: it may stop reading for as long as it likes.
    pub fn for_copy_in(mut self) -> Self {
        self.busy_reader = BusyReader::Wait;
        self
    }

    /// Opens the next transport.
    ///
    /// # Errors
    /// Nothing is left to try: the one failure, or [`ConnectError::Several`].
    pub async fn next(&mut self) -> Result<Opened, ConnectError> {
        loop {
            if let Some(door) = self.doors.pop_front() {
                match self.open(&door).await {
                    Ok(opened) => {
                        self.present = Some((door, opened.encrypted));
                        return Ok(opened);
                    }
                    Err(error) => self.not_opened(door, error),
                }
            } else if let Some((host, wanted)) = self.hosts.pop_front() {
                match self.resolve(host).await {
                    Ok(addresses) => self.add_doors(host, wanted, addresses),
                    Err(error) => self.tried.push(error),
                }
            } else {
                return Err(self.give_up());
            }
        }
    }

    /// The login on the transport of the last `next` failed. `Ok`: there may be another way, call `next`.
    ///
    /// # Errors
    /// As libpq: a server that is there and says no ends the attempts.
    pub fn refused(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        let present = self.present.take().filter(|(door, _)| matches!(door.address, Address::Tcp(_)));
        let other_way = match (present, self.endpoint.ssl_mode) {
            _ if error.sqlstate() != Some(INVALID_AUTHORIZATION) => None,
            (Some((door, true)), SslMode::Prefer) => Some(Door { ask: Ask::Never, ..door }),
            (Some((door, false)), SslMode::Allow) => Some(Door { ask: Ask::Insist, ..door }),
            _ => None,
        };
        let go_on = other_way.is_some() || error.fate() == Fate::Retry;
        self.tried.push(error);
        if let Some(door) = other_way {
            self.doors.push_front(door);
        }
        if go_on { Ok(()) } else { Err(self.give_up()) }
    }

    fn give_up(&mut self) -> ConnectError {
        let mut tried = std::mem::take(&mut self.tried);
        match tried.len() {
            1 => tried.remove(0),
            _ => ConnectError::Several { tried },
        }
    }

    fn host(&self, host: usize) -> &'a Host {
        &self.endpoint.hosts[host]
    }

    fn deadline(&self) -> Instant {
        // No limit is a year: far enough, and no case of its own.
        let limit = self.endpoint.connect_timeout;
        Instant::now() + if limit.is_zero() { Duration::from_secs(365 * 24 * 3600) } else { limit }
    }

    async fn within<T>(
        &self,
        deadline: Instant,
        host: usize,
        step: Step,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        match timeout_at(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::TimedOut { host: self.host(host).clone(), step, after: self.endpoint.connect_timeout }),
        }
    }

    async fn resolve(&self, at: usize) -> Result<Vec<Address>, ConnectError> {
        let host = self.host(at);
        let failed = |source| ConnectError::Resolve { host: host.clone(), source };
        match host {
            Host::Unix { folder, port } => Ok(vec![Address::Unix(socket::path(folder, *port))]),
            Host::Tcp { address: Some(address), port, .. } => Ok(vec![Address::Tcp((*address, *port).into())]),
            Host::Tcp { name, port, .. } => {
                let look_up = async { lookup_host((name.as_str(), *port)).await.map_err(failed) };
                let found: Vec<_> = self.within(self.deadline(), at, Step::Resolve, look_up).await?.map(Address::Tcp).collect();
                if found.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(found) }
            }
        }
    }

    fn add_doors(&mut self, host: usize, wanted: TargetSession, addresses: Vec<Address>) {
        let ask = match self.endpoint.ssl_mode {
            SslMode::Disable | SslMode::Allow => Ask::Never,
            SslMode::Prefer => Ask::Offer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Ask::Insist,
        };
        self.doors.extend(addresses.into_iter().map(|address| {
            // As libpq: a Unix socket never has TLS.
            let ask = if matches!(address, Address::Unix(_)) { Ask::Never } else { ask };
            Door { host, address, ask, wanted }
        }));
    }

    fn not_opened(&mut self, door: Door, error: ConnectError) {
        let tls_failed = matches!(error, ConnectError::Tls { .. } | ConnectError::CertificateFile { .. });
        self.tried.push(error);
        if tls_failed && door.ask == Ask::Offer {
            self.doors.push_front(Door { ask: Ask::Never, ..door });
        }
    }

    async fn open(&self, door: &Door) -> Result<Opened, ConnectError> {
        let host = self.host(door.host);
        let deadline = self.deadline();
        let address = match door.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        };
        #[cfg(test)]
        if let Some(transport) = super::memory::dial(host) {
            let transport = transport.map_err(|source| ConnectError::Reach { host: host.clone(), address, source })?;
            return Ok(Opened { transport, host: door.host, encrypted: false, wanted: door.wanted, deadline });
        }
        let reach = async {
            let socket = socket::open(&door.address, self.busy_reader).await;
            socket.map_err(|source| ConnectError::Reach { host: host.clone(), address, source })
        };
        let socket = self.within(deadline, door.host, Step::Connect, reach).await?;
        let (transport, encrypted): (Box<dyn Transport>, bool) = match socket {
            Plain::Unix(stream) => (Box::new(Stream::Unix(stream)), false),
            Plain::Tcp(stream) if door.ask == Ask::Never => (Box::new(Stream::Tcp(stream)), false),
            Plain::Tcp(stream) => {
                let agree = self.agree_on_tls(Stream::Tcp(stream), host, door.ask);
                self.within(deadline, door.host, Step::Tls, agree).await?
            }
        };
        Ok(Opened { transport, host: door.host, encrypted, wanted: door.wanted, deadline })
    }

    /// SSLRequest and its one byte of an answer (PostgreSQL's manual, 55.2.10).
    async fn agree_on_tls(&self, mut stream: Stream, host: &Host, ask: Ask) -> Result<(Box<dyn Transport>, bool), ConnectError> {
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        let exchange = async {
            stream.write_all(&request).await?;
            // One byte and no more: what an attacker sent behind it must not be taken for the server's words.
            stream.read_u8().await
        };
        let answer = exchange.await.map_err(|source| ConnectError::Tls { host: host.clone(), source })?;
        match (answer, ask) {
            (b'S', _) => {
                let name = match host {
                    Host::Tcp { name, .. } => name,
                    Host::Unix { .. } => "",
                };
                Ok((Box::new(tls::shake_hands(stream, self.endpoint, host, name).await?), true))
            }
            (b'N', Ask::Insist) => Err(ConnectError::TlsNotOffered { host: host.clone(), mode: self.endpoint.ssl_mode }),
            (b'N', _) => Ok((Box::new(stream), false)),
            _ => Err(ConnectError::NotPostgres { host: host.clone() }),
        }
    }
}
