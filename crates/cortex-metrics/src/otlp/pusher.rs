use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cortex_core::Clock;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::answer::{Failure, Rejection, judge};
use super::encode::{Encoded, Frame};
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
    /// One permit: an encoding that hangs costs one thread, however often it is asked for again.
    pub(super) turn: Arc<Semaphore>,
}

/// Numbers of one moment, ready to be sent.
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
    ///
    /// There are several if they are too many for one request, and none if there are no numbers.
    pub(super) async fn read(&self, until: Instant) -> Result<Vec<Payload>, OtlpError> {
        let source = self.clone();
        let encoding = async {
            let permit = Arc::clone(&source.turn).acquire_owned().await;
            spawn_blocking(move || {
                let _permit = permit; // until it is encoded, also if nobody waits any more
                source.encode()
            })
            .await
        };
        match timeout_at(until, encoding).await {
            Ok(encoded) => encoded.map_err(|error| OtlpError::caused(Kind::Encode, error.into())),
            Err(_) => Err(OtlpError::new(Kind::TimedOut)),
        }
    }

    fn encode(&self) -> Vec<Payload> {
        let encoded = self.frame.encode(&self.registry, self.clock.wall());
        let payload = |Encoded { bytes, points }| {
            let compressed = self.gzip.then(|| gzip(&bytes)).flatten();
            Payload {
                is_gzip: compressed.is_some(),
                bytes: compressed.unwrap_or(bytes).into(),
                points,
            }
        };
        encoded.into_iter().map(payload).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use cortex_core::SystemClock;
    use parking_lot::Mutex;

    use super::*;
    use crate::Samples;

    #[tokio::test]
    async fn a_collector_that_hangs_costs_one_thread() {
        let ((entered, enters), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        let released = Mutex::new(released);
        let registry = Registry::default();
        registry.register_collector(move |_: &mut Samples<'_>| {
            entered.send(()).unwrap();
            let _ = released.lock().recv();
        });
        let source = Source {
            registry,
            frame: Arc::new(Frame {
                resource: Vec::new(),
                trims_units: false,
                max_bytes: 1000,
            }),
            clock: Arc::new(SystemClock),
            gzip: false,
            turn: Arc::new(Semaphore::new(1)),
        };
        for _ in 0..3 {
            let error = source.read(Instant::now()).await.unwrap_err();
            assert!(matches!(error.kind(), Kind::TimedOut), "{error}");
        }
        drop(release); // neither the first one nor any after it hangs now
        let late = Instant::now() + Duration::from_mins(1);
        source.read(late).await.unwrap();
        assert_eq!(enters.try_iter().count(), 2);
    }
}
