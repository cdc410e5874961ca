use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use cortex_core::{Clock, SystemClock, TraceId};

use super::children::Children;
use super::control::{Control, Goal, bits, budget, ratio};
use super::routes::Routes;
use super::sync::{AtomicU64, Ordering};
use crate::sampler::{SampleParams, Sampler, SamplingIntent, Threshold};

/// Keeps a budget of spans a second: the busier it gets, the smaller the share that is recorded.
///
/// Once a second it looks at what came in the last ten, and sets the share for what will come. A share grows by half a
/// tick at most and falls at once. A burst does not wait for the tick: whenever a budget is used up the share is halved,
/// so that what comes too much grows with the logarithm of the burst only. While nothing comes nothing is forgotten:
/// after a quiet night the morning begins with the shares of the evening.
///
/// Shares depend on the past and never on the trace that is decided about, and each is published as `ot=th`: what
/// backends count from it is right, burst or not.
///
/// Spans count that are below a local root which this sampler has kept. What a [`Tail`](crate::Tail) keeps on top is
/// bounded by the tail.
///
/// # Performance
///
/// A decision takes no lock, and writes nothing that other threads write unless it keeps the trace. It reads no clock if
/// somebody has timed the start of the span, as servers do; of other spans on a busy route one in 16 reads
/// [`SystemClock`], unless [`clock`](Self::clock) says otherwise, so that up to fifteen of each thread may still get the
/// share of a burst that is over.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Adaptive, ParentBased, Tracer};
///
/// let sampler = Adaptive::target(100.0).per_route().max_ratio(0.5);
/// assert_eq!(sampler.ratio("/items/{id}"), 0.5);
/// let tracer = Tracer::builder("shop").sampler(ParentBased::root(sampler)).build()?;
/// # drop(tracer);
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[must_use = "it is given to a tracer or to another sampler"]
pub struct Adaptive {
    settings: Settings,
    clock: Arc<dyn Clock>,
    origin: Instant,
    seed: u64,
    routes: Routes,
    children: Children,
    /// The threshold of `min_ratio`, which no burst raises further.
    highest: u64,
    /// Nanoseconds since `origin`.
    next_tick: AtomicU64,
    /// The spans of a trace, as the last tick saw them; the bits of a float.
    spans_of_a_trace: AtomicU64,
    control: Mutex<Control>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    target: f64,
    per_route: bool,
    min_ratio: f64,
    max_ratio: f64,
    instances: u32,
}

const TICK: Duration = Duration::from_secs(1);
/// So many traces of a route and a tick look at the time each, and of the further ones every so manieth.
const OFTEN: u64 = 64;
const SELDOM: u64 = 16;

impl Adaptive {
    /// Makes a sampler that records about so many spans a second; what is no positive number records nothing more than
    /// the [least share](Self::min_ratio).
    pub fn target(spans_per_second: f64) -> Self {
        let settings = Settings {
            target: if spans_per_second > 0.0 {
                spans_per_second
            } else {
                0.0
            },
            per_route: false,
            min_ratio: 0.0,
            max_ratio: 1.0,
            instances: 1,
        };
        Self::new(settings, Arc::new(SystemClock))
    }

    /// Divides the budget fairly: a route that needs less than its part is recorded as a whole, and the busy ones get
    /// the rest in equal parts. Spans without a route are told apart by their name, requests by their method.
    ///
    /// 256 routes have a part each; those that come later share one.
    pub fn per_route(mut self) -> Self {
        self.settings.per_route = true;
        Self::new(self.settings, self.clock)
    }

    /// Sets the largest share, from 0 to 1; 1 without it. A number beyond is brought back.
    pub fn max_ratio(mut self, ratio: f64) -> Self {
        self.settings.max_ratio = clamped(ratio);
        Self::new(self.settings, self.clock)
    }

    /// Sets the smallest share, from 0 to 1; 0 without it. A number beyond is brought back. It goes before the target,
    /// and the largest share goes before it.
    pub fn min_ratio(mut self, ratio: f64) -> Self {
        self.settings.min_ratio = clamped(ratio);
        Self::new(self.settings, self.clock)
    }

    /// Sets how many instances of the service share the target.
    pub fn instances(mut self, instances: NonZero<u32>) -> Self {
        self.settings.instances = instances.get();
        Self::new(self.settings, self.clock)
    }

    /// Sets the clock for ticks; read only for a span whose start nobody has timed.
    pub fn clock(self, clock: impl Clock + 'static) -> Self {
        Self::new(self.settings, Arc::new(clock))
    }

    /// Returns the share of a route that is recorded now.
    pub fn ratio(&self, route: &str) -> f64 {
        ratio(self.routes.find(hash(self.seed, route)).threshold())
    }

    fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let target = settings.target / f64::from(settings.instances);
        let first = bits(settings.max_ratio);
        let seed = RandomState::new().hash_one(0);
        Self {
            routes: Routes::new(settings.per_route, first, budget(target, 1.0)),
            children: Children::new(rounded(target * 4.0), seed),
            highest: bits(settings.min_ratio.min(settings.max_ratio)),
            origin: clock.now(),
            clock,
            seed,
            next_tick: AtomicU64::new(nanos(TICK)),
            spans_of_a_trace: AtomicU64::new(1.0_f64.to_bits()),
            control: Mutex::new(Control::new()),
            settings,
        }
    }

    fn goal(&self) -> Goal {
        Goal {
            target: self.settings.target / f64::from(self.settings.instances),
            min_ratio: self.settings.min_ratio,
            max_ratio: self.settings.max_ratio,
        }
    }

    /// The budget of a route in the tick in which it is first seen.
    #[cold]
    fn first_budget(&self, routes: usize) -> u64 {
        let part = self.goal().target / f64::from(u32::try_from(routes).unwrap_or(u32::MAX));
        budget(
            part,
            f64::from_bits(self.spans_of_a_trace.load(Ordering::Relaxed)),
        )
    }

    #[inline(never)]
    fn look_at_the_time(&self, start: Option<Instant>) {
        let now = start.unwrap_or_else(|| self.clock.now());
        let now = nanos(now.saturating_duration_since(self.origin));
        if now >= self.next_tick.load(Ordering::Relaxed) {
            self.tick(now);
        }
    }

    /// Ends the tick, unless another thread is at it.
    #[cold]
    fn tick(&self, now: u64) {
        let Some(mut control) = try_lock(&self.control) else {
            return;
        };
        if now < self.next_tick.load(Ordering::Relaxed) {
            return; // another thread was
        }
        self.next_tick
            .store(now.saturating_add(nanos(TICK)), Ordering::Relaxed);
        control.tick(Duration::from_nanos(now).as_secs_f64(), self.goal(), &self.routes);
        self.spans_of_a_trace
            .store(control.spans_of_a_trace().to_bits(), Ordering::Relaxed);
    }
}

impl Sampler for Adaptive {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let key = if self.routes.are_told_apart() {
            hash(self.seed, params.key())
        } else {
            0
        };
        let (index, route) = self.routes.of(key, |routes| self.first_budget(routes));
        // Not every one of many reads the clock, which costs more than all else here.
        let arrived = self.routes.arrive(index);
        if params.start.is_some() || arrived < OFTEN || arrived.is_multiple_of(SELDOM) {
            self.look_at_the_time(params.start);
        }
        let Some(threshold) = Threshold::from_bits(route.threshold()) else {
            return SamplingIntent::Never;
        };
        if threshold.keeps(params.randomness()) {
            route.keep(self.highest);
            self.children.note(params.trace_id, index);
        }
        SamplingIntent::Threshold(threshold)
    }

    fn record_child(&self, trace_id: TraceId) {
        let route = self.children.route(trace_id);
        if let Some(route) = route.and_then(|index| self.routes.at(index)) {
            route.keep_child();
        }
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn clamped(ratio: f64) -> f64 {
    if ratio > 0.0 { ratio.min(1.0) } else { 0.0 } // and what is no number is 0
}

/// In 64 bits, which takes a fraction of what `as_nanos` takes.
fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos().into())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the number is not negative"
)]
fn rounded(count: f64) -> usize {
    count as usize
}

/// What a panic cannot leave half done: a tick that is broken off is made up for by the next.
fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Hashes a short text. Seeded, so that nobody can choose names that meet in one slot; two that do are one route.
fn hash(seed: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    // Spread over all bits: by itself a length could be taken for a difference of letters.
    let length = (bytes.len() as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    let mut hash = seed.wrapping_add(length);
    let last = match bytes.last_chunk::<8>() {
        Some(last) => {
            for word in bytes.as_chunks::<8>().0 {
                hash = fold(hash ^ u64::from_le_bytes(*word), 0x9e37_79b9_7f4a_7c15);
            }
            u64::from_le_bytes(*last)
        }
        None => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    fold(hash ^ last, 0xd6e8_feb8_6659_fd93)
}

/// Multiplies, and keeps all of the product: each bit of the result depends on all bits of both.
pub(super) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let (low, high) = (product & u128::from(u64::MAX), product >> 64);
    u64::try_from(low ^ high).expect("invariant: both are 64 bits")
}

#[cfg(test)]
mod tests {
    use super::hash;
    use std::collections::HashSet;

    #[test]
    fn texts_that_differ_have_hashes_that_differ() {
        let mut texts: Vec<String> = (0..2000).map(|n| format!("/items/{n}/{{id}}")).collect();
        for length in 0..40 {
            texts.push("a".repeat(length));
            texts.push("b".repeat(length + 1));
            texts.push(format!("{}b", "a".repeat(length + 1)));
            texts.push(format!("b{}", "a".repeat(length + 1)));
        }
        let texts: HashSet<_> = texts.iter().collect();
        for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let hashes: HashSet<_> = texts.iter().map(|text| hash(seed, text)).collect();
            assert_eq!(hashes.len(), texts.len(), "{seed}");
            // The low bits choose the slot.
            let slots: HashSet<_> = hashes.iter().map(|hash| hash % 512).collect();
            assert!(slots.len() > 450, "{seed}: {}", slots.len());
        }
        assert_ne!(hash(1, "GET"), hash(2, "GET"));
    }
}
