use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cortex_core::{Flags, SpanId, TraceId};

use super::head::Verdict;
use super::kept::Kept;
use super::shard::{Case, Most, Place, Shard, State};
use super::{Head, Segment, Tail, TailStats, size};
use crate::propagation::{Remote, TraceState};
use crate::sampler::{Decision, END};
use crate::{SpanData, Threshold};

/// The local traces of a tracer that wait for their end.
///
/// A segment is found by the ids of its spans, so that two of one trace are two. No lock is held while a rule runs or a
/// span is exported, and never two of them.
#[derive(Debug)]
pub(crate) struct Store {
    tail: Tail,
    origin: Instant,
    /// The last time that a span started or ended, in nanoseconds since `origin`.
    now: AtomicU64,
    next_tick: AtomicU64,
    closed: AtomicBool,
    shards: Box<[Mutex<Shard>]>,
    /// When the oldest undecided segment of each shard started.
    oldest: Box<[AtomicU64]>,
    /// The spans of undecided segments, and the bytes of those that have ended.
    spans: AtomicUsize,
    bytes: AtomicUsize,
    /// Somebody was evicted in this tick, or in the one before.
    evicted: AtomicBool,
    uncertain: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    by_rule: AtomicU64,
    by_sampler: AtomicU64,
    discarded: AtomicU64,
    cut: AtomicU64,
    evicted: AtomicU64,
    panics: AtomicU64,
}

/// A local root that starts.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) span_id: SpanId,
    pub(crate) head: Head,
    pub(crate) tracestate: TraceState,
}

/// Why a segment is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Ended,
    Cut,
    Evicted,
}

const TICK: u64 = 1_000_000_000;
const SHARDS: usize = 16;

