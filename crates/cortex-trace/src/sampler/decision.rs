use std::sync::Arc;
use std::time::Instant;

use cortex_core::{Context, TraceId};

use super::SamplingIntent;
use super::ot::randomness;
use crate::SpanKind;
use crate::propagation::{Remote, TraceState};

/// Decides at the start of a local root span whether it and the local spans below it are recorded.
///
/// Asked once per local root, on the thread that starts it, before any attribute is built: it must not block. Spans
/// below follow the decision without being asked, unless the sampler [wants to be](Self::asks_children).
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOn, SampleParams, Sampler, SamplingIntent};
///
/// struct NoProbes;
///
/// impl Sampler for NoProbes {
///     fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
///         match params.name {
///             "OPTIONS" => SamplingIntent::Never,
///             _ => AlwaysOn.intent(params),
///         }
///     }
/// }
/// ```
pub trait Sampler: Send + Sync {
    /// Says what is to become of the span that `params` describe. A sampler around another one calls this;
    /// [`SampleParams::decide`] compares the outermost answer with the randomness, and nobody can do it otherwise.
    fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent;

    /// Learns that a span below a sampled local root of this trace is recorded, so that a sampler with a budget of
    /// spans can tell how many a trace has. A sampler around others passes it on to them.
    fn record_child(&self, trace_id: TraceId) {
        let _ = trace_id;
    }

    /// Says whether spans with a parent in this process are decided anew. Read once, when the tracer is built.
    fn asks_children(&self) -> bool {
        false
    }
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<S: Sampler + ?Sized> Sampler for $pointer<S> {
            fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
                (**self).intent(params)
            }

            fn record_child(&self, trace_id: TraceId) {
                (**self).record_child(trace_id);
            }

            fn asks_children(&self) -> bool {
                (**self).asks_children()
            }
        }
    )*};
}

forward!(Arc, Box);

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
/// assert_eq!(params.key(), "GET");
/// assert_eq!(params.route("/items/{id}").key(), "/items/{id}");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SampleParams<'a> {
    /// The caller's span, if the call came from another process and said so.
    pub parent: Option<&'a Remote>,
    /// The parent in this process; `None` at a local root, which is all that most samplers are asked about.
    pub local_parent: Option<&'a Context>,
    /// The trace that the span will belong to.
    pub trace_id: TraceId,
    /// The span's name; for a server span the request method.
    pub name: &'a str,
    /// The span's kind.
    pub kind: SpanKind,
    /// Whether a caller that named no trace wants one to be sampled, as one that speaks B3 may.
    pub decided: Option<bool>,
    /// The template of the route, `/items/{id}`, if it is known before the span starts.
    pub route: Option<&'a str>,
    /// When the span starts, if somebody has read a clock for that already.
    pub start: Option<Instant>,
    tracestate: Option<&'a TraceState>,
}

impl<'a> SampleParams<'a> {
    /// Describes a span without a parent.
    pub const fn new(trace_id: TraceId, name: &'a str, kind: SpanKind) -> Self {
        Self {
            parent: None,
            local_parent: None,
            trace_id,
            name,
            kind,
            decided: None,
            route: None,
            start: None,
            tracestate: None,
        }
    }

    /// Describes the same span as the child of a caller elsewhere.
    #[must_use]
    pub const fn parent(self, parent: &'a Remote) -> Self {
        Self {
            parent: Some(parent),
            tracestate: Some(parent.tracestate()),
            ..self
        }
    }

    /// Describes the same span as the child of one in this process.
    #[must_use]
    pub const fn local_parent(self, parent: &'a Context, tracestate: &'a TraceState) -> Self {
        Self {
            local_parent: Some(parent),
            tracestate: Some(tracestate),
            ..self
        }
    }

    /// Adds the template of the route.
    #[must_use]
    pub const fn route(self, route: &'a str) -> Self {
        Self {
            route: Some(route),
            ..self
        }
    }

    /// Adds when the span starts.
    #[must_use]
    pub const fn start(self, start: Instant) -> Self {
        Self {
            start: Some(start),
            ..self
        }
    }

    /// Returns what spans of one sort have in common: the route, or the name where none is known.
    pub const fn key(&self) -> &'a str {
        match self.route {
            Some(route) => route,
            None => self.name,
        }
    }

    /// Returns the `tracestate` that came with the parent.
    pub const fn tracestate(&self) -> Option<&'a TraceState> {
        self.tracestate
    }

    /// Returns the 56 bits that every sampler of the trace compares with its threshold: the `rv` of `tracestate`, or
    /// the low bits of the trace id.
    #[inline]
    pub fn randomness(&self) -> u64 {
        randomness(self.tracestate, self.trace_id)
    }

    /// Asks a sampler about the span: its [intent](Sampler::intent), compared with the
    /// [randomness](Self::randomness).
    ///
    /// No part of [`Sampler`], as one that compared by itself could keep another share than it publishes.
    ///
    /// ```
    /// use cortex_core::TraceId;
    /// use cortex_trace::{Decision, Probability, SampleParams, SpanKind, Threshold};
    ///
    /// let tenth = Probability::new(0.1)?;
    /// let params = |id| SampleParams::new(id, "job", SpanKind::Internal);
    /// let low = TraceId::new(1).ok_or("zero")?;
    /// assert_eq!(params(low).decide(&tenth), Decision::Drop);
    /// let high = TraceId::new(0xff_ffff_ffff_ffff).ok_or("zero")?;
    /// let threshold = Threshold::for_probability(0.1);
    /// assert_eq!(params(high).decide(&tenth), Decision::RecordAndSample { threshold });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn decide<S: Sampler + ?Sized>(&self, sampler: &S) -> Decision {
        sampler.intent(self).decide(self.randomness())
    }
}

/// What was decided about a span.
///
/// # Examples
///
/// ```
/// use cortex_core::TraceId;
/// use cortex_trace::{AlwaysOff, AlwaysOn, Decision, SampleParams, SpanKind, Threshold};
///
/// let params = SampleParams::new(TraceId::new(1).ok_or("zero")?, "job", SpanKind::Internal);
/// assert_eq!(params.decide(&AlwaysOff), Decision::Drop);
/// let threshold = Some(Threshold::ALWAYS);
/// assert_eq!(params.decide(&AlwaysOn), Decision::RecordAndSample { threshold });
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Nothing is recorded and the callees hear so. A threshold in the received `tracestate` goes, unless it says the
    /// same.
    Drop,
    /// The span is recorded, but the callees hear that it is not: it is exported only if a [`Tail`](crate::Tail) finds
    /// that it matters. What a tail makes of [`Drop`](Self::Drop).
    RecordOnly,
    /// The span is recorded and exported, and the callees hear so.
    RecordAndSample {
        /// What to publish as `ot=th` in `tracestate`, from which backends compute how many traces this one stands
        /// for; `None` if that is not known.
        threshold: Option<super::Threshold>,
    },
}
