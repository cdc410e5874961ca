use crate::encoder::{BUDGET, Grain, OnePass, Pace, Rate, Size};
use crate::etag::EtagPolicy;
use crate::offload::{Answer, Ticket, submit};
use crate::pool::{FRAME, Lease};
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The longest body that is encoded before its header is sent.
pub(crate) const ONE_SHOT_MAX: u64 = 256 << 10;

/// The most frames that are looked at for one body: a task must not read empty ones for ever.
const MAX_FRAMES: usize = 64;

/// What of a body was there when it was looked at.
pub(crate) enum Read<E> {
    /// All of it.
    Whole {
        data: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// Its beginning, or nothing yet.
    Part(Bytes),
    /// It failed, or ended before the promised length.
    Broken { data: Bytes, error: Option<E> },
}

/// Reads a body that promises a length, as far as it is ready.
pub(crate) fn read<B>(body: &mut B, length: u64, cx: &mut Context<'_>) -> Read<B::Error>
where
    B: Body + Unpin,
{
    let mut parts = Parts::default();
    for _ in 0..MAX_FRAMES {
        let complete = parts.len() as u64 == length;
        if complete && body.is_end_stream() {
            return Read::Whole {
                data: parts.join(),
                trailers: None,
            };
        }
        let next = match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Read::Part(parts.join()),
            Poll::Ready(next) => next,
        };
        let trailers = match next {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => {
                    parts.push(data.copy_to_bytes(data.remaining()));
                    if parts.len() as u64 > length {
                        return Read::Part(parts.join());
                    }
                    continue;
                }
                Err(frame) => frame.into_trailers().ok(),
            },
            Some(Err(error)) => {
                return Read::Broken {
                    data: parts.join(),
                    error: Some(error),
                };
            }
            None => None,
        };
        let data = parts.join();
        return if complete {
            Read::Whole { data, trailers }
        } else {
            Read::Broken { data, error: None }
        };
    }
    Read::Part(parts.join())
}

/// The frames of a body: a single one is not copied.
#[derive(Default)]
struct Parts {
    first: Bytes,
    all: BytesMut,
}

impl Parts {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&data);
    }

    fn join(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

/// Encodes a whole body, so that its length is known before its header is sent.
///
/// At once if that is quick; else on another thread, if there is one to take it; else in slices.
#[derive(Debug)]
pub(crate) struct OneShot {
    input: Bytes,
    work: Work,
}

#[derive(Debug)]
enum Work {
    New(Whole),
    Slices(Whole),
    Away(Ticket<Whole, Outcome>),
    Over,
}

/// How a [`OneShot`] ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Smaller(Bytes),
    NotSmaller,
    Failed,
}

impl OneShot {
    /// `input` may not be empty.
    pub(crate) fn new(lease: Lease, input: Bytes) -> Self {
        let whole = Whole {
            lease,
            input: input.clone(),
            read: 0,
            filled: 0,
            started: false,
        };
        Self {
            input,
            work: Work::New(whole),
        }
    }

    pub(crate) fn into_input(self) -> Bytes {
        self.input
    }

    /// Goes on, and gives the encoder back at the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match std::mem::replace(&mut self.work, Work::Over) {
                Work::New(whole) if whole.is_quick() => return Poll::Ready(whole.run(Pace::Brisk)),
                Work::New(whole) => self.work = whole.send_away(),
                Work::Away(ticket) => match ticket.poll(cx) {
                    Poll::Ready(Answer::Done(outcome)) => return Poll::Ready(outcome),
                    Poll::Ready(Answer::Returned(whole)) => self.work = Work::Slices(whole),
                    Poll::Ready(Answer::Panicked) => return Poll::Ready(Outcome::Failed),
                    Poll::Pending => {
                        self.work = Work::Away(ticket);
                        return Poll::Pending;
                    }
                },
                Work::Slices(mut whole) => {
                    let Some(outcome) = whole.slice() else {
                        self.work = Work::Slices(whole);
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    };
                    return Poll::Ready(whole.end(outcome));
                }
                Work::Over => return Poll::Ready(Outcome::Failed),
            }
        }
    }
}

/// A body on its way through an encoder.
#[derive(Debug)]
struct Whole {
    lease: Lease,
    input: Bytes,
    read: usize,
    filled: usize,
    started: bool,
}

impl Whole {
    fn is_quick(&self) -> bool {
        let (offer, shared) = (self.lease.offer(), self.lease.shared());
        let length = self.input.len();
        offer.cost.whole.nanos(self.lease.ahead() + length) <= BUDGET
            || shared.etag == EtagPolicy::Suffix
                && self.lease.dictionary().is_none()
                && shared.is_constant(offer.coding, length as u64)
    }

    fn send_away(self) -> Work {
        let Some(offload) = self.lease.shared().offload.clone() else {
            return Work::Slices(self);
        };
        match submit(&*offload, self, |whole| whole.run(Pace::Easy)) {
            Ok(ticket) => Work::Away(ticket),
            Err(whole) => Work::Slices(whole),
        }
    }

