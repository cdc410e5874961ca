use super::{Decision, SampleParams, Sampler, Threshold};

/// Records every trace.
///
/// # Examples
///
/// ```
/// let tracer = cortex_trace::Tracer::builder("shop")
///     .sampler(cortex_trace::AlwaysOn)
///     .build()?;
/// assert!(tracer.span("job").start().is_recording());
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysOn;

impl Sampler for AlwaysOn {
    fn sample(&self, _: &SampleParams<'_>) -> Decision {
        Decision::RecordAndSample {
            threshold: Some(Threshold::ALWAYS),
        }
    }
}

/// Records no trace.
///
/// # Examples
///
/// ```
/// let tracer = cortex_trace::Tracer::builder("shop")
///     .sampler(cortex_trace::AlwaysOff)
///     .build()?;
/// assert!(!tracer.span("job").start().is_recording());
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysOff;

impl Sampler for AlwaysOff {
    fn sample(&self, _: &SampleParams<'_>) -> Decision {
        Decision::Drop
    }
}
