use crate::encoder::{BUDGET, Grain, OnePass, Rate, Size};
use crate::error::CompressError;
use crate::observer::EncodePath;
use crate::offload::{Answer, Ticket, submit};
use crate::pool::{Lease, scratch};
use crate::turn;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The longest body that is encoded before its header is sent, unless the layer has another one.
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
    Broken { data: Bytes, error: CompressError<E> },
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
                    error: CompressError::Inner(error),
                };
            }
            None => None,
        };
        let data = parts.join();
        return if complete {
            Read::Whole { data, trailers }
        } else {
            let error = CompressError::Incomplete {
                promised: length,
                received: data.len() as u64,
            };
            Read::Broken { data, error }
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
/// At once if that is quick; else on another thread, if there is one to take it; else in slices. One whose entity tag
/// promises the same bytes each time is never encoded in slices.
#[derive(Debug)]
pub(crate) struct OneShot {
    input: Bytes,
    work: Work,
    path: EncodePath,
    /// How long it has taken, as far as that is known.
    nanos: u64,
    /// It has let others run already before it goes on.
    waited: bool,
}

#[derive(Debug)]
enum Work {
    New(Whole),
    /// However long it takes.
    Here(Whole),
    Slices(Whole),
    Away(Ticket<Whole, (Outcome, u64)>),
    /// Nobody takes it, and to begin would take too long here.
    Refused,
    Over,
}

/// How a [`OneShot`] ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Smaller(Bytes),
    NotSmaller,
    Failed,
    /// It has not begun: its dictionary would have to be worked up at once, on the thread of the task.
    Cold,
}

impl OneShot {
    /// `input` may not be empty.
    pub(crate) fn new(lease: Lease, input: Bytes) -> Self {
        let whole = Whole {
            lease,
            input: input.clone(),
            read: 0,
            inside: 0,
            filled: 0,
            started: false,
            nanos: 0,
        };
        Self {
            input,
            work: Work::New(whole),
            path: EncodePath::Inline,
            nanos: 0,
            waited: false,
        }
    }

    /// Returns by which way it went, and how many nanoseconds it took if somebody observes.
    pub(crate) const fn spent(&self) -> (EncodePath, u64) {
        (self.path, self.nanos)
    }

    pub(crate) const fn input(&self) -> &Bytes {
        &self.input
    }

    pub(crate) fn into_input(self) -> Bytes {
        self.input
    }

    /// Goes on, and gives the encoder back at the end.
    ///
    /// `task` is the waker of the task that runs now, whose time it takes; that of `cx`, which is woken, may be of several.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, task: &Waker) -> Poll<Outcome> {
        loop {
            match std::mem::replace(&mut self.work, Work::Over) {
                Work::New(whole) if whole.is_quick() => self.work = Work::Here(whole),
                Work::New(whole) => self.work = whole.send_away(),
                Work::Here(whole) => {
                    self.path = EncodePath::Inline;
                    let began = whole.begin();
                    if self.gives_way(began, whole.estimate(), cx, task) {
                        self.work = Work::Here(whole);
                        return Poll::Pending;
                    }
                    return self.over(whole.run(began, Some(task)));
                }
                Work::Away(ticket) => {
                    self.path = EncodePath::Offloaded;
                    match ticket.poll(cx) {
                        Poll::Ready(Answer::Done(ended)) => return self.over(ended),
                        Poll::Ready(Answer::Returned(whole)) => self.work = whole.keep(),
                        Poll::Ready(Answer::Panicked) => return Poll::Ready(Outcome::Failed),
                        Poll::Pending => {
                            self.work = Work::Away(ticket);
                            return Poll::Pending;
                        }
                    }
                }
                Work::Slices(mut whole) => {
                    self.path = EncodePath::Sliced;
                    let began = whole.lease.shared().clock.nanos();
                    if !self.gives_way(Some(began), BUDGET, cx, task) {
                        self.waited = false;
                        let (outcome, took) = whole.slice(began);
                        if let Some(outcome) = outcome {
                            turn::spend(task, began, took);
                            return self.over(whole.end(outcome));
                        }
                        self.nanos = whole.nanos;
                        turn::end();
                        cx.waker().wake_by_ref();
                    }
                    self.work = Work::Slices(whole);
                    return Poll::Pending;
                }
                Work::Refused => return Poll::Ready(Outcome::Cold),
                Work::Over => return Poll::Ready(Outcome::Failed),
            }
        }
    }

    fn over(&mut self, (outcome, nanos): (Outcome, u64)) -> Poll<Outcome> {
        self.nanos = nanos;
        Poll::Ready(outcome)
    }

    /// Lets others run first if the task has not so much time any more, but no second time: others of the same task
    /// might use it up again.
    fn gives_way(&mut self, now: Option<u64>, next: u64, cx: &Context<'_>, task: &Waker) -> bool {
        let spent = now.map_or(0, |now| turn::spent(task, now));
        let late = spent > 0 && spent.saturating_add(next) > BUDGET;
        if !late || std::mem::replace(&mut self.waited, true) {
            return false;
        }
        turn::end();
        cx.waker().wake_by_ref();
        true
    }
}

