use cortex_core::Flags;

use super::{Decision, SampleParams, Sampler, ot};

/// Follows the caller's decision, and asks another sampler only where a trace starts, so that traces are whole.
///
/// The caller's threshold passes if it agrees with the caller's flag, and goes if it does not.
///
/// # Examples
///
/// ```
/// use cortex_core::{Flags, SpanId, TraceId};
/// use cortex_trace::propagation::{Remote, TraceState};
/// use cortex_trace::{AlwaysOff, Decision, ParentBased, SampleParams, Sampler, SpanKind};
///
/// let ids = TraceId::new(7).zip(SpanId::new(7)).ok_or("zero")?;
/// let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY);
/// let start = SampleParams::new(ids.0, "GET", SpanKind::Server);
/// let sampler = ParentBased::root(AlwaysOff);
/// assert_eq!(sampler.sample(&start), Decision::Drop);
/// assert_ne!(sampler.sample(&start.parent(&caller)), Decision::Drop);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ParentBased<S> {
    root: S,
}

impl<S: Sampler> ParentBased<S> {
    /// Makes a sampler that asks `root` where a trace starts.
    pub const fn root(root: S) -> Self {
        Self { root }
    }
}

impl<S: Sampler> Sampler for ParentBased<S> {
    fn sample(&self, params: &SampleParams<'_>) -> Decision {
        match params.parent {
            None => match params.decided {
                None => self.root.sample(params),
                Some(true) => Decision::RecordAndSample { threshold: None },
                Some(false) => Decision::Drop,
            },
            Some(parent) if parent.is_undecided() => self.root.sample(params),
            Some(parent) if parent.flags().contains(Flags::SAMPLED) => {
                let threshold = ot::threshold(parent.tracestate());
                Decision::RecordAndSample {
                    threshold: threshold.filter(|threshold| threshold.keeps(params.randomness())),
                }
            }
            Some(_) => Decision::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::Remote;
    use crate::{AlwaysOff, AlwaysOn, SpanKind, Threshold};
    use cortex_core::{SpanId, TraceId};

    fn after(flags: Flags, state: &str) -> Decision {
        let id = TraceId::new(0xd2_0000_0000_0000).unwrap();
        let remote = Remote::new(id, SpanId::new(1).unwrap(), flags, state.parse().unwrap());
        let params = SampleParams::new(id, "GET", SpanKind::Server).parent(&remote);
        ParentBased::root(AlwaysOn).sample(&params)
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
        assert_eq!(
            after(Flags::SAMPLED, "ot=th:e"),
            Decision::RecordAndSample { threshold: None }
        );
    }

    #[test]
    fn asks_the_root_where_the_caller_left_it_open() {
        let id = TraceId::new(1).unwrap();
        let remote =
            Remote::new(id, SpanId::new(1).unwrap(), Flags::SAMPLED, "".parse().unwrap()).undecided();
        let params = SampleParams::new(id, "GET", SpanKind::Server).parent(&remote);
        assert_eq!(ParentBased::root(AlwaysOff).sample(&params), Decision::Drop);
        assert_ne!(ParentBased::root(AlwaysOn).sample(&params), Decision::Drop);
    }

    #[test]
    fn follows_a_decision_that_names_no_trace() {
        let mut params = SampleParams::new(TraceId::new(1).unwrap(), "GET", SpanKind::Server);
        params.decided = Some(false);
        assert_eq!(ParentBased::root(AlwaysOn).sample(&params), Decision::Drop);
        params.decided = Some(true);
        let sampled = Decision::RecordAndSample { threshold: None };
        assert_eq!(ParentBased::root(AlwaysOff).sample(&params), sampled);
    }

    #[test]
    fn asks_the_root_where_a_trace_starts() {
        let params = SampleParams::new(TraceId::new(1).unwrap(), "x", SpanKind::Internal);
        assert_eq!(ParentBased::root(AlwaysOff).sample(&params), Decision::Drop);
        let boxed: Box<dyn Sampler> = Box::new(ParentBased::root(std::sync::Arc::new(AlwaysOn)));
        assert_ne!(boxed.sample(&params), Decision::Drop);
    }
}
