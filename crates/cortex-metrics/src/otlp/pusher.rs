use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cortex_core::Clock;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::answer::{Failure, Rejection, judge};
use super::encode::Frame;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::transport::Transport;
use super::{OtlpBody, worker};
use crate::Registry;

/// Turns what a registry has into requests.
#[derive(Debug)]
pub(super) struct Pusher {
    pub(super) source: Source,
    pub(super) transport: Transport,
    pub(super) endpoint: Uri,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
}

/// What is pushed.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) registry: Registry,
    pub(super) frame: Arc<Frame>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) gzip: bool,
}

/// The numbers of one moment, ready to be sent.
#[derive(Debug)]
pub(super) struct Payload {
    bytes: Bytes,
    is_gzip: bool,
    pub(super) points: u64,
}

impl Pusher {
    /// Sends one request and reads the answer.
    pub(super) async fn attempt(
        &mut self,
        payload: &Payload,
        until: Instant,
    ) -> Result<Option<Rejection>, Failure> {
        let deadline = worker::after(self.timeout).min(until);
        let answering = self.transport.send(self.request(payload));
        match timeout_at(deadline, answering).await {
            Ok(Ok(answer)) => judge(&answer, self.source.clock.wall()),
            Ok(Err(error)) => Err(Failure::transient(OtlpError::caused(Kind::Transport, error))),
            Err(_) => Err(Failure::transient(OtlpError::new(Kind::TimedOut))),
        }
    }

    fn request(&self, payload: &Payload) -> Request<OtlpBody> {
        let mut request = Request::new(OtlpBody::new(payload.bytes.clone()));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.endpoint);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if payload.is_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        request
    }
}

impl Source {
    /// Reads the numbers on a thread that may be blocked: collectors may take their time.
    pub(super) async fn read(&self, until: Instant) -> Result<Payload, OtlpError> {
        let source = self.clone();
        let encoding = spawn_blocking(move || source.encode());
        match timeout_at(until, encoding).await {
            Ok(encoded) => encoded.map_err(|error| OtlpError::caused(Kind::Encode, error.into())),
            Err(_) => Err(OtlpError::new(Kind::TimedOut)),
        }
    }

    fn encode(&self) -> Payload {
        let encoded = self.frame.encode(&self.registry, self.clock.wall());
        let points = encoded.points;
        let compressed = self.gzip.then(|| gzip(&encoded.bytes)).flatten();
        Payload {
            is_gzip: compressed.is_some(),
            bytes: compressed.unwrap_or(encoded.bytes).into(),
            points,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("registry", &self.registry)
            .field("frame", &self.frame)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "gzip")]
fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(not(feature = "gzip"))]
fn gzip(_: &[u8]) -> Option<Vec<u8>> {
    None
}
