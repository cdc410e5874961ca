use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::report::StepEnd;

/// Says why a server did not start.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::{ErrorKind, Routes, Server};
///
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let error = Server::new(Routes::new()).start(taken.local_addr()?).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Bind);
/// assert!(error.to_string().contains("choose another port"));
/// # Ok::<(), std::io::Error>(()) })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Others than this machine could reach the admin port, and nobody has a token.
    Admin,
    /// The address cannot be listened on.
    Bind,
    /// A socket that somebody else opened is not there, or none to listen on.
    Inherited,
    /// A limit or a time of the configuration makes no sense.
    Limits,
    /// The times of the end do not fit into the grace period.
    Lifecycle,
    /// A metric of the service is registered already.
    Metrics,
    /// A proxy to trust is neither an address nor a network.
    Proxy,
    /// A subsystem did not start.
    Startup,
    /// The operating system refused a thread or a signal handler.
    System,
    /// A certificate or a key cannot be read or used.
    #[cfg(feature = "tls")]
    Tls,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>, source: Option<io::Error>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: source.map(Into::into),
        }
    }

    pub(crate) fn bind(addr: impl fmt::Display, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => ": it is in use; stop what listens there, or choose another port",
            io::ErrorKind::PermissionDenied => ": not permitted; choose a port above 1023",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            io::ErrorKind::InvalidInput => ": expected an address and a port, as in 127.0.0.1:8080",
            _ => ": check the address",
        };
        Self::new(ErrorKind::Bind, format!("listen on {addr}{hint}"), Some(source))
    }

    pub(crate) fn open_admin(addr: impl fmt::Display) -> Self {
        let message = format!(
            "serve the admin port on {addr}: others than this machine can reach it, and nobody has a token; set Admin::token, \
             or bind it to loopback and open Admin::probes(addr), with probe_metrics(true) for a scraper"
        );
        Self::new(ErrorKind::Admin, message, None)
    }

    pub(crate) fn bind_unix(path: &Path, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another process listens there, or it is no socket; choose another path"
            }
            io::ErrorKind::InvalidInput => "choose a shorter path, about 100 bytes at most",
            _ => "the directory must exist and be writable",
        };
        let message = format!("listen on unix:{}: {hint}", path.display());
        Self::new(ErrorKind::Bind, message, Some(source))
    }

    pub(crate) fn system(what: &str, source: io::Error) -> Self {
        Self::new(ErrorKind::System, what, Some(source))
    }

    pub(crate) fn startup(
        subsystem: &str,
        end: &StepEnd,
        limit: Duration,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let how = match end {
            StepEnd::TimedOut => format!("it took longer than {limit:?}"),
            StepEnd::Panicked => "it panicked".into(),
            _ => "it failed".into(),
        };
        let message = format!("start subsystem {subsystem}: {how}");
        Self {
            source,
            ..Self::new(ErrorKind::Startup, message, None)
        }
    }

    pub(crate) fn signals(source: io::Error) -> Self {
        Self::system("install the signal handlers", source)
    }

    /// Returns the kind, for decisions.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
