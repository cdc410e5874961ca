use std::fmt;
use std::io;

use cortex_core::Clock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::filter::{self, Filter, InstallError};
use super::json_format::JsonFormat;
use super::lines::Lines;
use super::{Background, DuplicateLimit, LogHandle};

/// Writes every event of the `tracing` crate as a line of JSON that carries the ids of the current trace.
///
/// The ids are those of [`Context::current`](cortex_core::Context::current), so a line has them wherever the work runs,
/// and also if the trace is not sampled. Those of an event that names its span are of that, as far as a `TraceLayer` of
/// the same subscriber knows it. A line has `timestamp`, `level`, `target`, `message`, the event's fields, `trace_id`,
/// `span_id`, `trace_flags`, and `span` with the name and the fields of the `tracing` span around it. A field whose key the line
/// has already moves into `fields`. Not a number and the infinities are `null`. A value of more than 64 KiB is cut there, and
/// ends with `…`.
///
/// Records of the `log` crate that come through `tracing-log` have their own target.
///
/// # Secrets
///
/// `"[redacted]"` stands in place of the value of a field, of an event or a span, whose name says that it is secret:
/// `password`, `passwd`, `pwd`, `passphrase`, `secret`, `client_secret`, `credentials`, `private_key`, `token`,
/// `access_token`, `refresh_token`, `id_token`, `api_key`, `apikey`, `x_api_key`, `authorization`,
/// `proxy_authorization`, `cookie`, `set_cookie`, and what [`redact`](Self::redact) adds. Of a field that is a path, such
/// as `http.request.header.set-cookie`, the last segment counts, or as many as the name has; case does not, nor does `-`
/// for `_`. The value is not even formatted. What stands in a message, or inside of a value that is a structure, is not looked at.
///
/// # Performance
///
/// What the lines of a callsite have in common is worked out once, and so are the fields of a span: a line copies them.
/// It is built in a buffer of the thread and written with one call, which blocks as long as the writer does;
/// [`background`](Self::background) puts a queue in between.
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
    lines: Lines<JsonFormat, W>,
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
            lines: Lines::new(JsonFormat, writer),
        }
    }

    /// Sets the clock; [`SystemClock`](cortex_core::SystemClock) without it.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.lines.set_clock(clock);
        self
    }

    /// Hides the values of more fields than those whose names are obviously secret.
    ///
    /// # Examples
    ///
    /// ```
    /// let logs = cortex_trace::JsonLogs::stdout().redact(["card_number", "iban"]);
    /// # drop(logs);
    /// ```
    #[must_use]
    pub fn redact<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.lines.redact(|redact| redact.add(names));
        self
    }

    /// Hides the values of exactly these fields; of none if there are none.
    #[must_use]
    pub fn redact_only<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.lines.redact(|redact| redact.only(names));
        self
    }

    /// Suppresses lines that repeat too often, and tells how many.
    #[must_use]
    pub fn limit_duplicates(mut self, limit: DuplicateLimit) -> Self {
        self.lines.set_limit(limit);
        self
    }

    /// Puts a queue of so many lines, and a thread, between the lines and the writer, which then holds up nobody.
    ///
    /// Lines that do not fit are dropped; a line tells how many, once there is room again. Take a
    /// [`handle`](Self::handle) to flush the queue before the process ends. See [`Background`].
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn background(self, lines: usize) -> io::Result<JsonLogs<Background>>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = self.lines.into_background(lines)?;
        Ok(JsonLogs { lines })
    }

    /// Returns a handle that flushes this layer as it is set up by now, and tells what did not get through.
    pub fn handle(&self) -> LogHandle
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        self.lines.handle()
    }

    /// Makes this the subscriber of the whole process, behind a filter that can be changed while it runs.
    ///
    /// The filter has the syntax of `tracing-subscriber`'s `EnvFilter`: `info,hyper=warn`. To combine it with other
    /// layers, give them and a [`Filter`] to a registry instead. Records of the `log` crate, which some libraries make,
    /// come along once `tracing_log::LogTracer::init()` was called.
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
            .field("writer", self.lines.writer())
            .finish_non_exhaustive()
    }
}

impl<S, W> Layer<S> for JsonLogs<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.lines.register_dispatch(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: layer::Context<'_, S>) {
        self.lines.new_span(attributes, id, &registry);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, registry: layer::Context<'_, S>) {
        self.lines.record(id, values, &registry);
    }

    fn on_event(&self, event: &Event<'_>, registry: layer::Context<'_, S>) {
        self.lines.event(event, &registry);
    }
}
