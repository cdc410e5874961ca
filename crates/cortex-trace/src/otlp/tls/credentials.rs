//! Whom this client trusts, and who it is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::pem::Pem;
use crate::otlp::error::{OtlpError, OtlpErrorKind as Kind};
use crate::otlp::tls_problem::TlsProblem;

/// What a handshake needs to know. All of it was found to be usable.
#[derive(Clone, Debug, Default)]
pub(in crate::otlp) struct Credentials {
    /// The platform's without them.
    authorities: Option<Authorities>,
    identity: Option<Identity>,
}

#[derive(Clone)]
struct Authorities {
    pem: Pem,
    store: Arc<RootCertStore>,
}

#[derive(Clone)]
struct Identity {
    certificate: Pem,
    key: Pem,
    resolver: Arc<SingleCertAndKey>,
}

impl Credentials {
    /// Trusts these authorities, and no others.
    pub(in crate::otlp) fn trust(&mut self, pem: Pem) -> Result<(), OtlpError> {
        self.authorities = Some(Authorities::new(pem)?);
        Ok(())
    }

    /// Shows this certificate to collectors that want to see one.
    pub(in crate::otlp) fn identify(&mut self, certificate: Pem, key: Pem) -> Result<(), OtlpError> {
        self.identity = Some(Identity::new(certificate, key)?);
        Ok(())
    }

    /// Takes over what is new in files, and says whether there was anything; what cannot be used is as if it was not
    /// there yet.
    pub(super) fn refresh(&mut self) -> bool {
        let authorities = self.authorities.as_ref().and_then(Authorities::changed);
        let identity = self.identity.as_ref().and_then(Identity::changed);
        let has_changed = authorities.is_some() || identity.is_some();
        if authorities.is_some() {
            self.authorities = authorities;
        }
        if identity.is_some() {
            self.identity = identity;
        }
        has_changed
    }

    /// Says whether a description of handshakes can be made without looking at the platform's certificates.
    pub(super) const fn are_at_hand(&self) -> bool {
        self.authorities.is_some()
    }

    /// Makes what describes handshakes, which looks at the platform's certificates if it needs them.
    pub(super) fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, OtlpError> {
        let store = match &self.authorities {
            Some(authorities) => Arc::clone(&authorities.store),
            None => platform()?,
        };
        // Handed over, so that nothing has to be installed for the whole process.
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("invariant: the provider has ciphers for TLS 1.2 and 1.3")
            .with_root_certificates(store);
        let mut config = match &self.identity {
            Some(identity) => {
                let resolver: Arc<dyn ResolvesClientCert> = identity.resolver.clone();
                builder.with_client_cert_resolver(resolver)
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

impl Authorities {
    fn new(pem: Pem) -> Result<Self, OtlpError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(&pem)? {
            store
                .add(certificate)
                .map_err(|error| OtlpError::caused(of_certificate(&pem), error))?;
        }
        Ok(Self {
            pem,
            store: Arc::new(store),
        })
    }

    fn changed(&self) -> Option<Self> {
        Self::new(self.pem.changed()?).ok()
    }
}

impl Identity {
    fn new(certificate: Pem, key: Pem) -> Result<Self, OtlpError> {
        let chain = certificates(&certificate)?;
        let of_key = || Kind::InvalidKey { path: path(&key) };
        // Not the cause itself, which may quote the key.
        let der = PrivateKeyDer::from_pem_slice(key.text()).map_err(|_| {
            OtlpError::caused(of_key(), "there is no PEM of a private key without a passphrase")
        })?;
        let signing = provider().key_provider.load_private_key(der).map_err(|_| {
            OtlpError::caused(of_key(), "it is malformed, or of a kind that is not supported")
        })?;
        // A key that cannot say what its public part is does not match it, either.
        let certified = CertifiedKey::new(chain, signing);
        certified
            .keys_match()
            .map_err(|error| OtlpError::caused(of_key(), error))?;
        Ok(Self {
            certificate,
            key,
            resolver: Arc::new(certified.into()),
        })
    }

    fn changed(&self) -> Option<Self> {
        let (certificate, key) = (self.certificate.changed(), self.key.changed());
        if certificate.is_none() && key.is_none() {
            return None;
        }
        Self::new(
            certificate.unwrap_or_else(|| self.certificate.clone()),
            key.unwrap_or_else(|| self.key.clone()),
        )
        .ok()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("pem", &self.pem)
            .field("count", &self.store.len())
            .finish()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

fn path(pem: &Pem) -> Option<PathBuf> {
    pem.path().map(ToOwned::to_owned)
}

fn of_certificate(pem: &Pem) -> Kind {
    Kind::InvalidCertificate { path: path(pem) }
}

/// Reads all certificates, of which there is at least one.
fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, OtlpError> {
    // Not the cause itself, which may quote a key that was mistaken for a certificate.
    let invalid = |why: &'static str| OtlpError::caused(of_certificate(pem), why);
    let certificates = CertificateDer::pem_slice_iter(pem.text())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| invalid("its PEM is malformed"))?;
    if certificates.is_empty() {
        return Err(invalid("there is no PEM of a certificate"));
    }
    Ok(certificates)
}

/// Reads the authorities that this machine trusts.
fn platform() -> Result<Arc<RootCertStore>, OtlpError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (_, _) = store.add_parsable_certificates(found.certs); // systems carry some odd ones
    if store.is_empty() {
        let problem = TlsProblem::NoAuthorities;
        let kind = Kind::Tls { problem };
        return Err(match found.errors.into_iter().next() {
            Some(error) => OtlpError::caused(kind, error),
            None => OtlpError::new(kind),
        });
    }
    Ok(Arc::new(store))
}
