use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cortex_core::{Context, Flags};
use tracing::dispatcher::WeakDispatch;
use tracing::level_filters::LevelFilter;
use tracing::span::{self, Attributes, Id};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::registry::{LookupSpan, SpanData};
use tracing_subscriber::{Layer, Registry, layer};

use super::fields::{Early, EventFields, SpanFields};
use super::spans::{Identity, Open, Spans, Unheld};
use super::{SetParentError, current, remote};
use crate::carrier::{self, Carrier};
use crate::export::is_suppressed;
use crate::propagation::{Baggage, Caller, Remote, TraceState};
use crate::redact::{Hide, Redact};
use crate::span::{Logged, Record};
use crate::tracer::{Sort, Started};
use crate::{Captured, Link, SpanKind, Tracer, Value};

/// Turns the spans of the `tracing` crate into spans of a [`Tracer`].
///
/// Code that uses `#[tracing::instrument]` and `tracing`'s macros works as it is. While a span is entered, its
/// [`Context`] is current, for logs, exemplars and calls; a span that starts inside of a
/// [`ServerSpan`](crate::ServerSpan) is its child.
///
/// Some fields have a meaning, which is that of the crate `tracing-opentelemetry`:
///
/// | field | of a span |
/// |---|---|
/// | `otel.name` | its name, in place of the one in the code |
/// | `otel.kind` | `server`, `client`, `internal`, `producer` or `consumer` |
/// | `otel.status_code` | `ok` or `error` |
/// | `otel.status_description`, `otel.status_message` | marks it as failed, and says why |
///
/// All other fields become attributes. An event becomes an event of its span, named by its message, with `level` and
/// `target`; one of level `ERROR` marks the span as failed. An event with a field `error` and no message, such as
/// `#[instrument(err)]` makes, is named `exception` and has `exception.message`. A value that is a
/// [`std::error::Error`] adds `exception.message` and, if it has causes, `exception.stacktrace`.
///
/// `follows_from` becomes a link. A span ends when it was exited for the last time, or closed if it never was entered.
///
/// # Whose event it is
///
/// An event belongs to the span that it names as its parent, or else to the one whose context is current, whose ids
/// its line in the log has, too. That may be one that [`Tracer::server`] or [`Tracer::span`] has made: what happens in
/// a handler without a span of its own is part of the span of the request, which shows it when it has ended. About
/// 8192 of those that are under way get events; those of more are left out.
///
/// A context that was carried elsewhere, by [`Traced`](crate::Traced) or by hand, is current there. If it is that of a
/// span of `tracing`, events there are part of that only if the span is entered there as well, as
/// [`tracing::Instrument`] does; they never become part of whichever other span is entered there.
///
/// # Secrets
///
/// `[redacted]` stands in place of the value of a field, of a span or an event, whose name says that it is secret:
/// `password`, `passwd`, `pwd`, `passphrase`, `secret`, `client_secret`, `credentials`, `private_key`, `token`,
/// `access_token`, `refresh_token`, `id_token`, `api_key`, `apikey`, `x_api_key`, `authorization`,
/// `proxy_authorization`, `cookie`, `set_cookie`, and what [`redact`](Self::redact) adds. Of a field that is a path the
/// last segment counts, or as many as the name has; case does not, nor does `-` for `_`. The value is not even
/// formatted. Not hidden are the fields of the table, messages, and what
/// [`SpanExt::set_attribute`](crate::SpanExt::set_attribute) sets.
///
/// # Filters
///
/// What a filter of this layer hides is passed over: an event or a child that names such a span as its parent belongs
/// to the nearest span around it. That needs the subscriber, which `tracing-subscriber` 0.3 does not tell to a layer
/// inside of an `Option` or a `Vec`: use `and_then` or `Box<dyn Layer<_>>` there.
///
/// # Bounds
///
/// About a million spans can be open at the same time: there is room for 1,348,096 in 130 MB, or for some fewer if
/// their ids fall badly. The memory is taken in steps of 400 kB as it is needed, and kept for the next spans. A span
/// that finds no room is not traced, what is in it belongs to the span around it, and
/// [`Stats::untracked`](crate::Stats::untracked) counts it: that many are open only if something leaks them.
///
/// # Performance
///
/// The sampler decides before anything is stored. A span that is not recorded gets an id and a place in a table: no
/// allocation, no clock, and its fields are not visited, unless they are `otel.name`, `otel.kind` or `http.route`,
/// which the sampler is told, of the first span of a trace in this process.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
/// use std::sync::mpsc;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// struct Names(mpsc::Sender<String>);
///
/// impl Exporter for Names {
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         batch.iter().try_for_each(|span| self.0.send(span.name.to_string()).map_err(ExportError::new))
///     }
/// }
///
/// #[tracing::instrument]
/// fn restock(items: u32) {
///     tracing::info!("on it");
/// }
///
/// let (sender, names) = mpsc::channel();
/// let tracer = Tracer::builder("shop").export(Names(sender)).build()?;
/// let subscriber = tracing_subscriber::registry().with(tracer.layer());
/// tracing::subscriber::with_default(subscriber, || restock(12));
/// tracer.flush_blocking(std::time::Duration::from_secs(60))?;
/// assert_eq!(names.try_recv()?, "restock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a layer does nothing until it is added to a subscriber"]
pub struct TraceLayer {
    tracer: Tracer,
    /// Boxed: its address names the layer, and does not move with it.
    spans: Box<Spans>,
    events: LevelFilter,
    location: bool,
    redact: Redact,
    subscriber: OnceLock<WeakDispatch>,
}

