use crate::choice::Choice;
use crate::coding::Coding;
use crate::dictionary::Dictionary;
use crate::encoder::{self, Encoder, Grain, Size};
use crate::shared::{Offer, Shared};
use cortex_core::Clock;
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The length of a full output frame.
pub(crate) const FRAME: usize = 16 << 10;

/// What idle workers may hold together: about a hundred and fifty of the default levels, or sixty of brotli.
const MAX_IDLE_BYTES: usize = 64 << 20;

/// An idle worker larger than this is not kept: the highest levels take long anyway.
const MAX_WORKER: usize = 8 << 20;

/// How many idle workers a shard keeps for its threads, and how many of one kind.
const SHARD: usize = 8;
const SHARD_EACH: usize = 2;

/// How many idle workers are kept for all threads, for each of them.
const GLOBAL: usize = 8;

/// Nanoseconds after which an idle worker is dropped.
const MAX_IDLE: u64 = 60_000_000_000;

/// A thread asks for the time once in so many responses that are not encoded, to drop what is idle for too long.
const PASSES: u8 = 64;

/// Returns the length of the scratch for a whole body, whose encoded form is shorter or of no use.
pub(crate) const fn scratch(length: usize) -> usize {
    let frames = length.saturating_sub(1).div_ceil(FRAME);
    if frames == 0 { FRAME } else { frames * FRAME }
}

/// An encoder and the buffer it writes to.
pub(crate) struct Worker {
    pub(crate) encoder: Box<dyn Encoder>,
    /// Scratch of at least [`FRAME`] bytes and at most the longest body that is encoded at once; what it holds is only
    /// of meaning while the worker is on lease.
    pub(crate) out: Vec<u8>,
}

impl Worker {
    fn memory(&self) -> usize {
        self.encoder.memory() + self.out.capacity()
    }
}

/// The idle encoders.
///
/// Setting an encoder up costs several times what a small body costs, so they are kept: a few for each thread, whose
/// caches know them, and some for all. Their number, their bytes and the time they are idle are bounded.
pub(crate) struct Pool {
    /// A number of its own.
    pub(crate) id: u64,
    shards: Box<[Shard]>,
    global: Mutex<Vec<Idle>>,
    global_capacity: usize,
    bytes: AtomicUsize,
    next_trim: AtomicU64,
    clock: Arc<dyn Clock>,
}

/// On a cache line of its own, as each thread has mostly one to itself.
#[repr(align(128))]
struct Shard(Mutex<Vec<Idle>>);

struct Idle {
    kind: Kind,
    worker: Worker,
    bytes: usize,
    since: u64,
}

/// What an encoder was made for: coding and level, whole bodies or streams, and a dictionary or none (0).
///
/// Whole bodies take larger states; a stream that waits for its reader must not hold one.
type Kind = (Coding, u8, bool, u64);

thread_local! {
    /// A number of the thread; the same for all pools.
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };

    /// How many responses have passed without an encoder.
    static PASSED: Cell<u8> = const { Cell::new(0) };
}

