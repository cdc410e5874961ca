use super::{SampleParams, Sampler, SamplingIntent};

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
    fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
        SamplingIntent::ALWAYS
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
    fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
        SamplingIntent::Never
    }
}
