//! How a span gets its ids, its flags and its parent.

use std::borrow::Cow;
use std::time::Instant;

use cortex_core::{Context, Flags, SpanId, TraceId};

use super::Tracer;
use crate::export;
use crate::id;
use crate::propagation::{Caller, Remote, TraceState};
use crate::sampler::{Decision, SampleParams, SamplingIntent, published};
use crate::span::{Link, Record, Recording, SpanKind, cut, spare};
use crate::tail::{self, Head};

/// What is known of a span before it starts.
#[derive(Clone, Copy)]
pub(crate) struct Sort<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    pub(crate) route: Option<&'a str>,
    pub(crate) start: Option<Instant>,
}

/// A span that has just got its identity.
pub(crate) struct Started {
    pub(crate) context: Context,
    pub(crate) tracestate: TraceState,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    /// The caller, if its trace was left; in a box, as that is rare and this is moved about.
    link: Option<Box<Link>>,
    is_local_root: bool,
    /// What was decided at a local root, for the tail, if there is one.
    head: Option<Box<Head>>,
}

/// The first span of a trace.
pub(crate) enum First {
    /// There is no more of it than this.
    Unrecorded(Context),
    /// It may be recorded.
    Started(Started),
}

impl Tracer {
    /// Starts a span below what is current in this process, if anything is.
    pub(crate) fn start_below(&self, parent: Context, mut tracestate: TraceState, sort: Sort<'_>) -> Started {
        let (Some(trace_id), Some(parent_id)) = (parent.trace_id(), parent.span_id()) else {
            return self.start_root(parent, &Caller::Silent, sort);
        };
        let context = match self.sampler() {
            None => parent,
            Some(_) if is_suppressed() => {
                parent.with_span(trace_id, id::span_id(), unrecorded(parent.flags()))
            }
            Some(sampler) if self.asks_children() => {
                let params = sort.params(trace_id).local_parent(&parent, &tracestate);
                let intent = sampler.intent(&params);
                self.presumed()
                    .consider(intent, parent.flags(), Some(&tracestate));
                let decision = match intent.decide(params.randomness()) {
                    // It may matter to the tail, which waits for what becomes of the trace.
                    Decision::Drop if self.tail().is_some() && parent.flags().contains(Flags::RECORDING) => {
                        Decision::RecordOnly
                    }
                    decision => decision,
                };
                let published = published(&tracestate, decision, trace_id);
                tracestate = published;
                parent.with_span(trace_id, id::span_id(), flags_after(parent.flags(), decision))
            }
            Some(_) => parent.with_span(trace_id, id::span_id(), parent.flags()),
        };
        Started {
            context,
            tracestate,
            parent: Some(parent_id),
            parent_is_remote: false,
            link: None,
            is_local_root: false,
            head: None,
        }
    }

    /// Starts the first span of a trace, which nobody began before.
    ///
    /// It does what [`start_root`](Self::start_root) does, by a shorter way: that of most requests of many services.
    #[inline]
    pub(crate) fn start_first(&self, base: Context, sort: Sort<'_>) -> First {
        let sampler = match self.sampler() {
            Some(sampler) if self.tail().is_none() => sampler,
            _ => return First::Started(self.start_root(base, &Caller::Silent, sort)),
        };
        let (trace_id, span_id) = id::trace_and_span_id();
        let params = sort.params(trace_id);
        let intent = if is_suppressed() {
            SamplingIntent::Never
        } else {
            sampler.intent(&params)
        };
        self.presumed()
            .consider(intent, Flags::RANDOM, params.tracestate());
        let decision = intent.decide(params.randomness());
        let context = base.with_span(trace_id, span_id, flags_after(Flags::RANDOM, decision));
        if let Decision::Drop = decision {
            return First::Unrecorded(context);
        }
        First::Started(Started {
            context,
            tracestate: published(&TraceState::EMPTY, decision, trace_id),
            parent: None,
            parent_is_remote: false,
            link: None,
            is_local_root: true,
            head: None,
        })
    }

