//! What all share about PostgreSQL: endpoints, connecting with TLS, quoting, type facts, SQLSTATE to fate, catalogs.
//!
//! Promises: every connection has keepalives, `tcp_user_timeout`, our `application_name`, and the session settings under which
//! a value's text form is the same everywhere (`SESSION_SETTINGS`).
//! Will not: know a mapping or a position.

mod connect;
mod endpoint;
mod fate;
pub mod quote;

pub use connect::{ConnectError, Connected, Transport, connect, open_transport};
pub use endpoint::{Endpoint, Host, SslMode, TargetSession};
pub use fate::fate_of;
