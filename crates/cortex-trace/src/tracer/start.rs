//! How a span gets its ids, its flags and its parent.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use cortex_core::{Context, Flags, SpanId};

use super::Tracer;
use crate::export::is_worker;
use crate::id;
use crate::propagation::{Caller, Remote, TraceState};
use crate::sampler::{Decision, SampleParams, published};
use crate::span::{Link, Recording, SpanData, SpanKind, Status};

/// A span that has just got its identity.
pub(crate) struct Started {
    pub(crate) context: Context,
    pub(crate) tracestate: TraceState,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    link: Option<Remote>,
}

impl Tracer {
    /// Starts a span below what is current in this process, if anything is.
    pub(crate) fn start_below(
        &self,
        parent: Context,
        tracestate: TraceState,
        name: &str,
        kind: SpanKind,
    ) -> Started {
        let (Some(trace_id), Some(parent_id)) = (parent.trace_id(), parent.span_id()) else {
            return self.start_root(Caller::Silent, name, kind);
        };
        let context = if self.sampler().is_none() {
            parent
        } else if is_worker() {
            parent.with_span(
                trace_id,
                id::span_id(),
                Flags::from_wire(parent.flags().to_wire()),
            )
        } else {
            parent.with_span(trace_id, id::span_id(), parent.flags())
        };
        Started {
            context,
            tracestate,
            parent: Some(parent_id),
            parent_is_remote: false,
            link: None,
        }
    }

    /// Starts the first span of a trace in this process.
    pub(crate) fn start_root(&self, caller: Caller, name: &str, kind: SpanKind) -> Started {
        let (remote, decided) = match caller {
            Caller::Remote(remote) => (Some(remote), None),
            Caller::Decided(sampled) => (None, Some(sampled).filter(|_| !self.restarts_traces())),
            Caller::Silent => (None, None),
        };
        let Some(sampler) = self.sampler() else {
            return pass_through(remote, decided);
        };
        //= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
        //# Vendors SHOULD clean up tracestate collection on traceparent restart.
        let (remote, link) = if self.restarts_traces() {
            (None, remote)
        } else {
            (remote, None)
        };
        //= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
        //# If the flag is unset in the incoming traceparent header, it MUST also be unset in any outgoing traceparent headers which use the same trace-id.
        let (trace_id, flags) = match &remote {
            Some(remote) if remote.flags().contains(Flags::RANDOM) => (remote.trace_id(), Flags::RANDOM),
            Some(remote) => (remote.trace_id(), Flags::NONE),
            //= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
            //# When at least the right-most 7 bytes of the trace-id are randomly (or pseudo-randomly) generated, the random-trace-id flag SHOULD be set to 1.
            None => (id::trace_id(), Flags::RANDOM),
        };
        let mut params = SampleParams::new(trace_id, name, kind);
        params.parent = remote.as_ref();
        params.decided = decided;
        // An exporter that makes spans about its own work would never run out of it.
        let decision = if is_worker() {
            Decision::Drop
        } else {
            sampler.sample(&params)
        };
        let flags = match decision {
            Decision::Drop => flags,
            Decision::RecordAndSample { .. } => flags | Flags::SAMPLED | Flags::RECORDING,
        };
        let received = remote.as_ref().map_or(&TraceState::EMPTY, Remote::tracestate);
        Started {
            //= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
            //# The value of property parent-id MUST be set to a value representing the ID of the current operation.
            context: Context::current().with_span(trace_id, id::span_id(), flags),
            tracestate: published(received, decision, trace_id),
            parent: remote.as_ref().map(Remote::span_id),
            parent_is_remote: remote.is_some(),
            link,
        }
    }
}

//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//# If the value of the traceparent field wasn't changed before propagation, tracestate MUST NOT be modified as well.
fn pass_through(remote: Option<Remote>, decided: Option<bool>) -> Started {
    let of_our_own = || {
        let sampled = if decided == Some(true) {
            Flags::SAMPLED
        } else {
            Flags::NONE
        };
        let flags = Flags::RANDOM | sampled;
        (id::trace_id(), id::span_id(), flags, TraceState::EMPTY)
    };
    let of_the_caller = |remote: Remote| {
        let flags = remote.flags();
        (
            remote.trace_id(),
            remote.span_id(),
            flags,
            remote.into_tracestate(),
        )
    };
    let (trace_id, span_id, flags, tracestate) = remote.map_or_else(of_our_own, of_the_caller);
    Started {
        context: Context::current().with_span(trace_id, span_id, flags),
        tracestate,
        parent: None,
        parent_is_remote: false,
        link: None,
    }
}

impl Started {
    pub(crate) fn is_recording(&self) -> bool {
        self.context.flags().contains(Flags::RECORDING)
    }

    /// Begins the record of a span that started at `started`, or now; `None` if it is not recorded.
    pub(crate) fn record(
        &mut self,
        tracer: &Tracer,
        name: Cow<'static, str>,
        kind: SpanKind,
        started: Option<Instant>,
    ) -> Option<Box<Recording>> {
        if !self.is_recording() {
            return None;
        }
        let (trace_id, span_id) = self.context.trace_id().zip(self.context.span_id())?;
        let now = tracer.clock().now();
        let started = started.unwrap_or(now);
        // One reading of the wall clock per span; every other time is measured from it, so that none runs backwards.
        let ago = now.saturating_duration_since(started);
        let wall = tracer.clock().wall();
        let start = wall.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let link = self.link.take().map(|remote| Link {
            trace_id: remote.trace_id(),
            span_id: remote.span_id(),
            flags: remote.flags(),
            tracestate: remote.tracestate().detached(),
        });
        let data = SpanData {
            trace_id,
            span_id,
            parent_span_id: self.parent,
            parent_is_remote: self.parent_is_remote,
            flags: self.context.flags(),
            tracestate: self.tracestate.detached(), // it waits for an exporter, and the head of the request must not
            name,
            kind,
            start,
            end: start,
            attributes: Vec::new(),
            dropped_attributes: 0,
            events: Vec::new(),
            dropped_events: 0,
            links: link.into_iter().collect(),
            status: Status::Unset,
        };
        Some(Box::new(Recording::new(tracer.clone(), data, started)))
    }
}
