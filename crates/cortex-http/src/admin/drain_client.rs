use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use cortex_core::{Clock, SystemClock};

/// Starts the drain of a service by its admin port, without a runtime: for a `preStop` hook of Kubernetes, which can run a
/// program, but not send a POST.
///
/// It returns once the drain has begun, or had before: whoever is asked twice drains once, and the SIGTERM that follows the
/// hook is no second signal. The timeout is for everything after the lookup of a host name.
///
/// # Errors
///
/// The address does not resolve, nobody answers in time, or the answer is a refusal or no HTTP.
///
/// # Examples
///
/// In the service's `main`, for `lifecycle.preStop.exec.command: ["/shop", "drain"]`:
///
/// ```
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// fn drain(addr: &str, token: Option<&str>) -> ExitCode {
///     match cortex_http::drain(addr, token, Duration::from_secs(1)) {
///         Ok(()) => ExitCode::SUCCESS,
///         Err(error) => {
///             eprintln!("failed to {error}");
///             ExitCode::FAILURE
///         }
///     }
/// }
///
/// let unbound = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again
/// assert_eq!(drain(&unbound.to_string(), None), ExitCode::FAILURE);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn drain(addr: impl ToSocketAddrs, token: Option<&str>, timeout: Duration) -> Result<(), DrainError> {
    if token.is_some_and(|token| token.bytes().any(|byte| !byte.is_ascii_graphic())) {
        return Err(DrainError::InvalidToken);
    }
    let deadline = SystemClock.now().checked_add(timeout);
    let addresses = addr.to_socket_addrs().map_err(DrainError::Connect)?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let connected = remaining(deadline).and_then(|left| TcpStream::connect_timeout(&address, left));
        match connected {
            Ok(stream) => return ask(stream, &address, token, deadline),
            Err(error) => failure = error,
        }
    }
    Err(DrainError::Connect(failure))
}

/// Why a [`drain`] was not started.
///
/// # Examples
///
/// ```
/// use cortex_http::DrainError;
/// use std::time::Duration;
///
/// let error = cortex_http::drain("127.0.0.1:1", Some("to ken"), Duration::from_secs(1)).unwrap_err();
/// assert!(matches!(error, DrainError::InvalidToken));
/// assert!(!error.to_string().contains("to ken"), "it is a secret all the same");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DrainError {
    /// The token has characters that no token has.
    InvalidToken,
    /// No connection.
    Connect(io::Error),
    /// The connection broke or stayed silent.
    Exchange(io::Error),
    /// The answer was not HTTP/1.
    Malformed,
    /// The answer was a refusal of this status.
    Refused(u16),
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidToken => f.write_str("send the token: it may hold no blanks and nothing but ASCII"),
            Self::Connect(_) => f.write_str("connect to the admin port"),
            Self::Exchange(_) => f.write_str("get an answer from the admin port"),
            Self::Malformed => f.write_str("understand the admin port: the answer is not HTTP/1"),
            Self::Refused(status) => {
                f.write_str("start the drain: ")?;
                match status {
                    401 => f.write_str("the token is missing or wrong (401)"),
                    403 => f.write_str("the port allows it to nobody without a token (403)"),
                    404 => f.write_str("no admin port listens there (404)"),
                    status => write!(f, "the answer was {status}"),
                }
            }
        }
    }
}

impl std::error::Error for DrainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Exchange(error) => Some(error),
            Self::InvalidToken | Self::Malformed | Self::Refused(_) => None,
        }
    }
}

fn ask(
    mut stream: TcpStream,
    address: &SocketAddr,
    token: Option<&str>,
    deadline: Option<Instant>,
) -> Result<(), DrainError> {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST /drain HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}Content-Length: 0\r\n\r\n"
    );
    set_timeouts(&stream, deadline)
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(DrainError::Exchange)?;
    let mut head = [0; 12]; // "HTTP/1.1 202"
    let mut filled = 0;
    while filled < head.len() {
        set_timeouts(&stream, deadline).map_err(DrainError::Exchange)?;
        match stream.read(&mut head[filled..]) {
            Ok(0) => return Err(DrainError::Malformed),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DrainError::Exchange(error)),
        }
    }
    match status(head) {
        Some(202 | 409) => Ok(()),
        Some(status) => Err(DrainError::Refused(status)),
        None => Err(DrainError::Malformed),
    }
}

/// Reads a status line (RFC 9112, section 4).
fn status(head: [u8; 12]) -> Option<u16> {
    let [minor, b' ', code @ ..] = head.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let are_digits = minor.is_ascii_digit() && code.iter().all(u8::is_ascii_digit);
    are_digits.then(|| str::from_utf8(code).ok()?.parse().ok())?
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LONG: Duration = Duration::from_secs(20);

    fn answered(answer: &'static [u8]) -> Result<(), DrainError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        let drained = drain(addr, Some("0123456789abcdef"), LONG);
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /drain HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("\r\nAuthorization: Bearer 0123456789abcdef\r\n"),
            "{request}"
        );
        drained
    }

    #[test]
    fn understands_what_is_answered() {
        assert!(answered(b"HTTP/1.1 202 Accepted\r\n\r\n").is_ok());
        assert!(answered(b"HTTP/1.1 409 Conflict\r\n\r\n").is_ok());
        for (answer, said) in [
            (&b"HTTP/1.1 401 Unauthorized\r\n\r\n"[..], "wrong (401)"),
            (b"HTTP/1.0 403 Forbidden\r\n\r\n", "without a token (403)"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "no admin port"),
            (b"HTTP/1.1 503 x\r\n\r\n", "the answer was 503"),
            (b"HTTP/1.1 2x2 x\r\n\r\n", "not HTTP/1"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1"),
            (b"HTTP/1.1", "not HTTP/1"),
        ] {
            let error = answered(answer).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn waits_no_longer_than_it_is_told_and_lets_nothing_into_the_head() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = silent.local_addr().unwrap();
        let error = drain(addr, None, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, DrainError::Exchange(_)), "{error:?}");
        let error = drain(addr, None, Duration::ZERO).unwrap_err();
        assert!(matches!(error, DrainError::Connect(_)), "{error:?}");
        let error = drain(addr, Some("x\r\nHost: y"), LONG).unwrap_err();
        assert!(matches!(error, DrainError::InvalidToken), "{error:?}");
    }
}
