//! Startup and authentication of a replication connection (PostgreSQL's manual, 55.2.1 and 55.3).

use super::wire::Wire;
use crate::{
    pg::{ConnectError, Endpoint, SESSION_SETTINGS, ServerError},
    source::SourceError,
};
use fallible_iterator::FallibleIterator;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{
        backend::{AuthenticationSaslBody, Message},
        frontend,
    },
};
use std::{error::Error, io};

/// Why a login cannot go on, beside the server's no and a broken connection.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("the server asks for a password")]
    PasswordMissing,
    #[error("the server asks for a way to log in that is not known here: neither scram-sha-256, md5 nor password")]
    Unknown,
    #[error("the server does not prove that it knows the password")]
    Forged(#[source] io::Error),
    #[error("the server's answer does not belong to a login")]
    Unexpected,
}

/// How far a login failed.
enum Failure {
    Server(ServerError),
    Broken(Box<dyn Error + Send + Sync>),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Broken(Box::new(error))
    }
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        Failure::Broken(Box::new(error))
    }
}

/// Logs in on a fresh transport. Returns the server's major version.
pub(super) async fn log_in(wire: &mut Wire, endpoint: &Endpoint, host: usize, application: &str) -> Result<u32, ConnectError> {
    let password = endpoint.passwords.get(host).and_then(Option::as_deref);
    let done = async {
        startup(wire, endpoint, application)?;
        wire.flush().await?;
        authenticate(wire, &endpoint.user, password).await?;
        until_ready(wire).await
    };
    done.await.map_err(|failure| connect_error(endpoint, host, failure))
}

/// A question on a session that is not fully set up yet went wrong.
pub(super) fn failed(endpoint: &Endpoint, host: usize, error: SourceError) -> ConnectError {
    let failure = match error {
        SourceError::Refused { source, .. } => Failure::Server(source),
        SourceError::Io(error) => Failure::Broken(Box::new(error)),
        SourceError::Closed => Failure::Broken(Box::new(io::Error::from(io::ErrorKind::UnexpectedEof))),
        error => Failure::Broken(Box::new(error)),
    };
    connect_error(endpoint, host, failure)
}

fn connect_error(endpoint: &Endpoint, host: usize, failure: Failure) -> ConnectError {
    let with_password = endpoint.passwords.get(host).is_some_and(Option::is_some);
    let (host, user) = (endpoint.hosts[host].clone(), endpoint.user.clone());
    match failure {
        Failure::Server(source) => {
            ConnectError::Refused { host, user, database: endpoint.database.clone(), source: Box::new(source) }
        }
        Failure::Broken(source) => ConnectError::Login { host, user, with_password, source },
    }
}

fn startup(wire: &mut Wire, endpoint: &Endpoint, application: &str) -> io::Result<()> {
    let who = [("user", &*endpoint.user), ("database", &endpoint.database), ("application_name", application)];
    let options = endpoint.options.as_deref().map(|options| ("options", options));
    // nothing of a person's runs here, and what a schema has that is named like a type of PostgreSQL's must not be met
    let fixed = [("replication", "database"), ("search_path", "pg_catalog")];
    let all = who.into_iter().chain(fixed).chain(options).chain(SESSION_SETTINGS.iter().copied());
    frontend::startup_message(all, &mut wire.output)
}

async fn authenticate(wire: &mut Wire, user: &str, password: Option<&str>) -> Result<(), Failure> {
    let need = || password.map(str::as_bytes).ok_or(LoginError::PasswordMissing);
    loop {
        match next(wire).await? {
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationCleartextPassword => frontend::password_message(need()?, &mut wire.output)?,
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(user.as_bytes(), need()?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut wire.output)?;
            }
            Message::AuthenticationSasl(body) => scram(wire, &body, need()?).await?,
            Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                return Err(LoginError::Unknown.into());
            }
            _ => return Err(LoginError::Unexpected.into()),
        }
        wire.flush().await?;
    }
}

/// SCRAM-SHA-256 without channel binding.
async fn scram(wire: &mut Wire, offered: &AuthenticationSaslBody, password: &[u8]) -> Result<(), Failure> {
    let mut mechanisms = offered.mechanisms();
    while mechanisms.next()?.ok_or(LoginError::Unknown)? != SCRAM_SHA_256 {}
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut wire.output)?;
    wire.flush().await?;
    let Message::AuthenticationSaslContinue(body) = next(wire).await? else { return Err(LoginError::Unexpected.into()) };
    scram.update(body.data()).map_err(LoginError::Forged)?;
    frontend::sasl_response(scram.message(), &mut wire.output)?;
    wire.flush().await?;
    let Message::AuthenticationSaslFinal(body) = next(wire).await? else { return Err(LoginError::Unexpected.into()) };
    scram.finish(body.data()).map_err(LoginError::Forged)?;
    Ok(())
}

/// The server's settings, up to its being ready.
async fn until_ready(wire: &mut Wire) -> Result<u32, Failure> {
    let mut major = 0;
    loop {
        match next(wire).await? {
            Message::ReadyForQuery(_) => return Ok(major),
            Message::ParameterStatus(body) if body.name()? == "server_version" => {
                let digits = body.value()?.split(|c: char| !c.is_ascii_digit()).next();
                major = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
            }
            Message::ParameterStatus(_) | Message::BackendKeyData(_) => {}
            _ => return Err(LoginError::Unexpected.into()),
        }
    }
}

/// The next message that is not a notice.
async fn next(wire: &mut Wire) -> Result<Message, Failure> {
    loop {
        match wire.message().await? {
            Message::ErrorResponse(body) => return Err(Failure::Server(ServerError::from_body(&body)?)),
            Message::NoticeResponse(_) => {}
            message => return Ok(message),
        }
    }
}
