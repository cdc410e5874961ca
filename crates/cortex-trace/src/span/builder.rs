use std::borrow::Cow;

use cortex_core::Context;

use super::{Span, SpanKind};
use crate::Tracer;
use crate::carrier;
use crate::propagation::{Baggage, Caller, Remote, TraceState};
use crate::tracer::Sort;

/// Describes a span before it starts.
///
/// # Examples
///
/// ```
/// use cortex_trace::{SpanKind, Tracer};
///
/// let tracer = Tracer::builder("shop").build()?;
/// let mut span = tracer.span("charge card").kind(SpanKind::Client).start();
/// span.set_attribute("currency", "EUR");
/// assert!(span.is_recording());
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `start`"]
pub struct SpanBuilder<'a> {
    tracer: &'a Tracer,
    name: Cow<'static, str>,
    kind: SpanKind,
    parent: Parent,
    tracestate: Option<TraceState>,
    baggage: Option<Baggage>,
}

#[derive(Clone, Debug)]
enum Parent {
    Current,
    Local(Context),
    Remote(Remote),
}

impl<'a> SpanBuilder<'a> {
    pub(crate) const fn new(tracer: &'a Tracer, name: Cow<'static, str>) -> Self {
        Self {
            tracer,
            name,
            kind: SpanKind::Internal,
            parent: Parent::Current,
            tracestate: None,
            baggage: None,
        }
    }

    /// Sets the kind; [`SpanKind::Internal`] without it.
    pub const fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the parent, which is [`Context::current`] without this; a context without a trace starts one. The deadline is
    /// the parent's.
    pub fn parent(mut self, parent: Context) -> Self {
        self.parent = Parent::Local(parent);
        self
    }

    /// Sets a parent in another process, as the receiver of a message has one; the sampler is asked. The deadline is that
    /// of [`Context::current`].
    pub fn remote(mut self, parent: Remote) -> Self {
        self.parent = Parent::Remote(parent);
        self
    }

    /// Sets the `tracestate` that goes with a local parent, for calls that leave the process.
    ///
    /// Without this, a span below what is current takes what the carrier beside the context has for its trace: see
    /// [`Captured`](crate::Captured). Any other parent is a [`Context`] alone, which does not hold it, so it is handed
    /// down by hand:
    ///
    /// ```
    /// use cortex_trace::{ServerEnd, ServerStart, SpanKind, Tracer};
    /// use cortex_core::{Clock, SystemClock};
    /// use http::{HeaderMap, Method};
    ///
    /// let mut received = HeaderMap::new();
    /// received.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse()?);
    /// received.insert("tracestate", "congo=t61rcWkgMzE".parse()?);
    ///
    /// let tracer = Tracer::builder("shop").build()?;
    /// let now = SystemClock.now();
    /// let server = tracer.server(&received, ServerStart { method: &Method::GET, path: "/", start: now });
    ///
    /// let call = tracer.span("GET").kind(SpanKind::Client).parent(server.context());
    /// let call = call.tracestate(server.tracestate().cloned().unwrap_or_default()).start();
    /// let mut sent = HeaderMap::new();
    /// call.inject(&mut sent);
    /// assert_eq!(sent["tracestate"], "congo=t61rcWkgMzE");
    /// # server.finish(ServerEnd { status: Some(200), end: now, error: None });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tracestate(mut self, tracestate: TraceState) -> Self {
        self.tracestate = Some(tracestate);
        self
    }

    /// Sets the baggage, which is [`Baggage::current`] without this.
    ///
    /// The receiver of a message hands over what came with it:
    ///
    /// ```
    /// use cortex_trace::propagation::{Baggage, extract_baggage};
    /// use cortex_trace::{SpanKind, Tracer};
    ///
    /// let mut message = http::HeaderMap::new();
    /// message.insert("baggage", "tenant=acme".parse()?);
    ///
    /// let tracer = Tracer::propagate_only();
    /// let span = tracer.span("process order").kind(SpanKind::Consumer);
    /// let span = span.baggage(extract_baggage(&message)).start();
    /// let tenant = span.in_scope(|| Baggage::current().get("tenant").map(String::from));
    /// assert_eq!(tenant.as_deref(), Some("acme"));
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    pub fn baggage(mut self, baggage: Baggage) -> Self {
        self.baggage = Some(baggage);
        self
    }

    /// Starts the span.
    pub fn start(self) -> Span {
        let Self {
            tracer, name, kind, ..
        } = self;
        let sort = Sort::of(&name, kind);
        let mut started = match self.parent {
            Parent::Remote(remote) => tracer.start_root(Context::current(), &Caller::Remote(remote), sort),
            Parent::Local(parent) => tracer.start_below(parent, self.tracestate.unwrap_or_default(), sort),
            Parent::Current => {
                let parent = Context::current();
                let tracestate = self.tracestate.unwrap_or_else(|| carrier::tracestate_of(parent));
                tracer.start_below(parent, tracestate, sort)
            }
        };
        let recording = started.record(tracer, name, kind, None);
        Span {
            context: started.context,
            tracestate: started.tracestate,
            propagators: tracer.propagators(),
            baggage: self.baggage.unwrap_or_else(Baggage::current),
            recording,
        }
    }
}
