use std::fmt;
use std::sync::Arc;

use cortex_core::{Flags, TraceId};

use super::{SampleParams, Sampler, SamplingIntent, ot};

/// Follows the parent's decision: keeps what it kept.
///
/// The parent's threshold passes if it agrees with the parent's flag, and goes if it does not. A caller that names no
/// trace may decide all the same, [as in B3](SampleParams::decided). Where there is no parent nothing is kept. [`ParentBased`] does this unless told otherwise; on its own it is for compositions.
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOn, FollowParent, ParentBased, RateBound};
///
/// // Strangers may set the flag on every request: 100 such traces a second are followed, no more.
/// let sampler = ParentBased::root(AlwaysOn).remote_sampled(RateBound::new(FollowParent, 100));
/// # drop(cortex_trace::Tracer::builder("shop").sampler(sampler).build()?);
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FollowParent;

impl Sampler for FollowParent {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let sampled = match (params.local_parent, params.parent, params.decided) {
            (Some(parent), _, _) => parent.flags().contains(Flags::SAMPLED),
            (None, Some(parent), _) => parent.flags().contains(Flags::SAMPLED),
            (None, None, Some(sampled)) => sampled,
            (None, None, None) => return SamplingIntent::Never,
        };
        let threshold = params.tracestate().and_then(ot::threshold);
        match threshold.filter(|threshold| threshold.keeps(params.randomness()) == sampled) {
            Some(threshold) => SamplingIntent::Threshold(threshold),
            None if sampled => SamplingIntent::Keep,
            None => SamplingIntent::Drop,
        }
    }
}

/// Follows the parent's decision, and asks another sampler only where a trace starts, so that traces are whole.
///
/// For each kind of parent another sampler can be set in place of [`FollowParent`].
///
/// # Examples
///
/// ```
/// use cortex_core::{Flags, SpanId, TraceId};
/// use cortex_trace::propagation::{Remote, TraceState};
/// use cortex_trace::{AlwaysOff, Decision, ParentBased, SampleParams, SpanKind};
///
/// let ids = TraceId::new(7).zip(SpanId::new(7)).ok_or("zero")?;
/// let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY);
/// let start = SampleParams::new(ids.0, "GET", SpanKind::Server);
/// let sampler = ParentBased::root(AlwaysOff);
/// assert_eq!(start.decide(&sampler), Decision::Drop);
/// assert_ne!(start.parent(&caller).decide(&sampler), Decision::Drop);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone)]
pub struct ParentBased<S> {
    root: S,
    remote: Delegates,
    local: Delegates,
}

/// Who is asked below a parent that is sampled, and below one that is not; [`FollowParent`] if nobody was named.
#[derive(Clone, Default)]
struct Delegates {
    sampled: Option<Arc<dyn Sampler>>,
    not_sampled: Option<Arc<dyn Sampler>>,
}

impl<S: Sampler> ParentBased<S> {
    /// Makes a sampler that asks `root` where a trace starts.
    pub const fn root(root: S) -> Self {
        Self {
            root,
            remote: Delegates::FOLLOW,
            local: Delegates::FOLLOW,
        }
    }

    /// Sets who decides if a caller elsewhere has sampled the trace, or wants that without naming one.
    #[must_use]
    pub fn remote_sampled(mut self, sampler: impl Sampler + 'static) -> Self {
        self.remote.sampled = Some(Arc::new(sampler));
        self
    }

    /// Sets who decides if a caller elsewhere has not sampled the trace, or wants that without naming one.
    #[must_use]
    pub fn remote_not_sampled(mut self, sampler: impl Sampler + 'static) -> Self {
        self.remote.not_sampled = Some(Arc::new(sampler));
        self
    }

    /// Sets who decides below a sampled span of this process: it is asked about every such span.
    #[must_use]
    pub fn local_sampled(mut self, sampler: impl Sampler + 'static) -> Self {
        self.local.sampled = Some(Arc::new(sampler));
        self
    }

