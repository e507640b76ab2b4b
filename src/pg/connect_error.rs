//! Why no session could be opened: which host, which step, and what the world said.

use super::{Host, ServerError, SslMode, TargetSession, fate_of_sqlstate};
use crate::fate::Fate;
use std::{error::Error, fmt, io, net::SocketAddr, path::PathBuf, time::Duration};
use tokio_rustls::rustls;

/// How far an attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Resolve,
    Connect,
    Tls,
    Authentication,
    /// The settings of the session, and `target_session_attrs`.
    Session,
}

/// What a file of a TLS session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateUse {
    Roots,
    Certificate,
    Key,
}

/// Why no session could be opened. The messages hold hosts, roles and databases, never a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot find the address of `{host}`")]
    Resolve { host: Host, source: io::Error },
    #[error("cannot reach `{host}`{}", at(.address))]
    Reach { host: Host, address: Option<SocketAddr>, source: io::Error },
    #[error("`{host}` gave no answer within {} s ({step})", .after.as_secs())]
    TimedOut { host: Host, step: Step, after: Duration },
    #[error("`{host}` does not offer TLS, which sslmode `{mode}` asks for")]
    TlsNotOffered { host: Host, mode: SslMode },
    #[error("`{host}` does not answer as a PostgreSQL server does")]
    NotPostgres { host: Host },
    #[error("cannot agree on TLS with `{host}`")]
    Tls { host: Host, source: io::Error },
    #[error("cannot use `{}` as {what}", .path.display())]
    CertificateFile { path: PathBuf, what: CertificateUse, source: io::Error },
    /// The server's own no: role, password, database, `pg_hba.conf`, too many sessions, starting up.
    #[error("`{host}` refused the session of `{user}` on database `{database}`")]
    Refused { host: Host, user: String, database: String, source: Box<ServerError> },
    /// The conversation broke off, or asked for what we cannot give.
    #[error("cannot log in to `{host}` as `{user}`{}", if *.with_password { "" } else { ", no password was given" })]
    Login { host: Host, user: String, with_password: bool, source: Box<dyn Error + Send + Sync> },
    #[error("`{host}` is not the server that target_session_attrs `{wanted}` asks for")]
    SessionAttributes { host: Host, wanted: TargetSession },
    /// Several addresses or ways were tried. Never empty.
    #[error("{}", list(.tried))]
    Several { tried: Vec<ConnectError> },
}

impl ConnectError {
    /// `Halt` where trying again cannot help: password, role, database, `pg_hba.conf`, certificates.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Resolve { .. } | Self::TimedOut { .. } | Self::SessionAttributes { .. } | Self::NotPostgres { .. } => {
                Fate::Retry
            }
            Self::Reach { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Fate::Halt,
            Self::Reach { .. } => Fate::Retry,
            Self::TlsNotOffered { .. } | Self::CertificateFile { .. } => Fate::Halt,
            Self::Tls { source, .. } => fate_of_io(source),
            // A login has no row that could be at fault.
            Self::Refused { source, .. } => match fate_of_sqlstate(&source.sqlstate) {
                Fate::Retry => Fate::Retry,
                Fate::Reject | Fate::Halt => Fate::Halt,
            },
            Self::Login { source, .. } => fate_of_login(&**source),
            Self::Several { tried } => fate_of_several(tried),
        }
    }

    /// The server's SQLSTATE, where it was the server that refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused { source, .. } => Some(&source.sqlstate),
            Self::Several { tried } => tried.iter().rev().find_map(Self::sqlstate),
            _ => None,
        }
    }

    /// The host it happened at; of several the last one.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Resolve { host, .. }
            | Self::Reach { host, .. }
            | Self::TimedOut { host, .. }
            | Self::TlsNotOffered { host, .. }
            | Self::NotPostgres { host }
            | Self::Tls { host, .. }
            | Self::Refused { host, .. }
            | Self::Login { host, .. }
            | Self::SessionAttributes { host, .. } => Some(host),
            Self::CertificateFile { .. } => None,
            Self::Several { tried } => tried.last().and_then(Self::host),
        }
    }

    /// How far the attempt had come; of several the last one.
    pub fn step(&self) -> Step {
        match self {
            Self::Resolve { .. } => Step::Resolve,
            Self::Reach { .. } => Step::Connect,
            Self::TimedOut { step, .. } => *step,
            Self::TlsNotOffered { .. } | Self::NotPostgres { .. } | Self::Tls { .. } | Self::CertificateFile { .. } => Step::Tls,
            Self::Refused { .. } | Self::Login { .. } => Step::Authentication,
            Self::SessionAttributes { .. } => Step::Session,
            Self::Several { tried } => tried.last().map_or(Step::Connect, Self::step),
        }
    }

    /// What a person can do about it, where that is not plain from the message.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TlsNotOffered { .. } => Some("set `ssl = on` at the server, or another sslmode"),
            Self::Tls { source, .. } => tls_error(source).and_then(super::tls::hint),
            Self::CertificateFile { what: CertificateUse::Roots, .. } => {
                Some("`sslrootcert=FILE`, `sslrootcert=system`, PGSSLROOTCERT or ~/.postgresql/root.crt says whom to trust")
            }
            Self::CertificateFile { what: CertificateUse::Key, .. } => {
                Some("an unencrypted PEM key that only its owner can read (chmod 0600)")
            }
            Self::Refused { source, .. } if source.sqlstate == "28000" => {
                Some("the server's pg_hba.conf decides who may come from where, with or without TLS, and how they prove it")
            }
            Self::Login { with_password: false, source, .. } if fate_of_login(&**source) == Fate::Halt => Some(NO_PASSWORD),
            Self::Several { tried } => tried.iter().rev().find_map(Self::hint),
            _ => None,
        }
    }
}

