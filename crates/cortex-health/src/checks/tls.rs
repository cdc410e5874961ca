//! TLS by rustls, for connections that block.

use super::budget::reason;
use super::exchange::Timed;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Whose certificates are trusted.
#[derive(Clone)]
pub(super) struct Trust {
    /// That of the system is read at the first handshake, on the thread of the check: it is many files.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Trust {
    pub(super) fn of_system() -> Self {
        Self {
            config: Arc::default(),
        }
    }

    pub(super) fn of_pem(pem: &[u8]) -> Result<Self, InvalidCertificate> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| InvalidCertificate(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| InvalidCertificate(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(InvalidCertificate("there is none in it".to_owned()));
        }
        let trust = Self::of_system();
        let config = config(roots).map_err(InvalidCertificate)?;
        let _ = trust.config.set(config); // it is new, so it is empty
        Ok(trust)
    }

    /// Shakes hands; the certificate must be one of `host`.
    pub(super) fn handshake(
        &self,
        host: &str,
        mut stream: Timed,
    ) -> Result<StreamOwned<ClientConnection, Timed>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let mut connection =
            ClientConnection::new(self.config()?, name).map_err(|error| format!("TLS: {error}"))?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut stream)
                .map_err(|error| format!("TLS: {}", reason(&error)))?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this machine trusts no authority".to_owned()); // and is asked again at the next run
        }
        let config = config(roots)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Why [`HttpGet::ca_certificate_pem`](super::HttpGet::ca_certificate_pem) refused certificates.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::HttpGet;
///
/// let error = HttpGet::new("https://orders/")?.ca_certificate_pem("no certificate").unwrap_err();
/// assert_eq!(error.to_string(), "accept the certificates: there is none in it");
/// # Ok::<(), cortex_health::checks::InvalidUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCertificate(String);

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accept the certificates: {}", self.0)
    }
}

impl std::error::Error for InvalidCertificate {}
