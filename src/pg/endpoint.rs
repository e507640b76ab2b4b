//! Where a database is and how to get in, as libpq understands it. Made by `config` (which reads the environment, `~/.pgpass`
//! and service files); used by `connect`.

use std::{fmt, path::PathBuf, time::Duration};

/// A host to try: a name or address, or the folder of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Tcp { name: String, port: u16 },
    Unix { folder: PathBuf, port: u16 },
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub ssl_root_cert: Option<PathBuf>,
    pub ssl_cert: Option<PathBuf>,
    pub ssl_key: Option<PathBuf>,
    pub target_session: TargetSession,
    pub connect_timeout: Duration,
    /// libpq's `options`, sent to the server as it stands.
    pub options: Option<String>,
}

impl fmt::Display for Endpoint {
    /// For people: `user@host:port/database`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user)?;
        for (at, host) in self.hosts.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match host {
                Host::Tcp { name, port } => write!(f, "{comma}{name}:{port}")?,
                Host::Unix { folder, port } => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}
