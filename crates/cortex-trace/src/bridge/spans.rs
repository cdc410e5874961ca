//! Where the open spans of a layer are found by their `tracing` id.
//!
//! The extensions of the registry would do, but cost a box and four look-ups in a map behind a lock per span, which is
//! more than all else that an unsampled span needs.

use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cortex_core::{Context, Deadline, Flags, SpanId, TraceId};

use super::fields::Early;
use super::sync::{AtomicU8, AtomicU64, Mutex, MutexGuard, Ordering, yield_now};
use crate::SpanKind;
use crate::carrier::Carrier;
use crate::span::Record;

/// Spans per group.
const WAYS: usize = if cfg!(cortex_loom) { 2 } else { 8 };
/// Groups of each level. An id has one group on every level, so that few are looked at, however many spans are open.
const GROUPS: &[usize] = if cfg!(cortex_loom) {
    &[1]
} else {
    &[64, 512, 4096, 1 << 15, 1 << 17]
};
const LEVELS: usize = GROUPS.len();
/// Groups that are allocated at once, for one id that needs one of them: 400 kB, which nobody waits long for.
const SEGMENT: usize = 512;
/// Where the segments of each level begin, and where they end.
const SEGMENTS: [usize; LEVELS + 1] = {
    let mut begin = [0; LEVELS + 1];
    let mut level = 0;
    while level < LEVELS {
        begin[level + 1] = begin[level] + GROUPS[level].div_ceil(SEGMENT);
        level += 1;
    }
    begin
};

/// The open spans of a layer: a table that grows in small steps up to 1,348,096 spans, and is read without a lock.
///
/// It does not shrink: a reader without a lock may be anywhere.
///
/// A span's cell is written by the thread that opens it and freed by the one that closes it. Everybody in between has
/// the `tracing` span, so the handing over of that is what makes the cell's contents visible. Who asks for a span that
/// is closing gets nothing, or what it had, as long as its id does not come again meanwhile: that takes thousands of
/// other spans at its place, because ids have a generation. Checked by the models beside this file.
#[derive(Debug)]
pub(super) struct Spans {
    segments: [OnceLock<Box<[Group]>>; SEGMENTS[LEVELS]],
    /// What instants are measured from.
    base: OnceLock<Instant>,
}

/// The ids that fall together, in one cache line, and their cells.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Group {
    /// Zero is free, and [`TAKEN`] is between: no span of `tracing-subscriber` has these ids.
    ids: [AtomicU64; WAYS],
    cells: [Cell; WAYS],
    /// Apart from the cells, which fill a cache line each: nearly always there is nothing.
    besides: [Mutex<Beside>; WAYS],
}

#[derive(Debug, Default)]
struct Cell {
    trace_high: AtomicU64,
    trace_low: AtomicU64,
    span: AtomicU64,
    deadline: AtomicU64,
    flags: AtomicU8,
    state: AtomicU8,
    recording: Mutex<Option<Box<Record>>>,
}

/// What few spans have.
#[derive(Debug, Default)]
struct Beside {
    carrier: Option<Arc<Carrier>>,
    early: Option<Box<Early>>,
}

/// The kind of the span, and whether something is beside the cell, or the deadline set. Next to the flags of the wire,
/// which are two bits, and `RECORDING`.
const KIND: u8 = 0x1c;
const BESIDE: u8 = 0x20;
const DEADLINE: u8 = 0x40;
const RECORDING: u8 = 0x80;

/// The key of a cell that is being written.
const TAKEN: u64 = u64::MAX;

/// Nobody has seen the span's context yet.
const FRESH: u8 = 0;
const SEEN: u8 = 1;
const CHANGING: u8 = 2;

/// An open span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open<'a> {
    spans: &'a Spans,
    id: u64,
    key: &'a AtomicU64,
    cell: &'a Cell,
    beside: &'a Mutex<Beside>,
}

/// A span for which there is no room, and its record.
#[derive(Debug)]
pub(super) struct Unheld(pub(super) Option<Box<Record>>);

