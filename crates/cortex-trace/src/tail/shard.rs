//! The local traces that are held, and which span belongs to which: plain data behind a lock of the store.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use cortex_core::SpanId;

use super::Head;
use super::head::Match;
use super::store::Root;
use crate::SpanData;
use crate::propagation::TraceState;

/// How many segments with open spans are passed over to find one without.
const SPARED: usize = 8;

/// One part of the store: everything that has the same low bits in its trace id.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Which root the spans belong to that have started.
    pub(super) spans: Map<Place>,
    pub(super) segments: Map<Held>,
    /// The undecided ones by age: start and root.
    pub(super) waiting: BTreeSet<(u64, u64)>,
    /// The kept ones, in the order of their decisions: when, and which.
    pub(super) kept: VecDeque<(u64, SpanId)>,
    /// How many of `spans` belong to decided segments.
    pub(super) settled: usize,
    /// What the `tracestate`s of decided segments take.
    pub(super) settled_bytes: usize,
}

/// The ids are our own and random: they need no hash.
type Map<V> = HashMap<SpanId, V, BuildHasherDefault<AsIs>>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) root: SpanId,
    /// Forgotten when the span ends: its segment has as many as it may have.
    pub(super) brief: bool,
}

/// How much is remembered of decided segments in a shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) spans: usize,
    pub(super) bytes: usize,
}

/// A local trace.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) head: Head,
    pub(super) state: State,
    /// In nanoseconds.
    pub(super) started: u64,
    pub(super) tracestate: TraceState,
    /// What belongs to it in `Shard::spans`, but for the brief ones.
    pub(super) ids: Vec<SpanId>,
    /// Those that have not ended.
    pub(super) open: usize,
    pub(super) spans: Vec<SpanData>,
    pub(super) bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// A thread runs the rules.
    Judged,
    /// With what a match counts, or as the sampler said.
    Kept(Option<Match>),
}

/// A local trace that is to be judged, without a lock.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) root: SpanId,
    pub(super) head: Head,
    pub(super) started: u64,
    pub(super) tracestate: TraceState,
    pub(super) spans: Vec<SpanData>,
}

impl Shard {
    /// Takes in a new local trace; returns how many bytes it has already.
    pub(super) fn begin(&mut self, root: Root, started: u64) -> usize {
        let bytes = root.tracestate.size();
        let id = root.span_id;
        let place = Place {
            root: id,
            brief: false,
        };
        self.spans.insert(id, place);
        self.waiting.insert((started, id.get()));
        let held = Held {
            head: root.head,
            state: State::Waiting,
            started,
            tracestate: root.tracestate,
            ids: vec![id],
            open: 1,
            spans: Vec::new(),
            bytes,
        };
        self.segments.insert(id, held);
        bytes
    }

    /// Returns the segment that a span belongs to.
    pub(super) fn of(&mut self, span: SpanId) -> Option<(Place, &mut Held)> {
        let place = *self.spans.get(&span)?;
        Some((place, self.segments.get_mut(&place.root)?))
    }

    /// Takes what is known of an undecided segment, for somebody to judge it.
    pub(super) fn take(&mut self, root: SpanId) -> Option<Case> {
        let held = self.segments.get_mut(&root)?;
        if held.state != State::Waiting {
            return None;
        }
        held.state = State::Judged;
        self.waiting.remove(&(held.started, root.get()));
        Some(Case {
            root,
            head: held.head,
            started: held.started,
            tracestate: held.tracestate.clone(),
            spans: std::mem::take(&mut held.spans),
        })
    }

    /// Takes the oldest undecided segment, if it started at `latest` or before.
    pub(super) fn take_oldest(&mut self, latest: u64) -> Option<Case> {
        let (started, root) = *self.waiting.first()?;
        if started > latest {
            return None;
        }
        self.take(SpanId::new(root)?)
    }

    /// Notes that a segment is kept; returns what has ended meanwhile, how many spans it has and how many bytes.
    pub(super) fn keep(
        &mut self,
        root: SpanId,
        matched: Option<Match>,
        now: u64,
    ) -> Option<(Vec<SpanData>, usize, usize)> {
        let held = self.segments.get_mut(&root)?;
        held.state = State::Kept(matched);
        self.kept.push_back((now, root));
        self.settled += held.ids.len();
        self.settled_bytes += held.tracestate.size();
        let bytes = std::mem::take(&mut held.bytes);
        Some((std::mem::take(&mut held.spans), held.ids.len(), bytes))
    }

    /// Forgets a segment that is not kept: spans that nothing is known of are not kept either.
    pub(super) fn discard(&mut self, root: SpanId) -> Option<(Vec<SpanData>, usize, usize)> {
        let held = self.forget(root)?;
        Some((held.spans, held.ids.len(), held.bytes))
    }

    /// Forgets a span that will not end; returns whether that gives room back, and whether a whole segment is gone.
    #[cfg(feature = "bridge")]
    pub(super) fn cancel(&mut self, span: SpanId) -> (bool, bool) {
        let Some((place, held)) = self.of(span) else {
            if self.spans.remove(&span).is_some() {
                self.settled -= 1;
            }
            return (false, false);
        };
        held.open = held.open.saturating_sub(1);
        let is_waiting = held.state == State::Waiting;
        if is_waiting && place.root == span {
            if held.ids.len() > 1 {
                return (false, false); // its age decides about the others
            }
            let started = held.started;
            self.waiting.remove(&(started, span.get()));
            self.forget(span);
            return (true, true);
        }
        let is_settled = matches!(held.state, State::Kept(_));
        held.ids.retain(|id| *id != span);
        self.spans.remove(&span);
        if is_settled {
            self.settled -= 1;
        }
        (!is_settled, false)
    }

    /// Forgets kept segments: those that were decided before `before` and have ended, and more of them while there are
    /// more than `most`, the oldest first, but rather those that have ended.
    pub(super) fn forget_kept(&mut self, before: u64, now: u64, most: Most) {
        let mut spared = 0;
        for _ in 0..self.kept.len() + SPARED {
            let Some((decided, root)) = self.kept.front().copied() else {
                return;
            };
            let crowded = self.settled > most.spans || self.settled_bytes > most.bytes;
            if !crowded && decided >= before {
                return;
            }
            let is_open = self.segments.get(&root).is_some_and(|held| held.open > 0);
            if is_open && (!crowded || spared < SPARED) {
                spared += 1;
                self.kept.rotate_left(1);
                if let Some(last) = self.kept.back_mut() {
                    last.0 = now;
                }
                continue;
            }
            self.kept.pop_front();
            if let Some(held) = self.forget(root) {
                self.settled -= held.ids.len();
                self.settled_bytes -= held.tracestate.size();
            }
        }
    }

    fn forget(&mut self, root: SpanId) -> Option<Held> {
        let held = self.segments.remove(&root)?;
        for id in &held.ids {
            self.spans.remove(id);
        }
        Some(held)
    }

    /// Gives back what a burst has left behind. Now and then: the next burst would only ask for it again.
    pub(super) fn shrink(&mut self) {
        if self.spans.capacity() > 256 && self.spans.len() < self.spans.capacity() / 8 {
            self.spans.shrink_to(self.spans.len() * 2);
            self.segments.shrink_to(self.segments.len() * 2);
        }
    }
}

/// Hashes a random number to itself.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}