    /// Starts the first span of a trace in this process, with the deadline that `base` has.
    #[inline]
    pub(crate) fn start_root(&self, base: Context, caller: &Caller, sort: Sort<'_>) -> Started {
        let (remote, decided) = match caller {
            Caller::Remote(remote) => (Some(remote), None),
            Caller::Decided(sampled) => (None, Some(*sampled).filter(|_| !self.restarts_traces())),
            Caller::Silent => (None, None),
        };
        let Some(sampler) = self.sampler() else {
            return pass_through(base, remote, decided);
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
        let (trace_id, span_id, flags) = if let Some(remote) = remote {
            (remote.trace_id(), id::span_id(), random(remote.flags()))
        } else {
            //= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
            //# When at least the right-most 7 bytes of the trace-id are randomly (or pseudo-randomly) generated, the random-trace-id flag SHOULD be set to 1.
            let (trace_id, span_id) = id::trace_and_span_id();
            (trace_id, span_id, Flags::RANDOM)
        };
        let mut params = sort.params(trace_id);
        if let Some(remote) = remote {
            params = params.parent(remote);
        }
        params.decided = decided;
        let suppressed = is_suppressed();
        let intent = if suppressed {
            SamplingIntent::Never
        } else {
            sampler.intent(&params)
        };
        self.presumed().consider(intent, flags, params.tracestate());
        let randomness = params.randomness();
        let mut decision = intent.decide(randomness);
        let mut head = None;
        if let Some(tail) = self.tail() {
            let mut decided_here = Head::new(intent, randomness);
            if !suppressed {
                decision = tail.reconsider(&mut decided_here, remote, decided);
            }
            head = Some(Box::new(decided_here));
        }
        let flags = flags_after(flags, decision);
        let received = remote.map_or(&TraceState::EMPTY, Remote::tracestate);
        let link = link.filter(|_| flags.contains(Flags::RECORDING));
        Started {
            //= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
            //# The value of property parent-id MUST be set to a value representing the ID of the current operation.
            context: base.with_span(trace_id, span_id, flags),
            tracestate: published(received, decision, trace_id),
            parent: remote.map(Remote::span_id),
            parent_is_remote: remote.is_some(),
            link: link.map(|remote| Box::new(Link::from(remote.clone()))),
            is_local_root: true,
            head,
        }
    }
}

#[cfg(feature = "bridge")]
impl Tracer {
    pub(crate) fn has_tail(&self) -> bool {
        self.tail().is_some()
    }

    /// Forgets a span that has begun and will not end.
    pub(crate) fn cancel(&self, (trace_id, span_id): (TraceId, SpanId)) {
        if let Some(tail) = self.tail() {
            tail.cancel(trace_id, span_id);
        }
    }
}

impl<'a> Sort<'a> {
    pub(crate) const fn of(name: &'a str, kind: SpanKind) -> Self {
        Self {
            name,
            kind,
            route: None,
            start: None,
        }
    }

    fn params(self, trace_id: TraceId) -> SampleParams<'a> {
        let mut params = SampleParams::new(trace_id, self.name, self.kind);
        params.route = self.route;
        params.start = self.start;
        params
    }
}

/// An exporter that makes spans about its own work would never run out of it, nor a tail whose rules do.
fn is_suppressed() -> bool {
    export::is_suppressed() || tail::is_judging()
}

fn unrecorded(flags: Flags) -> Flags {
    Flags::from_wire(flags.to_wire())
}

/// Returns of all flags the one that says how the trace id was made.
fn random(flags: Flags) -> Flags {
    if flags.contains(Flags::RANDOM) {
        Flags::RANDOM
    } else {
        Flags::NONE
    }
}