    /// Sets who decides below a span of this process that is not sampled: it is asked about every such span.
    #[must_use]
    pub fn local_not_sampled(mut self, sampler: impl Sampler + 'static) -> Self {
        self.local.not_sampled = Some(Arc::new(sampler));
        self
    }
}

impl<S: Sampler> Sampler for ParentBased<S> {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let (delegates, sampled) = match (params.local_parent, params.parent, params.decided) {
            (Some(parent), _, _) => (&self.local, parent.flags().contains(Flags::SAMPLED)),
            (None, Some(parent), _) if parent.is_undecided() => return self.root.intent(params),
            (None, Some(parent), _) => (&self.remote, parent.flags().contains(Flags::SAMPLED)),
            (None, None, Some(sampled)) => (&self.remote, sampled),
            (None, None, None) => return self.root.intent(params),
        };
        let delegate = if sampled {
            &delegates.sampled
        } else {
            &delegates.not_sampled
        };
        match delegate {
            None => FollowParent.intent(params),
            Some(delegate) => delegate.intent(params),
        }
    }

    fn record_child(&self, trace_id: TraceId) {
        self.root.record_child(trace_id);
        self.remote.record_child(trace_id);
        self.local.record_child(trace_id);
    }

    fn asks_children(&self) -> bool {
        self.local.is_set() || self.root.asks_children()
    }
}