fn thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    THREAD.with(|thread| {
        if thread.get() == usize::MAX {
            thread.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        thread.get()
    })
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the worker of this kind that was used last.
fn pop(idle: &mut Vec<Idle>, kind: Kind) -> Option<Idle> {
    let found = idle.iter().rposition(|idle| idle.kind == kind);
    found.map(|at| idle.remove(at))
}

impl Pool {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            shards: (0..threads.next_power_of_two())
                .map(|_| Shard(Mutex::new(Vec::with_capacity(SHARD))))
                .collect(),
            global: Mutex::default(),
            global_capacity: threads * GLOBAL,
            bytes: AtomicUsize::new(0),
            next_trim: AtomicU64::new(clock.nanos().saturating_add(MAX_IDLE)),
            clock,
        }
    }

    fn own(&self) -> &Mutex<Vec<Idle>> {
        &self.shards[thread() & (self.shards.len() - 1)].0
    }

    fn take(&self, kind: Kind, create: impl FnOnce() -> Box<dyn Encoder>) -> Worker {
        let found = pop(&mut lock(self.own()), kind);
        let found = found.or_else(|| pop(&mut lock(&self.global), kind));
        if let Some(idle) = found {
            self.bytes.fetch_sub(idle.bytes, Ordering::Relaxed);
            return idle.worker;
        }
        Worker {
            encoder: create(),
            out: vec![0; FRAME],
        }
    }

    fn give_back(&self, kind: Kind, mut worker: Worker) {
        if !worker.encoder.reset() {
            return;
        }
        let now = self.clock.nanos();
        self.keep(kind, worker, now);
        self.trim(now);
    }

    fn keep(&self, kind: Kind, worker: Worker, now: u64) {
        let bytes = worker.memory();
        if bytes > MAX_WORKER {
            return;
        }
        let total = self
            .bytes
            .fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes);
        // The oldest make room, or one kind that is in fashion no more would keep all others out.
        if total > MAX_IDLE_BYTES && !self.make_room() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let idle = Idle {
            kind,
            worker,
            bytes,
            since: now,
        };
        let Some(idle) = self.keep_near(idle) else { return };
        let mut global = lock(&self.global);
        let oldest = (global.len() >= self.global_capacity).then(|| global.remove(0));
        global.push(idle);
        drop(global);
        if let Some(oldest) = oldest {
            self.bytes.fetch_sub(oldest.bytes, Ordering::Relaxed);
        }
    }

    /// Drops the oldest workers that are there for all, then those of the thread, until there are no more than may be;
    /// tells whether that is so.
    fn make_room(&self) -> bool {
        let is_full = || self.bytes.load(Ordering::Relaxed) > MAX_IDLE_BYTES;
        for idle in [&self.global, self.own()] {
            while is_full() {
                let mut idle = lock(idle);
                let oldest = idle.iter().enumerate().min_by_key(|(_, idle)| idle.since);
                let Some((at, _)) = oldest else { break };
                let oldest = idle.remove(at);
                drop(idle);
                self.bytes.fetch_sub(oldest.bytes, Ordering::Relaxed);
            }
        }
        !is_full()
    }

    /// Keeps a worker in the shard of the thread, and returns the one that has no place there.
    fn keep_near(&self, idle: Idle) -> Option<Idle> {
        let mut own = lock(self.own());
        if own.iter().filter(|other| other.kind == idle.kind).count() >= SHARD_EACH {
            return Some(idle);
        }
        let oldest = (own.len() >= SHARD).then(|| own.remove(0));
        own.push(idle);
        oldest
    }

    /// Takes note of a response that needs no worker: what was idle for long goes even if none comes back any more.
    pub(crate) fn pass(&self) {
        let passed = PASSED.get() % PASSES + 1;
        PASSED.set(passed);
        if passed == PASSES {
            self.trim(self.clock.nanos());
        }
    }

    /// Drops what has been idle for long, every now and then.
    fn trim(&self, now: u64) {
        let due = self.next_trim.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now.saturating_add(MAX_IDLE / 2);
        if self
            .next_trim
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return; // another thread does it
        }
        for idle in self.shards.iter().map(|shard| &shard.0).chain([&self.global]) {
            // A thread that is at it keeps its own, until the next time.
            let Ok(mut idle) = idle.try_lock() else { continue };
            let old: Vec<Idle> = idle
                .extract_if(.., |idle| idle.since.saturating_add(MAX_IDLE) <= now)
                .collect();
            drop(idle);
            let bytes = old.iter().map(|idle| idle.bytes).sum();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Returns how many workers of this coding are idle.
    #[cfg(test)]
    pub(crate) fn count(&self, coding: Coding) -> usize {
        let idle = self.shards.iter().map(|shard| &shard.0).chain([&self.global]);
        idle.map(|idle| lock(idle).iter().filter(|idle| idle.kind.0 == coding).count())
            .sum()
    }
}

/// A worker on loan from its pool: it is owned, not borrowed, so that it may wait inside a body or a job on any thread.
///
/// Dropping the lease gives the worker back.
pub(crate) struct Lease {
    worker: Option<Worker>,
    shared: Arc<Shared>,
    choice: Choice,
    with: Option<Box<With>>,
    whole: bool,
    /// What is reserved of the memory budget.
    reserved: usize,
}

/// The dictionary of a worker, and what it costs with one.
struct With {
    dictionary: Dictionary,
    offer: Offer,
}

impl With {
    fn new(dictionary: &Dictionary, plain: &Offer) -> Self {
        Self {
            offer: plain.with_dictionary(),
            dictionary: dictionary.clone(),
        }
    }
}

