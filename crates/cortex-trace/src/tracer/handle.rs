use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "bridge")]
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use cortex_core::{Clock, TscClock};
use http::{HeaderMap, Method, Uri};

use super::TracerBuilder;
use super::wall::Wall;
use crate::export::{Pipeline, Untracked};
use crate::id;
use crate::propagation::Propagators;
use crate::redact::Redact;
use crate::sampler::{Presumed, Sampler, SamplingStats};
#[cfg(feature = "bridge")]
use crate::span::Inboxes;
use crate::span::{Methods, Record, ServerSpan, ServerStart, Span, SpanBuilder, SpanData, spare};
use crate::tail::Store;
use crate::{ExportError, FlushError, Stats, TailStats};

/// Starts spans, decides which are recorded, and hands the finished ones to the exporters.
///
/// A clone is the same tracer. When the last clone and the last recorded span are dropped, the exporters finish in the
/// background what is queued; [`shutdown`](Self::shutdown) waits for that.
///
/// A process that forks builds its tracer after the fork, on the thread that goes on in the child, one in each child.
/// One that was built before is of no use there: the threads of its exporters stayed behind, and the ids are those of
/// the parent and of its other children.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ParentBased, Probability, Tracer};
/// use std::time::Duration;
///
/// let tracer = Tracer::builder("shop")
///     .sampler(ParentBased::root(Probability::new(0.25)?))
///     .build()?;
/// {
///     let mut span = tracer.span("restock").start();
///     span.set_attribute("items", 12);
/// }
/// tracer.shutdown_blocking(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tracer {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// `None` passes contexts through and records nothing.
    pub(super) sampler: Option<Box<dyn Sampler>>,
    pub(super) clock: Box<dyn Clock>,
    pub(super) wall: Wall,
    pub(super) restart: bool,
    pub(super) propagators: Propagators,
    pub(super) methods: Methods,
    /// Which parameters of queries are not recorded.
    pub(super) secrets_of_queries: Redact,
    /// Whether the sampler is asked below local roots, too.
    pub(super) asks_children: bool,
    pub(super) presumed: Presumed,
    pub(super) tail: Option<Store>,
    /// Spans of `tracing` for which a layer had no room.
    pub(super) untracked: Arc<Untracked>,
    /// Set once a layer may have something to say about spans that it has not made.
    #[cfg(feature = "bridge")]
    pub(super) inboxes: OnceLock<Inboxes>,
    pub(super) pipeline: Pipeline,
}

impl Tracer {
    /// Begins a tracer for the service of this name.
    pub fn builder(service: impl Into<String>) -> TracerBuilder {
        TracerBuilder::new(service.into())
    }

    /// Makes a tracer that records nothing and passes the caller's trace on unchanged, so that the services on both
    /// sides of this one see each other. A call that came without a trace gets new ids, for logs and callees.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{ServerStart, Tracer, propagation};
    /// use http::{HeaderMap, Method};
    ///
    /// let mut received = HeaderMap::new();
    /// received.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?);
    ///
    /// let start = ServerStart { method: &Method::GET, path: "/", start: SystemClock.now() };
    /// let span = Tracer::propagate_only().server(&received, start);
    /// let mut sent = HeaderMap::new();
    /// propagation::inject(&span.context(), span.tracestate(), &mut sent);
    /// assert_eq!(sent, received);
    /// # Ok::<(), http::header::InvalidHeaderValue>(())
    /// ```
    pub fn propagate_only() -> Self {
        Self::propagate_only_with(Propagators::default())
    }

    /// Makes a tracer that records nothing and passes the caller's trace on in other formats than those of W3C.
    ///
    /// A decision that a B3 caller left open goes out as not sampled, and a
    /// [debug flag](crate::propagation::Propagator::B3) as sampled.
    ///
    /// ```
    /// use cortex_trace::Tracer;
    /// use cortex_trace::propagation::Propagators;
    ///
    /// let tracer = Tracer::propagate_only_with("b3multi".parse()?);
    /// assert_eq!(tracer.propagators().to_string(), "b3multi");
    /// # Ok::<(), cortex_trace::propagation::InvalidPropagators>(())
    /// ```
    pub fn propagate_only_with(propagators: Propagators) -> Self {
        Self::new(Inner {
            sampler: None,
            clock: Box::new(TscClock),
            wall: Wall::default(),
            restart: false,
            propagators,
            methods: Methods::default(),
            secrets_of_queries: Redact::nothing(), // as nothing is recorded
            asks_children: false,
            presumed: Presumed::default(),
            tail: None,
            untracked: Arc::default(),
            #[cfg(feature = "bridge")]
            inboxes: OnceLock::new(),
            pipeline: Pipeline::default(),
        })
    }