impl Tracer {
    /// Makes a layer that turns the spans of the `tracing` crate into spans of this tracer.
    ///
    /// ```
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// let tracer = cortex_trace::Tracer::propagate_only();
    /// let subscriber = tracing_subscriber::registry().with(tracer.layer());
    /// # drop(subscriber);
    /// ```
    pub fn layer(&self) -> TraceLayer {
        TraceLayer::new(self.clone())
    }
}

impl TraceLayer {
    /// Makes a layer for a tracer.
    pub fn new(tracer: Tracer) -> Self {
        tracer.open_inboxes();
        Self {
            tracer,
            spans: Box::default(),
            events: LevelFilter::INFO,
            location: false,
            redact: Redact::default(),
            subscriber: OnceLock::new(),
        }
    }

    /// Sets how important an event must be to become part of its span; `INFO` without it.
    pub fn events(mut self, level: impl Into<LevelFilter>) -> Self {
        self.events = level.into();
        self
    }

    /// Adds where in the code a span was made, as `code.file.path`, `code.line.number` and `code.module.name`; not
    /// done without it.
    pub const fn location(mut self, add: bool) -> Self {
        self.location = add;
        self
    }

    /// Hides the values of more fields than those whose names are obviously secret.
    ///
    /// ```
    /// let tracer = cortex_trace::Tracer::propagate_only();
    /// let layer = tracer.layer().redact(["card_number", "iban"]);
    /// # drop(layer);
    /// ```
    pub fn redact<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.redact.add(names);
        self
    }

    /// Hides the values of exactly these fields; of none if there are none.
    pub fn redact_only<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.redact.only(names);
        self
    }

    pub(super) fn context_of(&self, id: u64) -> Option<Context> {
        self.spans.context(id)
    }

    /// Returns the context of a span, or if a filter hides that, of the nearest one around it.
    #[cfg(feature = "logs")]
    pub(crate) fn context_near(&self, id: &Id) -> Option<Context> {
        self.nearest(id)?.context()
    }

    pub(super) fn is_recording(&self, id: u64) -> bool {
        self.spans.find(id).is_some_and(Open::is_recording)
    }

    pub(super) fn record(&self, id: u64, work: impl FnOnce(&mut Record)) {
        if let Some(open) = self.spans.find(id) {
            open.record(work);
        }
    }

    pub(super) fn set_remote_parent(
        &self,
        id: u64,
        name: &'static str,
        parent: Remote,
    ) -> Result<(), SetParentError> {
        let open = self.spans.find(id).ok_or(SetParentError::NotTraced)?;
        let recorded = open.record(|record| {
            let known = Early {
                name: None,
                kind: Some(record.kind()),
                route: record.route(),
            };
            (record.name().clone(), known, Some(record.ids()))
        });
        let unrecorded = || {
            let mut early = open.early();
            let name = early.name.take().map_or(Cow::Borrowed(name), Cow::Owned);
            (name, early, None)
        };
        let (name, early, old) = recorded.unwrap_or_else(unrecorded);
        let kind = early.kind.unwrap_or_default();
        // A span that is recorded since the last time has no attribute of it.
        let route = early.route.or_else(|| open.early().route);
        let sort = Sort {
            route: route.as_deref(),
            ..Sort::of(&name, kind)
        };
        // Not that of whoever calls this: work in the span has had its deadline since it was made.
        let base = open
            .deadline()
            .map_or(Context::new(), |deadline| Context::new().with_deadline(deadline));
        let mut started = self.tracer.start_root(base, &Caller::Remote(parent), sort);
        let fresh = started.begin(&self.tracer, name, kind, None);
        let new = fresh.as_deref().map(Record::ids);
        let changed = open.change(identity(&started, kind, None), |recording| {
            match (recording.as_mut(), fresh) {
                (Some(recording), Some(fresh)) => recording.become_part_of(*fresh),
                (_, fresh) => *recording = fresh,
            }
        });
        // One of the two identities does not end.
        if let Some(ids) = if changed.is_ok() { old } else { new } {
            self.tracer.cancel(ids);
        }
        changed.map_err(|_| SetParentError::AlreadyStarted)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(&*self.spans).addr()
    }

    /// Returns what a new span is part of that does not leave that to the context, and the span that it names.
    fn parent(&self, attributes: &Attributes<'_>) -> (Context, Option<Open<'_>>) {
        let Some(parent) = attributes.parent() else {
            return (Context::new(), None);
        };
        let named = self.nearest(parent);
        match named.and_then(Open::context) {
            Some(context) => (context, named),
            None => (Context::current(), None),
        }
    }

    /// Returns a span, or if a filter hides that from this layer, the nearest one around it.
    fn nearest(&self, id: &Id) -> Option<Open<'_>> {
        let known = self.spans.find(id.into_u64());
        known.or_else(|| self.nearest_around(id))
    }

    /// Walks up from a span that this layer does not know. Not by the context of the layer, whose filter would end it.
    #[cold]
    fn nearest_around(&self, id: &Id) -> Option<Open<'_>> {
        let dispatch = self.subscriber.get()?.upgrade()?;
        let registry = dispatch.downcast_ref::<Registry>()?;
        let mut next = registry.span_data(id)?.parent().cloned();
        while let Some(id) = next {
            let known = self.spans.find(id.into_u64());
            if known.is_some() {
                return known;
            }
            next = registry.span_data(&id)?.parent().cloned();
        }
        None
    }

    fn add_fields(&self, recording: &mut Record, attributes: &Attributes<'_>) {
        let metadata = attributes.metadata();
        let extra = if self.location { 3 } else { 0 };
        let mut fields = SpanFields::in_list(recording.spare_list(), attributes.fields().len() + extra);
        if self.location {
            add_location(&mut fields, metadata);
        }
        attributes.record(&mut Hide::of_span(&self.redact, &mut fields));
        recording.apply(fields);
    }
}