impl Lease {
    /// Takes an idle worker, or makes one, unless there is no memory left for it. The coding has to be on offer.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        choice: Choice,
        dictionary: Option<&Dictionary>,
        size: Size,
    ) -> Option<Self> {
        let plain = shared.chosen(choice);
        let with = dictionary.map(|dictionary| Box::new(With::new(dictionary, plain)));
        let (coding, level) = (
            plain.coding,
            with.as_ref().map_or(plain.level, |with| with.offer.level),
        );
        let (whole, out) = match size {
            Size::Whole(length) => (true, scratch(length)),
            Size::Stream(_) => (false, FRAME),
        };
        let mut reserved = encoder::footprint(coding, level, dictionary, size) + out;
        if !shared.budget.reserve(reserved) {
            return None;
        }
        let kind = (coding, level, whole, dictionary.map_or(0, Dictionary::id));
        let worker = shared.pool.take(kind, || {
            encoder::create(coding, level, dictionary, shared.padding.as_ref())
        });
        let holds = worker.memory();
        if holds > reserved {
            shared.budget.correct(reserved, holds);
            reserved = holds;
        }
        Some(Self {
            worker: Some(worker),
            shared: Arc::clone(shared),
            choice,
            with,
            whole,
            reserved,
        })
    }

    pub(crate) fn offer(&self) -> &Offer {
        match &self.with {
            Some(with) => &with.offer,
            None => self.shared.chosen(self.choice),
        }
    }

    pub(crate) const fn choice(&self) -> Choice {
        self.choice
    }

    pub(crate) fn dictionary(&self) -> Option<&Dictionary> {
        self.with.as_ref().map(|with| &with.dictionary)
    }

    /// Returns how many bytes there are to work up before the input, until the encoder has done so.
    pub(crate) fn ahead(&self) -> usize {
        let Some(dictionary) = self.dictionary() else {
            return 0;
        };
        let worker = self.worker.as_ref();
        if worker.is_some_and(|worker| worker.encoder.is_warm()) {
            0
        } else {
            dictionary.len()
        }
    }

    /// Tells whether to work up the dictionary would take too long for a task, and is still to be done.
    ///
    /// By the first estimate: what is learned of the cost is that of encoding, which is much quicker with a dictionary.
    pub(crate) fn is_cold(&self) -> bool {
        self.with.as_deref().is_some_and(|With { offer, .. }| {
            encoder::keeps_dictionary(offer.coding) && !offer.cost.whole.are_few(self.ahead())
        })
    }

    /// Returns how the encoder works, if at most `slice` bytes may be worked on at a time.
    pub(crate) fn grain(&self, slice: usize) -> Grain {
        let Offer { coding, level, .. } = self.offer();
        encoder::grain(*coding, *level, self.with.is_some(), slice)
    }

    pub(crate) fn worker(&mut self) -> &mut Worker {
        self.worker
            .as_mut()
            .expect("invariant: only drop and discard take the worker")
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Makes the reservation what the worker holds: it may have served a larger body before, or grown.
    pub(crate) fn settle(&mut self) {
        let holds = self.worker.as_ref().map_or(0, Worker::memory);
        if holds != self.reserved {
            self.shared.budget.correct(self.reserved, holds);
            self.reserved = holds;
        }
    }

    /// Drops the worker: after an error its state is not to be trusted.
    pub(crate) fn discard(mut self) {
        self.worker = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A panic may have left the encoder in the middle of something.
        if let Some(worker) = self.worker.take().filter(|_| !std::thread::panicking()) {
            let offer = self.offer();
            let id = self.dictionary().map_or(0, Dictionary::id);
            let kind = (offer.coding, offer.level, self.whole, id);
            self.shared.pool.give_back(kind, worker);
        }
        self.shared.budget.release(self.reserved);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.offer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adaptive::Adaptive;
    use crate::budget::Budget;
    use crate::cache::VariantCache;
    use crate::coding::Level;
    use crate::compressor::{Compressing, Compressor};
    use crate::encoder::{Drained, Size};
    use crate::error::EncodeError;
    use crate::observer::{AbortCause, EncodePath, Event, Observer, SkipReason};
    use crate::offload::{Job, Offload};
    use crate::service::Compress;
    use crate::stream::Stream;
    use bytes::Bytes;
    use cortex_testkit::ManualClock;
    use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
    use http::{HeaderMap, Method, Request, Response, Uri};
    use http_body::{Body, Frame, SizeHint};
    use http_body_util::Full;
    use std::convert::Infallible;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;
    use tower::{Service, service_fn};

    /// The length of a piece: several slices of any coding.
    const LENGTH: usize = 120_000;

    /// Pieces with a pause of two polls before each, so that they are flushed, then trailers or an error; or one piece
    /// of known length, without a pause.
    struct Pieces {
        left: usize,
        paused: u8,
        exact: Option<u64>,
        fails: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.paused = (self.paused + 1) % 3;
            match self.left {
                _ if self.paused > 0 && self.exact.is_none() => Poll::Pending,
                0 => Poll::Ready(None),
                1 if self.fails => Poll::Ready(Some(Err("gone"))),
                1 if self.exact.is_none() => {
                    self.left = 0;
                    Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new()))))
                }
                _ => {
                    self.left -= 1;
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from(
                        "{\"id\":17},".repeat(LENGTH / 10),
                    )))))
                }
            }
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }

        fn size_hint(&self) -> SizeHint {
            self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    /// With a clock that stands still, so that slices are as long as on any machine.
    fn shared() -> Arc<Shared> {
        let mut shared = Shared::new();
        shared.set_clock(Arc::new(ManualClock::new()));
        Arc::new(shared)
    }

    /// Polls a response and its body that many times, drops it, and returns how many workers are idle then, and
    /// whether all of it was read.
    fn drop_after(shared: &Arc<Shared>, offer: usize, polls: usize, body: Pieces) -> (usize, bool) {
        let mut body = Some(body);
        let handler = service_fn(move |_: Request<()>| {
            let mut response = Response::new(body.take().unwrap());
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut request = Request::new(());
        let coding = HeaderValue::from_static(shared.offer_at(offer).coding.as_str());
        request.headers_mut().insert(ACCEPT_ENCODING, coding);

        let mut cx = Context::from_waker(Waker::noop());
        let mut done = false;
        {
            let mut future = pin!(Compress::new(handler, Compressor::new(Arc::clone(shared))).call(request));
            let mut body = None;
            for _ in 0..polls {
                match &mut body {
                    None => {
                        if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
                            body = Some(response.unwrap().into_body());
                        }
                    }
                    Some(body) => {
                        let frame = Pin::new(body).poll_frame(&mut cx);
                        done = matches!(frame, Poll::Ready(None | Some(Err(_))));
                        if done {
                            break;
                        }
                    }
                }
            }
        }
        (shared.pool.count(shared.offer_at(offer).coding), done)
    }

    /// Runs each job when the next one comes, so that answers are waited for and bodies are dropped while jobs wait.
    fn late() -> impl Offload {
        let last = Mutex::new(None);
        move |job: Job| {
            if let Some(last) = last.lock().unwrap().replace(job) {
                last();
            }
            Ok(())
        }
    }

    #[test]
    fn a_response_dropped_while_a_job_has_its_worker_gives_it_back() {
        for offer in 0..Coding::ALL.len() {
            for (exact, immediate) in [(true, true), (true, false), (false, true), (false, false)] {
                for polls in 1..12 {
                    let mut shared = Shared::new();
                    shared.set_clock(Arc::new(ManualClock::new()));
                    shared.offload = Some(if immediate {
                        Arc::new(|job: Job| -> Result<(), Job> {
                            job();
                            Ok(())
                        })
                    } else {
                        Arc::new(late())
                    });
                    let shared = Arc::new(shared);
                    let body = Pieces {
                        left: if exact { 1 } else { 4 },
                        paused: 0,
                        exact: exact.then_some(LENGTH as u64),
                        fails: false,
                    };
                    let (idle, _) = drop_after(&shared, offer, polls, body);
                    assert_eq!(idle, 1, "{:?} after {polls} polls", shared.offer_at(offer));
                    assert_eq!(shared.budget.used(), 0);
                }
            }
        }
    }

    #[test]
    fn a_panic_on_another_thread_is_an_error_and_drops_the_worker() {
        if Coding::ALL.is_empty() {
            return;
        }
        for exact in [false, true] {
            let mut shared = Shared::new();
            // Dear enough to be sent away, whatever it is.
            shared.offer(Coding::ALL[0], Level::new(*Coding::ALL[0].levels().end()));
            shared.offload = Some(Arc::new(|job: Job| -> Result<(), Job> {
                std::thread::scope(|scope| scope.spawn(job).join().unwrap());
                Ok(())
            }));
            let shared = Arc::new(shared);
            assert_eq!(send_through(&shared, Faulty::Panic, exact), (0, true));
            assert_eq!(shared.budget.used(), 0);
        }
    }

    #[test]
    fn a_response_dropped_after_any_poll_gives_its_worker_back() {
        for offer in 0..Coding::ALL.len() {
            for (left, exact, fails) in [(4, None, false), (4, None, true), (1, Some(LENGTH as u64), false)] {
                let shared = shared();
                for polls in 1.. {
                    let body = Pieces {
                        left,
                        paused: 0,
                        exact,
                        fails,
                    };
                    let (idle, done) = drop_after(&shared, offer, polls, body);
                    assert_eq!(idle, 1, "{:?} after {polls} polls", shared.offer_at(offer));
                    if done {
                        assert!(polls > 3, "the work was never divided");
                        break;
                    }
                }
            }
        }
    }

    #[cfg(all(feature = "brotli", feature = "dictionary"))]
    #[test]
    fn a_dictionary_is_worked_up_by_who_encodes_and_never_serves_another() {
        let [one, other] = ["one dictionary", "another one"].map(|text| Dictionary::new(text).unwrap());
        for padded in [false, true] {
            let mut shared = Shared::new();
            shared.set_clock(Arc::new(ManualClock::new()));
            if padded {
                shared.set_breach(crate::breach::BreachPolicy::Pad { max: 10 });
            }
            let shared = Arc::new(shared);
            for coding in [Coding::Zstd, Coding::Br] {
                for size in [Size::Whole(1000), Size::Stream(None)] {
                    let take = |dictionary: Option<&Dictionary>| {
                        Lease::take(&shared, coding.into(), dictionary, size).unwrap()
                    };
                    let ahead = |dictionary: Option<&Dictionary>| {
                        let mut lease = take(dictionary);
                        let ahead = lease.ahead();
                        let Worker { encoder, out } = lease.worker();
                        if let Size::Whole(_) = size
                            && encoder.one_pass(&[7; 1000], out).is_some()
                        {
                            return ahead;
                        }
                        encoder.start(size).unwrap();
                        encoder.encode(&mut &[7; 1000][..], out).unwrap();
                        ahead
                    };
                    // Whoever gives it back unused has worked nothing up.
                    drop(take(Some(&one)));
                    take(Some(&one)).worker().encoder.start(size).unwrap();
                    assert_eq!(ahead(None), 0);
                    assert_eq!(ahead(Some(&one)), one.len(), "{coding} {size:?}");
                    assert_eq!(ahead(Some(&other)), other.len());
                    let again = if coding == Coding::Zstd { 0 } else { one.len() };
                    assert_eq!(ahead(Some(&one)), again, "br reads it anew each time");
                    assert_eq!(ahead(None), 0);
                }
            }
            assert_eq!(shared.budget.used(), 0);
        }
    }

    #[test]
    fn idle_workers_are_bounded_and_dropped_after_a_minute() {
        let clock = ManualClock::new();
        let mut shared = Shared::new();
        shared.set_clock(Arc::new(clock.clone()));
        shared.budget = Arc::new(Budget::new(usize::MAX));
        let shared = Arc::new(shared);
        for &coding in Coding::ALL {
            let take = || Lease::take(&shared, coding.into(), None, Size::Stream(None)).unwrap();
            let leases: Vec<_> = std::iter::repeat_with(take).take(1000).collect();
            drop(leases);
            let kept = shared.pool.count(coding);
            assert!(
                (SHARD_EACH..=SHARD_EACH + shared.pool.global_capacity).contains(&kept),
                "{coding}: {kept}"
            );
        }
        let many: usize = Coding::ALL.iter().map(|&coding| shared.pool.count(coding)).sum();
        assert!(shared.pool.bytes.load(Ordering::Relaxed) >= many * FRAME);
        assert_eq!(shared.budget.used(), 0);

        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        clock.advance(Duration::from_nanos(MAX_IDLE));
        drop(Lease::take(&shared, coding.into(), None, Size::Stream(None)));
        let left: usize = Coding::ALL.iter().map(|&coding| shared.pool.count(coding)).sum();
        assert_eq!(left, 1, "all but the one that was used now");
        let last = lock(shared.pool.own()).first().unwrap().bytes;
        assert_eq!(shared.pool.bytes.load(Ordering::Relaxed), last);
    }

    /// An encoder of this many bytes.
    struct Large(usize);

    impl Encoder for Large {
        fn start(&mut self, _: Size) -> Result<(), EncodeError> {
            Ok(())
        }

        fn encode(&mut self, _: &mut &[u8], _: &mut [u8]) -> Result<usize, EncodeError> {
            Ok(0)
        }

        fn flush(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            Err(FAULT)
        }

        fn finish(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            Err(FAULT)
        }

        fn reset(&mut self) -> bool {
            true
        }

        fn memory(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn one_kind_that_fills_the_pool_makes_room_for_another() {
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        let pool = Pool::new(Arc::new(ManualClock::new()));
        let worker = |bytes: usize| Worker {
            encoder: Box::new(Large(bytes)),
            out: Vec::new(),
        };
        let [one, other] = [1, 2].map(|level| (coding, level, false, 0));
        // Some are for all, some for this thread: they fill the pool to the last byte.
        let each = MAX_IDLE_BYTES / 8;
        assert!(each <= MAX_WORKER && pool.global_capacity >= 6);
        for now in 0..8 {
            pool.keep(one, worker(each), now);
        }
        let bytes = || pool.bytes.load(Ordering::Relaxed);
        assert_eq!((pool.count(coding), bytes()), (8, MAX_IDLE_BYTES));
        pool.give_back(other, worker(each / 2));
        assert_eq!((pool.count(coding), bytes()), (8, MAX_IDLE_BYTES - each / 2));
        let again = pool.take(other, || panic!("it was not kept"));
        assert_eq!(again.memory(), each / 2);
        // Where nothing is there for all, those of the thread go.
        for idle in lock(&pool.global).drain(..) {
            pool.bytes.fetch_sub(idle.bytes, Ordering::Relaxed);
        }
        pool.bytes.fetch_add(6 * each, Ordering::Relaxed); // other threads have the rest
        pool.give_back(other, worker(each));
        assert!(bytes() <= MAX_IDLE_BYTES);
        pool.take(other, || panic!("it was not kept"));
        pool.bytes.fetch_add(2 * each, Ordering::Relaxed);
        pool.keep(other, worker(2), 0);
        assert!(
            bytes() <= MAX_IDLE_BYTES,
            "and nothing where there is no room at all"
        );
    }

    #[test]
    fn a_worker_serves_the_next_stream_on_any_thread_and_never_another_kind() {
        for &coding in Coding::ALL {
            let shared = shared();
            let take = |size| Lease::take(&shared, coding.into(), None, size).unwrap();
            let idle = || shared.pool.count(coding);
            // One more than the shard of a thread keeps, so that it is there for all.
            let leases: Vec<_> = (0..=SHARD_EACH).map(|_| take(Size::Stream(None))).collect();
            assert_eq!(idle(), 0, "{coding}");
            drop(leases);
            assert_eq!(idle(), SHARD_EACH + 1, "{coding}");
            assert_eq!(lock(&shared.pool.global).len(), 1, "{coding}");
            let elsewhere = || {
                drop(take(Size::Whole(5000))); // makes one of its own
                let lease = take(Size::Stream(None));
                let left = idle();
                drop(lease);
                (left, idle())
            };
            let other = std::thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
            assert_eq!(
                other,
                (SHARD_EACH + 1, SHARD_EACH + 2),
                "{coding}: a new one was made"
            );
            // And on the thread that left them.
            let lease = take(Size::Stream(None));
            assert_eq!(idle(), SHARD_EACH + 1, "{coding}");
            drop(lease);
            assert_eq!(idle(), SHARD_EACH + 2, "{coding}");
        }
    }

    #[test]
    fn a_lease_counts_its_scratch_and_what_its_worker_holds_from_before() {
        for &coding in Coding::ALL {
            let shared = shared();
            let used = || shared.budget.used();
            let (small, large) = (Size::Whole(2000), Size::Whole(200_000));
            let level = shared.offer_at(shared.find(coding)).level;
            let lease = Lease::take(&shared, coding.into(), None, large).unwrap();
            let expected = encoder::footprint(coding, level, None, large) + scratch(200_000);
            assert_eq!(used(), expected, "{coding}");
            assert!(scratch(200_000) >= 199_999);
            drop(lease);
            assert_eq!(used(), 0);

            let body = Pieces {
                left: 1,
                paused: 0,
                exact: Some(LENGTH as u64),
                fails: false,
            };
            assert_eq!(drop_after(&shared, shared.find(coding), 200, body), (1, true));
            let holds = shared.pool.bytes.load(Ordering::Relaxed);
            assert!(holds >= LENGTH, "{coding}: the scratch is kept");
            let lease = Lease::take(&shared, coding.into(), None, small).unwrap();
            assert!(used() >= holds, "{coding}: {} of {holds} bytes", used());
            drop(lease);
            assert_eq!(used(), 0);
        }
    }

    #[test]
    fn responses_that_are_not_encoded_let_idle_workers_go() {
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        let text = || Bytes::from("{\"id\":17},".repeat(500));
        let mut state = 1_u32;
        let noise: Bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(5000)
        .collect();
        let strong = "\"x\"";
        for (what, method, status, tag, pressure, body) in [
            ("left alone", Method::POST, 404, strong, 0.0, Bytes::new()),
            ("head", Method::HEAD, 200, strong, 0.0, Bytes::new()),
            ("unchanged", Method::GET, 304, strong, 0.0, Bytes::new()),
            (
                "head under pressure",
                Method::HEAD,
                200,
                strong,
                9.0,
                Bytes::new(),
            ),
            ("pressure", Method::GET, 200, "W/\"x\"", 9.0, text()),
            ("cached", Method::GET, 200, strong, 0.0, text()),
            ("cached as not smaller", Method::GET, 200, strong, 0.0, noise),
        ] {
            let clock = ManualClock::new();
            let mut shared = Shared::new();
            shared.set_clock(Arc::new(clock.clone()));
            shared.set_adaptive(Adaptive::pressure(move || pressure));
            shared.cache = Some(VariantCache::weighted(1 << 20));
            let shared = Arc::new(shared);
            let compressor = Compressor::new(Arc::clone(&shared));
            let send = || {
                let accepts = HeaderValue::from_static(coding.as_str());
                let mut request = HeaderMap::from_iter([(ACCEPT_ENCODING, accepts)]);
                request.insert("if-none-match", HeaderValue::from_static("W/\"x\""));
                let mut plan = compressor.plan(&method, &mut request);
                compressor.identify(&mut plan, &Uri::from_static("/"), &request);
                let response = Response::builder().status(status).header("etag", tag);
                let response = response.header("content-type", "text/plain");
                let response = response.body(Full::new(body.clone())).unwrap();
                let (mut head, body) = response.into_parts();
                let mut cx = Context::from_waker(Waker::noop());
                drop(compressor.respond(&plan, &mut head, body, &mut cx));
            };
            // The cache has it then; under pressure, all steps down are taken.
            for _ in 0..300 {
                send();
                clock.advance(Duration::from_millis(100));
            }
            drop(Lease::take(&shared, coding.into(), None, Size::Stream(None)));
            let idle = shared.pool.count(coding);
            assert!(idle > 0, "{what}");
            (0..1000).for_each(|_| send());
            assert_eq!(shared.pool.count(coding), idle, "{what}");
            clock.advance(Duration::from_nanos(MAX_IDLE));
            (0..PASSES).for_each(|_| send());
            assert_eq!(shared.pool.count(coding), 0, "{what}");
            assert_eq!(shared.pool.bytes.load(Ordering::Relaxed), 0, "{what}");
        }
    }

    #[test]
    fn a_waiting_stream_holds_what_it_may_and_reserves_what_it_holds() {
        for (at, &coding) in Coding::ALL.iter().enumerate() {
            let shared = shared();
            let mut response = Response::new(Pieces {
                left: 300,
                paused: 0,
                exact: None,
                fails: false,
            });
            let text = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, text);
            let (mut head, body) = response.into_parts();
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding.as_str()));
            let compressor = Compressor::new(Arc::clone(&shared));
            let plan = compressor.plan(&Method::GET, &mut request);
            let mut cx = Context::from_waker(Waker::noop());
            let Compressing::Done(mut body) = compressor.respond(&plan, &mut head, body, &mut cx) else {
                panic!("a stream begins at once");
            };
            let estimated = shared.budget.used();
            for _ in 0..300 {
                let _ = Pin::new(&mut body).poll_frame(&mut cx);
            }
            let bytes = shared.budget.used();
            let most = match coding.as_str() {
                "zstd" => 700_000,
                "br" => 1_000_000,
                _ => 500_000,
            };
            assert!((1..=most).contains(&bytes), "{coding}: {bytes} bytes");
            assert!(
                bytes.abs_diff(estimated) <= bytes / 8,
                "{coding}: {bytes} bytes, not {estimated}"
            );
            drop(body);
            assert_eq!(shared.budget.used(), 0);
            assert_eq!(shared.pool.count(shared.offer_at(at).coding), 1);
        }
    }

    /// An encoder with a defect.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Faulty {
        Start,
        Encode,
        /// Neither reads nor writes.
        Stuck,
        Flush,
        Finish,
        FinishStuck,
        Reset,
        Panic,
    }

    const FAULT: EncodeError = EncodeError::new("test", "a defect");

    impl Encoder for Faulty {
        fn start(&mut self, _: Size) -> Result<(), EncodeError> {
            if *self == Self::Start { Err(FAULT) } else { Ok(()) }
        }

        fn encode(&mut self, input: &mut &[u8], _: &mut [u8]) -> Result<usize, EncodeError> {
            match self {
                Self::Encode => return Err(FAULT),
                Self::Stuck => {}
                Self::Panic => panic!("a defect"),
                _ => *input = &[],
            }
            Ok(0)
        }

        fn flush(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            let done = Drained {
                written: 0,
                done: true,
            };
            if *self == Self::Flush {
                Err(FAULT)
            } else {
                Ok(done)
            }
        }

        fn finish(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            let done = *self != Self::FinishStuck;
            if *self == Self::Finish {
                Err(FAULT)
            } else {
                Ok(Drained { written: 0, done })
            }
        }

        fn reset(&mut self) -> bool {
            *self != Self::Reset
        }

        fn memory(&self) -> usize {
            1000
        }
    }

    /// Sends two pieces, or one of known length, through a faulty encoder.
    fn through(fault: Faulty, exact: bool) -> (usize, bool) {
        send_through(&shared(), fault, exact)
    }

    fn put(shared: &Arc<Shared>, fault: Faulty, whole: bool) {
        let worker = Worker {
            encoder: Box::new(fault),
            out: vec![0; FRAME],
        };
        let offer = shared.offer_at(0);
        shared.pool.keep((offer.coding, offer.level, whole, 0), worker, 0);
    }

    fn send_through(shared: &Arc<Shared>, fault: Faulty, exact: bool) -> (usize, bool) {
        put(shared, fault, exact);
        let body = Pieces {
            left: if exact { 1 } else { 3 },
            paused: 0,
            exact: exact.then_some(LENGTH as u64),
            fails: false,
        };
        drop_after(shared, 0, 200, body)
    }

    #[test]
    fn a_worker_that_failed_is_dropped_and_the_body_ends() {
        if Coding::ALL.is_empty() {
            return;
        }
        for fault in [
            Faulty::Start,
            Faulty::Encode,
            Faulty::Stuck,
            Faulty::Flush,
            Faulty::Finish,
            Faulty::FinishStuck,
            Faulty::Reset,
        ] {
            assert_eq!(through(fault, false), (0, true), "{fault:?}, streaming");
        }
        for fault in [Faulty::Start, Faulty::Encode, Faulty::Stuck, Faulty::Finish] {
            assert_eq!(through(fault, true), (0, true), "{fault:?}, in one go");
        }
    }

    #[derive(Default)]
    struct Log(Mutex<Vec<Event>>);

    impl Observer for Log {
        fn on_event(&self, event: &Event) {
            self.0.lock().unwrap().push(*event);
        }
    }

    #[test]
    fn a_defect_of_an_encoder_is_told_once() {
        if Coding::ALL.is_empty() {
            return;
        }
        let told = |fault, exact| {
            let log = Arc::new(Log::default());
            let mut shared = Shared::new();
            shared.set_clock(Arc::new(ManualClock::new()));
            shared.observe(Arc::<Log>::clone(&log));
            let shared = Arc::new(shared);
            let sent = std::panic::AssertUnwindSafe(|| send_through(&shared, fault, exact));
            let panicked = std::panic::catch_unwind(sent).is_err();
            assert_eq!(panicked, fault == Faulty::Panic);
            std::mem::take(&mut *log.0.lock().unwrap())
        };
        for fault in [Faulty::Start, Faulty::Encode, Faulty::Stuck, Faulty::Flush] {
            let [Event::Aborted { cause, path, .. }] = told(fault, false)[..] else {
                panic!("{fault:?} was not told");
            };
            assert_eq!(
                (cause, path),
                (AbortCause::Encoder, EncodePath::Streamed),
                "{fault:?}"
            );
            if fault != Faulty::Flush {
                let reason = SkipReason::Failed; // the identity is sent
                assert_eq!(told(fault, true), [Event::Skipped { reason }], "{fault:?}");
            }
        }
        for (exact, expected) in [(false, EncodePath::Streamed), (true, EncodePath::Inline)] {
            let [Event::Aborted { cause, path, .. }] = told(Faulty::Panic, exact)[..] else {
                panic!("a panic was not told");
            };
            assert_eq!((cause, path), (AbortCause::Panic, expected));
        }
    }

    #[test]
    fn a_worker_that_panicked_is_dropped_and_the_pool_goes_on() {
        if Coding::ALL.is_empty() {
            return;
        }
        let shared = shared();
        for exact in [false, true] {
            let sent = std::panic::AssertUnwindSafe(|| send_through(&shared, Faulty::Panic, exact));
            assert!(std::panic::catch_unwind(sent).is_err());
            assert_eq!(shared.pool.count(shared.offer_at(0).coding), 0);
            assert_eq!(shared.budget.used(), 0);
        }
        assert_eq!(send_through(&shared, Faulty::Reset, false), (0, true));

        // A server that catches the panic drops the body later.
        put(&shared, Faulty::Panic, false);
        let coding = shared.offer_at(0).coding;
        let lease = Lease::take(&shared, coding.into(), None, Size::Stream(None)).unwrap();
        let mut stream = Stream::new(lease, Bytes::from_static(b"{}"), None, false).unwrap();
        let mut body = Pieces {
            left: 0,
            paused: 0,
            exact: Some(0),
            fails: false,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let poll = std::panic::AssertUnwindSafe(|| stream.poll(&mut body, &mut cx).is_ready());
        assert!(std::panic::catch_unwind(poll).is_err());
        drop(stream);
        assert_eq!((shared.pool.count(coding), shared.budget.used()), (0, 0));
    }
}
