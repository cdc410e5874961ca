use std::time::Duration;

use crate::{Error, ErrorKind};

/// What one connection and one request may cost; a client that exceeds it is answered or closed, and counted.
///
/// `http_server_request_outcomes` counts what happens to requests, `http_server_connection_errors` what happens outside of
/// them, by `kind`:
///
/// | kind | |
/// |---|---|
/// | `accept` | no connection could be accepted, mostly for want of file descriptors |
/// | `per_peer` | a peer had as many connections as it may |
/// | `untrusted_proxy`, `proxy_header` | who connects is no trusted proxy, or does not begin with the PROXY protocol |
/// | `tls`, `tls_alert`, `tls_client_certificate` | no TLS or none in common; the client refuses ours; we refuse the client's |
/// | `first_byte_timeout`, `handshake_timeout`, `header_timeout` | the client is too slow |
/// | `write_stall`, `stream_stall` | it takes nothing of a response: on its connection, on a stream of HTTP/2 |
/// | `bad_request` | a head that cannot be read, or that HTTP does not allow: then it is an outcome, too |
/// | `header_too_large`, `incomplete_message` | a head that is too large, is not whole |
/// | `http2_flood`, `http2_protocol`, `http2_remote` | frames that cost too much, that are forbidden; the client gave up |
/// | `response_body`, `io` | the body of a response failed; the network did |
///
/// # Examples
///
/// ```
/// use cortex_http::Limits;
/// use std::time::Duration;
///
/// let limits = Limits::new().connections(500).header(Duration::from_secs(2)).body_bytes(1 << 20);
/// assert_ne!(format!("{limits:?}"), format!("{:?}", Limits::new()));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(crate) connections: usize,
    pub(crate) first_byte: Duration,
    pub(crate) header: Duration,
    pub(crate) idle: Duration,
    pub(crate) write_stall: Duration,
    pub(crate) header_bytes: usize,
    pub(crate) body: Duration,
    pub(crate) body_bytes: u64,
    pub(crate) streams: u32,
    /// axum's extractors take as much as `body_bytes` says.
    pub(crate) extractors: bool,
    pub(crate) handshake: Duration,
    pub(crate) per_peer: Option<u32>,
    pub(crate) max_age: Option<Duration>,
}

impl Limits {
    /// Returns the defaults named at each setter.
    pub fn new() -> Self {
        Self {
            connections: default_connections(),
            first_byte: Duration::from_secs(5),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            header_bytes: 32 << 10,
            body: Duration::from_mins(1),
            body_bytes: 16 << 20,
            streams: 256,
            extractors: false,
            handshake: Duration::from_secs(10),
            per_peer: None,
            max_age: None,
        }
    }

    /// Serves at most this many connections at once; more wait in the kernel's backlog. Default 10,000, or 80 % of the
    /// process's file descriptors where that is less.
    #[must_use]
    pub const fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// Closes a connection that sends nothing for this long after it was accepted. Default 5 s.
    #[must_use]
    pub const fn first_byte(mut self, limit: Duration) -> Self {
        self.first_byte = limit;
        self
    }

    /// Answers 408 to a request head that is not whole this long after its first byte; or, where that came while the request
    /// before was still being answered, after that answer. Default 5 s.
    #[must_use]
    pub const fn header(mut self, limit: Duration) -> Self {
        self.header = limit;
        self
    }