impl Store {
    pub(crate) fn new(mut tail: Tail, origin: Instant) -> Self {
        let limits = &mut tail.limits;
        limits.segment = limits.segment.min(limits.spans / 2).max(1);
        // In parts, so that threads pass each other; each has room for what is known of two large segments.
        let shards = (limits.spans / (limits.segment * 2)).clamp(1, SHARDS);
        Self {
            tail,
            origin,
            now: AtomicU64::new(0),
            next_tick: AtomicU64::new(TICK),
            closed: AtomicBool::new(false),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            oldest: (0..shards).map(|_| AtomicU64::new(u64::MAX)).collect(),
            spans: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evicted: AtomicBool::new(false),
            uncertain: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Looks at the sampler's decision about a local root: what it drops is recorded, if there is room.
    ///
    /// `decided` is what a caller has said who names no trace.
    pub(crate) fn reconsider(
        &self,
        head: &mut Head,
        parent: Option<&Remote>,
        decided: Option<bool>,
    ) -> Decision {
        head.recorded_from = self.recorded_from();
        let not_refused = |parent: &Remote| parent.is_undecided() || parent.flags().contains(Flags::SAMPLED);
        let wanted =
            self.tail.unsampled_callers || (decided != Some(false) && parent.is_none_or(not_refused));
        let open = !self.closed.load(Ordering::Relaxed);
        match head.decision {
            Decision::Drop if wanted && open && head.randomness >= head.recorded_from => Decision::RecordOnly,
            decision => decision,
        }
    }

    /// Takes in a local root. Returns whether it is to be recorded.
    pub(crate) fn begin(
        &self,
        trace_id: TraceId,
        root: Root,
        started: Instant,
        now: Instant,
        export: impl Fn(SpanData),
    ) -> bool {
        self.tick(now, &export);
        let sampled = root.head.is_sampled();
        if self.closed.load(Ordering::Relaxed) {
            return sampled;
        }
        if !self.reserve(&export) {
            self.lose();
            return sampled;
        }
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        let started = self.nanos(started);
        let at = self.at(trace_id);
        let mut shard = self.shard(at);
        let bytes = shard.begin(root, started);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.note_oldest(at, &shard);
        drop(shard);
        self.bound_bytes(&export);
        true
    }

    /// Takes in a span below another one. Returns whether it is to be recorded.
    pub(crate) fn join(
        &self,
        trace_id: TraceId,
        parent: SpanId,
        span: SpanId,
        sampled: bool,
        now: Instant,
        export: impl Fn(SpanData),
    ) -> bool {
        self.tick(now, &export);
        let at = self.at(trace_id);
        // A span that is not held needs no room: nobody else's trace is decided early for it.
        let has_room = self.reserve_free() || (self.is_undecided(at, parent) && self.reserve(&export));
        if !has_room {
            if !sampled && self.is_undecided(at, parent) {
                self.lose();
            }
            return self.join_settled(at, parent, span, sampled);
        }
        let mut shard = self.shard(at);
        let full = match shard.of(parent) {
            Some((place, held)) if !matches!(held.state, State::Kept(_)) => {
                let root = place.root;
                if held.ids.len() < self.tail.limits.segment {
                    held.ids.push(span);
                    held.open += 1;
                    shard.spans.insert(span, Place { root, brief: false });
                    return true;
                }
                shard.take(root)
            }
            _ => None,
        };
        self.note_oldest(at, &shard);
        drop(shard);
        self.spans.fetch_sub(1, Ordering::Relaxed);
        if let Some(case) = full {
            self.decide(at, case, Why::Cut, &export);
        }
        self.join_settled(at, parent, span, sampled)
    }

    /// Takes a span that has ended, and exports what is decided.
    pub(crate) fn end(&self, span: SpanData, now: Instant, export: impl Fn(SpanData)) {
        self.take_in(span, &export);
        // Afterwards, so that the end of an old root is still heeded.
        self.tick(now, &export);
    }

    fn take_in(&self, span: SpanData, export: &impl Fn(SpanData)) {
        let at = self.at(span.trace_id);
        let mut shard = self.shard(at);
        let id = span.span_id;
        let Some((place, held)) = shard.of(id) else {
            // Nothing is known of it (any more): it is as the sampler said.
            if shard.spans.remove(&id).is_some() {
                shard.settled -= 1;
            }
            drop(shard);
            return export(span);
        };
        held.open = held.open.saturating_sub(1);
        if let State::Kept(matched) = held.state {
            let kept = Kept::new(held.head, matched, held.tracestate.clone(), span.trace_id);
            if place.brief {
                shard.spans.remove(&id);
                shard.settled -= 1;
            }
            drop(shard);
            return export(kept.mark(span));
        }
        let bytes = size::of(&span);
        held.bytes += bytes;
        if held.spans.capacity() == 0 {
            held.spans.reserve_exact(held.ids.len()); // of many one at least, and of one no more
        }
        held.spans.push(span);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let case = if place.root == id { shard.take(id) } else { None };
        self.note_oldest(at, &shard);
        drop(shard);
        if let Some(case) = case {
            self.decide(at, case, Why::Ended, export);
        }
        self.bound_bytes(export);
    }

    /// Forgets a span that was taken in and will not end: it goes on as part of another trace, or was never made.
    #[cfg(feature = "bridge")]
    pub(crate) fn cancel(&self, trace_id: TraceId, span: SpanId) {
        let at = self.at(trace_id);
        let mut shard = self.shard(at);
        let (makes_room, ends_segment) = shard.cancel(span);
        self.note_oldest(at, &shard);
        drop(shard);
        if makes_room {
            self.spans.fetch_sub(1, Ordering::Relaxed);
        }
        if ends_segment {
            self.counts.begun.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes nothing in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Decides about everything that waits now, from what is known; what begins later is left alone.
    pub(crate) fn drain(&self, now: Instant, export: impl Fn(SpanData)) {
        let now = self.nanos(now);
        self.now.fetch_max(now, Ordering::Relaxed);
        let closed = self.closed.load(Ordering::Relaxed);
        self.cut_until(if closed { u64::MAX } else { now }, &export);
        for at in 0..self.shards.len() {
            self.shard(at).shrink();
        }
    }

    pub(crate) fn stats(&self) -> TailStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        let pending: usize = self.shards.iter().map(|shard| lock(shard).waiting.len()).sum();
        TailStats {
            begun: get(&counts.begun),
            kept_by_rule: get(&counts.by_rule),
            kept_by_sampler: get(&counts.by_sampler),
            discarded: get(&counts.discarded),
            pending: pending as u64,
            cut: get(&counts.cut),
            evicted: get(&counts.evicted),
            panics: get(&counts.panics),
            pending_spans: self.spans.load(Ordering::Relaxed),
            pending_bytes: self.bytes.load(Ordering::Relaxed),
            record_ratio: Threshold::from_bits(self.recorded_from()).map_or(0.0, Threshold::probability),
        }
    }

    /// The randomness from which on is recorded what the sampler drops: everything while less than half of the room is
    /// taken, then half as much for each sixteenth.
    fn recorded_from(&self) -> u64 {
        let sixteenths = |used: &AtomicUsize, limit: usize| {
            let used = used.load(Ordering::Relaxed).saturating_mul(16);
            (used / limit.max(1)).min(16)
        };
        let limits = &self.tail.limits;
        let fill = sixteenths(&self.spans, limits.spans).max(sixteenths(&self.bytes, limits.bytes));
        END - (END >> fill.saturating_sub(8))
    }

    /// Says whether a span belongs to a segment that is held.
    fn is_undecided(&self, at: usize, span: SpanId) -> bool {
        let mut shard = self.shard(at);
        shard
            .of(span)
            .is_some_and(|(_, held)| !matches!(held.state, State::Kept(_)))
    }

    /// Takes room for one span, if there is any; returns whether there was.
    fn reserve_free(&self) -> bool {
        let had_room = self.spans.fetch_add(1, Ordering::Relaxed) < self.tail.limits.spans;
        if !had_room {
            self.spans.fetch_sub(1, Ordering::Relaxed);
        }
        had_room
    }

    /// Makes room for one span; returns whether there is.
    fn reserve(&self, export: &impl Fn(SpanData)) -> bool {
        while !self.reserve_free() {
            if !self.evict(export) {
                return false;
            }
        }
        true
    }

    /// Makes room while there are more bytes than may be.
    fn bound_bytes(&self, export: &impl Fn(SpanData)) {
        while self.bytes.load(Ordering::Relaxed) > self.tail.limits.bytes && self.evict(export) {}
    }

    /// Decides about the oldest segment to get its room; returns whether there was one.
    fn evict(&self, export: &impl Fn(SpanData)) -> bool {
        let starts = self.oldest.iter().map(|oldest| oldest.load(Ordering::Relaxed));
        let Some((at, _)) = starts
            .enumerate()
            .filter(|(_, start)| *start != u64::MAX)
            .min_by_key(|(_, start)| *start)
        else {
            return false;
        };
        let case = {
            let mut shard = self.shard(at);
            let case = shard.take_oldest(u64::MAX);
            self.note_oldest(at, &shard);
            case
        };
        if let Some(case) = case {
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
            self.lose();
            self.decide(at, case, Why::Evicted, export);
        }
        true // if somebody else has just taken it, that makes room as well
    }

    /// Notes that something may be lost that a rule would have kept.
    fn lose(&self) {
        self.evicted.store(true, Ordering::Relaxed);
        self.uncertain.store(true, Ordering::Relaxed);
    }

    /// Takes in a span whose segment is decided, or not known; returns whether it is to be recorded.
    fn join_settled(&self, at: usize, parent: SpanId, span: SpanId, sampled: bool) -> bool {
        let (most, now) = (self.most_settled(), self.now.load(Ordering::Relaxed));
        let mut shard = self.shard(at);
        if shard.settled >= most.spans {
            let spans = most.spans.saturating_sub(1);
            shard.forget_kept(0, now, Most { spans, ..most });
        }
        let fits = shard.settled < most.spans;
        let place = match shard.of(parent) {
            // What the sampler drops of a segment that it keeps has nobody any more who could want it.
            Some((of, held))
                if fits && matches!(held.state, State::Kept(matched) if sampled || matched.is_some()) =>
            {
                let brief = held.ids.len() >= self.tail.limits.segment;
                held.open += 1;
                if !brief {
                    held.ids.push(span);
                }
                Place { root: of.root, brief }
            }
            _ => return sampled,
        };
        shard.settled += 1;
        shard.spans.insert(span, place);
        true
    }

    fn most_settled(&self) -> Most {
        let (limits, shards) = (&self.tail.limits, self.shards.len());
        Most {
            spans: limits.spans.div_ceil(shards),
            bytes: limits.bytes.div_ceil(shards),
        }
    }

    /// Judges a segment and does what follows from that.
    fn decide(&self, at: usize, case: Case, why: Why, export: &impl Fn(SpanData)) {
        let now = self.now.load(Ordering::Relaxed);
        let segment = Segment {
            spans: &case.spans,
            root: case.spans.iter().find(|span| span.span_id == case.root),
            elapsed: Duration::from_nanos(now.saturating_sub(case.started)),
        };
        let (rule, panics) = self.tail.judge(&segment);
        self.counts.panics.fetch_add(panics, Ordering::Relaxed);
        let lossless = !self.uncertain.load(Ordering::Relaxed);
        let verdict = case.head.verdict(rule, lossless);
        let count = match verdict {
            Verdict::Matched(_) => &self.counts.by_rule,
            Verdict::Sampled => &self.counts.by_sampler,
            Verdict::Discard => &self.counts.discarded,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if why == Why::Cut {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
        let rest = {
            let mut shard = self.shard(at);
            let rest = match verdict {
                Verdict::Matched(matched) => shard.keep(case.root, Some(matched), now),
                Verdict::Sampled => shard.keep(case.root, None, now),
                Verdict::Discard => shard.discard(case.root),
            };
            shard.forget_kept(0, now, self.most_settled());
            rest
        };
        let Some((rest, spans, bytes)) = rest else {
            return;
        };
        self.spans.fetch_sub(spans, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if verdict == Verdict::Discard {
            return discard(case.spans, rest, export);
        }
        let mut spans = case.spans.into_iter().chain(rest).peekable();
        let Some(first) = spans.peek() else {
            return;
        };
        let matched = match verdict {
            Verdict::Matched(matched) => Some(matched),
            Verdict::Sampled | Verdict::Discard => None,
        };
        let kept = Kept::new(case.head, matched, case.tracestate, first.trace_id);
        for span in spans {
            export(kept.mark(span));
        }
    }

    /// Once a second, on whoever starts or ends a span: decides about what is too old.
    fn tick(&self, now: Instant, export: &impl Fn(SpanData)) {
        let now = self.nanos(now);
        self.now.fetch_max(now, Ordering::Relaxed);
        let due = self.next_tick.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now.saturating_add(TICK);
        let ours = self
            .next_tick
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if ours.is_err() {
            return; // another thread is at it
        }
        if !self.evicted.swap(false, Ordering::Relaxed) {
            self.uncertain.store(false, Ordering::Relaxed);
        }
        for at in 0..self.shards.len() {
            self.shard(at).shrink();
        }
        let age = u64::try_from(self.tail.limits.age.as_nanos()).unwrap_or(u64::MAX);
        let Some(latest) = now.checked_sub(age) else {
            return;
        };
        self.cut_until(latest, export);
        for at in 0..self.shards.len() {
            self.shard(at).forget_kept(latest, now, self.most_settled());
        }
    }

    /// Decides about all that started at `latest` or before. Not about more than waits as it comes to a shard, so that it
    /// ends however fast others begin.
    fn cut_until(&self, latest: u64, export: &impl Fn(SpanData)) {
        for at in 0..self.shards.len() {
            let most = self.shard(at).waiting.len();
            for _ in 0..most {
                let case = {
                    let mut shard = self.shard(at);
                    let case = shard.take_oldest(latest);
                    self.note_oldest(at, &shard);
                    case
                };
                match case {
                    Some(case) => self.decide(at, case, Why::Cut, export),
                    None => break,
                }
            }
        }
    }

    fn note_oldest(&self, at: usize, shard: &Shard) {
        let oldest = shard.waiting.first().map_or(u64::MAX, |(started, _)| *started);
        self.oldest[at].store(oldest, Ordering::Relaxed);
    }

    fn at(&self, trace_id: TraceId) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lower half, in which a division is cheap"
        )]
        let low = trace_id.get() as u64;
        usize::try_from(low % self.shards.len() as u64).expect("invariant: less than the number of shards")
    }

    fn shard(&self, at: usize) -> MutexGuard<'_, Shard> {
        lock(&self.shards[at])
    }

    fn nanos(&self, instant: Instant) -> u64 {
        let elapsed = instant.saturating_duration_since(self.origin);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Exports what the sampler has kept by itself of spans that nobody keeps as a whole.
fn discard(mut spans: Vec<SpanData>, rest: Vec<SpanData>, export: &impl Fn(SpanData)) {
    // Nearly always nothing: what is left is dropped where it is, as moving it would cost more than all else here.
    spans.retain(|span| span.flags.contains(Flags::SAMPLED));
    spans.into_iter().chain(rest).for_each(export);
}

/// Locks what no panic can leave half done: no foreign code runs under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
