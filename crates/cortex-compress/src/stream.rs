use crate::cache::Recorder;
use crate::encoder::{BUDGET, Grain, MIN_SAMPLE, Rate, Size};
use crate::error::{CompressError, EncodeError};
use crate::flush::FlushPolicy;
use crate::headers::remove_digests;
use crate::observer::{AbortCause, EncodePath};
use crate::offload::{Answer, Offload, Ticket, submit};
use crate::pool::{Lease, Worker};
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

/// The sync marker of gzip wants room, or it is written twice.
const MIN_ROOM: usize = 64;

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

/// The encoder and what of its output is no frame yet.
#[derive(Debug)]
struct Core {
    lease: Lease,
    size: Size,
    /// Output at the start of the worker's buffer.
    filled: usize,
    /// Input that the encoder has collected and not worked on.
    inside: usize,
    /// What there is to work up before the input.
    ahead: usize,
    /// The input that is worked on at a time, and in what pieces.
    slice: usize,
    grain: Grain,
    bytes_in: u64,
    bytes_out: u64,
}

impl Core {
    fn new(lease: Lease, size: Size) -> Self {
        let mut core = Self {
            ahead: lease.ahead(),
            lease,
            size,
            filled: 0,
            inside: 0,
            slice: 0,
            grain: Grain::Fine,
            bytes_in: 0,
            bytes_out: 0,
        };
        core.measure();
        core
    }

    /// Sets the length of a slice by what is known of the cost by now.
    fn measure(&mut self) {
        let offer = self.lease.offer();
        let slice = offer.cost.stream.slice();
        self.grain = self.lease.grain(slice);
        self.slice = slice;
    }

    fn rate(&self) -> &Rate {
        &self.lease.offer().cost.stream
    }

    /// Has the dictionary worked up elsewhere.
    fn warm_up(self, offload: Option<&dyn Offload>) -> Result<Ticket<Batch, Batched>, Lease> {
        let Some(offload) = offload else {
            return Err(self.lease);
        };
        let batch = Batch {
            core: self,
            input: Bytes::new(),
            then: Then::Begin,
        };
        submit(offload, batch, Batch::run).map_err(|batch| batch.core.lease)
    }

    fn start(&mut self) -> Result<(), EncodeError> {
        let size = self.size;
        self.lease.worker().encoder.start(size)?;
        self.lease.settle();
        Ok(())
    }

    /// Returns how much of that much input to encode next.
    fn step(&self, most: usize) -> usize {
        match self.grain {
            Grain::Fine => {
                let step = (self.slice / 4).max(MIN_SAMPLE); // with a look at the clock in between
                if most < step + MIN_SAMPLE { most } else { step } // no rest that is not timed
            }
            Grain::Gulp(bytes) => most.min(bytes),
            Grain::Parted { cut, .. } if self.inside >= cut => 0, // it is to be flushed
            Grain::Parted { block, .. } => most.min(block - self.inside % block),
            Grain::Block(bytes) | Grain::Cut(bytes) => most.min(bytes.saturating_sub(self.inside).max(1)),
        }
    }

    /// Returns how much input will be worked on if this much is encoded, and flushed or not.
    fn load(&self, length: usize, flush: bool) -> usize {
        let total = self.inside + length;
        let input = match self.grain {
            Grain::Fine | Grain::Gulp(_) => length,
            Grain::Parted { block, cut } => {
                let begun = self.inside % block + length;
                if flush {
                    self.grain.load(begun, total)
                } else if self.inside >= cut {
                    self.grain.load(0, total)
                } else {
                    self.grain.load(begun / block * block, 0)
                }
            }
            Grain::Block(_) | Grain::Cut(_) if flush => total,
            Grain::Block(bytes) | Grain::Cut(bytes) => total / bytes * bytes,
        };
        self.ahead + input
    }