/// Returns the flags of a span after a decision.
fn flags_after(before: Flags, decision: Decision) -> Flags {
    let random = random(before);
    match decision {
        Decision::Drop => random,
        Decision::RecordOnly => random | Flags::RECORDING,
        Decision::RecordAndSample { .. } => random | Flags::SAMPLED | Flags::RECORDING,
    }
}

//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//# If the value of the traceparent field wasn't changed before propagation, tracestate MUST NOT be modified as well.
fn pass_through(base: Context, remote: Option<&Remote>, decided: Option<bool>) -> Started {
    let of_our_own = || {
        let sampled = if decided == Some(true) {
            Flags::SAMPLED
        } else {
            Flags::NONE
        };
        let flags = Flags::RANDOM | sampled;
        let (trace_id, span_id) = id::trace_and_span_id();
        (trace_id, span_id, flags, TraceState::EMPTY)
    };
    let of_the_caller = |remote: &Remote| {
        let tracestate = remote.tracestate().clone();
        (remote.trace_id(), remote.span_id(), remote.flags(), tracestate)
    };
    let (trace_id, span_id, flags, tracestate) = remote.map_or_else(of_our_own, of_the_caller);
    Started {
        context: base.with_span(trace_id, span_id, flags),
        tracestate,
        parent: None,
        parent_is_remote: false,
        link: None,
        is_local_root: true,
        head: None,
    }
}

impl Started {
    pub(crate) fn is_recording(&self) -> bool {
        self.context.flags().contains(Flags::RECORDING)
    }

    /// Begins the record of a span that started at `started`, or now; `None` if it is not recorded.
    #[inline] // who does not record pays no call
    pub(crate) fn record(
        &mut self,
        tracer: &Tracer,
        name: Cow<'static, str>,
        kind: SpanKind,
        started: Option<Instant>,
    ) -> Option<Recording> {
        if !self.is_recording() {
            return None;
        }
        let record = self.begin(tracer, name, kind, started)?;
        Some(Recording::new(tracer.clone(), record))
    }

    /// Does what [`record`](Self::record) does, for somebody who has the tracer.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        tracer: &Tracer,
        name: Cow<'static, str>,
        kind: SpanKind,
        started: Option<Instant>,
    ) -> Option<Box<Record>> {
        if !self.is_recording() {
            return None;
        }
        let (trace_id, span_id) = self.context.trace_id().zip(self.context.span_id())?;
        let given = started;
        let started = given.unwrap_or_else(|| tracer.clock().now());
        // Every other time of the span is measured from this one, so that none runs backwards.
        let start = tracer.wall(started);
        let sampled = self.context.flags().contains(Flags::SAMPLED);
        if let Some(tail) = tracer.tail() {
            // Not when it started, if somebody has said that, who may be wrong.
            let now = given.map_or(started, |_| tracer.clock().now());
            let export = |span| tracer.export(span);
            let recorded = match (self.head.take(), self.parent) {
                (Some(head), _) => {
                    let root = tail::Root {
                        span_id,
                        head: *head,
                        tracestate: self.tracestate.detached(),
                    };
                    tail.begin(trace_id, root, started, now, export)
                }
                (None, Some(parent)) => tail.join(trace_id, parent, span_id, sampled, now, export),
                (None, None) => sampled,
            };
            if !recorded {
                let flags = unrecorded(self.context.flags());
                self.context = self.context.with_span(trace_id, span_id, flags);
                return None;
            }
        }
        if let Some(sampler) = tracer.sampler()
            && !self.is_local_root
            && sampled
        {
            sampler.record_child(trace_id);
        }
        let mut record = spare::take();
        let data = record.begin(started, start);
        data.trace_id = trace_id;
        data.span_id = span_id;
        data.parent_span_id = self.parent;
        data.parent_is_remote = self.parent_is_remote;
        data.flags = self.context.flags();
        // It waits for an exporter, and the head of the request must not.
        data.tracestate = self.tracestate.detached();
        data.name = cut(name);
        data.kind = kind;
        data.links.extend(self.link.take().map(|link| *link));
        Some(record)
    }
}