impl<S: fmt::Debug> fmt::Debug for ParentBased<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentBased")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Delegates {
    const FOLLOW: Self = Self {
        sampled: None,
        not_sampled: None,
    };

    const fn is_set(&self) -> bool {
        self.sampled.is_some() || self.not_sampled.is_some()
    }

    #[inline]
    fn record_child(&self, trace_id: TraceId) {
        if let Some(sampler) = &self.sampled {
            sampler.record_child(trace_id);
        }
        if let Some(sampler) = &self.not_sampled {
            sampler.record_child(trace_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::{Remote, TraceState};
    use crate::{AlwaysOff, AlwaysOn, Decision, Probability, RateBound, SpanKind, Threshold};
    use cortex_core::{Context, SpanId};
    use cortex_testkit::ManualClock;

    const R: u64 = 0xd2_0000_0000_0000;

    fn id() -> TraceId {
        TraceId::new(R.into()).unwrap()
    }

    fn remote(flags: Flags, state: &str) -> Remote {
        Remote::new(id(), SpanId::new(1).unwrap(), flags, state.parse().unwrap())
    }

    fn asked(sampler: &impl Sampler, flags: Flags, state: &str) -> SamplingIntent {
        let remote = remote(flags, state);
        sampler.intent(&SampleParams::new(id(), "GET", SpanKind::Server).parent(&remote))
    }

    fn after(flags: Flags, state: &str) -> Decision {
        asked(&ParentBased::root(AlwaysOn), flags, state).decide(R)
    }

    #[test]
    fn follows_the_parent() {
        assert_eq!(after(Flags::NONE, ""), Decision::Drop);
        assert_eq!(after(Flags::RANDOM, "ot=th:8"), Decision::Drop);
        assert_eq!(
            after(Flags::SAMPLED, ""),
            Decision::RecordAndSample { threshold: None }
        );
        let threshold = Threshold::parse("8");
        assert_eq!(
            after(Flags::SAMPLED, "ot=th:8"),
            Decision::RecordAndSample { threshold }
        );
    }

    #[test]
    fn a_threshold_that_contradicts_the_flag_goes() {
        let sampler = ParentBased::root(AlwaysOn);
        assert_eq!(asked(&sampler, Flags::SAMPLED, "ot=th:e"), SamplingIntent::Keep);
        assert_eq!(asked(&sampler, Flags::NONE, "ot=th:8"), SamplingIntent::Drop);
        let agrees = SamplingIntent::Threshold(Threshold::parse("e").unwrap());
        assert_eq!(asked(&sampler, Flags::NONE, "ot=th:e"), agrees);
    }

    #[test]
    fn asks_the_root_where_the_caller_left_it_open() {
        let id = TraceId::new(1).unwrap();
        let remote =
            Remote::new(id, SpanId::new(1).unwrap(), Flags::SAMPLED, "".parse().unwrap()).undecided();
        let params = SampleParams::new(id, "GET", SpanKind::Server).parent(&remote);
        assert_eq!(params.decide(&ParentBased::root(AlwaysOff)), Decision::Drop);
        assert_ne!(params.decide(&ParentBased::root(AlwaysOn)), Decision::Drop);
    }

    #[test]
    fn follows_a_decision_that_names_no_trace() {
        let mut params = SampleParams::new(TraceId::new(1).unwrap(), "GET", SpanKind::Server);
        params.decided = Some(false);
        assert_eq!(params.decide(&ParentBased::root(AlwaysOn)), Decision::Drop);
        params.decided = Some(true);
        let sampled = Decision::RecordAndSample { threshold: None };
        assert_eq!(params.decide(&ParentBased::root(AlwaysOff)), sampled);
        assert_eq!(FollowParent.intent(&params), SamplingIntent::Keep);
    }

    /// Else whoever leaves the ids out would get past what bounds callers.
    #[test]
    fn a_decision_that_names_no_trace_goes_to_the_delegates_too() {
        let bound = Arc::new(RateBound::with_clock(FollowParent, 2, ManualClock::new()));
        let sampler = ParentBased::root(AlwaysOff)
            .remote_sampled(Arc::clone(&bound))
            .remote_not_sampled(AlwaysOn);
        let mut params = SampleParams::new(id(), "GET", SpanKind::Server);
        params.decided = Some(true);
        let kept = (0..5).filter(|_| sampler.intent(&params) == SamplingIntent::Keep);
        assert_eq!((kept.count(), bound.stopped()), (2, 3));
        params.decided = Some(false);
        let always = SamplingIntent::Threshold(Threshold::ALWAYS);
        assert_eq!(sampler.intent(&params), always);
        params.decided = None;
        assert_ne!(sampler.intent(&params), always);
    }

    #[test]
    fn asks_the_root_where_a_trace_starts() {
        let params = SampleParams::new(TraceId::new(1).unwrap(), "x", SpanKind::Internal);
        assert_eq!(params.decide(&ParentBased::root(AlwaysOff)), Decision::Drop);
        let boxed: Box<dyn Sampler> = Box::new(ParentBased::root(Arc::new(AlwaysOn)));
        assert_ne!(params.decide(&boxed), Decision::Drop);
        assert!(!boxed.asks_children());
        assert_eq!(FollowParent.intent(&params), SamplingIntent::Never);
    }

    #[test]
    fn each_kind_of_parent_has_its_delegate() {
        let share = |p| Probability::new(p).unwrap();
        let threshold = |p| SamplingIntent::Threshold(Threshold::for_probability(p).unwrap());
        let sampler = ParentBased::root(AlwaysOff)
            .remote_sampled(share(0.5))
            .remote_not_sampled(share(0.25))
            .local_sampled(share(0.125))
            .local_not_sampled(share(0.0625));
        assert!(sampler.asks_children());
        assert_eq!(asked(&sampler, Flags::SAMPLED, ""), threshold(0.5));
        assert_eq!(asked(&sampler, Flags::NONE, ""), threshold(0.25));
        for (flags, p) in [(Flags::SAMPLED, 0.125), (Flags::NONE, 0.0625)] {
            let parent = Context::new().with_span(id(), SpanId::new(1).unwrap(), flags);
            let params = SampleParams::new(id(), "x", SpanKind::Internal);
            let params = params.local_parent(&parent, &TraceState::EMPTY);
            assert_eq!(sampler.intent(&params), threshold(p));
        }
    }
}
