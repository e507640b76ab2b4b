//! What all share about PostgreSQL: endpoints, connecting with TLS, quoting, type facts, SQLSTATE to fate, catalogs.
//!
//! Promises: every connection has keepalives, `tcp_user_timeout`, our `application_name`, and the session settings under which
//! a value's text form is the same everywhere (`SESSION_SETTINGS`).
//! Will not: know a mapping or a position.

mod attempts;
mod connect;
mod connect_error;
mod endpoint;
mod fate;
mod meaning;
#[cfg(test)]
pub mod memory;
pub mod quote;
mod server_error;
mod settings;
mod socket;
mod stream;
mod tls;

pub use attempts::{Attempts, Opened};
pub use connect::{Connected, Driver, connect, connect_for_copy_in, open_transport};
pub use connect_error::{CertificateUse, ConnectError, Step, chain};
pub use endpoint::{DEFAULT_PORT, Endpoint, Host, NotOneOf, SslMode, TargetSession};
pub use fate::{fate_of, fate_of_sqlstate};
pub use meaning::{meaning, of_objects};
pub use server_error::ServerError;
pub use settings::SESSION_SETTINGS;
pub use stream::Transport;
