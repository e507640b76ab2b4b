//! TLS as libpq means it: whether the server's certificate is checked at all depends on whether there is a root certificate,
//! whether its name is checked on `verify-full`. Files are read for each session, so that renewed ones are taken up.

use super::connect_error::{CertificateUse, ConnectError};
use super::{Endpoint, Host, SslMode};
use std::{io, path::Path, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Makes the TLS session on a socket on which the server has just agreed to it.
pub(super) async fn shake_hands<S>(socket: S, endpoint: &Endpoint, host: &Host, name: &str) -> Result<TlsStream<S>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |source| ConnectError::Tls { host: host.clone(), source };
    let mut config = client_config(endpoint)?;
    let name = match ServerName::try_from(name.to_owned()) {
        Ok(name) => name,
        Err(error) if endpoint.ssl_mode == SslMode::VerifyFull => {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        // Not a name that TLS could carry, and nothing asks for it.
        Err(_) => {
            config.enable_sni = false;
            ServerName::try_from("unnamed.invalid").expect("a constant that is a DNS name")
        }
    };
    Box::pin(TlsConnector::from(Arc::new(config)).connect(name, socket)).await.map_err(failed)
}

fn client_config(endpoint: &Endpoint) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier {
        trust: trust(endpoint)?,
        check_name: endpoint.ssl_mode == SslMode::VerifyFull,
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(cert_file) = &endpoint.ssl_cert else { return Ok(builder.with_no_client_auth()) };
    let key_file = endpoint.ssl_key.as_ref().unwrap_or(cert_file);
    let chain = certificates(cert_file, CertificateUse::Certificate)?;
    let key = private_key(key_file)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable(key_file, CertificateUse::Key, io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn unusable(path: &Path, what: CertificateUse, source: io::Error) -> ConnectError {
    ConnectError::CertificateFile { path: path.to_owned(), what, source }
}

fn pem_error(error: pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}

fn certificates(path: &Path, what: CertificateUse) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| unusable(path, what, pem_error(error)))?;
    if found.is_empty() {
        return Err(unusable(path, what, pem_error(pem::Error::NoItemsFound)));
    }
    Ok(found)
}

/// As libpq: a key that others can read is refused; one that root owns may be readable by a group.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConnectError> {
    let failed = |error| unusable(path, CertificateUse::Key, error);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path).map_err(failed)?;
        let forbidden = if file.uid() == 0 { 0o037 } else { 0o077 };
        if file.mode() & forbidden != 0 {
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "group or others may read or write it")));
        }
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| failed(pem_error(error)))
}

/// What a server's certificate must lead back to. `None`: anything will do, as libpq without a root certificate.
fn trust(endpoint: &Endpoint) -> Result<Option<Trust>, ConnectError> {
    let Some(path) = &endpoint.ssl_root_cert else {
        return match endpoint.ssl_mode {
            SslMode::VerifyCa | SslMode::VerifyFull => {
                let none = io::Error::new(io::ErrorKind::NotFound, "sslmode verify-ca and verify-full need one");
                Err(unusable(Path::new("~/.postgresql/root.crt"), CertificateUse::Roots, none))
            }
            _ => Ok(None),
        };
    };
    let mut roots = RootCertStore::empty();
    let given = if path.as_os_str() == "system" {
        let found = rustls_native_certs::load_native_certs();
        match (found.certs.is_empty(), found.errors.into_iter().next()) {
            (true, Some(error)) => return Err(unusable(path, CertificateUse::Roots, io::Error::other(error))),
            _ => found.certs,
        }
    } else {
        certificates(path, CertificateUse::Roots)?
    };
    let (usable, _) = roots.add_parsable_certificates(given.iter().cloned());
    if usable == 0 {
        let none = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate that can be read");
        return Err(unusable(path, CertificateUse::Roots, none));
    }
    Ok(Some(Trust { roots, given }))
}

#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    given: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check_signer(
        &self,
        trust: &Trust,
        leaf: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &trust.roots, intermediates, now, algorithms) {
            // A self-signed certificate is its own authority, which webpki does not take for a server. It is one of those that
            // we were told to trust, and its validity was checked before (a test holds this).
            Err(error) if is(&error, &webpki::Error::CaUsedAsEndEntity) && trust.given.contains(leaf) => Ok(()),
            other => other,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            let parsed = ParsedCertificate::try_from(leaf)?;
            self.check_signer(trust, leaf, &parsed, intermediates, now)?;
            if self.check_name {
                verify_server_name(&parsed, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.trust {
            Some(_) => verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms),
            // Whoever may present any certificate may present his own: the signature says nothing.
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self.trust {
            Some(_) => verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is(error: &rustls::Error, cause: &webpki::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            other.0.downcast_ref::<webpki::Error>() == Some(cause)
        }
        _ => false,
    }
}

/// What to do about a handshake that failed.
pub(super) fn hint(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::AlertReceived(_) => {
            Some("the server refused our side: does it want a client certificate (sslcert, sslkey) from another authority?")
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("sslrootcert must hold the certificate of the authority that signed the server's")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some(
            "verify-full wants the host, as the url has it, in the certificate's subjectAltName (a common name does not count); sslmode=verify-ca checks the signer only",
        ),
        error if is(error, &webpki::Error::UnsupportedCertVersion) => {
            Some("the server's certificate is of X.509 version 1: sign it again with a subjectAltName, which makes it version 3")
        }
        _ => None,
    }
}
