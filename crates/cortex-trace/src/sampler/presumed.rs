//! Telling that randomness was presumed where nobody has promised it.

#[cfg(any(feature = "bridge", feature = "logs"))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, Ordering};

use cortex_core::Flags;

use super::{SamplingIntent, Threshold, ot};
use crate::propagation::TraceState;

/// What a tracer's sampling has to tell.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Probability, Tracer, propagation};
/// use http::HeaderMap;
///
/// let tracer = Tracer::builder("shop").sampler(Probability::new(0.5)?).build()?;
/// let mut headers = HeaderMap::new();
/// for (flags, presumed) in [("03", 0), ("01", 1)] {
///     let caller = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
///     headers.insert("traceparent", caller.parse()?);
///     let remote = propagation::extract(&headers).ok_or("it is valid")?;
///     tracer.span("receive").remote(remote).start().end();
///     assert_eq!(tracer.sampling_stats().presumed_random, presumed);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SamplingStats {
    /// Decisions by the trace id of a caller who says neither that it is random, which takes Level 2 of W3C Trace
    /// Context, nor what to use instead in `ot=rv`. If it is not random, the share that is kept is another one than the
    /// share that is published.
    ///
    /// To follow the caller's decision presumes nothing, nor does to keep all traces or none.
    pub presumed_random: u64,
}

/// Counts such decisions, and warns once.
#[derive(Debug, Default)]
pub(crate) struct Presumed {
    count: AtomicU64,
    #[cfg(any(feature = "bridge", feature = "logs"))]
    told: AtomicBool,
}

impl Presumed {
    /// Looks at what a sampler wants of a trace with these flags and this `tracestate`.
    #[inline]
    pub(crate) fn consider(&self, intent: SamplingIntent, flags: Flags, tracestate: Option<&TraceState>) {
        if let SamplingIntent::Threshold(threshold) = intent
            && !flags.contains(Flags::RANDOM)
            && threshold != Threshold::ALWAYS
        {
            self.consider_received(threshold, tracestate);
        }
    }

    #[cold]
    fn consider_received(&self, threshold: Threshold, tracestate: Option<&TraceState>) {
        // The caller's own threshold passes where it is followed: the comparison was the caller's.
        let settled = |received: &TraceState| {
            ot::has_randomness(received) || ot::threshold(received) == Some(threshold)
        };
        if tracestate.is_some_and(settled) {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> SamplingStats {
        SamplingStats {
            presumed_random: self.count.load(Ordering::Relaxed),
        }
    }

    /// Warns once, if there was such a decision. Where nobody listens, the next call tries again.
    ///
    /// Not where the decision was made, which may be amid a subscriber's work on another span: filters of layers keep what
    /// they have decided about that in a place of the thread, where an event would spoil it.
    #[inline]
    pub(crate) fn tell(&self) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.warn();
        }
    }

    #[cfg(any(feature = "bridge", feature = "logs"))]
    fn warn(&self) {
        if !self.told.load(Ordering::Relaxed)
            && tracing::enabled!(tracing::Level::WARN)
            && !self.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "a sampler presumes that trace ids of callers are random, which these do not say (no random flag in \
                 traceparent, no ot=rv in tracestate)"
            );
        }
    }

    #[cfg(not(any(feature = "bridge", feature = "logs")))]
    #[expect(clippy::unused_self, reason = "without `tracing` there is nobody to tell")]
    const fn warn(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_comparison_with_an_id_that_nobody_calls_random_presumes_something() {
        let half = SamplingIntent::from(Threshold::for_probability(0.5).unwrap());
        let presumed = Presumed::default();
        let added = |intent, flags, tracestate: Option<&str>| {
            let before = presumed.stats().presumed_random;
            let tracestate: Option<TraceState> = tracestate.map(|list| list.parse().unwrap());
            presumed.consider(intent, flags, tracestate.as_ref());
            presumed.stats().presumed_random - before
        };
        for flags in [Flags::NONE, Flags::SAMPLED] {
            for (tracestate, expected) in [
                (None, 1),
                (Some(""), 1),
                (Some("a=1,ot=th:c"), 1),
                (Some("ot=rv:123"), 1),
                (Some("ot=rv:123456789abcde"), 0),
                (Some("ot=th:c;rv:00000000000000,a=1"), 0),
                (Some("ot=th:8"), 0), // the caller's threshold
            ] {
                assert_eq!(added(half, flags, tracestate), expected, "{tracestate:?}");
                assert_eq!(added(half, flags | Flags::RANDOM, tracestate), 0);
                for no_comparison in [
                    SamplingIntent::ALWAYS,
                    SamplingIntent::Never,
                    SamplingIntent::Keep,
                    SamplingIntent::Drop,
                ] {
                    assert_eq!(added(no_comparison, flags, tracestate), 0);
                }
            }
        }
    }
}