/// Returns what is stored of a span; its `tracestate` with that of its parent or of this thread, if it is the same.
#[inline]
fn identity(started: &Started, kind: SpanKind, parent: Option<Arc<Carrier>>) -> Identity<'_> {
    let Started {
        context, tracestate, ..
    } = started;
    let carrier = if tracestate.is_empty() {
        None
    } else {
        let trace_id = context.trace_id();
        parent
            .filter(|parent| parent.tracestate(trace_id) == Some(tracestate))
            .or_else(|| Carrier::of(trace_id, tracestate, &Baggage::EMPTY))
    };
    Identity {
        context,
        kind,
        carrier,
        early: None,
    }
}

/// A record that is being made, which foreign code may keep from becoming one.
struct Unfinished<'a> {
    tracer: &'a Tracer,
    record: Option<Box<Record>>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.tracer.cancel(record.ids());
        }
    }
}

fn add_location(fields: &mut SpanFields, metadata: &'static Metadata<'static>) {
    if let Some(file) = metadata.file() {
        fields.attributes.set("code.file.path", Value::constant(file));
    }
    if let Some(module) = metadata.module_path() {
        fields.attributes.set("code.module.name", Value::constant(module));
    }
    if let Some(line) = metadata.line() {
        fields.attributes.set("code.line.number", line);
    }
}

