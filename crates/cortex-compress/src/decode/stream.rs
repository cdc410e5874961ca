use super::chain::{Chain, Step};
use super::error::{DecodeError, DecompressError, Limit};
use super::headers::clean_trailers;
use super::shared::Shared;
use crate::coding::Coding;
use crate::observer::Event;
use bytes::{Buf, Bytes};
use cortex_core::Clock;
use http::HeaderMap;
use http_body::{Body, Frame};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Polled<E> = Poll<Option<Result<Frame<Bytes>, DecompressError<E>>>>;

/// The time in nanoseconds after which a task lets others run: with the last step that makes about 250 us.
///
/// It has to be timed, because it cannot be told from the bytes: 23 of them can be a block of deflate that decodes to
/// nothing in 6 us, where others take 1 ns each.
const SLICE_TIME: u64 = 150_000;

/// The work after which a task lets others run, whatever the clock says: a reader may be fast, and a clock may stand.
const SLICE: usize = 256 << 10;

/// The work after which a look at the clock is worth its price: every full step, of which none may be followed by another unseen.
const LOOK: usize = 1 << 10;

/// Work that counts for each frame of the inner body, so that empty ones cannot keep a poll going for ever.
const FRAME_COST: usize = 64;

/// Decodes a body as it comes, a frame at a time.
pub(super) struct Stream {
    phase: Phase,
    /// Input that waits to be decoded.
    chunk: Bytes,
    /// The inner body has come to its end.
    complete: bool,
    /// All bytes of the inner body so far.
    encoded: u64,
    slice: Slice,
    shared: Arc<Shared>,
    trailers: Option<Box<HeaderMap>>,
}

enum Phase {
    Decoding(Chain),
    Failing(DecodeError),
    Trailers,
    Done,
}

impl Stream {
    /// Begins to decode what has these codings, of which there is at least one, in the order they were applied.
    ///
    /// `length` is what the header says the inner body has.
    pub(super) fn new(shared: &Arc<Shared>, codings: &[Coding], length: u64) -> Self {
        let max_encoded = shared.limits.encoded;
        let phase = match Chain::new(shared, codings) {
            Err(error) => Phase::Failing(error),
            Ok(chain) if length > max_encoded => {
                Phase::Failing(chain.exceeds(Limit::EncodedSize(max_encoded)))
            }
            Ok(chain) => Phase::Decoding(chain),
        };
        Self {
            phase,
            chunk: Bytes::new(),
            complete: false,
            encoded: 0,
            slice: Slice::default(),
            shared: Arc::clone(shared),
            trailers: None,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    pub(super) fn poll<B>(&mut self, inner: &mut B, cx: &mut Context<'_>) -> Polled<B::Error>
    where
        B: Body + Unpin,
    {
        self.slice.go_on(&*self.shared.clock);
        let polled = self.advance(inner, cx);
        if polled.is_pending() {
            self.slice = Slice::default();
        } else {
            self.slice.pause(&*self.shared.clock);
        }
        polled
    }

    fn advance<B>(&mut self, inner: &mut B, cx: &mut Context<'_>) -> Polled<B::Error>
    where
        B: Body + Unpin,
    {
        loop {
            let chain = match &mut self.phase {
                Phase::Decoding(chain) => chain,
                Phase::Failing(error) => {
                    let error = *error;
                    self.end();
                    let bytes_in = self.encoded;
                    self.shared.tell(|| Event::NotDecoded { error, bytes_in });
                    return Poll::Ready(Some(Err(error.into())));
                }
                Phase::Trailers => {
                    self.end();
                    let trailers = self.trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                }
                Phase::Done => return Poll::Ready(None),
            };
            let late = self.slice.is_over(&*self.shared.clock);
            if chain.is_full() || (late && !chain.ready().is_empty()) {
                return Poll::Ready(Some(Ok(Frame::data(chain.take()))));
            }
            if late {
                cx.waker().wake_by_ref(); // others may run
                return Poll::Pending;
            }
            match chain.step(&mut self.chunk, self.complete) {
                Ok(Step::Worked(cost)) => self.slice.spent += cost,
                Ok(Step::Hungry | Step::Ended) if !chain.ready().is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(chain.take()))));
                }
                Ok(Step::Ended) => {
                    self.shared.tell(|| chain.decoded(self.encoded));
                    self.phase = Phase::Trailers; // gives the decoders back
                }
                Ok(Step::Hungry) => match Pin::new(&mut *inner).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.receive(frame),
                    Poll::Ready(Some(Err(error))) => {
                        self.end();
                        return Poll::Ready(Some(Err(DecompressError::Inner(error))));
                    }
                    Poll::Ready(None) => self.complete = true,
                    Poll::Pending => return Poll::Pending,
                },
                Err(error) => self.fail(error),
            }
        }
    }

    fn receive<D: Buf>(&mut self, frame: Frame<D>) {
        self.slice.spent += FRAME_COST;
        match frame.into_data() {
            Ok(mut data) => {
                self.encoded = self.encoded.saturating_add(data.remaining() as u64);
                let max_encoded = self.shared.limits.encoded;
                match &self.phase {
                    Phase::Decoding(chain) if self.encoded > max_encoded => {
                        let error = chain.exceeds(Limit::EncodedSize(max_encoded));
                        self.fail(error);
                    }
                    _ => self.chunk = data.copy_to_bytes(data.remaining()),
                }
            }
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    clean_trailers(&mut trailers);
                    self.trailers = Some(Box::new(trailers));
                    self.complete = true;
                }
            }
        }
    }

    /// Stops decoding at once.
    fn fail(&mut self, error: DecodeError) {
        if let Phase::Decoding(chain) = std::mem::replace(&mut self.phase, Phase::Failing(error)) {
            chain.discard();
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Done;
        self.chunk = Bytes::new();
    }
}

/// What has been done since the task gave its thread away for the last time.
#[derive(Default)]
struct Slice {
    spent: usize,
    /// The time it took, without that between polls, in which others may have run.
    taken: u64,
    /// How much had been spent at the last look at the clock, and what the clock said.
    looked: (usize, u64),
    over: bool,
}

impl Slice {
    /// Begins to count the time again.
    fn go_on(&mut self, clock: &dyn Clock) {
        self.looked = (self.spent, clock.nanos());
    }

    fn is_over(&mut self, clock: &dyn Clock) -> bool {
        if !self.over && self.spent - self.looked.0 >= LOOK {
            self.look(clock);
        }
        self.over
    }

    /// Counts what has not been counted yet.
    fn pause(&mut self, clock: &dyn Clock) {
        if self.spent > self.looked.0 {
            self.look(clock);
        }
    }

    fn look(&mut self, clock: &dyn Clock) {
        let now = clock.nanos();
        self.taken += now.saturating_sub(self.looked.1);
        self.looked = (self.spent, now);
        self.over = self.spent >= SLICE || self.taken >= SLICE_TIME;
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("encoded", &self.encoded)
            .finish_non_exhaustive()
    }
}
