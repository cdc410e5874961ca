use std::borrow::Cow;

use cortex_core::Context;
use http::Method;

use super::{Link, Span, SpanKind};
use crate::Tracer;
use crate::carrier;
use crate::propagation::{Baggage, Caller, Remote, TraceState};
use crate::tracer::{Sort, Started};

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
    links: Vec<Link>,
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
            links: Vec::new(),
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
    /// let mut server = tracer.server(&received, ServerStart { method: &Method::GET, path: "/", start: now });
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

    /// Adds a link to a span that has to do with this one and is not its parent. At most 128 are kept.
    ///
    /// Who handles a batch of messages in one span has a parent for each, and so links:
    ///
    /// ```
    /// use cortex_trace::{Link, SpanBuilder, SpanKind, Tracer, propagation};
    /// use std::collections::HashMap;
    ///
    /// struct Message { headers: HashMap<String, String> }
    ///
    /// fn handle(tracer: &Tracer, batch: &[Message]) {
    ///     let callers = batch.iter().filter_map(|message| propagation::extract(&message.headers));
    ///     let span = tracer.span("process orders").kind(SpanKind::Consumer);
    ///     let span = callers.map(Link::from).fold(span, SpanBuilder::link).start();
    ///     span.in_scope(|| { /* store all of them at once */ });
    /// }
    ///
    /// let tracer = Tracer::builder("shop").build()?;
    /// let mut batch = Vec::new();
    /// for _ in 0..3 {
    ///     let mut headers = HashMap::new();
    ///     tracer.span("place order").kind(SpanKind::Producer).start().inject(&mut headers);
    ///     batch.push(Message { headers });
    /// }
    /// handle(&tracer, &batch);
    /// # Ok::<(), cortex_trace::BuildError>(())
    /// ```
    pub fn link(mut self, link: Link) -> Self {
        self.links.push(link);
        self
    }

    /// Starts the span.
    pub fn start(mut self) -> Span {
        let name = std::mem::take(&mut self.name);
        let started = self.decide(&name);
        self.begin(started, || name)
    }

    /// Starts the span of a call with this method, whose name is copied only if the span is recorded.
    pub(super) fn start_call(mut self, method: &Method) -> Span {
        let methods = self.tracer.methods();
        let started = self.decide(methods.name(method));
        self.begin(started, || methods.recorded(method, "HTTP"))
    }

    #[inline]
    fn decide(&mut self, name: &str) -> Started {
        let tracer = self.tracer;
        let sort = Sort::of(name, self.kind);
        match std::mem::replace(&mut self.parent, Parent::Current) {
            Parent::Remote(remote) => tracer.start_root(Context::current(), &Caller::Remote(remote), sort),
            Parent::Local(parent) => {
                tracer.start_below(parent, self.tracestate.take().unwrap_or_default(), sort)
            }
            Parent::Current => {
                let parent = Context::current();
                let tracestate = self.tracestate.take();
                let tracestate = tracestate.unwrap_or_else(|| carrier::tracestate_of(parent));
                tracer.start_below(parent, tracestate, sort)
            }
        }
    }

    #[inline]
    fn begin(self, mut started: Started, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        self.tracer.tell_presumed();
        let mut recording = if started.is_recording() {
            started.record(self.tracer, name(), self.kind, None)
        } else {
            None
        };
        if let Some(recording) = &mut recording {
            for link in self.links {
                recording.add_link(link);
            }
        }
        Span {
            context: started.context,
            tracestate: started.tracestate,
            propagators: self.tracer.propagators(),
            baggage: self.baggage.unwrap_or_else(Baggage::current),
            recording,
        }
    }
}
