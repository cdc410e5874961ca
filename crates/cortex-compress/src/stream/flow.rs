use super::batch::{Batch, Batched, Then};
use super::core::Core;
use crate::cache::Recorder;
use crate::encoder::{BUDGET, Grain, MIN_SAMPLE, Rate, Size};
use crate::error::{CompressError, EncodeError};
use crate::flush::FlushPolicy;
use crate::headers::remove_digests;
use crate::observer::{AbortCause, EncodePath};
use crate::offload::{Answer, Offload, Ticket, submit};
use crate::pool::Lease;
use crate::tally::Tally;
use crate::turn;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Polled<E> = Poll<Option<Result<Frame<Bytes>, CompressError<E>>>>;

/// Work that counts as input for each frame of the inner body, so that empty ones cannot keep a poll going for ever.
const FRAME_COST: usize = 64;

/// The input of a job that is worth the way to another thread, and all that one takes.
const BATCH: usize = 64 << 10;

/// The frames of a job; shorter ones would make a batch of many.
const BATCH_FRAMES: usize = 64;

/// Encodes a body as it comes, a frame at a time.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Until the stream is finished or has failed; not while a job has it.
    core: Option<Core>,
    coding: &'static str,
    phase: Phase,
    /// The length that the inner body has promised, and what has come of it.
    promised: Option<u64>,
    received: u64,
    /// Input that waits to be encoded.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Output that waits to be sent.
    ready: VecDeque<Bytes>,
    /// Takes what would hold the thread for too long.
    offload: Option<Arc<dyn Offload>>,
    ticket: Option<Ticket<Batch, Batched>>,
    /// There is input inside the encoder that no flush has brought out.
    dirty: bool,
    pause: Pause,
    /// What was done since the last time the task gave its thread away, in bytes of input.
    spent: usize,
    /// When that began; earlier, by what the task had done before for other responses.
    since: Option<u64>,
    /// It has let others run already before it goes on.
    waited: bool,
    /// A poll is under way; after a panic it stays so.
    polled: bool,
    trailers: Option<Box<HeaderMap>>,
    tally: Tally,
    /// Keeps what is sent, for the cache.
    recorder: Option<Box<Recorder>>,
}

/// What to do when the inner body has no more for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// Flush.
    Flush,
    /// Look once more first: whoever feeds the body may be about to go on, and a flush for each piece would cost size.
    LookAgain,
    /// It was so the last time already: flush.
    Lasts,
    /// Wait for more: only the end brings everything out.
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Encoding,
    Flushing,
    Finishing,
    Trailers,
    Done,
}

impl Stream {
    /// Begins a stream with what has been read of the body already.
    ///
    /// If the body ends before the length that it has promised, the stream ends with an error. One that is `eager`
    /// flushes as soon as there is a pause: an event must not wait for the next one.
    ///
    /// A dictionary that takes long to work up is left to the offload; if there is none that takes it, the lease comes
    /// back.
    pub(crate) fn new(lease: Lease, chunk: Bytes, promised: Option<u64>, eager: bool) -> Result<Self, Lease> {
        let (flush, offload) = (lease.shared().flush, lease.shared().offload.clone());
        let coding = lease.offer().coding.as_str();
        let mut tally = Tally::new(
            lease.shared(),
            lease.offer(),
            lease.dictionary(),
            EncodePath::Streamed,
        );
        let core = Core::new(lease, Size::Stream(promised));
        let (core, ticket) = if core.lease.is_cold() {
            match core.warm_up(offload.as_deref()) {
                Ok(ticket) => (None, Some(ticket)),
                Err(lease) => {
                    tally.cancel();
                    return Err(lease);
                }
            }
        } else {
            (Some(core), None)
        };
        let mut stream = Self {
            tally,
            offload,
            coding,
            phase: if core.is_some() {
                Phase::Starting
            } else {
                Phase::Encoding
            },
            core,
            promised,
            received: 0,
            queue: VecDeque::new(),
            queued: 0,
            ready: VecDeque::new(),
            ticket,
            dirty: false,
            pause: match flush {
                _ if eager => Pause::Flush,
                FlushPolicy::OnPause => Pause::LookAgain,
                FlushPolicy::OnEnd => Pause::Wait,
            },
            spent: 0,
            since: None,
            waited: false,
            polled: false,
            trailers: None,
            recorder: None,
        };
        stream.push(chunk);
        Ok(stream)
    }

