//! A scripted body, a driver that counts wake-ups, and decoders.

use bytes::Bytes;
use cortex_compress::{Coding, CompressBody, CompressError, CompressionLayer};
use cortex_testkit::ManualClock;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tower::{Layer, Service, service_fn};

/// What a scripted body does at one poll.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Pending, with a wake-up at once.
    Pause,
    /// Pending for ever.
    Stall,
    Fail,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("read the disk")
    }
}

impl std::error::Error for Broken {}

#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) steps: VecDeque<Step>,
    pub(crate) exact: Option<u64>,
    /// How often it was polled.
    pub(crate) polls: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            ..Self::default()
        }
    }

    /// A body in one frame that knows its length, like those of axum.
    pub(crate) fn whole(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Self {
            exact: Some(data.len() as u64),
            ..Self::new([Step::Data(data)])
        }
    }

    pub(crate) fn exact(mut self, length: usize) -> Self {
        self.exact = Some(length as u64);
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => {
                self.exact = self.exact.map(|exact| exact.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Fail) => Poll::Ready(Some(Err(Broken))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Counts how often it was woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls until it is ready or pends without a wake-up: `None` then. Returns the number of pending polls, too.
pub(crate) fn drive<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> (Option<T>, usize) {
    let woken = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    for pending in 0.. {
        let before = woken.count();
        if let Poll::Ready(value) = poll(&mut cx) {
            return (Some(value), pending);
        }
        if woken.count() == before {
            return (None, pending + 1);
        }
    }
    unreachable!("the loop has no end")
}

/// A body, read as far as it goes.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<CompressError<Broken>>,
    /// It stalled: neither ready nor about to be.
    pub(crate) stalled: bool,
    pub(crate) pending: usize,
}

impl Received {
    pub(crate) fn data(&self) -> Vec<u8> {
        self.frames.concat()
    }
}

pub(crate) fn read(mut body: CompressBody<Script>) -> Received {
    let mut all = Received::default();
    loop {
        let hint = body.size_hint();
        let (next, pending) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
        all.pending += pending;
        match next {
            None => {
                all.stalled = true;
                return all;
            }
            Some(None) => {
                assert!(hint.lower() == 0, "a body that promised more ended");
                return all;
            }
            Some(Some(Err(error))) => {
                all.error = Some(error);
                let (after, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
                assert!(matches!(after, Some(None)), "nothing comes after an error");
                return all;
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => all.frames.push(data),
                Err(frame) => all.trailers = frame.into_trailers().ok(),
            },
        }
    }
}

/// Sends one request through a layer and returns the response of a handler.
pub(crate) fn respond(
    layer: &CompressionLayer,
    request: Request<()>,
    response: Response<Script>,
) -> Response<CompressBody<Script>> {
    ask(layer, request, response).0
}

/// Sends one request through a layer to a handler with this response, and tells whether it was called.
pub(crate) fn ask(
    layer: &CompressionLayer,
    request: Request<()>,
    response: Response<Script>,
) -> (Response<CompressBody<Script>>, bool) {
    let mut response = Some(response);
    let called = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&called);
    let handler = service_fn(
        move |_: Request<()>| -> Ready<Result<Response<Script>, Infallible>> {
            note.store(true, Ordering::Relaxed);
            ready(Ok(response.take().expect("one request")))
        },
    );
    let mut future = layer.layer(handler).call(request);
    let (response, _) = drive(|cx| Pin::new(&mut future).poll(cx));
    let response = response.expect("the response stalled").unwrap();
    (response, called.load(Ordering::Relaxed))
}

/// Encodes a body of plain text by the coding.
pub(crate) fn encode(coding: Coding, body: Script) -> Response<CompressBody<Script>> {
    let request = Request::builder()
        .header("accept-encoding", coding.as_str())
        .body(())
        .unwrap();
    let response = Response::builder()
        .header("content-type", "text/plain")
        .body(body)
        .unwrap();
    // With a clock that stands still, slices are as long as on any machine.
    let layer = CompressionLayer::new().clock(ManualClock::new());
    respond(&layer, request, response)
}

/// Decodes as far as it goes, and tells whether the stream has a valid end.
///
/// Nothing may come after that end: clients disagree on what becomes of it.
pub(crate) fn decode(coding: Coding, data: &[u8]) -> (Vec<u8>, bool) {
    let (decoded, read) = decode_first(coding, data);
    if let Some(read) = read {
        assert_eq!(
            data.len() - read,
            0,
            "{coding}: bytes after the end of the stream"
        );
    }
    (decoded, read.is_some())
}

/// Decodes the stream that `data` begins with, and returns its length if it has a valid end.
fn decode_first(coding: Coding, data: &[u8]) -> (Vec<u8>, Option<usize>) {
    match coding {
        Coding::Gzip => inflate(flate2::Decompress::new_gzip(15), data),
        Coding::Deflate => inflate(flate2::Decompress::new(true), data),
        Coding::Br => unbrotli(data),
        Coding::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(data)
                .unwrap()
                .single_frame();
            let mut decoded = Vec::new();
            let read = zstd.read_to_end(&mut decoded); // which keeps what came before an error
            let rest = zstd.finish().len();
            (
                decoded,
                read.ok().filter(|_| !data.is_empty()).map(|_| data.len() - rest),
            )
        }
        other => panic!("no decoder for {other}"),
    }
}

fn inflate(mut state: flate2::Decompress, data: &[u8]) -> (Vec<u8>, Option<usize>) {
    let (mut decoded, mut read) = (Vec::new(), 0);
    loop {
        decoded.reserve(4096);
        let before = (read, decoded.len());
        let status = state.decompress_vec(&data[read..], &mut decoded, flate2::FlushDecompress::None);
        read = usize::try_from(state.total_in()).unwrap();
        match status {
            Ok(flate2::Status::StreamEnd) => return (decoded, Some(read)),
            Ok(_) if before != (read, decoded.len()) => {}
            Ok(_) | Err(_) => return (decoded, None),
        }
    }
}

fn unbrotli(data: &[u8]) -> (Vec<u8>, Option<usize>) {
    let alloc = brotli::enc::StandardAlloc::default();
    let mut state = brotli::BrotliState::new_strict(alloc, alloc, alloc);
    let (mut left, mut read, mut decoded) = (data.len(), 0, Vec::new());
    let mut out = [0; 4096];
    loop {
        let (mut room, mut written) = (out.len(), 0);
        let result = brotli::BrotliDecompressStream(
            &mut left,
            &mut read,
            data,
            &mut room,
            &mut written,
            &mut out,
            &mut 0,
            &mut state,
        );
        decoded.extend_from_slice(&out[..written]);
        match result {
            brotli::BrotliResult::ResultSuccess => return (decoded, Some(read)),
            brotli::BrotliResult::ResultFailure => return (decoded, None),
            // It may say so although there was no room for all of its output.
            brotli::BrotliResult::NeedsMoreInput if written == 0 => return (decoded, None),
            brotli::BrotliResult::NeedsMoreInput | brotli::BrotliResult::NeedsMoreOutput => {}
        }
    }
}

/// Text that compresses about as well as JSON does.
pub(crate) fn text(length: usize) -> Bytes {
    const WORDS: [&str; 8] = [
        "\"name\":",
        "kettle ",
        "\"price\":",
        "walnut ",
        "{\"id\":",
        "linen ",
        "true,",
        "brass ",
    ];
    let mut text = String::with_capacity(length + 32);
    let mut state = 7_u64;
    while text.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 61) as usize]);
        text.push_str(&(state >> 52 & 0xff).to_string());
    }
    text.truncate(length);
    text.into()
}

/// Bytes that no encoder makes smaller.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    });
    bytes.take(length).collect::<Vec<_>>().into()
}

#[test]
fn decoders_see_where_a_stream_ends_and_that_it_does() {
    for &coding in Coding::ALL {
        let stream = read(encode(coding, Script::new([Step::Data(text(5000))])).into_body()).data();
        let ended = (text(5000).to_vec(), Some(stream.len()));
        assert_eq!(decode_first(coding, &stream), ended, "{coding}");
        for after in [&b"\0"[..], &stream[..1], &stream[stream.len() - 8..], &stream] {
            let more = [&stream, after].concat();
            assert_eq!(decode_first(coding, &more), ended, "{coding}");
            assert!(
                std::panic::catch_unwind(|| decode(coding, &more)).is_err(),
                "{coding}"
            );
        }
        for length in 0..stream.len() {
            assert_eq!(
                decode_first(coding, &stream[..length]).1,
                None,
                "{coding} {length}"
            );
        }
    }
}