/// A body on its way through an encoder.
#[derive(Debug)]
struct Whole {
    lease: Lease,
    input: Bytes,
    read: usize,
    /// What was read since the last flush.
    inside: usize,
    filled: usize,
    started: bool,
    nanos: u64,
}

impl Whole {
    fn is_quick(&self) -> bool {
        !self.lease.is_cold() && self.estimate() <= BUDGET
    }

    /// Returns about how many nanoseconds it takes at once.
    fn estimate(&self) -> u64 {
        self.lease.offer().cost.whole.nanos(self.load())
    }

    /// Returns how many bytes there are to work up at once.
    fn load(&self) -> usize {
        self.lease.ahead() + self.input.len()
    }

    /// Returns when it begins, if that is worth to be known.
    fn begin(&self) -> Option<u64> {
        let shared = self.lease.shared();
        (Rate::wants(self.load()) || shared.is_observed()).then(|| shared.clock.nanos())
    }

    fn send_away(self) -> Work {
        let Some(offload) = self.lease.shared().offload.clone() else {
            return self.keep();
        };
        let run = |whole: Self| {
            let began = whole.begin();
            whole.run(began, None)
        };
        match submit(&*offload, self, run) {
            Ok(ticket) => Work::Away(ticket),
            Err(whole) => whole.keep(),
        }
    }

    /// What nobody else takes is done in slices, whose bytes are others than those of a body that is encoded at once.
    fn keep(self) -> Work {
        let shared = self.lease.shared();
        let length = self.input.len() as u64;
        if self.lease.is_cold() {
            Work::Refused
        } else if self.lease.dictionary().is_none() && shared.is_constant(self.lease.choice(), length) {
            Work::Here(self)
        } else {
            Work::Slices(self)
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
            *out = vec![0; scratch(self.input.len())]; // from the system, where most of it stays untouched
        }
    }

    /// Encodes everything, for the task with this waker if it is not elsewhere, and gives the encoder back.
    fn run(mut self, began: Option<u64>, waker: Option<&Waker>) -> (Outcome, u64) {
        let load = self.load();
        let outcome = self.run_at_once();
        if let Some(began) = began {
            let took = self.lease.shared().clock.nanos().saturating_sub(began);
            self.nanos = took;
            let rate = &self.lease.offer().cost.whole;
            match outcome {
                Outcome::Smaller(_) => rate.learn(load, took),
                Outcome::NotSmaller | Outcome::Failed | Outcome::Cold => rate.spend(took),
            }
            if let Some(waker) = waker {
                turn::spend(waker, began, took);
            }
        }
        self.end(outcome)
    }

    fn run_at_once(&mut self) -> Outcome {
        self.make_room();
        let limit = self.limit();
        let worker = self.lease.worker();
        match worker.encoder.one_pass(&self.input, &mut worker.out[..limit]) {
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

    /// Encodes one slice, and returns how long that took.
    fn slice(&mut self, began: u64) -> (Option<Outcome>, u64) {
        let from = self.read;
        let ahead = if from == 0 { self.lease.ahead() } else { 0 };
        let (outcome, load) = self.encode_slice();
        let took = self.lease.shared().clock.nanos().saturating_sub(began);
        self.nanos += took;
        let cost = &self.lease.offer().cost;
        match outcome {
            Some(Outcome::NotSmaller | Outcome::Failed | Outcome::Cold) => cost.slices.spend(took),
            Some(Outcome::Smaller(_)) | None => cost.learn_slice(ahead + load, took),
        }
        self.lease.settle();
        (outcome, took)
    }

    /// Encodes a slice, and returns how much work that was, in bytes of input.
    fn encode_slice(&mut self) -> (Option<Outcome>, usize) {
        self.make_room();
        let slice = self.lease.offer().cost.slices.slice();
        let grain = self.lease.grain(slice);
        let rest = self.input.len() - self.read;
        let length = match grain {
            Grain::Fine => slice,
            Grain::Gulp(bytes) | Grain::Block(bytes) | Grain::Cut(bytes) => bytes,
            Grain::Parted { cut, .. } if self.inside >= cut || rest == 0 => 0,
            Grain::Parted { block, .. } => (slice * 3 / 2 / block * block).max(block),
        };
        let length = length.min(rest);
        self.inside += length;
        if length > 0
            && let Some(outcome) = self.encode(self.read + length)
        {
            return (Some(outcome), grain.load(length, 0));
        }
        let is_over = length == rest;
        let ends = match grain {
            Grain::Fine | Grain::Gulp(_) => is_over,
            Grain::Block(_) | Grain::Cut(_) => true,
            Grain::Parted { .. } => length == 0,
        };
        if !ends {
            return (None, grain.load(length, 0));
        }
        let load = grain.load(length, std::mem::take(&mut self.inside));
        if is_over {
            (Some(self.finish()), load)
        } else {
            (self.flush(), load)
        }
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

    /// Gives the encoder back, unless it is not to be trusted any more, and tells how long it took.
    fn end(self, outcome: Outcome) -> (Outcome, u64) {
        let nanos = self.nanos;
        if let Outcome::Failed = outcome {
            self.lease.discard();
        }
        (outcome, nanos)
    }
}
