//! Encoders of other crates, and a reader of decoded bodies.

use crate::support::{Broken, Script, drive};
use bytes::Bytes;
use cortex_compress::{Coding, DecodeError, DecompressBody, DecompressError, ResponseDecompressionLayer};
use cortex_core::{Clock, SystemClock};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use std::convert::Infallible;
use std::future::ready;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tower::{Layer, Service, service_fn};

/// A clock that goes on whenever somebody looks at it.
pub(super) struct Ticking {
    nanos: AtomicU64,
    tick: Duration,
}

impl Ticking {
    pub(super) fn new(tick: Duration) -> Self {
        Self {
            nanos: AtomicU64::new(1),
            tick,
        }
    }
}

impl Clock for Ticking {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }

    fn nanos(&self) -> u64 {
        let tick = self.tick.as_nanos().try_into().unwrap();
        self.nanos.fetch_add(tick, Ordering::Relaxed)
    }
}

/// Encodes with an encoder that is not ours.
pub(super) fn encode(coding: Coding, data: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Br => {
            let mut encoded = Vec::new();
            let params = brotli::enc::BrotliEncoderParams {
                quality: 3,
                ..Default::default()
            };
            brotli::BrotliCompress(&mut &*data, &mut encoded, &params).unwrap();
            encoded
        }
        Coding::Zstd => {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        other => panic!("no encoder for {other}"),
    }
}

/// A decoded body, read as far as it goes.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) frames: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) error: Option<DecompressError<Broken>>,
    pub(super) stalled: bool,
    pub(super) pending: usize,
    /// The most bytes that came between two polls that were pending.
    pub(super) burst: usize,
}

impl Decoded {
    pub(super) fn data(&self) -> Vec<u8> {
        self.frames.concat()
    }

    pub(super) fn decode_error(&self) -> Option<&DecodeError> {
        match &self.error {
            Some(DecompressError::Decode(error)) => Some(error),
            _ => None,
        }
    }
}

pub(super) fn read(body: DecompressBody<Script>) -> Decoded {
    read_with(body, |all, data| all.frames.push(data))
}

/// Reads a body, and counts what it yields only.
pub(super) fn count(body: DecompressBody<Script>) -> (u64, Decoded) {
    let mut total = 0;
    let decoded = read_with(body, |_, data| total += data.len() as u64);
    (total, decoded)
}

fn read_with(mut body: DecompressBody<Script>, mut take: impl FnMut(&mut Decoded, Bytes)) -> Decoded {
    let mut all = Decoded::default();
    let mut burst = 0;
    loop {
        let (next, pending) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
        all.pending += pending;
        if pending > 0 {
            burst = 0;
        }
        match next {
            None => {
                all.stalled = true;
                return all;
            }
            Some(None) => {
                assert!(body.is_end_stream());
                return all;
            }
            Some(Some(Err(error))) => {
                all.error = Some(error);
                let (after, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
                assert!(matches!(after, Some(None)), "nothing comes after an error");
                assert!(body.is_end_stream());
                return all;
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty());
                    burst += data.len();
                    all.burst = all.burst.max(burst);
                    take(&mut all, data);
                }
                Err(frame) => all.trailers = frame.into_trailers().ok(),
            },
        }
    }
}

/// Gets a response through a layer.
pub(super) fn fetch(
    layer: &ResponseDecompressionLayer,
    request: Request<()>,
    response: Response<Script>,
) -> Response<DecompressBody<Script>> {
    let mut response = Some(response);
    let server =
        service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(response.take().expect("one request"))));
    let mut future = layer.layer(server).call(request);
    let (response, _) = drive(|cx| Pin::new(&mut future).poll(cx));
    response.expect("the response stalled").unwrap()
}

/// Decodes a body of these codings.
pub(super) fn body(
    layer: &ResponseDecompressionLayer,
    codings: &str,
    script: Script,
) -> DecompressBody<Script> {
    let response = Response::builder()
        .header("content-encoding", codings)
        .body(script);
    fetch(layer, Request::new(()), response.unwrap()).into_body()
}

/// Decodes a whole body of these codings with the default limits.
pub(super) fn decode(codings: &str, data: impl Into<Bytes>) -> Decoded {
    read(body(
        &ResponseDecompressionLayer::new(),
        codings,
        Script::whole(data),
    ))
}