    /// Begins a span that is part of what is [current](cortex_core::Context::current), or starts a trace.
    ///
    /// The name is of low cardinality: `load cart`, not `load cart 7`.
    pub fn span(&self, name: impl Into<Cow<'static, str>>) -> SpanBuilder<'_> {
        SpanBuilder::new(self, name.into())
    }

    /// Starts the span of a request that was received: extracts the caller's trace and asks the sampler.
    ///
    /// # Performance
    ///
    /// If the decision is not to record, it reads no clock and allocates nothing, unless there is a `tracestate` or
    /// baggage to carry. Otherwise it reads the wall clock, unless somebody did within the last 100 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{ServerEnd, ServerStart, Tracer};
    /// use http::{HeaderMap, Method};
    ///
    /// let tracer = Tracer::builder("shop").build()?;
    /// let (headers, clock) = (HeaderMap::new(), SystemClock);
    /// let start = ServerStart { method: &Method::GET, path: "/items/7", start: clock.now() };
    /// let mut span = tracer.server(&headers, start);
    /// {
    ///     let _guard = span.context().attach(); // spans and logs in here belong to the request
    ///     span.set_route("/items/{id}");
    /// }
    /// span.finish(ServerEnd { status: Some(200), end: clock.now(), error: None });
    /// # Ok::<(), cortex_trace::BuildError>(())
    /// ```
    pub fn server(&self, headers: &HeaderMap, start: ServerStart<'_>) -> ServerSpan {
        ServerSpan::start(self, headers, start, None)
    }

    /// Does what [`server`](Self::server) does where the template of the route is known already, as it is behind a
    /// router: samplers see it, and it need not be [set](ServerSpan::set_route) later.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{AlwaysOff, AlwaysOn, Rules, ServerStart, Tracer};
    /// use http::{HeaderMap, Method};
    ///
    /// let rules = Rules::new().route("/health", AlwaysOff).otherwise(AlwaysOn);
    /// let tracer = Tracer::builder("shop").sampler(rules).build()?;
    /// let start = ServerStart { method: &Method::GET, path: "/health", start: SystemClock.now() };
    /// let span = tracer.server_on_route(&HeaderMap::new(), start, "/health");
    /// assert!(!span.is_recording());
    /// # Ok::<(), cortex_trace::BuildError>(())
    /// ```
    pub fn server_on_route(&self, headers: &HeaderMap, start: ServerStart<'_>, route: &str) -> ServerSpan {
        ServerSpan::start(self, headers, start, Some(route))
    }

    /// Starts the span of a request that is about to be sent; [`Span::inject`] puts it into its headers.
    ///
    /// User names, passwords and what is [secret in the query](TracerBuilder::redact_query) are not recorded.
    pub fn client(&self, method: &Method, uri: &Uri) -> Span {
        Span::client(self, method, uri)
    }

    /// Returns the formats in which this tracer reads and sends trace context.
    pub fn propagators(&self) -> Propagators {
        self.inner.propagators
    }

    /// Returns what became of the finished spans, summed over all exporters: a span that goes to two counts twice.
    ///
    /// ```
    /// let tracer = cortex_trace::Tracer::propagate_only();
    /// let stats = tracer.stats();
    /// assert_eq!(
    ///     stats.enqueued,
    ///     stats.exported + stats.rejected + stats.failed + stats.dropped() + stats.in_flight
    /// );
    /// ```
    pub fn stats(&self) -> Stats {
        let mut total = Stats {
            untracked: self.inner.untracked.count(),
            ..Stats::default()
        };
        for (_, stats) in self.stats_by_exporter() {
            total += stats;
        }
        total
    }

    /// Returns the name of every exporter and what became of the spans for it.
    pub fn stats_by_exporter(&self) -> impl Iterator<Item = (&'static str, Stats)> {
        self.inner.pipeline.stats()
    }

    /// Returns the name of every exporter that has failed, and how it did for the last time; also what one
    /// [reported](crate::Reporter::report) that has since got over it, or still tries.
    ///
    /// With the feature `bridge` or `logs`, lost spans are also told through `tracing`: that there are, how many more,
    /// and that it is over, in one line a minute at most, and at the end what is not told yet. The exporter's thread says
    /// so after a batch, and while it hangs, one of its own. Spans that are [untracked](Stats::untracked) are told in
    /// lines of their own, by the thread of whichever exporter has time, though there is no batch. Without these features
    /// only [`stats`](Self::stats) tells.
    pub fn last_errors(&self) -> impl Iterator<Item = (&'static str, ExportError)> {
        self.inner.pipeline.last_errors()
    }

    /// Returns what the sampling has to tell.
    ///
    /// With the features `bridge` and `logs`, a [presumption](SamplingStats::presumed_random) is also told through
    /// `tracing`, once.
    pub fn sampling_stats(&self) -> SamplingStats {
        self.inner.presumed.stats()
    }

    /// Returns what became of the local traces that the tail has seen; `None` if there is no [`Tail`](crate::Tail).
    pub fn tail_stats(&self) -> Option<TailStats> {
        self.inner.tail.as_ref().map(Store::stats)
    }

    /// Waits until every span that has ended by now is exported and every exporter has flushed. A
    /// [`Tail`](crate::Tail) decides about what it holds from what is known by now.
    ///
    /// Needs no runtime, and any will do.
    ///
    /// # Errors
    ///
    /// An exporter was not done after `timeout`, or failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the flush.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let rest = self.drain(false, timeout);
        self.inner.pipeline.flush().settled(rest).await
    }

