use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

use crate::error::{Error, ErrorKind};

/// Where a server's identity stands.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_ca: Option<ClientCa>,
}

/// Who signs the certificates of clients.
#[derive(Clone, Debug)]
pub(super) struct ClientCa {
    pub(super) path: PathBuf,
    pub(super) required: bool,
}

/// What the files hold.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    /// Reads all of them. It blocks.
    pub(super) fn read(&self) -> Result<Contents, Error> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| refused(path, "it must be a readable file", Some(error)))
        };
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_ref().map(|ca| read(&ca.path)).transpose()?,
        })
    }

    /// Makes what TLS needs of the contents.
    pub(super) fn config(&self, contents: &Contents) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
            let expected =
                "it must hold one private key as PEM: PKCS #8, PKCS #1 or SEC 1, without a password";
            refused(&self.key, expected, Some(invalid(&error)))
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| refused(&self.certificate, "TLS cannot be set up", Some(invalid(&error))))?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(ca), Some(pem)) => builder.with_client_cert_verifier(verifier(ca, pem, provider)?),
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let expected = format!(
                "it must fit the private key in {}, which must be of RSA, ECDSA or Ed25519",
                self.key.display()
            );
            refused(&self.certificate, &expected, Some(invalid(&error)))
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Made anew with each certificate: a session from before was verified by what held then.
        config.ticketer = ring::Ticketer::new().map_err(|error| {
            refused(
                &self.key,
                "the system gives no random numbers",
                Some(invalid(&error)),
            )
        })?;
        Ok(Arc::new(config))
    }
}

fn verifier(
    ca: &ClientCa,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>, Error> {
    let unusable =
        |error: io::Error| refused(&ca.path, "it must hold certificates of authorities", Some(error));
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca.path, pem)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(invalid(&error)))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if ca.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder.build().map_err(|error| unusable(invalid(&error)))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let expected = "it must hold certificates as PEM, the server's own first";
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refused(path, expected, Some(invalid(&error))))?;
    if found.is_empty() {
        return Err(refused(path, expected, None));
    }
    Ok(found)
}

impl Contents {
    /// Returns a number that tells these contents from others, and nothing of them: the key is not kept for that.
    pub(super) fn fingerprint(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((&self.certificate, &self.key, &self.client_ca))
    }
}

fn refused(path: &Path, expected: &str, source: Option<io::Error>) -> Error {
    let message = format!("use {} for TLS: {expected}", path.display());
    Error::new(ErrorKind::Tls, message, source)
}

/// Keeps the text alone: what a file holds is nothing to match on.
fn invalid(error: &impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
