use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

use super::convert;
use crate::sampler::published_threshold;
use crate::{SampleParams, Sampler, SamplingIntent};

/// Lets a sampler of OpenTelemetry's SDK decide where a trace starts.
///
/// Put it inside of ours, `ParentBased::root(SamplerAdapter::new(..))`: the SDK's own `ParentBased` forgets what its
/// delegates say about the weight of a trace. Nor should `TraceIdRatioBased` meet samplers with consistent thresholds,
/// such as [`Probability`](crate::Probability), in one trace: it keeps the trace ids that they drop first.
///
/// The sampler sees no attributes and no links, as there are none yet. Of what it returns, the decision counts, and a
/// threshold that it publishes itself in `ot=th`; `RecordOnly` is a no, of which a [`Tail`](crate::Tail) makes the same.
///
/// # Examples
///
/// ```
/// use cortex_trace::otel::{SamplerAdapter, opentelemetry_sdk};
/// use cortex_trace::{ParentBased, Tracer};
///
/// let theirs = opentelemetry_sdk::trace::Sampler::AlwaysOff;
/// let sampler = ParentBased::root(SamplerAdapter::new(theirs));
/// let tracer = Tracer::builder("shop").sampler(sampler).build()?;
/// assert!(!tracer.span("restock").start().is_recording());
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SamplerAdapter<S> {
    sampler: S,
}

impl<S: ShouldSample> SamplerAdapter<S> {
    /// Takes a sampler.
    pub const fn new(sampler: S) -> Self {
        Self { sampler }
    }
}

impl<S: ShouldSample> Sampler for SamplerAdapter<S> {
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
        let parent = params
            .parent
            .map(|parent| Context::new().with_remote_span_context(convert::from_remote(parent)));
        let result = self.sampler.should_sample(
            parent.as_ref(),
            convert::trace_id(params.trace_id),
            params.name,
            &convert::kind(params.kind),
            &[],
            &[],
        );
        if result.decision != SamplingDecision::RecordAndSample {
            return SamplingIntent::Drop;
        }
        let theirs = published_threshold(&convert::from_tracestate(&result.trace_state));
        // A sampler that does not know of thresholds passes on what it got, and that says nothing about its decision.
        let received = params.tracestate().and_then(published_threshold);
        theirs
            .filter(|threshold| Some(*threshold) != received && threshold.keeps(params.randomness()))
            .map_or(SamplingIntent::Keep, SamplingIntent::Threshold)
    }
}
