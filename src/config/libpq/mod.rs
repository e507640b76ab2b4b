//! A database's url as libpq reads it: URI or keywords, service files, the environment, the password file, files in ~/.postgresql.
//!
//! No complaint here ever repeats a piece of the url: where it is malformed, any piece of it may be the password.

mod account;
mod endpoint;
mod parameters;
mod passfile;
mod secret;
mod service;
mod text;

pub(super) use endpoint::endpoint;
pub(super) use secret::hide;
