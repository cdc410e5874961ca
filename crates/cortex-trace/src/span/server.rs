use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use cortex_core::{Context, Deadline};
use http::{HeaderMap, Method, Uri, Version};

use super::recording::Recording;
use super::{SpanKind, Value, semantics};
use crate::Tracer;
use crate::carrier::Captured;
use crate::propagation::{Baggage, TraceState};
use crate::tracer::{First, Sort};

/// What is known of a request when it starts.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
/// use cortex_trace::ServerStart;
///
/// let request = http::Request::get("/items?page=2").body(())?;
/// let start = ServerStart {
///     method: request.method(),
///     path: request.uri().path_and_query().map_or("/", |target| target.as_str()),
///     start: SystemClock.now(),
/// };
/// assert_eq!(start.path, "/items?page=2");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ServerStart<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, with or without the query, whose [credentials](crate::TracerBuilder::redact_query) are not recorded.
    pub path: &'a str,
    /// When the request arrived.
    pub start: Instant,
}

/// What is known of a request when it is over.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
/// use cortex_trace::ServerEnd;
///
/// let timed_out = ServerEnd { status: Some(503), end: SystemClock.now(), error: Some("timeout") };
/// assert_eq!(timed_out.status, Some(503));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ServerEnd {
    /// The status that was sent, if one was; from 500 on it is an error of this service.
    pub status: Option<u16>,
    /// When the last byte of the response was sent.
    pub end: Instant,
    /// A short name out of a small set, if something went wrong that the status does not say: `timeout`, `aborted`.
    pub error: Option<&'static str>,
}

/// A request that is being served. Dropped without [`finish`](Self::finish) it was cancelled, and is recorded as an
/// error of type `cancelled`.
///
/// Made by [`Tracer::server`], which allocates for what came with a `tracestate` or baggage, once, and otherwise only for
/// what is recorded.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
/// use cortex_trace::{ServerEnd, ServerStart, Traced, Tracer};
///
/// async fn serve(tracer: &Tracer, request: http::Request<()>) -> http::Response<()> {
///     let start = ServerStart {
///         method: request.method(),
///         path: request.uri().path(),
///         start: SystemClock.now(),
///     };
///     let mut span = tracer.server(request.headers(), start);
///     let response = Traced::with(span.captured().clone(), async { http::Response::new(()) }).await;
///     let status = response.status().as_u16();
///     span.finish(ServerEnd { status: Some(status), end: SystemClock.now(), error: None });
///     response
/// }
/// # drop(serve(&Tracer::propagate_only(), http::Request::new(())));
/// ```
#[must_use = "a span that is dropped without `finish` counts as cancelled"]
pub struct ServerSpan {
    captured: Captured,
    recording: Option<Box<ServerRecording>>,
}

struct ServerRecording {
    recording: Recording,
    method: Cow<'static, str>,
    route: Option<String>,
}

/// Says whether `traceparent`, `tracestate` or `baggage` may be among the headers, of which most requests have a few: a walk
/// past those is cheaper than to look up each of these.
#[inline]
fn may_name_w3c(headers: &HeaderMap) -> bool {
    const FEW: usize = 16;
    headers.keys_len() > FEW
        || headers
            .keys()
            .any(|name| matches!(name.as_str().as_bytes(), [b't', b'r', ..] | [b'b', b'a', ..]))
}

impl ServerSpan {
    pub(crate) fn start(
        tracer: &Tracer,
        headers: &HeaderMap,
        start: ServerStart<'_>,
        route: Option<&str>,
    ) -> Self {
        Self::begin(
            tracer,
            headers,
            start.method,
            start.path,
            Some(start.start),
            route,
        )
    }

    /// Starts at `at`, or now, in which case only a recorded request reads the clock.
    pub(crate) fn begin(
        tracer: &Tracer,
        headers: &HeaderMap,
        method: &Method,
        target: &str,
        at: Option<Instant>,
        route: Option<&str>,
    ) -> Self {
        let methods = tracer.methods();
        let sort = Sort {
            name: methods.name(method),
            kind: SpanKind::Server,
            route,
            start: at,
        };
        let propagators = tracer.propagators();
        let is_silent = propagators.are_w3c() && !may_name_w3c(headers);
        let started = if is_silent {
            tracer.start_first(Context::current(), sort)
        } else {
            First::Started(tracer.start_root(Context::current(), &propagators.listen(headers), sort))
        };
        tracer.tell_presumed();
        let mut started = match started {
            First::Unrecorded(context) => {
                return Self {
                    captured: Captured::new(context),
                    recording: None,
                };
            }
            First::Started(started) => started,
        };
        let recording = if started.is_recording() {
            started.record(tracer, methods.recorded(method, "HTTP"), SpanKind::Server, at)
        } else {
            None
        };
        let recording = recording.map(|mut recording| {
            semantics::record_method(&mut recording, methods, method);
            semantics::record_request(&mut recording, headers, target);
            Box::new(ServerRecording {
                recording,
                method: methods.recorded(method, "HTTP"),
                route: route.map(str::to_owned),
            })
        });
        let captured = if is_silent && started.tracestate.is_empty() {
            Captured::new(started.context)
        } else {
            let baggage = propagators.baggage(headers);
            Captured::of(started.context, &started.tracestate, &baggage)
        };
        Self { captured, recording }
    }

    /// Returns the context that the work for this request runs under.
    pub const fn context(&self) -> Context {
        self.captured.context()
    }

