use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use cortex_core::{Clock, Context, SystemClock};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::fields::{EventFields, Fields, SpanFields, Visitor};
use super::filter::{self, Filter, InstallError};
use super::timestamp::rfc3339;
use crate::json;

/// Writes every event of the `tracing` crate as a line of JSON that carries the ids of the current trace.
///
/// The ids are those of [`Context::current`], so a line has them wherever the work runs, and also if the trace is not
/// sampled. A line has `timestamp`, `level`, `target`, `message`, the event's fields, `trace_id`, `span_id`,
/// `trace_flags`, and `span` with the name and the fields of the `tracing` span around it. A field whose key the line
/// has already moves into `fields`. Not a number and the infinities are `null`.
///
/// # Performance
///
/// The fields of a span are turned into JSON once, and copied into its lines. A line is built in a buffer of the
/// thread and written with one call; that call blocks as long as the writer does.
///
/// # Examples
///
/// [`install`](Self::install) it for the whole process, or combine it with other layers:
///
/// ```
/// use cortex_core::{Context, Flags, SpanId, TraceId};
/// use cortex_trace::JsonLogs;
/// use tracing_subscriber::layer::SubscriberExt;
/// # use std::sync::{Arc, Mutex};
/// # #[derive(Clone, Default)]
/// # struct Output(Arc<Mutex<Vec<u8>>>);
/// # impl std::io::Write for Output {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
/// #         self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.write(bytes)
/// #     }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
///
/// let output = Output::default(); // any writer; `JsonLogs::stdout()` in a service
/// let logs = JsonLogs::new({
///     let output = output.clone();
///     move || output.clone()
/// });
/// let ids = TraceId::new(0x4bf9).zip(SpanId::new(0x00f0)).ok_or("zero")?;
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
///     let _guard = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED).attach();
///     tracing::info!(items = 3, "restocked");
/// });
///
/// let line = String::from_utf8(output.0.lock().map_err(|_| "poisoned")?.clone())?;
/// assert!(line.contains(r#""message":"restocked","items":3,"trace_id":"00000000000000000000000000004bf9""#), "{line}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JsonLogs<W = fn() -> io::Stdout> {
    writer: W,
    clock: Arc<dyn Clock>,
}

impl JsonLogs {
    /// Makes a layer that writes to standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout)
    }
}

impl<W> JsonLogs<W> {
    /// Makes a layer that writes to whatever `writer` makes for each line.
    pub fn new(writer: W) -> Self
    where
        W: for<'w> MakeWriter<'w> + 'static,
    {
        Self {
            writer,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets the clock; [`SystemClock`] without it.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes this the subscriber of the whole process, behind a filter that can be changed while it runs.
    ///
    /// The filter has the syntax of `tracing-subscriber`'s `EnvFilter`: `info,hyper=warn`.
    ///
    /// # Errors
    ///
    /// The filter is not valid, or the process has a subscriber already.
    ///
    /// # Examples
    ///
    /// ```
    /// let filter = cortex_trace::JsonLogs::stdout().install("info,hyper=warn")?;
    /// assert!(filter.set("info,hyper=chatty").is_err()); // and the old one stays
    /// filter.set("debug")?;
    /// assert_eq!(filter.to_string(), "debug");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn install(self, filter: &str) -> Result<Filter, InstallError>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        filter::install(self, filter)
    }
}

impl<W: fmt::Debug> fmt::Debug for JsonLogs<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLogs")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

impl<S, W> Layer<S> for JsonLogs<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: layer::Context<'_, S>) {
        // Visited before the span is locked: a value's `Debug` is foreign code and may log itself.
        let mut visitor = Visitor(SpanFields::default());
        attributes.record(&mut visitor);
        if let Some(span) = registry.span(id) {
            span.extensions_mut().replace(visitor.0);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, registry: layer::Context<'_, S>) {
        let mut visitor = Visitor(SpanFields::default());
        values.record(&mut visitor);
        let Some(span) = registry.span(id) else { return };
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<SpanFields>() {
            Some(fields) => fields.update(&visitor.0),
            None => extensions.insert(visitor.0),
        }
    }

    fn on_event(&self, event: &Event<'_>, registry: layer::Context<'_, S>) {
        // Taken out for as long as the line is built: a value that logs while it is formatted gets another buffer.
        let mut line = LINE.take();
        line.clear();
        self.head(&mut line, event);
        let names = event.metadata().fields();
        let mut visitor = Visitor(EventFields {
            line: &mut line,
            names,
            collided: Fields::default(),
        });
        event.record(&mut visitor);
        let collided = visitor.0.collided;
        if !collided.is_empty() {
            object(&mut line, ",\"fields\":{", &collided);
        }
        ids(&mut line, Context::current());
        if let Some(span) = registry.event_span(event) {
            line.push_str(",\"span\":{\"name\":");
            json::string(&mut line, span.name());
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                if !fields.plain.is_empty() {
                    line.push(',');
                    line.push_str(fields.plain.as_json());
                }
                if !fields.collided.is_empty() {
                    object(&mut line, ",\"fields\":{", &fields.collided);
                }
            }
            line.push('}');
        }
        line.push_str("}\n");
        // A log that cannot be written has nowhere to complain.
        let _ = self
            .writer
            .make_writer_for(event.metadata())
            .write_all(line.as_bytes());
        if line.capacity() <= KEPT {
            LINE.set(line);
        }
    }
}

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// The largest buffer that a thread keeps.
const KEPT: usize = 16 << 10;

impl<W> JsonLogs<W> {
    fn head(&self, line: &mut String, event: &Event<'_>) {
        line.push_str("{\"timestamp\":\"");
        rfc3339(line, self.clock.wall());
        line.push_str("\",\"level\":\"");
        line.push_str(match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG => "DEBUG",
            Level::TRACE => "TRACE",
        });
        line.push_str("\",\"target\":");
        json::string(line, event.metadata().target());
    }
}

fn ids(line: &mut String, context: Context) {
    let (Some(trace), Some(span)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    let mut hex = |key: &str, digits: &[u8]| {
        line.push_str(key);
        line.push_str(str::from_utf8(digits).expect("invariant: hex digits are ASCII"));
    };
    hex(",\"trace_id\":\"", &trace.to_hex());
    hex("\",\"span_id\":\"", &span.to_hex());
    let flags = context.flags().to_wire(); // two bits: one digit
    hex("\",\"trace_flags\":\"0", &[b'0' + flags]);
    line.push('"');
}

fn object(line: &mut String, open: &str, fields: &Fields) {
    line.push_str(open);
    line.push_str(fields.as_json());
    line.push('}');
}