    /// Puts what is sent into the cache if it gets to its end.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(Box::new(recorder));
    }

    /// Takes note of a frame that is sent.
    fn note(&mut self, frame: &Bytes) {
        let Some(mut recorder) = self.recorder.take().filter(|_| self.trailers.is_none()) else {
            return;
        };
        if !recorder.add(frame) {
            return;
        }
        if self.is_done() {
            recorder.store();
        } else {
            self.recorder = Some(recorder);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done && self.ready.is_empty()
    }

    pub(crate) fn poll<B>(&mut self, inner: &mut B, cx: &mut Context<'_>) -> Polled<B::Error>
    where
        B: Body + Unpin,
    {
        self.polled = true;
        let next = self.advance(inner, cx);
        self.polled = false;
        next
    }

    fn advance<B>(&mut self, inner: &mut B, cx: &mut Context<'_>) -> Polled<B::Error>
    where
        B: Body + Unpin,
    {
        loop {
            if let Some(data) = self.ready.pop_front() {
                self.note(&data);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(ticket) = &self.ticket {
                let Poll::Ready(answer) = ticket.poll(cx) else {
                    self.rest();
                    return Poll::Pending;
                };
                self.ticket = None;
                if let Err(error) = self.take_back(answer) {
                    return self.fail(error);
                }
                continue;
            }
            let step = match self.phase {
                Phase::Starting => self.start(),
                Phase::Encoding if self.is_full() => self.work(cx),
                Phase::Encoding => {
                    if self.is_spent() {
                        return self.give_way(cx);
                    }
                    match Pin::new(&mut *inner).poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) => {
                            if let Err(error) = self.take(frame) {
                                self.end(AbortCause::Inner);
                                return Poll::Ready(Some(Err(error)));
                            }
                            Poll::Ready(Ok(()))
                        }
                        Poll::Ready(Some(Err(error))) => {
                            self.end(AbortCause::Inner); // without the end of the stream
                            return Poll::Ready(Some(Err(CompressError::Inner(error))));
                        }
                        Poll::Ready(None) => {
                            if let Err(error) = self.close() {
                                self.end(AbortCause::Inner);
                                return Poll::Ready(Some(Err(error)));
                            }
                            Poll::Ready(Ok(()))
                        }
                        Poll::Pending => {
                            if self.pause == Pause::Wait || !self.dirty && self.queued == 0 {
                                self.rest();
                                return Poll::Pending;
                            }
                            if self.pause == Pause::LookAgain {
                                self.pause = Pause::Lasts;
                                return self.give_way(cx);
                            }
                            self.phase = Phase::Flushing;
                            Poll::Ready(Ok(()))
                        }
                    }
                }
                Phase::Flushing | Phase::Finishing => self.work(cx),
                Phase::Trailers => {
                    self.phase = Phase::Done;
                    let trailers = self.trailers.take();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))));
                }
                Phase::Done => return Poll::Ready(None),
            };
            match step {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.fail(error),
                Poll::Pending => return self.give_way(cx),
            }
        }
    }

    fn start(&mut self) -> Poll<Result<(), EncodeError>> {
        self.phase = Phase::Encoding;
        let began = self.tally.begin();
        let started = self.core.as_mut().map_or(Ok(()), Core::start);
        self.tally.end(began);
        Poll::Ready(started)
    }

    fn take<D: Buf, E>(&mut self, frame: Frame<D>) -> Result<(), CompressError<E>> {
        self.spent += FRAME_COST;
        match frame.into_data() {
            Ok(mut data) => self.push(data.copy_to_bytes(data.remaining())),
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    self.close()?;
                    remove_digests(&mut trailers);
                    self.trailers = Some(Box::new(trailers));
                }
            }
        }
        Ok(())
    }

    /// Nothing more comes of the inner body: the stream gets its end, unless something is missing.
    ///
    /// The header of the response says no length any more, by which a server would notice.
    fn close<E>(&mut self) -> Result<(), CompressError<E>> {
        let received = self.received;
        if let Some(promised) = self.promised.filter(|&promised| received < promised) {
            return Err(CompressError::Incomplete { promised, received });
        }
        self.phase = Phase::Finishing;
        Ok(())
    }

    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.received += data.len() as u64;
            self.queued += data.len();
            self.queue.push_back(data);
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        if self.pause == Pause::Lasts {
            self.pause = Pause::LookAgain;
        }
    }

    /// There is as much input as is encoded at a time.
    fn is_full(&self) -> bool {
        let most = match self.core.as_ref().map(|core| core.grain) {
            _ if self.offload.is_some() => BATCH,
            Some(Grain::Gulp(bytes)) => bytes,
            Some(Grain::Fine) => MIN_SAMPLE, // what is shorter is not timed
            _ => 1,
        };
        self.queued >= most || self.queue.len() >= BATCH_FRAMES
    }

    /// Brings the queue on: as a job if it is much, else here, until the task has to give way.
    fn work(&mut self, cx: &Context<'_>) -> Poll<Result<(), EncodeError>> {
        let Some(core) = &self.core else {
            return Poll::Ready(Ok(()));
        };
        let batch = self.queued.min(BATCH);
        let load = core.load(batch, self.phase != Phase::Encoding);
        if core.rate().nanos(load) > BUDGET
            && let Some(offload) = self.offload.clone()
            && self.send_away(&*offload, batch)
        {
            return Poll::Ready(Ok(()));
        }
        self.work_here(cx)
    }

    fn work_here(&mut self, cx: &Context<'_>) -> Poll<Result<(), EncodeError>> {
        let Some(core) = &self.core else {
            return Poll::Ready(Ok(()));
        };
        let next = match core.grain {
            Grain::Fine | Grain::Gulp(_) => self.queued,
            _ => self.queue.front().map_or(0, Bytes::len),
        };
        let step = core.step(next);
        let load = core.load(step, next == 0);
        let timed = Rate::wants(load).then(|| core.lease.shared().clock.nanos());
        // Whatever is done first may be as much as it is; what would be too much together waits.
        if self.spent > 0 && (self.spent + load > core.slice || self.is_late(timed, core.rate().nanos(load)))
        {
            return Poll::Pending;
        }
        if let (Some(now), None) = (timed, self.since) {
            let spent = turn::spent(cx.waker(), now);
            let late = spent.saturating_add(core.rate().nanos(load)) > BUDGET;
            // But no second time: others of the same task might use its time up again.
            if late && spent > 0 && !std::mem::replace(&mut self.waited, true) {
                return Poll::Pending;
            }
            self.waited = false;
            self.since = Some(now.saturating_sub(spent));
        }
        self.spent += load.max(step / 16).max(1);
        let input = self.dequeue(step);
        let Some(core) = &mut self.core else {
            return Poll::Ready(Ok(()));
        };
        let watched = self.tally.begin();
        let result = if next > 0 {
            self.dirty = true;
            core.encode(&input, &mut self.ready)
        } else if self.phase == Phase::Flushing {
            core.flush(&mut self.ready)
        } else {
            core.finish(&mut self.ready)
        };
        self.tally.end(watched);
        if let Some(began) = timed {
            let took = core.lease.shared().clock.nanos().saturating_sub(began);
            core.rate().learn(load, took);
            turn::spend(cx.waker(), began, took);
        }
        if next == 0 && result.is_ok() {
            self.drained();
        }
        Poll::Ready(result)
    }

    /// A flush, or the end, has brought everything out.
    fn drained(&mut self) {
        self.dirty = false;
        self.go_on();
        if self.phase == Phase::Flushing {
            if let Some(recorder) = &mut self.recorder {
                recorder.flushed();
            }
            self.phase = Phase::Encoding;
        } else {
            self.finished();
        }
    }

    fn finished(&mut self) {
        let bytes_in = self.core.as_ref().map(|core| core.bytes_in);
        let recorder = self.recorder.take();
        self.recorder = recorder.filter(|recorder| Some(recorder.length()) == bytes_in);
        self.count();
        self.tally.encoded();
        self.core = None; // gives the encoder back
        self.phase = if self.trailers.is_some() {
            Phase::Trailers
        } else {
            Phase::Done
        };
    }

    /// Takes down how far the encoder is.
    fn count(&mut self) {
        if let Some(core) = &self.core {
            self.tally.count(core.bytes_in, core.bytes_out);
        }
    }

    /// Hands a batch over; tells whether somebody took it.
    fn send_away(&mut self, offload: &dyn Offload, length: usize) -> bool {
        self.count();
        let Some(core) = self.core.take() else {
            return false;
        };
        let input = self.dequeue(length);
        let then = match self.phase {
            Phase::Flushing if self.queued == 0 => Then::Flush,
            Phase::Finishing if self.queued == 0 => Then::Finish,
            _ => Then::Wait,
        };
        let batch = Batch { core, input, then };
        match submit(offload, batch, Batch::run) {
            Ok(ticket) => {
                self.ticket = Some(ticket);
                true
            }
            Err(batch) => {
                self.put_back(batch);
                false
            }
        }
    }

    fn dequeue(&mut self, length: usize) -> Bytes {
        self.queued -= length;
        match self.queue.front_mut() {
            Some(front) if front.len() > length => front.split_to(length),
            Some(front) if front.len() == length => self.queue.pop_front().unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(length);
                while let Some(mut front) = self.queue.pop_front() {
                    let rest = front.split_off(front.len().min(length - all.len()));
                    all.extend_from_slice(&front);
                    if !rest.is_empty() {
                        self.queue.push_front(rest);
                        break;
                    }
                }
                all.freeze()
            }
        }
    }

    fn put_back(&mut self, Batch { core, input, .. }: Batch) {
        self.core = Some(core);
        if !input.is_empty() {
            self.queued += input.len();
            self.queue.push_front(input);
        }
    }

    fn take_back(&mut self, answer: Answer<Batch, Batched>) -> Result<(), EncodeError> {
        match answer {
            Answer::Done(Batched {
                core,
                frames,
                then,
                nanos,
            }) => {
                self.tally.spent(nanos);
                let core = core?;
                self.core = Some(core);
                self.ready.extend(frames);
                match then {
                    Then::Begin => {}
                    Then::Wait => self.dirty = true,
                    Then::Flush | Then::Finish => self.drained(),
                }
                Ok(())
            }
            Answer::Returned(batch) => {
                self.offload = None; // whoever drops jobs may do so again
                if batch.then == Then::Begin {
                    self.phase = Phase::Starting;
                }
                self.put_back(batch);
                Ok(())
            }
            Answer::Panicked => Err(EncodeError::new(self.coding, "the encoder panicked")),
        }
    }

    fn is_spent(&self) -> bool {
        self.core.as_ref().is_some_and(|core| self.spent >= core.slice)
    }

    /// What comes next would take longer than there is time.
    fn is_late(&self, now: Option<u64>, next: u64) -> bool {
        matches!((self.since, now), (Some(since), Some(now)) if now.saturating_sub(since) + next > BUDGET)
    }

    /// The task is about to give its thread away.
    fn rest(&mut self) {
        self.spent = 0;
        self.since = None;
        turn::end();
    }

    /// Others may run, and what was sent so far reaches the socket.
    fn give_way<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.rest();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn fail<E>(&mut self, error: EncodeError) -> Polled<E> {
        self.count();
        if let Some(core) = self.core.take() {
            core.lease.discard();
        }
        self.end(AbortCause::Encoder);
        Poll::Ready(Some(Err(error.into())))
    }

    /// Gives everything up; what was sent stays without an end.
    fn end(&mut self, cause: AbortCause) {
        self.count();
        self.tally.aborted(cause);
        self.core = None;
        self.queue = VecDeque::new();
        self.queued = 0;
        self.ready = VecDeque::new();
        self.trailers = None;
        self.recorder = None;
        self.phase = Phase::Done;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.count();
        if !self.polled {
            return;
        }
        self.tally.aborted(AbortCause::Panic);
        // A panic that a server has caught may have left the encoder in the middle of something.
        if let Some(core) = self.core.take() {
            core.lease.discard();
        }
    }
}
