use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cortex_core::{Clock, SystemClock, TraceId};

use super::{Decision, SampleParams, Sampler, SamplingIntent};

/// A hard stop: of what another sampler keeps, so many traces a second and no more.
///
/// **What is left is biased**, as the first traces of each second stay and the later ones go: counts that backends
/// compute from `ot=th` fall short by what [`stopped`](Self::stopped) tells. To keep a budget without that, use
/// [`Adaptive`](super::Adaptive). This is for what others decide about: strangers who set the sampled flag on every
/// request.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Adaptive, FollowParent, ParentBased, RateBound, Tracer};
/// use std::sync::Arc;
///
/// let bound = Arc::new(RateBound::new(FollowParent, 100));
/// let sampler = ParentBased::root(Adaptive::target(50.0)).remote_sampled(Arc::clone(&bound));
/// let tracer = Tracer::builder("shop").sampler(sampler).build()?;
/// assert_eq!(bound.stopped(), 0);
/// # drop(tracer);
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
pub struct RateBound<S> {
    sampler: S,
    per_second: u32,
    clock: Arc<dyn Clock>,
    origin: Instant,
    /// The second that is under way in the upper half, what it kept in the lower.
    used: AtomicU64,
    stopped: AtomicU64,
}

impl<S: Sampler> RateBound<S> {
    /// Lets at most `per_second` traces pass that `sampler` keeps.
    pub fn new(sampler: S, per_second: u32) -> Self {
        Self::with_clock(sampler, per_second, SystemClock)
    }

    /// Does the same by another clock. It is read only for a span whose start nobody has timed.
    pub fn with_clock(sampler: S, per_second: u32, clock: impl Clock + 'static) -> Self {
        Self {
            sampler,
            per_second,
            origin: clock.now(),
            clock: Arc::new(clock),
            used: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
        }
    }

    /// Returns how many traces were stopped.
    pub fn stopped(&self) -> u64 {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Takes one of the places of this second.
    fn admit(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(self.origin).as_secs();
        let second = u64::from(u32::try_from(second).unwrap_or(u32::MAX)); // for 136 years
        let took = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                // A start that was timed earlier than another one's falls into that one's second.
                let used = if used >> 32 < second { second << 32 } else { used };
                (used & u64::from(u32::MAX) < self.per_second.into()).then_some(used + 1)
            });
        took.is_ok()
    }
}

impl<S: Sampler> Sampler for RateBound<S> {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let intent = self.sampler.intent(params);
        if matches!(
            intent.decide(params.randomness()),
            Decision::RecordAndSample { .. }
        ) && !self.admit(params.start.unwrap_or_else(|| self.clock.now()))
        {
            self.stopped.fetch_add(1, Ordering::Relaxed);
            return SamplingIntent::Drop;
        }
        intent
    }

    fn record_child(&self, trace_id: TraceId) {
        self.sampler.record_child(trace_id);
    }

    fn asks_children(&self) -> bool {
        self.sampler.asks_children()
    }
}

impl<S: fmt::Debug> fmt::Debug for RateBound<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateBound")
            .field("sampler", &self.sampler)
            .field("per_second", &self.per_second)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlwaysOff, AlwaysOn, Probability, SpanKind};
    use cortex_testkit::ManualClock;
    use std::time::Duration;

    fn params(low: u64) -> SampleParams<'static> {
        let id = TraceId::new(1 << 100 | u128::from(low)).unwrap();
        SampleParams::new(id, "x", SpanKind::Internal)
    }

    fn kept(sampler: &impl Sampler, asked: usize) -> usize {
        let all = (0..asked).map(|_| params(0).decide(sampler));
        all.filter(|decision| *decision != Decision::Drop).count()
    }

    #[test]
    fn so_many_a_second_and_the_rest_is_counted() {
        let clock = ManualClock::new();
        let bound = RateBound::with_clock(AlwaysOn, 3, clock.clone());
        assert_eq!((kept(&bound, 10), bound.stopped()), (3, 7));
        clock.advance(Duration::from_millis(999));
        assert_eq!(kept(&bound, 10), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!((kept(&bound, 10), bound.stopped()), (3, 24));
        clock.advance(Duration::from_hours(1_000_000_000)); // beyond the counter: the last second stays
        assert_eq!((kept(&bound, 2), kept(&bound, 2)), (2, 1));
        assert!(format!("{bound:?}").contains("per_second: 3"));
    }

    #[test]
    fn what_the_other_sampler_drops_takes_no_place() {
        let clock = ManualClock::new();
        let off = RateBound::with_clock(AlwaysOff, 1, clock.clone());
        assert_eq!((kept(&off, 5), off.stopped()), (0, 0));
        let half = RateBound::with_clock(Probability::new(0.5).unwrap(), 1, clock);
        assert_eq!((kept(&half, 5), half.stopped()), (0, 0));
        assert_ne!(params(u64::MAX >> 8).decide(&half), Decision::Drop);
        assert_eq!(half.intent(&params(u64::MAX >> 8)), SamplingIntent::Drop);
    }

    #[test]
    fn the_start_of_the_span_is_the_time() {
        let clock = ManualClock::new();
        let bound = RateBound::with_clock(AlwaysOn, 1, clock.clone());
        let later = clock.now() + Duration::from_secs(5);
        assert_ne!(params(0).start(later).decide(&bound), Decision::Drop);
        assert_eq!(params(0).decide(&bound), Decision::Drop); // an earlier second is over
    }

    #[test]
    fn threads_share_the_places() {
        let bound = RateBound::with_clock(AlwaysOn, 100, ManualClock::new());
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| kept(&bound, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((total, bound.stopped()), (100, 3900));
    }
}