// Foreign code, which is a value's `Debug`, the sampler and the clock, never runs under a lock here, and none is held
// of the registry's.
impl<S> Layer<S> for TraceLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        // A second one, if the layer was moved into another subscriber, cannot be meant.
        let _ = self.subscriber.set(subscriber.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: layer::Context<'_, S>) {
        if is_suppressed() {
            return; // what exporters do is not exported
        }
        if attributes.is_contextual() {
            self.open_in(id, attributes, Context::current(), remote::take(), None);
        } else {
            let (parent, named) = self.parent(attributes);
            self.open_in(id, attributes, parent, None, named);
        }
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, _: layer::Context<'_, S>) {
        let Some(open) = self.spans.find(id.into_u64()).filter(|open| open.is_recording()) else {
            return;
        };
        let mut fields = SpanFields::in_list(Vec::new(), values.len());
        values.record(&mut Hide::of_span(&self.redact, &mut fields));
        open.record(|recording| recording.apply(fields));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: layer::Context<'_, S>) {
        let Some(open) = self.spans.find(id.into_u64()).filter(|open| open.is_recording()) else {
            return;
        };
        if let Some(link) = self.spans.context(follows.into_u64()).and_then(Link::to) {
            open.record(|recording| recording.add_link(link));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > self.events {
            return;
        }
        if event.is_contextual() {
            self.add_to_current(event);
        } else if let Some(parent) = event.parent()
            && let Some(open) = self.nearest(parent)
        {
            self.add_event(open, event);
        }
    }

    fn on_enter(&self, id: &Id, _: layer::Context<'_, S>) {
        let id = id.into_u64();
        let Some((open, context)) = self.spans.find(id).and_then(|open| Some((open, open.context()?))) else {
            return;
        };
        match open.carrier() {
            None => current::enter(self.address(), id, context),
            Some(carrier) => {
                current::enter_captured(self.address(), id, Captured::entered(context, &carrier));
            }
        }
    }

    fn on_exit(&self, id: &Id, _: layer::Context<'_, S>) {
        let id = id.into_u64();
        if current::exit(self.address(), id)
            && let Some(open) = self.spans.find(id).filter(|open| open.is_recording())
        {
            let now = self.tracer.clock().now();
            open.record(|record| record.leave(now));
        }
    }

    fn on_close(&self, id: Id, _: layer::Context<'_, S>) {
        if let Some(mut record) = self.spans.remove(id.into_u64()) {
            if !record.was_left() {
                record.end(self.tracer.clock().now());
            }
            self.tracer.submit(record);
        }
    }
}

impl TraceLayer {
    #[inline]
    fn open_in(
        &self,
        id: &Id,
        attributes: &Attributes<'_>,
        parent: Context,
        from_remote: Option<Remote>,
        named: Option<Open<'_>>,
    ) {
        if from_remote.is_some() || parent.trace_id().is_none() {
            self.open_root(id, attributes, parent, from_remote, named);
        } else {
            self.open_below(id, attributes, parent, named);
        }
    }

    /// Starts a span that is the first of its trace in this process.
    fn open_root(
        &self,
        id: &Id,
        attributes: &Attributes<'_>,
        base: Context,
        from_remote: Option<Remote>,
        named: Option<Open<'_>>,
    ) {
        let mut early = Early::default();
        if Early::has_fields(attributes.metadata()) {
            attributes.record(&mut Hide::of_span(&self.redact, &mut early));
        }
        let kind = early.kind.unwrap_or_default();
        let own = early.name.take().map(Cow::Owned);
        let is_early = own.is_some() || early.route.is_some();
        let name = own.unwrap_or(Cow::Borrowed(attributes.metadata().name()));
        let sort = Sort {
            route: early.route.as_deref(),
            ..Sort::of(&name, kind)
        };
        let started = self.tracer.start_root(base, &from_remote.into(), sort);
        // The tail may refuse to record what the sampler wants.
        let early = (is_early && (!started.is_recording() || self.tracer.has_tail())).then(|| {
            early.name = Some(name.clone().into_owned());
            Box::new(early)
        });
        let from_named = named.and_then(Open::carrier);
        self.open(id, attributes, started, (name, kind, early), from_named);
    }