    /// Does what [`flush`](Self::flush) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// An exporter was not done after `timeout`, or failed.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        let rest = self.drain(false, timeout);
        self.inner.pipeline.flush().wait(rest)
    }

    /// Exports what has ended by now, lets every exporter shut down, and ends their threads. Spans that end later are
    /// dropped and counted. A second call waits for the same end and returns the same result.
    ///
    /// Needs no runtime, and any will do.
    ///
    /// # Errors
    ///
    /// An exporter was not done after `timeout`, or failed to shut down. A late one is told to [abort](crate::Abort),
    /// and ends in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the shutdown: nobody tells an exporter that is late to abort then.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), FlushError> {
        let rest = self.drain(true, timeout);
        self.inner.pipeline.shutdown().settled(rest).await
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// An exporter was not done after `timeout`, or failed to shut down. A late one is told to [abort](crate::Abort),
    /// and ends in the background.
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        let rest = self.drain(true, timeout);
        self.inner.pipeline.shutdown().wait(rest)
    }

    pub(super) fn new(inner: Inner) -> Self {
        id::reseed();
        Self {
            inner: Arc::new(inner),
        }
    }

    pub(super) fn sampler(&self) -> Option<&dyn Sampler> {
        self.inner.sampler.as_deref()
    }

    pub(super) fn asks_children(&self) -> bool {
        self.inner.asks_children
    }

    pub(super) fn presumed(&self) -> &Presumed {
        &self.inner.presumed
    }

    /// Warns once of what the sampler presumes; not for the bridge, see [`Presumed::tell`].
    #[inline]
    pub(crate) fn tell_presumed(&self) {
        self.inner.presumed.tell();
    }

    pub(super) fn tail(&self) -> Option<&Store> {
        self.inner.tail.as_ref()
    }

    pub(super) fn restarts_traces(&self) -> bool {
        self.inner.restart
    }

    /// Returns the methods of HTTP that are recorded by their names.
    pub(crate) fn methods(&self) -> &Methods {
        &self.inner.methods
    }

    /// Has the spans that start from now on fetch what is said about them at their end.
    #[cfg(feature = "bridge")]
    pub(crate) fn open_inboxes(&self) {
        self.inner.inboxes.get_or_init(Inboxes::default);
    }

    pub(crate) fn secrets_of_queries(&self) -> &Redact {
        &self.inner.secrets_of_queries
    }

    #[cfg(feature = "bridge")]
    #[inline]
    pub(crate) fn inboxes(&self) -> Option<&Inboxes> {
        self.inner.inboxes.get()
    }

    #[cfg(feature = "bridge")]
    #[cold]
    pub(crate) fn count_untracked(&self) {
        if self.inner.untracked.add() {
            self.inner.pipeline.nudge();
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// Returns the wall-clock time of an instant.
    #[inline]
    pub(super) fn wall(&self, instant: Instant) -> SystemTime {
        self.inner.wall.at(instant, self.clock())
    }

    pub(crate) fn submit(&self, span: Box<Record>) {
        match &self.inner.tail {
            // Not when the span ended, which somebody may have said who is wrong.
            Some(tail) => tail.end(spare::unpack(span), self.clock().now(), |span| self.export(span)),
            None => self.inner.pipeline.submit_sampled(span),
        }
    }

    /// Does what [`submit`](Self::submit) does for somebody who has just read the clock.
    pub(crate) fn submit_at(&self, span: Box<Record>, now: Instant) {
        match &self.inner.tail {
            Some(tail) => tail.end(spare::unpack(span), now, |span| self.export(span)),
            None => self.inner.pipeline.submit_sampled(span),
        }
    }

    /// Hands a span to the exporters, behind the tail.
    pub(crate) fn export(&self, span: SpanData) {
        self.inner.pipeline.submit_sampled(spare::pack(span));
    }

    /// Lets the tail decide about everything that it holds; returns what that leaves of `timeout`, as rules take time.
    fn drain(&self, close: bool, timeout: Duration) -> Duration {
        let Some(tail) = &self.inner.tail else {
            return timeout;
        };
        if close {
            tail.close();
        }
        let start = self.clock().now();
        tail.drain(start, |span| self.export(span));
        timeout.saturating_sub(self.clock().now().saturating_duration_since(start))
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("records", &self.inner.sampler.is_some())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
