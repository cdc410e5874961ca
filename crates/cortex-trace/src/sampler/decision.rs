use std::sync::Arc;

use cortex_core::TraceId;

use super::Threshold;
use super::ot::randomness;
use crate::SpanKind;
use crate::propagation::Remote;

/// Decides at the start of a local root span whether it and the local spans below it are recorded.
///
/// Asked once per local root, on the thread that starts it, before any attribute is built: it must not block. Spans
/// below follow the decision without being asked.
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOn, Decision, SampleParams, Sampler};
///
/// struct NoProbes;
///
/// impl Sampler for NoProbes {
///     fn sample(&self, params: &SampleParams<'_>) -> Decision {
///         match params.name {
///             "OPTIONS" => Decision::Drop,
///             _ => AlwaysOn.sample(params),
///         }
///     }
/// }
/// ```
pub trait Sampler: Send + Sync {
    /// Decides about the span that `params` describe.
    fn sample(&self, params: &SampleParams<'_>) -> Decision;
}

impl<S: Sampler + ?Sized> Sampler for Arc<S> {
    fn sample(&self, params: &SampleParams<'_>) -> Decision {
        (**self).sample(params)
    }
}

impl<S: Sampler + ?Sized> Sampler for Box<S> {
    fn sample(&self, params: &SampleParams<'_>) -> Decision {
        (**self).sample(params)
    }
}

/// What a [`Sampler`] knows about the span that is about to start.
///
/// # Examples
///
/// ```
/// use cortex_core::TraceId;
/// use cortex_trace::{SampleParams, SpanKind};
///
/// let trace_id = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).ok_or("zero")?;
/// let params = SampleParams::new(trace_id, "GET", SpanKind::Server);
/// assert_eq!(params.randomness(), 0xce_929d_0e0e_4736);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SampleParams<'a> {
    /// The caller's span, if the call came from another process and said so.
    pub parent: Option<&'a Remote>,
    /// The trace that the span will belong to.
    pub trace_id: TraceId,
    /// The span's name; for a server span the request method, as the route is not known yet.
    pub name: &'a str,
    /// The span's kind.
    pub kind: SpanKind,
    /// Whether a caller that named no trace wants one to be sampled, as one that speaks B3 may.
    pub decided: Option<bool>,
}

impl<'a> SampleParams<'a> {
    /// Describes a span without a parent.
    pub const fn new(trace_id: TraceId, name: &'a str, kind: SpanKind) -> Self {
        Self {
            parent: None,
            trace_id,
            name,
            kind,
            decided: None,
        }
    }

    /// Describes the same span as the child of a caller elsewhere.
    #[must_use]
    pub const fn parent(self, parent: &'a Remote) -> Self {
        Self {
            parent: Some(parent),
            ..self
        }
    }

    /// Returns the 56 bits that every sampler of the trace compares with its threshold: the `rv` of `tracestate`, or
    /// the low bits of the trace id.
    pub fn randomness(&self) -> u64 {
        randomness(self.parent.map(Remote::tracestate), self.trace_id)
    }
}

/// What a [`Sampler`] decided.
///
/// # Examples
///
/// ```
/// use cortex_core::TraceId;
/// use cortex_trace::{AlwaysOff, AlwaysOn, Decision, SampleParams, Sampler, SpanKind, Threshold};
///
/// let params = SampleParams::new(TraceId::new(1).ok_or("zero")?, "job", SpanKind::Internal);
/// assert_eq!(AlwaysOff.sample(&params), Decision::Drop);
/// let threshold = Some(Threshold::ALWAYS);
/// assert_eq!(AlwaysOn.sample(&params), Decision::RecordAndSample { threshold });
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing is recorded and the callees hear so. A threshold in the received `tracestate` goes, unless it says the
    /// same.
    Drop,
    /// The span is recorded and exported, and the callees hear so.
    RecordAndSample {
        /// What to publish as `ot=th` in `tracestate`, from which backends compute how many traces this one stands
        /// for; `None` if that is not known.
        threshold: Option<Threshold>,
    },
}