    /// Closes a kept-alive connection after this long without a request. Default 75 s, longer than load balancers' 60. On
    /// HTTP/2 it says GOAWAY first, and waits 5 s for its client to go.
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit;
        self
    }

    /// Closes a connection whose client takes no byte of the response for this long. Default 30 s. On HTTP/2 a stream that
    /// gets no window for this long is reset too, while the others go on; if its client takes them meanwhile, it gets up to
    /// ten times as long.
    ///
    /// A client that reads 128 KiB within the limit, 4 KiB/s by default, is not cut off.
    #[must_use]
    pub const fn write_stall(mut self, limit: Duration) -> Self {
        self.write_stall = limit;
        self
    }

    /// Answers 431 to a request head larger than this. Default 32 KiB; at least 8 KiB.
    #[must_use]
    pub const fn header_bytes(mut self, bytes: usize) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// Answers 408 to a request body that is not whole this long after its head. Default 1 min.
    #[must_use]
    pub const fn body(mut self, limit: Duration) -> Self {
        self.body = limit;
        self
    }

    /// Answers 413 to a request body larger than this. Default 16 MiB for handlers that read it piece by piece; axum's
    /// extractors, which hold it whole, take 2 MB. Once it is set, it is the limit of both, but where a
    /// `DefaultBodyLimit` within the router says otherwise. Where a layer in between decodes the body, extractors count
    /// what is decoded.
    ///
    /// A body that declares to be larger is refused before its handler runs, and before the client of an
    /// `Expect: 100-continue` sends it.
    #[must_use]
    pub const fn body_bytes(mut self, bytes: u64) -> Self {
        self.body_bytes = bytes;
        self.extractors = true;
        self
    }

    /// Serves at most this many requests at once on one HTTP/2 connection. Default 256.
    #[must_use]
    pub const fn streams(mut self, count: u32) -> Self {
        self.streams = count;
        self
    }

    /// Closes a connection whose handshake of TLS is not over this long after it was accepted. Default 10 s, time for a
    /// few round trips of a slow network; the first byte of it has its [own limit](Self::first_byte).
    #[must_use]
    pub const fn handshake(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Serves at most this many connections at once of one peer, and closes what exceeds it, before the handshake of TLS.
    /// Default: no limit, as many clients may stand behind one address. An upgraded connection counts until it is closed.
    ///
    /// A peer is an address of IPv4, or a network of 64 bits of IPv6, which is what one customer has at least. Behind a
    /// proxy all clients are one peer, unless it says who they are by the [PROXY
    /// protocol](crate::Listener::proxy_protocol). Unix sockets have no peers.
    #[must_use]
    pub const fn per_peer(mut self, count: u32) -> Self {
        self.per_peer = Some(count);
        self
    }

    /// Ends a connection this long after it was accepted, by up to 10 % more or less, so that those of one moment do not
    /// end in one. Default: never. It lets clients that keep connections for ever find instances that were added.
    ///
    /// No request is lost by it. On HTTP/1 the next response says `connection: close`; a connection that is idle then is
    /// ended by its next response, or the [idle](Self::idle) limit. On HTTP/2 GOAWAY is sent, and open streams go on.
    #[must_use]
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        let wrong = if self.connections == 0 || self.streams == 0 || self.per_peer == Some(0) {
            "no connections or streams are allowed: allow at least one"
        } else if self.header_bytes < 8 << 10 {
            "header_bytes is too small: allow at least 8192"
        } else if [
            self.first_byte,
            self.header,
            self.idle,
            self.write_stall,
            self.body,
            self.handshake,
            self.max_age.unwrap_or(LONGEST),
        ]
        .contains(&Duration::ZERO)
        {
            "a time limit is zero: allow at least a millisecond"
        } else {
            let clamp = |limit: Duration| limit.min(LONGEST);
            return Ok(Self {
                first_byte: clamp(self.first_byte),
                header: clamp(self.header),
                idle: clamp(self.idle),
                write_stall: clamp(self.write_stall),
                body: clamp(self.body),
                handshake: clamp(self.handshake),
                max_age: self.max_age.map(clamp),
                ..self
            });
        };
        Err(Error::new(ErrorKind::Limits, wrong, None))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// As good as never, and far from overflowing when it is added to an instant.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

fn default_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    open_files(&limits).map_or(MOST, |files| (files / 5 * 4).clamp(1, MOST))
}

const MOST: usize = 10_000;

/// Reads the soft limit of open files; `None` if it is unlimited or the text is not Linux's.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_file_descriptors_for_the_rest_of_the_process() {
        assert_eq!(
            open_files("Limit  Soft\nMax open files            1024    4096   files\n"),
            Some(1024)
        );
        assert_eq!(
            open_files("Max open files            unlimited unlimited files\n"),
            None
        );
        assert_eq!(open_files(""), None);
        assert!((1..=MOST).contains(&default_connections()));
    }

    #[test]
    fn limits_that_would_serve_nobody_are_refused() {
        let never = Limits::new().idle(Duration::MAX).checked().unwrap();
        assert_eq!(never.idle, LONGEST);
        for wrong in [
            Limits::new().connections(0),
            Limits::new().streams(0),
            Limits::new().header_bytes(100),
            Limits::new().idle(Duration::ZERO),
            Limits::new().handshake(Duration::ZERO),
            Limits::new().max_age(Duration::ZERO),
            Limits::new().per_peer(0),
        ] {
            assert_eq!(wrong.checked().unwrap_err().kind(), ErrorKind::Limits);
        }
        let limits = Limits::default().first_byte(Duration::ZERO);
        assert!(limits.checked().unwrap_err().to_string().contains("zero"));
    }
}
