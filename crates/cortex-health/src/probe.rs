use cortex_core::{Clock, SystemClock};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Asks a probe endpoint over HTTP, without a runtime: for a `healthcheck` command in an image that has no curl.
///
/// Any status from 200 to 399 is a success, as it is for the kubelet. The timeout is for everything after the lookup
/// of a host name.
///
/// # Errors
///
/// The address does not resolve, nobody answers in time, or the answer is a failure or no HTTP.
///
/// # Examples
///
/// In the service's `main`, for `HEALTHCHECK CMD ["/shop", "healthcheck"]` in a Dockerfile:
///
/// ```
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// fn healthcheck(addr: &str) -> ExitCode {
///     match cortex_health::probe(addr, "/readyz", Duration::from_millis(800)) {
///         Ok(()) => ExitCode::SUCCESS,
///         Err(error) => {
///             eprintln!("failed to {error}");
///             ExitCode::FAILURE
///         }
///     }
/// }
///
/// let unbound = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again
/// assert_eq!(healthcheck(&unbound.to_string()), ExitCode::FAILURE);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn probe(addr: impl ToSocketAddrs, path: &str, timeout: Duration) -> Result<(), ProbeError> {
    if !path.starts_with('/') || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(ProbeError::InvalidPath);
    }
    let deadline = SystemClock.now().checked_add(timeout);
    let addresses = addr.to_socket_addrs().map_err(ProbeError::Connect)?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match connect(&address, deadline) {
            Ok(stream) => return ask(stream, &address, path, deadline),
            Err(error) => failure = error,
        }
    }
    Err(ProbeError::Connect(failure))
}

/// Why a [`probe`] failed.
///
/// # Examples
///
/// ```
/// use cortex_health::{ProbeError, probe};
/// use std::time::Duration;
///
/// let error = probe("127.0.0.1:1", "no slash", Duration::from_secs(1)).unwrap_err();
/// assert!(matches!(error, ProbeError::InvalidPath));
/// assert_eq!(error.to_string(), "ask for the path: it must start with `/` and hold no blanks");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeError {
    /// The path does not start with a slash, or holds what must be escaped.
    InvalidPath,
    /// No connection.
    Connect(io::Error),
    /// The connection broke or stayed silent.
    Exchange(io::Error),
    /// The answer was not HTTP/1.
    Malformed,
    /// The answer was a failure.
    Status(u16),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPath => f.write_str("ask for the path: it must start with `/` and hold no blanks"),
            Self::Connect(_) => f.write_str("connect to the probe endpoint"),
            Self::Exchange(_) => f.write_str("get an answer from the probe endpoint"),
            Self::Malformed => f.write_str("understand the probe endpoint: the answer is not HTTP/1"),
            Self::Status(status) => write!(f, "pass the probe: the answer was {status}"),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Exchange(error) => Some(error),
            Self::InvalidPath | Self::Malformed | Self::Status(_) => None,
        }
    }
}

fn ask(
    mut stream: TcpStream,
    address: &SocketAddr,
    path: &str,
    deadline: Option<Instant>,
) -> Result<(), ProbeError> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n");
    set_timeouts(&stream, deadline).map_err(ProbeError::Exchange)?;
    stream
        .write_all(request.as_bytes())
        .map_err(ProbeError::Exchange)?;

    let mut head = [0; 13]; // "HTTP/1.1 200 "
    let mut filled = 0;
    while filled < head.len() {
        set_timeouts(&stream, deadline).map_err(ProbeError::Exchange)?;
        match stream.read(&mut head[filled..]) {
            Ok(0) => return Err(ProbeError::Malformed),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ProbeError::Exchange(error)),
        }
    }
    match status(head) {
        Some(200..400) => Ok(()),
        Some(status) => Err(ProbeError::Status(status)),
        None => Err(ProbeError::Malformed),
    }
}

/// Reads a status line (RFC 9112, section 4); some servers end it after the code.
fn status(head: [u8; 13]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    match rest {
        [minor, b' ', code @ .., b' ' | b'\r'] if minor.is_ascii_digit() => {
            let code = str::from_utf8(code).ok()?;
            code.bytes()
                .all(|digit| digit.is_ascii_digit())
                .then(|| code.parse().ok())?
        }
        _ => None,
    }
}

fn connect(address: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(address, remaining(deadline)?)
}

fn set_timeouts(stream: &TcpStream, deadline: Option<Instant>) -> io::Result<()> {
    let remaining = remaining(deadline)?;
    stream.set_read_timeout(Some(remaining))?;
    stream.set_write_timeout(Some(remaining))
}

/// The time that is left, never zero: to the socket that would mean for ever.
fn remaining(deadline: Option<Instant>) -> io::Result<Duration> {
    const LONG: Duration = Duration::from_hours(24 * 365); // a timeout that no clock can hold
    let remaining = deadline.map_or(LONG, |deadline| {
        deadline.saturating_duration_since(SystemClock.now())
    });
    if remaining.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(remaining)
}
