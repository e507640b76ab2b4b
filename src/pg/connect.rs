//! Opening sessions: TCP or Unix socket, TLS, several hosts, the settings that every session of ours has.

use super::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to a server, TLS already done where the endpoint asks for it, nothing sent on it yet.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("not written yet")]
    Stub,
}

/// An ordinary session: the client, and its driver, which the caller runs as a task (it ends when the connection does).
pub struct Connected {
    pub client: tokio_postgres::Client,
    pub driver: std::pin::Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>,
}

/// Opens an ordinary session on the first host that answers and fits `target_session_attrs`.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(_endpoint: &Endpoint, _application: &str) -> Result<Connected, ConnectError> {
    Err(ConnectError::Stub)
}

/// Opens the bytes only, for the replication connection, which speaks the protocol itself.
///
/// # Errors
/// See [`ConnectError`].
pub async fn open_transport(_endpoint: &Endpoint) -> Result<Box<dyn Transport>, ConnectError> {
    Err(ConnectError::Stub)
}