/// What is stored of a span that starts or changes.
#[derive(Debug)]
pub(super) struct Identity<'a> {
    /// Where it is: a copy would be read before its parts have arrived in it.
    pub(super) context: &'a Context,
    pub(super) kind: SpanKind,
    /// Of its `tracestate`, if it has one.
    pub(super) carrier: Option<Arc<Carrier>>,
    /// What a span that is not recorded was asked before that was decided.
    pub(super) early: Option<Box<Early>>,
}

impl<'a> From<&'a Context> for Identity<'a> {
    fn from(context: &'a Context) -> Self {
        Self {
            context,
            kind: SpanKind::Internal,
            carrier: None,
            early: None,
        }
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self {
            segments: [const { OnceLock::new() }; SEGMENTS[LEVELS]],
            base: OnceLock::new(),
        }
    }
}

impl Spans {
    /// Adds a span, unless all its groups are full, which takes about a million open ones.
    #[inline]
    pub(super) fn insert<'a>(
        &self,
        id: u64,
        identity: impl Into<Identity<'a>>,
        recording: Option<Box<Record>>,
    ) -> Result<(), Unheld> {
        for (level, groups) in GROUPS.iter().copied().enumerate() {
            let place = place(id, groups);
            let segment = &self.segments[SEGMENTS[level] + place / SEGMENT];
            let segment = segment.get_or_init(|| new_segment(groups.min(SEGMENT)));
            let group = &segment[place % SEGMENT];
            for way in ways(id) {
                let key = &group.ids[way];
                // Acquire: what the span before wrote is over when this one writes.
                if key.load(Ordering::Relaxed) == 0
                    && key
                        .compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                {
                    let cell = &group.cells[way];
                    cell.state.store(FRESH, Ordering::Release);
                    self.write(cell, &group.besides[way], identity.into());
                    if recording.is_some() {
                        *lock(&cell.recording) = recording;
                    }
                    // Last, so that nobody finds what the span before has left.
                    key.store(id, Ordering::Release);
                    return Ok(());
                }
            }
        }
        Err(Unheld(recording))
    }

    /// Looks for a span.
    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<Open<'_>> {
        // At its first place nearly always.
        let group = &self.segments[0].get()?[place(id, GROUPS[0]) % SEGMENT];
        let way = ways(id).next()?;
        if group.ids[way].load(Ordering::Acquire) == id {
            return Some(self.open(id, group, way));
        }
        self.find_elsewhere(id)
    }

    fn find_elsewhere(&self, id: u64) -> Option<Open<'_>> {
        for (level, groups) in GROUPS.iter().copied().enumerate() {
            let place = place(id, groups);
            let group = &self.segments[SEGMENTS[level] + place / SEGMENT].get()?[place % SEGMENT];
            let way = ways(id).find(|way| group.ids[*way].load(Ordering::Acquire) == id);
            if let Some(way) = way {
                return Some(self.open(id, group, way));
            }
        }
        None
    }

    #[inline]
    const fn open<'a>(&'a self, id: u64, group: &'a Group, way: usize) -> Open<'a> {
        Open {
            spans: self,
            id,
            key: &group.ids[way],
            cell: &group.cells[way],
            beside: &group.besides[way],
        }
    }

    /// Returns the context of a span, which cannot change any more.
    #[inline]
    pub(super) fn context(&self, id: u64) -> Option<Context> {
        self.find(id)?.context()
    }

    /// Forgets a span, and returns what it recorded.
    #[inline]
    pub(super) fn remove(&self, id: u64) -> Option<Box<Record>> {
        let open = self.find(id)?;
        let recording = if open.is_recording() {
            lock(&open.cell.recording).take()
        } else {
            None
        };
        let beside = open.has_beside().then(|| std::mem::take(&mut *lock(open.beside)));
        open.key.store(0, Ordering::Release);
        drop(beside);
        recording
    }

    /// Returns how many cells are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        let groups = self.segments.iter().filter_map(OnceLock::get).flatten();
        let keys = groups.flat_map(|group| &group.ids);
        keys.filter(|key| key.load(Ordering::Acquire) != 0).count()
    }

    // Release, and acquire in `context`: an id that outlived its span must not be answered with another span's cell. Who
    // reads a value of the next span also sees that the key has changed.
    #[inline]
    fn write(&self, cell: &Cell, beside: &Mutex<Beside>, identity: Identity<'_>) {
        let context = identity.context;
        let trace = context.trace_id().map_or(0, TraceId::get);
        cell.trace_high.store((trace >> 64) as u64, Ordering::Release);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        cell.trace_low.store(trace as u64, Ordering::Release);
        let span = context.span_id().map_or(0, SpanId::get);
        cell.span.store(span, Ordering::Release);
        let mut flags = context.flags().to_wire();
        if context.flags().contains(Flags::RECORDING) {
            flags |= RECORDING;
        }
        if let Some(deadline) = context.deadline() {
            flags |= DEADLINE;
            cell.deadline
                .store(self.pack(deadline.instant()), Ordering::Release);
        }
        flags |= kind_bits(identity.kind);
        if identity.carrier.is_some() || identity.early.is_some() {
            flags |= BESIDE;
            *lock(beside) = Beside {
                carrier: identity.carrier,
                early: identity.early,
            };
        }
        cell.flags.store(flags, Ordering::Release);
    }

    /// Nanoseconds after the first instant of all, as two's complement: nothing reads the clock only for them.
    fn pack(&self, instant: Instant) -> u64 {
        let base = *self.base.get_or_init(|| instant);
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match instant.checked_duration_since(base) {
            Some(after) => nanos(after),
            None => -nanos(base.saturating_duration_since(instant)),
        }
        .cast_unsigned()
    }

    fn unpack(&self, packed: u64) -> Instant {
        let nanos = packed.cast_signed();
        let distance = Duration::from_nanos(nanos.unsigned_abs());
        let instant = self.base.get().and_then(|base| match nanos {
            0.. => base.checked_add(distance),
            _ => base.checked_sub(distance),
        });
        instant.expect("invariant: what was packed has a base and was an instant")
    }
}