    /// Encodes input that is no longer than a [`step`](Self::step).
    fn encode(&mut self, input: &[u8], ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.ahead = 0;
        if let Grain::Parted { cut, .. } = self.grain
            && self.inside >= cut
        {
            self.drain(Encoding::Flush, ready)?;
            self.measure();
        }
        let mut left = input;
        while !left.is_empty() {
            let before = left.len();
            let Worker { encoder, out } = self.lease.worker();
            let written = encoder.encode(&mut left, &mut out[self.filled..])?;
            if written == 0 && left.len() == before {
                return Err(self.stuck());
            }
            self.filled += written;
            self.emit(0, ready);
        }
        self.bytes_in += input.len() as u64;
        self.inside += input.len();
        match self.grain {
            Grain::Fine | Grain::Gulp(_) => {
                self.inside = 0;
                self.measure();
            }
            Grain::Block(bytes) if self.inside >= bytes => {
                self.inside %= bytes;
                self.measure();
            }
            Grain::Cut(bytes) if self.inside >= bytes => {
                self.drain(Encoding::Flush, ready)?;
                self.measure();
            }
            Grain::Block(_) | Grain::Cut(_) | Grain::Parted { .. } => {}
        }
        Ok(())
    }

    fn flush(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.drain(Encoding::Flush, ready)?;
        self.emit(usize::MAX, ready);
        self.measure();
        Ok(())
    }

    fn finish(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        self.drain(Encoding::Finish, ready)?;
        self.emit(usize::MAX, ready);
        Ok(())
    }

    fn drain(&mut self, how: Encoding, ready: &mut VecDeque<Bytes>) -> Result<(), EncodeError> {
        loop {
            let room = if self.grain == Grain::Fine { MIN_ROOM } else { 0 };
            self.emit(room, ready);
            let Worker { encoder, out } = self.lease.worker();
            let out = &mut out[self.filled..];
            let drained = match how {
                Encoding::Flush => encoder.flush(out)?,
                Encoding::Finish => encoder.finish(out)?,
            };
            self.filled += drained.written;
            if drained.done {
                self.inside = 0;
                self.lease.settle();
                return Ok(());
            }
            if drained.written == 0 {
                return Err(self.stuck());
            }
        }
    }

    /// Makes a frame of the output if there is no more room left than this.
    fn emit(&mut self, room: usize, ready: &mut VecDeque<Bytes>) {
        let out = &self.lease.worker().out;
        if self.filled == 0 || self.filled.saturating_add(room) < out.len() {
            return;
        }
        let data = Bytes::copy_from_slice(&out[..self.filled]);
        self.bytes_out += data.len() as u64;
        self.filled = 0;
        ready.push_back(data);
    }

    fn stuck(&self) -> EncodeError {
        EncodeError::new(
            self.lease.offer().coding.as_str(),
            "the encoder makes no progress",
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Flush,
    Finish,
}

/// What a job does.
#[derive(Debug)]
struct Batch {
    core: Core,
    input: Bytes,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Begins the stream, with what there is to work up before the input.
    Begin,
    Wait,
    Flush,
    Finish,
}

/// What a job has done.
#[derive(Debug)]
struct Batched {
    core: Result<Core, EncodeError>,
    frames: VecDeque<Bytes>,
    then: Then,
    /// How long that took.
    nanos: u64,
}

impl Batch {
    fn run(self) -> Batched {
        let Self {
            mut core,
            mut input,
            then,
        } = self;
        let mut frames = VecDeque::new();
        let load = core.load(input.len(), then != Then::Wait);
        let began = core.lease.shared().clock.nanos();
        let mut run = || -> Result<(), EncodeError> {
            while !input.is_empty() {
                let step = core.step(input.len());
                core.encode(&input[..step], &mut frames)?;
                input.advance(step);
            }
            match then {
                Then::Begin => {
                    core.start()?;
                    core.ahead = 0;
                    core.lease.worker().encoder.warm_up()
                }
                Then::Wait => Ok(()),
                Then::Flush => core.flush(&mut frames),
                Then::Finish => core.finish(&mut frames),
            }
        };
        let result = run();
        let nanos = core.lease.shared().clock.nanos().saturating_sub(began);
        let core = match result {
            Ok(()) => {
                core.rate().learn(load, nanos);
                Ok(core)
            }
            Err(error) => {
                core.lease.discard();
                Err(error)
            }
        };
        Batched {
            core,
            frames,
            then,
            nanos,
        }
    }
}
