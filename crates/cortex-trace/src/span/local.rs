use std::borrow::Cow;
use std::fmt;

use cortex_core::Context;
use http::{Method, Uri};

use super::recording::Recording;
use super::{Attribute, Link, SpanKind, Value, semantics};
use crate::Tracer;
use crate::carrier::Captured;
use crate::propagation::{self, Baggage, Injector, Propagator, Propagators, TraceState};

/// A piece of work that is under way; it ends when this is dropped.
///
/// Made by [`Tracer::span`](crate::Tracer::span). It does not make itself current: run code
/// [in its scope](Self::in_scope), or wrap a future with [`Traced::with`](crate::Traced::with).
///
/// # Performance
///
/// If it is not recorded it holds ids only: no allocation, no clock read, and every setter does nothing.
///
/// # Examples
///
/// ```
/// use cortex_trace::{SpanKind, Traced, Tracer};
///
/// async fn fetch(tracer: &Tracer) -> &'static str {
///     let mut span = tracer.span("fetch price").kind(SpanKind::Client).start();
///     let price = Traced::with(span.captured(), async { "9.99" }).await;
///     span.set_attribute("price", price);
///     price
/// }
///
/// let tracer = Tracer::builder("shop").build()?;
/// let outer = tracer.span("checkout").start();
/// let inner = outer.in_scope(|| tracer.span("reserve stock").start());
/// assert_eq!(inner.context().trace_id(), outer.context().trace_id());
/// # drop(fetch(&tracer));
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[must_use = "a span ends when it is dropped"]
pub struct Span {
    pub(super) context: Context,
    pub(super) tracestate: TraceState,
    pub(super) propagators: Propagators,
    pub(super) baggage: Baggage,
    pub(super) recording: Option<Recording>,
}

impl Span {
    /// Returns the context that work inside this span runs under.
    pub const fn context(&self) -> Context {
        self.context
    }

    /// Says whether this span is recorded: whether setters have an effect.
    pub const fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Returns the `tracestate` to send on, if there is one.
    pub fn tracestate(&self) -> Option<&TraceState> {
        Some(&self.tracestate).filter(|state| !state.is_empty())
    }

    /// Returns the baggage that work inside this span has, and callees get.
    pub const fn baggage(&self) -> &Baggage {
        &self.baggage
    }

    /// Returns all that work inside this span runs under: the context, and the `tracestate` and the baggage beside it.
    pub fn captured(&self) -> Captured {
        Captured::of(self.context, &self.tracestate, &self.baggage)
    }

    /// Runs `work` under this span's context, with its `tracestate` and its baggage.
    pub fn in_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _guard = self.captured().attach();
        work()
    }

    /// Writes this span's trace context and its baggage into the headers of an outgoing request, or of whatever else
    /// leaves the process, in the formats of its [`Tracer`](crate::Tracer).
    ///
    /// What these formats had there before is replaced. Where this span has no `tracestate`, or no baggage, an old one
    /// goes: it was meant for somebody else.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::Tracer;
    /// use http::{HeaderMap, Method, Uri};
    ///
    /// let tracer = Tracer::propagate_only();
    /// let span = tracer.client(&Method::GET, &Uri::from_static("http://stock.internal/items/7"));
    /// let mut headers = HeaderMap::new();
    /// span.inject(&mut headers);
    /// assert!(headers.contains_key("traceparent"));
    /// ```
    pub fn inject<I: Injector + ?Sized>(&self, carrier: &mut I) {
        self.propagators.inject(&self.context, self.tracestate(), carrier);
        if self.propagators.contains(Propagator::Baggage) {
            propagation::inject_baggage(&self.baggage, carrier);
        }
    }

    /// Sets an attribute, in place of one with the same key. At most 128 are kept, texts up to 4096 bytes.
    pub fn set_attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.set_attribute(key, value);
        }
    }

    /// Adds an event that happens now. At most 128 are kept.
    pub fn add_event(&mut self, name: impl Into<Cow<'static, str>>) {
        self.add_event_with(name, []);
    }

    /// Adds an event with attributes that happens now. At most 128 are kept.
    ///
    /// ```
    /// use cortex_trace::{Attribute, Tracer};
    ///
    /// let tracer = Tracer::builder("shop").build()?;
    /// let mut span = tracer.span("call").start();
    /// span.add_event_with("retry", [Attribute::new("attempt", 2)]);
    /// # Ok::<(), cortex_trace::BuildError>(())
    /// ```
    pub fn add_event_with(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        attributes: impl IntoIterator<Item = Attribute>,
    ) {
        if let Some(recording) = &mut self.recording {
            recording.add_event(name.into(), attributes);
        }
    }

    /// Adds a link to a span that has to do with this one and is not its parent. At most 128 are kept.
    ///
    /// [`SpanBuilder::link`](crate::SpanBuilder::link) adds those that are known when the span starts.
    ///
    /// ```
    /// use cortex_trace::{Link, SpanKind, Tracer, propagation};
    ///
    /// let tracer = Tracer::builder("shop").build()?;
    /// let mut span = tracer.span("drain outbox").kind(SpanKind::Consumer).start();
    /// let message = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    /// if let Some(sender) = propagation::extract(&message) {
    ///     span.add_link(Link::from(sender));
    /// }
    /// # Ok::<(), cortex_trace::BuildError>(())
    /// ```
    pub fn add_link(&mut self, link: Link) {
        if let Some(recording) = &mut self.recording {
            recording.add_link(link);
        }
    }

    /// Marks the span as failed, with a short name out of a small set as its `error.type`: `timeout`, `declined`.
    pub fn set_error(&mut self, kind: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.recording {
            recording.set_error(kind.into());
        }
    }

    /// Sets the status that an outgoing HTTP call was answered with; from 400 on it is an error.
    pub fn set_response_status(&mut self, status: http::StatusCode) {
        if let Some(recording) = &mut self.recording {
            recording.set_attribute("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                recording.set_error(Cow::Owned(status.as_str().to_owned()));
            }
        }
    }

    /// Ends the span, as dropping it does.
    pub fn end(self) {}

    pub(crate) fn client(tracer: &Tracer, method: &Method, uri: &Uri) -> Self {
        let mut span = Self::outgoing(tracer, method);
        span.record_target(uri);
        span
    }

    /// Starts the span of a call whose target is recorded [later](Self::record_target), if at all.
    pub(crate) fn outgoing(tracer: &Tracer, method: &Method) -> Self {
        let mut span = tracer.span("").kind(SpanKind::Client).start_call(method);
        if let Some(recording) = &mut span.recording {
            semantics::record_method(recording, tracer.methods(), method);
        }
        span
    }

    pub(crate) fn record_target(&mut self, uri: &Uri) {
        if let Some(recording) = &mut self.recording {
            semantics::record_target(recording, uri);
        }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn record_version(&mut self, version: http::Version) {
        if let Some(recording) = &mut self.recording {
            semantics::record_version(recording, version);
        }
    }

    /// Records the template that the target was made from, in the name too.
    #[cfg(feature = "tower")]
    pub(crate) fn record_template(&mut self, method: &Method, template: &str) {
        if let Some(recording) = &mut self.recording {
            let method = recording.tracer().methods().name(method);
            let name = format!("{method} {template}");
            recording.set_name(name);
            recording.set_attribute("url.template", template);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.end_now();
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span")
            .field("context", &self.context)
            .field("is_recording", &self.is_recording())
            .finish_non_exhaustive()
    }
}