    /// Starts a span within one of this process.
    #[inline] // what is large stays where it is
    fn open_below(&self, id: &Id, attributes: &Attributes<'_>, parent: Context, named: Option<Open<'_>>) {
        let name = attributes.metadata().name();
        let from_named = named.and_then(Open::carrier);
        let tracestate = match (named, &from_named) {
            (None, _) => carrier::tracestate_of(parent),
            (Some(_), None) => TraceState::EMPTY,
            (Some(_), Some(carrier)) => carrier.tracestate(parent.trace_id()).cloned().unwrap_or_default(),
        };
        let kind = SpanKind::Internal; // as the sampler is told; a field may say another one
        let started = self.tracer.start_below(parent, tracestate, Sort::of(name, kind));
        self.open(
            id,
            attributes,
            started,
            (Cow::Borrowed(name), kind, None),
            from_named,
        );
    }

    #[inline]
    fn open(
        &self,
        id: &Id,
        attributes: &Attributes<'_>,
        mut started: Started,
        (name, kind, early): (Cow<'static, str>, SpanKind, Option<Box<Early>>),
        from_named: Option<Arc<Carrier>>,
    ) {
        let recording = if started.is_recording() {
            self.begin(&mut started, name, kind, attributes)
        } else {
            None
        };
        let identity = Identity {
            early: early.filter(|_| recording.is_none()),
            ..identity(&started, kind, from_named)
        };
        if let Err(Unheld(record)) = self.spans.insert(id.into_u64(), identity, recording) {
            self.tracer.count_untracked();
            if let Some(record) = record {
                self.tracer.cancel(record.ids());
            }
        }
    }

    fn begin(
        &self,
        started: &mut Started,
        name: Cow<'static, str>,
        kind: SpanKind,
        attributes: &Attributes<'_>,
    ) -> Option<Box<Record>> {
        let record = started.begin(&self.tracer, name, kind, None)?;
        let mut unfinished = Unfinished {
            tracer: &self.tracer,
            record: Some(record),
        };
        if let Some(record) = &mut unfinished.record {
            self.add_fields(record, attributes);
        }
        unfinished.record.take()
    }

    /// Adds an event to the span whose context is current, which is that of logs and of new spans, too.
    fn add_to_current(&self, event: &Event<'_>) {
        let current = Context::current();
        if !current.flags().contains(Flags::RECORDING) {
            return;
        }
        let is_current = |context: Context| {
            (context.span_id(), context.trace_id()) == (current.span_id(), current.trace_id())
        };
        let innermost = current::innermost(self.address()).and_then(|id| self.spans.find(id));
        match innermost.filter(|open| open.context().is_some_and(is_current)) {
            Some(open) => self.add_event(open, event),
            // Something else was attached inside of what is entered, or nothing is.
            None => self.leave_event(current, event),
        }
    }

    fn add_event(&self, open: Open<'_>, event: &Event<'_>) {
        if open.is_recording() {
            let logged = self.logged(event);
            open.record(|recording| recording.add_logged(logged));
        }
    }

    /// Leaves an event to a span that this layer has not made, if that is under way.
    fn leave_event(&self, current: Context, event: &Event<'_>) {
        if let Some(inboxes) = self.tracer.inboxes()
            && let Some(span) = current.span_id().filter(|span| inboxes.has(*span))
            && !is_suppressed()
        {
            inboxes.leave(span, self.logged(event));
        }
    }

    fn logged(&self, event: &Event<'_>) -> Logged {
        let metadata = event.metadata();
        let mut fields = EventFields::new(metadata);
        event.record(&mut Hide::new(&self.redact, &mut fields));
        Logged {
            name: fields.name(metadata),
            time: self.tracer.clock().now(),
            fields,
            is_error: *metadata.level() == Level::ERROR,
        }
    }
}

impl fmt::Debug for TraceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceLayer")
            .field("tracer", &self.tracer)
            .field("events", &self.events)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}
