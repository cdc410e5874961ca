use std::fmt;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::connector::ConnectError;
use super::error::{BoxError, Error};

/// Whom to trust, and who we are.
pub(super) struct Tls {
    roots: Option<Arc<RootCertStore>>,
    identity: Option<Arc<SingleCertAndKey>>,
    protocols: &'static [&'static [u8]],
    /// Made for the first connection: what a machine trusts is read from disk, and many clients never need it.
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(
        roots: Option<&[u8]>,
        identity: Option<&(Vec<u8>, Vec<u8>)>,
        protocols: &'static [&'static [u8]],
    ) -> Result<Self, Error> {
        Ok(Self {
            roots: roots.map(read_roots).transpose()?,
            identity: identity
                .map(|(chain, key)| read_identity(chain, key))
                .transpose()?,
            protocols,
            config: OnceCell::new(),
        })
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let failed = |error: BoxError| ConnectError::Tls(error);
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let name =
            ServerName::try_from(address.unwrap_or(host).to_owned()).map_err(|error| failed(error.into()))?;
        let config = self
            .config
            .get_or_try_init(|| self.make())
            .await
            .map_err(failed)?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        handshake.await.map_err(|error| failed(error.into()))
    }

    async fn make(&self) -> Result<Arc<ClientConfig>, BoxError> {
        let roots = match &self.roots {
            Some(roots) => Arc::clone(roots),
            None => tokio::task::spawn_blocking(platform).await??,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = self.identified(builder);
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn identified(&self, builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
        match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
            None => builder.with_no_client_auth(),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("has_own_roots", &self.roots.is_some())
            .field("has_identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads the authorities that this machine trusts.
fn platform() -> Result<Arc<RootCertStore>, BoxError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let _ = store.add_parsable_certificates(found.certs); // systems carry some odd ones
    if store.is_empty() {
        let none = "this machine trusts no authority: install its certificates, or give some to the client";
        return Err(match found.errors.into_iter().next() {
            Some(error) => error.into(),
            None => none.into(),
        });
    }
    Ok(Arc::new(store))
}

fn read_roots(pem: &[u8]) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        let added = store.add(certificate);
        added.map_err(|error| {
            Error::configuration("a certificate of an authority cannot be used").caused(error)
        })?;
    }
    Ok(Arc::new(store))
}

fn read_identity(chain: &[u8], key: &[u8]) -> Result<Arc<SingleCertAndKey>, Error> {
    let chain = certificates(chain)?;
    // Not the cause itself, which may quote the key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        Error::configuration("there is no private key in PEM without a passphrase in what was given")
    })?;
    let signing = ring::default_provider().key_provider.load_private_key(key);
    let signing = signing.map_err(|_| {
        Error::configuration("the private key is malformed, or of a kind that is not supported")
    })?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| {
        Error::configuration("the certificate and the private key do not belong together").caused(error)
    })?;
    Ok(Arc::new(certified.into()))
}

/// Reads all certificates, of which there is at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    // Not the cause itself, which may quote a key that was mistaken for a certificate.
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|_| Error::configuration("the PEM of a certificate is malformed"))?;
    if certificates.is_empty() {
        return Err(Error::configuration(
            "there is no certificate in PEM in what was given",
        ));
    }
    Ok(certificates)
}
