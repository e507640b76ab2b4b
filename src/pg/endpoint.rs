//! Where a database is and how to get in, as libpq understands it. Made by `config` (which reads the environment, `~/.pgpass`
//! and service files); used by `connect`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

/// A host to try: a name or address, or the folder of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Tcp {
        /// What the server's certificate must name under `verify-full`.
        name: String,
        /// libpq's `hostaddr`: where to connect to, without looking up `name`.
        address: Option<IpAddr>,
        port: u16,
    },
    /// A folder that starts with `@` is in Linux's abstract namespace.
    Unix { folder: PathBuf, port: u16 },
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// Everything needed to open a session. `Debug` and `Display` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub hosts: Vec<Host>,
    pub user: String,
    pub database: String,
    /// One per host (`~/.pgpass` may differ by host); same length as `hosts`.
    pub passwords: Vec<Option<String>>,
    pub ssl_mode: SslMode,
    /// A file of trusted certificates, or the word `system` for the operating system's. When it is given, the server's
    /// certificate is checked against it in every mode that uses TLS, as libpq does.
    pub ssl_root_cert: Option<PathBuf>,
    pub ssl_cert: Option<PathBuf>,
    pub ssl_key: Option<PathBuf>,
    pub target_session: TargetSession,
    /// For each address that is tried, from the first packet to the end of authentication. Zero: no limit.
    pub connect_timeout: Duration,
    /// libpq's `options`, sent to the server as it stands.
    pub options: Option<String>,
}

/// libpq's default port.
pub const DEFAULT_PORT: u16 = 5432;

impl Host {
    pub fn tcp(name: impl Into<String>, port: u16) -> Self {
        Host::Tcp { name: name.into(), address: None, port }
    }

    pub fn unix(folder: impl Into<PathBuf>, port: u16) -> Self {
        Host::Unix { folder: folder.into(), port }
    }
}

impl Endpoint {
    /// One host, no password, libpq's defaults.
    pub fn new(host: Host, user: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            hosts: vec![host],
            user: user.into(),
            database: database.into(),
            passwords: vec![None],
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            ssl_cert: None,
            ssl_key: None,
            target_session: TargetSession::Any,
            connect_timeout: Duration::from_secs(10),
            options: None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp { name, port, .. } if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp { name, port, .. } => write!(f, "{name}:{port}"),
            Host::Unix { folder, port } => write!(f, "{}:{port}", folder.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    /// For people: `user@host:port/database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user)?;
        for (at, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if at > 0 { "," } else { "" })?;
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// The text is none of a setting's words. Holds the words that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is one of {}", .0.join(", "))]
pub struct NotOneOf(pub &'static [&'static str]);

impl SslMode {
    pub const WORDS: &'static [&'static str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
    const ALL: [Self; 6] = [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];
}

impl TargetSession {
    pub const WORDS: &'static [&'static str] = &["any", "read-write", "read-only", "primary", "standby", "prefer-standby"];
    const ALL: [Self; 6] = [Self::Any, Self::ReadWrite, Self::ReadOnly, Self::Primary, Self::Standby, Self::PreferStandby];

    /// Whether a server in this state will do. `PreferStandby` is any server here: the preference is the order of trying.
    pub fn fits(self, in_recovery: bool, read_only: bool) -> bool {
        match self {
            Self::Any | Self::PreferStandby => true,
            Self::ReadWrite => !in_recovery && !read_only,
            Self::ReadOnly => in_recovery || read_only,
            Self::Primary => !in_recovery,
            Self::Standby => in_recovery,
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS[*self as usize])
    }
}

impl fmt::Display for TargetSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WORDS[*self as usize])
    }
}

impl FromStr for SslMode {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, NotOneOf> {
        Self::ALL.into_iter().find(|mode| Self::WORDS[*mode as usize] == text).ok_or(NotOneOf(Self::WORDS))
    }
}

impl FromStr for TargetSession {
    type Err = NotOneOf;

    fn from_str(text: &str) -> Result<Self, NotOneOf> {
        Self::ALL.into_iter().find(|wish| Self::WORDS[*wish as usize] == text).ok_or(NotOneOf(Self::WORDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_both_ways() {
        for word in SslMode::WORDS {
            assert_eq!(word.parse::<SslMode>().map(|mode| mode.to_string()).as_deref(), Ok(*word));
        }
        for word in TargetSession::WORDS {
            assert_eq!(word.parse::<TargetSession>().map(|wish| wish.to_string()).as_deref(), Ok(*word));
        }
        assert!("verify_full".parse::<SslMode>().is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut endpoint = Endpoint::new(Host::tcp("::1", 5433), "app", "shop");
        endpoint.passwords = vec![Some("hunter2".into())];
        assert_eq!(format!("{endpoint} {endpoint:?}"), "app@[::1]:5433/shop Endpoint(app@[::1]:5433/shop)");
    }
}
