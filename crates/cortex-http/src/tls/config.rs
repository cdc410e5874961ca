use std::fmt;
use std::hash::RandomState;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_rustls::rustls::ServerConfig;

use super::certificate::{ClientCa, Files};
use crate::error::Error;

/// The server's side of TLS: a certificate, which can be replaced while the service runs, and what to ask of clients.
///
/// TLS 1.3 and 1.2 are spoken, and HTTP/2 or HTTP/1.1 by ALPN. A clone is the same one: keep one to
/// [`reload`](Self::reload) it. While a server runs it looks at the files by itself, and it reloads them at SIGHUP.
///
/// # Examples
///
/// ```no_run
/// # async fn run() -> Result<(), cortex_http::Error> {
/// use cortex_http::{Listener, Routes, Server, Tls};
///
/// let tls = Tls::pem_files("/etc/tls/tls.crt", "/etc/tls/tls.key")?;
/// let server = Server::new(Routes::new()).listen(Listener::tcp("0.0.0.0:8443").tls(tls));
/// server.serve("127.0.0.1:8080").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Tls {
    identity: Arc<Identity>,
    check_every: Duration,
}

struct Identity {
    /// None for a configuration that was given as such.
    files: Option<Files>,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Clone)]
struct State {
    config: Arc<ServerConfig>,
    /// The fingerprint of what it was made of.
    loaded: u64,
    /// The fingerprint of what could not be used: it is told once.
    refused: Option<u64>,
}

impl Tls {
    /// Takes the certificate of the server, with those between it and the authority after it, and its private key, from
    /// files of PEM.
    ///
    /// # Errors
    ///
    /// A file cannot be read or holds something else, or the key is not that of the certificate.
    pub fn pem_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::of(Files {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
        })
    }

    /// Takes a configuration of rustls as it is: with an empty `alpn_protocols`, clients that ask for HTTP/2 by ALPN do not
    /// get it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn run(resolver: std::sync::Arc<dyn cortex_http::rustls::server::ResolvesServerCert>) -> cortex_http::Tls {
    /// use cortex_http::{Tls, rustls::ServerConfig};
    ///
    /// let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    /// config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    /// Tls::from_config(config.into())
    /// # }
    /// ```
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self::with(
            None,
            State {
                config,
                loaded: 0,
                refused: None,
            },
            RandomState::new(),
        )
    }

    fn of(files: Files) -> Result<Self, Error> {
        let hasher = RandomState::new();
        let contents = files.read()?;
        let state = State {
            config: files.config(&contents)?,
            loaded: contents.fingerprint(&hasher),
            refused: None,
        };
        Ok(Self::with(Some(files), state, hasher))
    }

    fn with(files: Option<Files>, state: State, hasher: RandomState) -> Self {
        Self {
            identity: Arc::new(Identity {
                files,
                hasher,
                state: Mutex::new(state),
            }),
            check_every: Duration::from_mins(1),
        }
    }

    /// Asks clients for a certificate that one of these authorities has signed, from a file of PEM. If it is required, a
    /// client without one is turned away; if not, only one with a wrong one is. Revocation is not looked at. Handlers see
    /// it as [`ClientCertificate`](crate::ClientCertificate).
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds something else, or this was made [from a configuration](Self::from_config), which
    /// says itself what is asked of clients.
    pub fn client_ca(self, path: impl Into<PathBuf>, required: bool) -> Result<Self, Error> {
        let Some(files) = &self.identity.files else {
            let message = "ask clients for certificates: the configuration of rustls has to say so";
            return Err(Error::new(crate::ErrorKind::Tls, message, None));
        };
        let path = path.into();
        let changed = Self::of(Files {
            client_ca: Some(ClientCa { path, required }),
            ..files.clone()
        })?;
        Ok(changed.check_every(self.check_every))
    }

    /// Looks at the files this often while a server runs, and takes what has changed. Default 1 min.
    #[must_use]
    pub fn check_every(mut self, period: Duration) -> Self {
        self.check_every = period.max(Duration::from_millis(1));
        self
    }

    /// Reads the files again: connections that begin from now on get the new certificate, those that are open keep theirs.
    /// It blocks on the files. Nothing happens to a configuration that was given as such.
    ///
    /// # Errors
    ///
    /// As [`pem_files`](Self::pem_files); the certificate from before stays.
    pub fn reload(&self) -> Result<(), Error> {
        self.reload_if(|_, _| true)
    }

    /// Reads the files again, and takes them if they are others than those that were looked at last.
    pub(super) fn reload_changed(&self) -> Result<(), Error> {
        self.reload_if(|state, found| found != state.loaded && Some(found) != state.refused)
    }

    fn reload_if(&self, wanted: impl FnOnce(&State, u64) -> bool) -> Result<(), Error> {
        let Some(files) = &self.identity.files else {
            return Ok(());
        };
        let contents = files.read()?;
        let found = contents.fingerprint(&self.identity.hasher);
        if !wanted(&self.state(), found) {
            return Ok(());
        }
        match files.config(&contents) {
            Ok(config) => {
                *self.state() = State {
                    config,
                    loaded: found,
                    refused: None,
                };
                tracing::info!(certificate = %files.certificate.display(), "certificate reloaded");
                Ok(())
            }
            Err(error) => {
                self.state().refused = Some(found);
                Err(error)
            }
        }
    }

    pub(super) const fn period(&self) -> Duration {
        self.check_every
    }

    pub(super) fn is_of_files(&self) -> bool {
        self.identity.files.is_some()
    }

    /// Returns what a connection that begins now is served with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state().config)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.identity.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.identity.files)
            .field("check_every", &self.check_every)
            .finish_non_exhaustive()
    }
}
