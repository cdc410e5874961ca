use cortex_core::{Flags, TraceId};

use super::Head;
use super::head::Match;
use crate::propagation::TraceState;
use crate::sampler::{Decision, END, published, published_threshold};
use crate::{SpanData, Threshold};

/// What the spans of a kept segment have in common, and what each becomes.
pub(super) struct Kept {
    head: Head,
    /// `None` if each span is as the sampler said.
    matched: Option<Match>,
    trace_id: TraceId,
    /// The `tracestate` of the root as it was sent on, and as it is exported.
    sent: TraceState,
    exported: TraceState,
}

impl Kept {
    pub(super) fn new(head: Head, matched: Option<Match>, sent: TraceState, trace_id: TraceId) -> Self {
        let exported = match matched {
            Some(matched) => published(&sent, keep(head.threshold_after(matched)), trace_id),
            None => sent.clone(),
        };
        Self {
            head,
            matched,
            trace_id,
            sent,
            exported,
        }
    }

    /// Makes a span what is exported, with what it counts. What is not sampled then is not exported.
    pub(super) fn mark(&self, mut span: SpanData) -> SpanData {
        let is_sampled = span.flags.contains(Flags::SAMPLED);
        // A sampler may have been asked about this span, too, and have decided otherwise.
        let follows_root = is_sampled == self.head.is_sampled()
            && (span.tracestate.is_empty() || span.tracestate == self.sent);
        if follows_root {
            span.tracestate = self.exported.clone();
        } else if let Some(matched) = self.matched {
            let sampled_from = match (is_sampled, self.head.is_sampled()) {
                (true, _) => published_threshold(&span.tracestate).map(Threshold::bits),
                (false, false) => self.head.threshold(),
                (false, true) => Some(END),
            };
            let before = if span.tracestate.is_empty() {
                &self.sent
            } else {
                &span.tracestate
            };
            span.tracestate = published(before, keep(matched.threshold(sampled_from)), self.trace_id);
        }
        if self.matched.is_some() {
            span.flags = span.flags | Flags::SAMPLED;
        }
        span
    }
}

const fn keep(threshold: Option<Threshold>) -> Decision {
    Decision::RecordAndSample { threshold }
}