    /// Output that is not smaller than the input is of no use, so there is no room for it.
    fn limit(&self) -> usize {
        self.input.len() - 1
    }

    fn make_room(&mut self) {
        let limit = self.limit();
        let out = &mut self.lease.worker().out;
        if out.len() < limit {
            *out = vec![0; limit.next_multiple_of(FRAME)]; // from the system, where most of it stays untouched
        }
    }

    /// Encodes everything, and gives the encoder back.
    fn run(mut self, pace: Pace) -> Outcome {
        let length = self.input.len();
        let began = Rate::wants(length).then(|| self.lease.shared().clock.nanos());
        let outcome = self.run_at_once(pace);
        if let (Some(began), Outcome::Smaller(_)) = (began, &outcome) {
            let took = self.lease.shared().clock.nanos().saturating_sub(began);
            self.lease.offer().cost.whole.learn(length, took);
        }
        self.end(outcome)
    }

    fn run_at_once(&mut self, pace: Pace) -> Outcome {
        self.make_room();
        let limit = self.limit();
        let worker = self.lease.worker();
        match worker
            .encoder
            .one_pass(&self.input, &mut worker.out[..limit], pace)
        {
            Some(Ok(OnePass::Written(length))) => {
                Outcome::Smaller(Bytes::copy_from_slice(&worker.out[..length]))
            }
            Some(Ok(OnePass::Full)) => Outcome::NotSmaller,
            Some(Err(_)) => Outcome::Failed,
            None => {
                let length = self.input.len();
                self.encode(length).unwrap_or_else(|| self.finish())
            }
        }
    }

    /// Encodes one slice.
    fn slice(&mut self) -> Option<Outcome> {
        self.make_room();
        let shared = self.lease.shared().clone();
        let offer = self.lease.offer();
        let (cost, slice) = (offer.cost.clone(), offer.cost.stream.slice());
        let grain = self.lease.grain(slice);
        let length = match grain {
            Grain::Fine => slice,
            Grain::Gulp(bytes) | Grain::Block(bytes) | Grain::Cut(bytes) => bytes,
        };
        let stop = self.input.len().min(self.read + length);
        let (from, began) = (self.read, shared.clock.nanos());
        if let Some(outcome) = self.encode(stop) {
            return Some(outcome);
        }
        let last = self.read == self.input.len();
        let outcome = if last {
            Some(self.finish())
        } else if matches!(grain, Grain::Block(_) | Grain::Cut(_)) {
            self.flush()
        } else {
            None
        };
        cost.stream
            .learn(self.read - from, shared.clock.nanos().saturating_sub(began));
        self.lease.settle();
        outcome
    }

    /// Encodes up to a place in the input.
    fn encode(&mut self, stop: usize) -> Option<Outcome> {
        let limit = self.limit();
        let whole = Size::Whole(self.input.len());
        let worker = self.lease.worker();
        if !std::mem::replace(&mut self.started, true) && worker.encoder.start(whole).is_err() {
            return Some(Outcome::Failed);
        }
        while self.read < stop {
            if self.filled == limit {
                return Some(Outcome::NotSmaller);
            }
            let mut input = &self.input[self.read..stop];
            let out = &mut worker.out[self.filled..limit];
            match worker.encoder.encode(&mut input, out) {
                Ok(0) if input.len() == stop - self.read => return Some(Outcome::Failed),
                Ok(written) => {
                    self.read = stop - input.len();
                    self.filled += written;
                }
                Err(_) => return Some(Outcome::Failed),
            }
        }
        None
    }

    /// Has the encoder work on what it has collected, so that it does not have more to do at a time.
    fn flush(&mut self) -> Option<Outcome> {
        let limit = self.limit();
        if self.filled == limit {
            return Some(Outcome::NotSmaller);
        }
        let worker = self.lease.worker();
        match worker.encoder.flush(&mut worker.out[self.filled..limit]) {
            Ok(drained) if drained.done => {
                self.filled += drained.written;
                None
            }
            Ok(_) => Some(Outcome::NotSmaller),
            Err(_) => Some(Outcome::Failed),
        }
    }

    fn finish(&mut self) -> Outcome {
        let limit = self.limit();
        if self.filled == limit {
            return Outcome::NotSmaller;
        }
        let worker = self.lease.worker();
        match worker.encoder.finish(&mut worker.out[self.filled..limit]) {
            Ok(drained) if drained.done => Outcome::Smaller(Bytes::copy_from_slice(
                &worker.out[..self.filled + drained.written],
            )),
            Ok(_) => Outcome::NotSmaller,
            Err(_) => Outcome::Failed,
        }
    }

    /// Gives the encoder back, unless it is not to be trusted any more.
    fn end(self, outcome: Outcome) -> Outcome {
        if let Outcome::Failed = outcome {
            self.lease.discard();
        }
        outcome
    }
}