impl Open<'_> {
    /// Returns the context, which cannot change any more.
    #[inline]
    pub(super) fn context(self) -> Option<Context> {
        if self.cell.state.load(Ordering::Acquire) != SEEN {
            self.settle();
        }
        let cell = self.cell;
        let high = u128::from(cell.trace_high.load(Ordering::Acquire));
        let low = u128::from(cell.trace_low.load(Ordering::Acquire));
        let span = cell.span.load(Ordering::Acquire);
        let packed = cell.flags.load(Ordering::Acquire);
        let deadline = cell.deadline.load(Ordering::Acquire);
        // The key last: see `Spans::write`.
        if !self.is_open() {
            return None;
        }
        let mut flags = Flags::from_wire(packed);
        if packed & RECORDING != 0 {
            flags = flags | Flags::RECORDING;
        }
        let context = Context::new().with_span(TraceId::new(high << 64 | low)?, SpanId::new(span)?, flags);
        if packed & DEADLINE == 0 {
            return Some(context);
        }
        Some(context.with_deadline(Deadline::at(self.spans.unpack(deadline))))
    }

    /// Returns the deadline, which is the same whatever the context becomes.
    pub(super) fn deadline(self) -> Option<Deadline> {
        let packed = self.cell.flags.load(Ordering::Acquire);
        let deadline = self.cell.deadline.load(Ordering::Acquire);
        let is_set = self.is_open() && packed & DEADLINE != 0;
        is_set.then(|| Deadline::at(self.spans.unpack(deadline)))
    }

    #[inline]
    pub(super) fn is_recording(self) -> bool {
        self.cell.flags.load(Ordering::Acquire) & RECORDING != 0 && self.is_open()
    }

    /// Returns what carries the span's `tracestate`, if it has one.
    #[inline]
    pub(super) fn carrier(self) -> Option<Arc<Carrier>> {
        if !self.has_beside() {
            return None;
        }
        let carrier = lock(self.beside).carrier.clone();
        carrier.filter(|_| self.is_open())
    }

    /// Returns what was known early of a span that is not recorded.
    pub(super) fn early(self) -> Early {
        let early = lock(self.beside).early.as_deref().cloned();
        Early {
            kind: Some(kind_of(self.cell.flags.load(Ordering::Acquire))),
            ..early.unwrap_or_default()
        }
    }

    #[inline]
    fn has_beside(self) -> bool {
        self.cell.flags.load(Ordering::Acquire) & BESIDE != 0
    }

    /// Runs `work` on the record of the span, if it has one, under a lock: nothing foreign may be called.
    pub(super) fn record<R>(self, work: impl FnOnce(&mut Record) -> R) -> Option<R> {
        if !self.is_recording() {
            return None;
        }
        let mut recording = lock(&self.cell.recording);
        let recording = recording.as_mut().filter(|_| self.is_open())?;
        Some(work(recording))
    }

    /// Gives the span another context and changes its record, unless somebody has seen the context.
    pub(super) fn change<'a>(
        self,
        identity: impl Into<Identity<'a>>,
        work: impl FnOnce(&mut Option<Box<Record>>),
    ) -> Result<(), AlreadySeen> {
        let state = &self.cell.state;
        if !self.is_open()
            || state
                .compare_exchange(FRESH, CHANGING, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            return Err(AlreadySeen);
        }
        let mut identity = identity.into();
        let mut old = std::mem::take(&mut *lock(self.beside)); // what is left of it is freed without a lock
        identity.early = old.early.take();
        {
            let mut recording = lock(&self.cell.recording);
            work(&mut recording);
            self.spans.write(self.cell, self.beside, identity);
        }
        state.store(FRESH, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn is_open(self) -> bool {
        self.key.load(Ordering::Acquire) == self.id
    }

    #[cold]
    fn wait_for_change(self) {
        while self.cell.state.load(Ordering::Acquire) == CHANGING {
            yield_now();
        }
    }

    #[inline]
    fn settle(self) {
        let state = &self.cell.state;
        while let Err(found) = state.compare_exchange(FRESH, SEEN, Ordering::AcqRel, Ordering::Acquire) {
            if found == SEEN {
                return;
            }
            self.wait_for_change();
        }
    }
}

/// The context of the span is known elsewhere by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AlreadySeen;

#[inline]
const fn kind_bits(kind: SpanKind) -> u8 {
    let number: u8 = match kind {
        SpanKind::Internal => 0,
        SpanKind::Server => 1,
        SpanKind::Client => 2,
        SpanKind::Producer => 3,
        SpanKind::Consumer => 4,
    };
    number << KIND.trailing_zeros()
}

const fn kind_of(flags: u8) -> SpanKind {
    match (flags & KIND) >> KIND.trailing_zeros() {
        1 => SpanKind::Server,
        2 => SpanKind::Client,
        3 => SpanKind::Producer,
        4 => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// The group of an id. The ids of `tracing-subscriber` are, on 64 bits, a generation, 13 bits of thread and 38 bits of
/// place; those of one thread stay together, and threads apart. Other ids work as well.
#[inline]
fn place(id: u64, groups: usize) -> usize {
    let thread = id >> 38 & 0x1fff;
    let start = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let place = start.wrapping_add(id >> 3) & (groups as u64 - 1);
    place as usize
}

/// The places in a group, the likely one first.
#[inline]
fn ways(id: u64) -> impl Iterator<Item = usize> {
    #[expect(clippy::cast_possible_truncation, reason = "it is less than eight")]
    let first = (id % WAYS as u64) as usize;
    (0..WAYS).map(move |step| first.wrapping_add(step) % WAYS)
}

#[cold]
fn new_segment(groups: usize) -> Box<[Group]> {
    std::iter::repeat_with(Group::default).take(groups).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Barrier;

    fn numbered(n: u64) -> Context {
        let trace = u128::from(n) << 64 | u128::from(!n);
        let ids = TraceId::new(trace).zip(SpanId::new(n)).expect("neither is zero");
        Context::new().with_span(ids.0, ids.1, Flags::RANDOM)
    }

    /// Ids that fall into few groups: of few threads, with a generation in front.
    fn ids() -> impl Strategy<Value = u64> {
        (0_u64..3, 0_u64..3, 1_u64..40).prop_map(|(generation, thread, place)| {
            generation << 51 | thread << 38 | (place % 8) | (place / 8) << 12 | u64::from(place % 8 == 0)
        })
    }

    proptest! {
        #[test]
        fn finds_what_is_open_like_a_map(steps in proptest::collection::vec((ids(), any::<bool>()), 0..200)) {
            let (spans, mut model) = (Spans::default(), HashMap::new());
            for (n, (id, open)) in (1..).zip(steps) {
                if open && !model.contains_key(&id) {
                    prop_assert!(spans.insert(id, &numbered(n), None).is_ok());
                    model.insert(id, numbered(n));
                } else {
                    prop_assert!(spans.remove(id).is_none());
                    model.remove(&id);
                    prop_assert_eq!(spans.context(id), None);
                }
                for (id, context) in &model {
                    prop_assert_eq!(spans.context(*id), Some(*context));
                }
            }
        }
    }

    /// Ids that fall into one group on every level.
    fn id(n: u64) -> u64 {
        assert!(n < 1 << 18);
        1 + (n << 20)
    }

    /// How many of those there is room for.
    const TOGETHER: u64 = 40;

    impl Spans {
        fn insert_at(&self, n: u64, context: &Context) -> bool {
            self.insert(id(n), context, None).is_ok()
        }

        fn allocated(&self) -> Vec<&[Group]> {
            let segments = self.segments.iter().filter_map(OnceLock::get);
            segments.map(|segment| &**segment).collect()
        }

        /// Fails if anything is left of a span.
        fn assert_empty(&self) {
            for group in self.allocated().into_iter().flatten() {
                assert!(group.ids.iter().all(|id| id.load(Ordering::Acquire) == 0));
                assert!(group.cells.iter().all(|cell| lock(&cell.recording).is_none()));
                let is_empty = |beside: &Beside| beside.carrier.is_none() && beside.early.is_none();
                assert!(group.besides.iter().all(|beside| is_empty(&lock(beside))));
            }
        }
    }

    #[test]
    fn a_full_group_goes_on_in_the_next_level() {
        let spans = Spans::default();
        let many = 24;
        assert!((0..many).all(|n| spans.insert_at(n, &numbered(n + 1))));
        assert_eq!(spans.allocated().len(), 3);
        assert!((0..many).all(|n| spans.context(id(n)) == Some(numbered(n + 1))));
        spans.remove(id(0));
        assert!(spans.insert_at(many, &numbered(7))); // takes the place that is free
        assert_eq!(spans.allocated().len(), 3);
        assert_eq!(spans.context(id(many)), Some(numbered(7)));
        assert_eq!(spans.context(id(0)), None);
    }

    #[test]
    fn memory_is_bounded_and_grows_in_small_steps() {
        let spans = Spans::default();
        let room = (GROUPS.iter().sum::<usize>() * WAYS) as u64;
        assert_eq!(room, 1_348_096);
        // One after the other, as the registry numbers the spans of one thread.
        let all = 8..8 + room;
        for n in all.clone() {
            assert!(spans.insert(n, &numbered(n), None).is_ok(), "{n}");
        }
        let bytes: Vec<usize> = spans.allocated().into_iter().map(size_of_val).collect();
        assert_eq!(bytes.len(), SEGMENTS[LEVELS]);
        assert!(bytes.iter().all(|bytes| *bytes < 400_000));
        assert!(bytes.iter().sum::<usize>() < 130_000_000);
        let refused = all.end;
        assert!(spans.insert(refused, &numbered(refused), None).is_err());
        assert!(spans.find(refused).is_none());
        for n in all.clone() {
            if n % 1000 == 0 {
                assert_eq!(spans.context(n), Some(numbered(n)));
            }
            spans.remove(n);
            if n == refused - room {
                assert!(spans.insert(refused, &numbered(refused), None).is_ok());
            }
        }
        assert_eq!(spans.context(refused), Some(numbered(refused)));
        spans.remove(refused);
        spans.assert_empty();
    }

    #[test]
    fn beyond_the_bound_threads_neither_meet_nor_leak() {
        const THREADS: u64 = 4;
        const EACH: u64 = 20; // twice as many as there is room for
        let spans = &Spans::default();
        let (held, barrier) = (
            &AtomicU64::new(0),
            &Barrier::new(usize::try_from(THREADS).unwrap()),
        );
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for round in 0..200 {
                        let first = (round * THREADS + thread) * EACH;
                        let own = first..first + EACH;
                        let opened: Vec<bool> = own
                            .clone()
                            .map(|n| {
                                let early = Some(Box::new(Early::default()));
                                let context = numbered(n + 1);
                                let identity = Identity {
                                    early,
                                    ..Identity::from(&context)
                                };
                                spans.insert(id(n), identity, None).is_ok()
                            })
                            .collect();
                        held.fetch_add(
                            opened.iter().filter(|opened| **opened).count() as u64,
                            Ordering::AcqRel,
                        );
                        barrier.wait();
                        assert_eq!(held.load(Ordering::Acquire), TOGETHER);
                        barrier.wait();
                        for (n, opened) in own.clone().zip(&opened) {
                            assert_eq!(spans.context(id(n)), opened.then(|| numbered(n + 1)));
                            // Of a span that somebody else may be closing: all of its context, or none.
                            let other = (round * THREADS + (thread + 1) % THREADS) * EACH + n - first;
                            let seen = spans.context(id(other));
                            assert!(seen.is_none_or(|seen| seen == numbered(other + 1)));
                            spans.remove(id(n));
                            assert_eq!(spans.context(id(n)), None);
                        }
                        held.fetch_sub(
                            opened.iter().filter(|opened| **opened).count() as u64,
                            Ordering::AcqRel,
                        );
                        barrier.wait(); // nobody counts what the next round opens
                    }
                });
            }
        });
        assert_eq!(spans.allocated().len(), LEVELS);
        spans.assert_empty();
        assert!((0..TOGETHER).all(|n| spans.insert_at(n, &numbered(n + 1))));
        assert!(!spans.insert_at(TOGETHER, &numbered(1)));
    }

    #[test]
    fn a_context_changes_only_until_it_is_seen() {
        let spans = Spans::default();
        assert!(spans.insert(3, &numbered(1), None).is_ok());
        let open = spans.find(3).unwrap();
        assert_eq!(open.change(&numbered(2), |_| ()), Ok(()));
        assert_eq!(spans.context(3), Some(numbered(2)));
        assert_eq!(open.change(&numbered(3), |_| ()), Err(AlreadySeen));
        spans.remove(3);
        assert_eq!((open.context(), open.is_recording()), (None, false));
        assert!(spans.insert(11, &numbered(4), None).is_ok()); // the same cell
        assert_eq!((open.context(), open.record(|_| ())), (None, None));
        assert_eq!(open.change(&numbered(5), |_| ()), Err(AlreadySeen));
        assert_eq!(spans.context(11), Some(numbered(4)));
    }

    #[test]
    fn threads_do_not_meet_in_a_cell() {
        let spans = &Spans::default();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                scope.spawn(move || {
                    // Every thread wants the same eight cells. An id comes again only when its generation does.
                    for round in 1..5_000_u64 {
                        let generation = (round / 8) << 51;
                        let id = |n: u64| generation + 1 + (round % 8) + ((thread + 4 * n) << 20);
                        let context = |n: u64| numbered(round << 8 | thread << 4 | (n + 1));
                        (0..3).for_each(|n| assert!(spans.insert(id(n), &context(n), None).is_ok()));
                        assert!((0..3).all(|n| spans.context(id(n)) == Some(context(n))));
                        // Of a span that somebody else may be closing: all of its context, or none.
                        for other in (0..8).map(|n| generation + 1 + n + (((thread + 1) % 4) << 20)) {
                            if let Some(seen) = spans.context(other) {
                                let n = seen.span_id().map(SpanId::get).unwrap();
                                assert_eq!(seen, numbered(n));
                            }
                        }
                        (0..3).for_each(|n| assert!(spans.remove(id(n)).is_none()));
                    }
                });
            }
        });
        assert_eq!(spans.taken(), 0);
    }
}