    /// Sets until when somebody waits for the answer, in the context that the work for this request runs under from now
    /// on: it can only move closer, but `None` takes it away.
    ///
    /// ```
    /// use cortex_core::{Clock, Deadline, SystemClock};
    /// use cortex_trace::{ServerStart, Tracer};
    /// use http::{HeaderMap, Method};
    /// use std::time::Duration;
    ///
    /// let now = SystemClock.now();
    /// let start = ServerStart { method: &Method::GET, path: "/", start: now };
    /// let mut span = Tracer::propagate_only().server(&HeaderMap::new(), start);
    /// let deadline = Deadline::after(now, Duration::from_secs(1));
    /// span.set_deadline(Some(deadline));
    /// assert_eq!(span.context().deadline(), Some(deadline));
    /// ```
    #[inline]
    pub fn set_deadline(&mut self, deadline: Option<Deadline>) {
        let context = self.captured.context();
        self.captured.set_context(match deadline {
            Some(deadline) => context.with_deadline(deadline),
            None => context.without_deadline(),
        });
    }

    /// Says whether this request is recorded: whether setters have an effect.
    pub const fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Returns the `tracestate` to send on to callees, if there is one.
    pub fn tracestate(&self) -> Option<&TraceState> {
        self.captured.tracestate()
    }

    /// Returns the baggage that came with the request.
    pub fn baggage(&self) -> &Baggage {
        self.captured.baggage()
    }

    /// Returns all that the work for this request runs under: the context, and the `tracestate` and the baggage beside
    /// it, so that calls to others send them on.
    #[inline]
    pub const fn captured(&self) -> &Captured {
        &self.captured
    }

    /// Sets the template of the route that matched: `/items/{id}`, never the path.
    pub fn set_route(&mut self, route: &str) {
        if let Some(recording) = &mut self.recording {
            recording.route = Some(route.to_owned());
        }
    }

    /// Sets an attribute, in place of one with the same key. At most 128 are kept, texts up to 4096 bytes.
    ///
    /// `url.scheme` is `http` unless it is set, as a server behind a proxy that speaks TLS does not know better.
    pub fn set_attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.recording.set_attribute(key, value);
        }
    }

    /// Ends the span. What is done with it later has no effect.
    #[inline] // what is not recorded costs a comparison
    pub fn finish(&mut self, end: ServerEnd) {
        if let Some(recording) = self.recording.take() {
            recording.finish(end.status, end.error, Some(end.end));
        }
    }

    /// Ends the span now, with the status if one was sent. Only a recorded request reads the clock.
    #[cfg(feature = "tower")]
    pub(crate) fn finish_now(mut self, status: Option<u16>, error: Option<&'static str>) {
        if let Some(recording) = self.recording.take() {
            recording.finish(status, error, None);
        }
    }

    /// Records what a request says beyond its headers: the version of HTTP, and the server and the scheme that its
    /// address names, as those of HTTP/2 do, which has no `Host`.
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{ServerStart, Tracer};
    ///
    /// let (request, _) = http::Request::get("https://shop.example/items").body(())?.into_parts();
    /// let start = ServerStart { method: &request.method, path: request.uri.path(), start: SystemClock.now() };
    /// let mut span = Tracer::propagate_only().server(&request.headers, start);
    /// span.record_request_line(&request.uri, request.version);
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn record_request_line(&mut self, uri: &Uri, version: Version) {
        if let Some(recording) = &mut self.recording {
            semantics::record_request_line(&mut recording.recording, uri, version);
        }
    }

    /// Records who is at the other end of the connection, which may be a proxy: `network.peer.address` and
    /// `network.peer.port`. Who knows the client sets `client.address`.
    ///
    /// An IPv4 address that a socket of IPv6 knows by another name is written as such.
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{InMemory, ServerEnd, ServerStart, Tracer};
    /// use http::{HeaderMap, Method};
    /// use std::time::Duration;
    ///
    /// let spans = InMemory::new();
    /// let tracer = Tracer::builder("shop").export(spans.clone()).build()?;
    /// let start = ServerStart { method: &Method::GET, path: "/", start: SystemClock.now() };
    /// let mut span = tracer.server(&HeaderMap::new(), start);
    /// span.record_peer("[::ffff:192.0.2.7]:50000".parse()?);
    /// span.finish(ServerEnd { status: Some(200), end: SystemClock.now(), error: None });
    /// tracer.flush_blocking(Duration::from_secs(60))?;
    /// let address = spans.spans()[0].attribute("network.peer.address").map(ToString::to_string);
    /// assert_eq!(address.as_deref(), Some("192.0.2.7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline] // what is not recorded costs a comparison
    pub fn record_peer(&mut self, peer: SocketAddr) {
        if let Some(recording) = &mut self.recording {
            semantics::record_peer(&mut recording.recording, peer);
        }
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.finish(None, Some("cancelled"), None);
        }
    }
}

impl fmt::Debug for ServerSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSpan")
            .field("context", &self.context())
            .field("is_recording", &self.is_recording())
            .finish_non_exhaustive()
    }
}

impl ServerRecording {
    fn finish(self, status: Option<u16>, error: Option<&'static str>, end: Option<Instant>) {
        let mut recording = self.completed();
        if let Some(status) = status {
            recording.set_attribute("http.response.status_code", status);
        }
        match (error, status) {
            (Some(error), _) => recording.set_error(Cow::Borrowed(error)),
            (None, Some(status @ 500..)) => recording.set_error(Cow::Owned(status.to_string())),
            _ => {}
        }
        match end {
            Some(end) => recording.end(end),
            None => recording.end_now(),
        }
    }

    fn completed(self) -> Recording {
        let Self {
            mut recording,
            method,
            route,
        } = self;
        recording.set_default("url.scheme", Cow::Borrowed("http"));
        if let Some(route) = route {
            recording.set_name(format!("{method} {route}"));
            recording.set_attribute("http.route", route);
        }
        recording
    }
}