/// A server that says no ends the attempts, so its word counts. Else each host must be hopeless by one of its addresses: a
/// host that is merely away may be the right one.
fn fate_of_several(tried: &[ConnectError]) -> Fate {
    let hopeless = |error: &&ConnectError| error.fate() == Fate::Halt;
    let refused = tried.last().filter(hopeless).is_some_and(|error| error.step() == Step::Authentication);
    let each = tried.iter().all(|error| tried.iter().filter(|other| other.host() == error.host()).any(|other| hopeless(&other)));
    if refused || each { Fate::Halt } else { Fate::Retry }
}

const NO_PASSWORD: &str = "give a password in the url (`${VAR}` takes it from the environment), in PGPASSWORD or in ~/.pgpass";

/// An error and everything beneath it, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        below = error.source();
    }
    text
}

pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn fate_of_io(error: &io::Error) -> Fate {
    if tls_error(error).is_some() { Fate::Halt } else { Fate::Retry }
}

/// With TLS 1.3 the server's no to our certificate arrives after the handshake, as an alert in place of the first answer.
fn fate_of_login(error: &(dyn Error + Send + Sync + 'static)) -> Fate {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return fate_of_io(error);
    }
    match error.downcast_ref::<tokio_postgres::Error>() {
        Some(error) => match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) => fate_of_io(source),
            None => super::fate_of(error),
        },
        None => Fate::Halt,
    }
}

fn at(address: &Option<SocketAddr>) -> String {
    address.map(|address| format!(" at {address}")).unwrap_or_default()
}

fn list(tried: &[ConnectError]) -> String {
    let lines: Vec<String> = tried.iter().map(|error| format!("\n  - {}", chain(error))).collect();
    format!("none of {} attempts led to a session:{}", tried.len(), lines.concat())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up its address",
            Self::Connect => "connecting",
            Self::Tls => "agreeing on TLS",
            Self::Authentication => "logging in",
            Self::Session => "setting up the session",
        })
    }
}

impl fmt::Display for CertificateUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "trusted certificates (sslrootcert)",
            Self::Certificate => "our certificate (sslcert)",
            Self::Key => "our certificate's key (sslkey)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sqlstate: &str) -> ConnectError {
        let source = ServerError { severity: "FATAL".into(), sqlstate: sqlstate.into(), message: "no".into() };
        let host = Host::tcp("db", 5432);
        ConnectError::Refused { host, user: "app".into(), database: "shop".into(), source: Box::new(source) }
    }

    fn unreachable(kind: io::ErrorKind) -> ConnectError {
        ConnectError::Reach { host: Host::tcp("db", 5432), address: None, source: kind.into() }
    }

    #[test]
    fn fates() {
        for state in ["28P01", "28000", "3D000", "42501", "22023", "0A000"] {
            assert_eq!(refused(state).fate(), Fate::Halt, "{state}");
        }
        for state in ["57P03", "53300", "57P01"] {
            assert_eq!(refused(state).fate(), Fate::Retry, "{state}");
        }
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset] {
            assert_eq!(unreachable(kind).fate(), Fate::Retry, "{kind}");
        }
        assert_eq!(unreachable(io::ErrorKind::PermissionDenied).fate(), Fate::Halt);
        let several = |tried| ConnectError::Several { tried }.fate();
        let away =
            |host: &str| ConnectError::TimedOut { host: Host::tcp(host, 5432), step: Step::Connect, after: Duration::ZERO };
        let no_tls = |host: &str| ConnectError::TlsNotOffered { host: Host::tcp(host, 5432), mode: SslMode::Require };
        assert_eq!(several(vec![away("a"), refused("28P01")]), Fate::Halt, "a server said no");
        assert_eq!(several(vec![away("db"), refused("57P03")]), Fate::Retry);
        assert_eq!(several(vec![no_tls("a"), away("a")]), Fate::Halt, "two addresses of one host");
        assert_eq!(several(vec![no_tls("a"), away("b")]), Fate::Retry, "b may be well again");
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
        let tls = |source| ConnectError::Tls { host: Host::tcp("db", 1), source };
        assert_eq!(tls(io::Error::new(io::ErrorKind::InvalidData, alert)).fate(), Fate::Halt);
        assert_eq!(tls(io::ErrorKind::UnexpectedEof.into()).fate(), Fate::Retry);
    }

    #[test]
    fn several_attempts_are_all_named() {
        let text =
            ConnectError::Several { tried: vec![unreachable(io::ErrorKind::ConnectionRefused), refused("28P01")] }.to_string();
        assert!(text.contains("cannot reach `db:5432`: connection refused\n"), "{text}");
        assert!(text.ends_with("refused the session of `app` on database `shop`: FATAL: no (SQLSTATE 28P01)"), "{text}");
    }
}
