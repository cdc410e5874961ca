use std::fmt;
use std::io::{self, IsTerminal};

use cortex_core::Clock;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::filter::{self, Filter, InstallError};
use super::lines::Lines;
use super::text_format::TextFormat;
use super::{Background, DuplicateLimit, LogHandle};

/// Writes every event of the `tracing` crate as a line for people.
///
/// A line has the time, the level, the target, the message, the event's fields, the path of the `tracing` spans around it
/// with their fields, and the first eight digits of the trace id of [`Context::current`](cortex_core::Context::current).
/// A value is in quotes if it could be taken for something else without. Whatever would make a terminal act or hide
/// what it shows is escaped, line breaks too: an event is one line. A value of more than 64 KiB is cut there, and ends with
/// `…`.
///
/// Secrets are hidden and the writer is used as by [`JsonLogs`](super::JsonLogs), for machines.
///
/// # Examples
///
/// ```
/// use cortex_trace::TextLogs;
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
/// let output = Output::default(); // any writer; `TextLogs::stdout()` in a program
/// let logs = TextLogs::new({
///     let output = output.clone();
///     move || output.clone()
/// });
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
///     let _span = tracing::info_span!("checkout", cart = 7).entered();
///     tracing::warn!(target: "shop", items = 3, by = "a\nb", password = "hunter2", "restocked");
/// });
///
/// let line = String::from_utf8(output.0.lock().map_err(|_| "poisoned")?.clone())?;
/// let (_, line) = line.split_once("Z ").ok_or("no time")?;
/// assert_eq!(
///     line,
///     " WARN shop: restocked items=3 by=\"a\\nb\" password=[redacted] in checkout{cart=7}\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TextLogs<W = fn() -> io::Stdout> {
    lines: Lines<TextFormat, W>,
}

impl TextLogs {
    /// Makes a layer that writes to standard output, in colour if that is a terminal and `NO_COLOR` is not set.
    pub fn stdout() -> Self {
        let colour = wants_colour(&io::stdout());
        Self::new(io::stdout as fn() -> io::Stdout).colour(colour)
    }
}

impl TextLogs<fn() -> io::Stderr> {
    /// Makes a layer that writes to standard error, in colour if that is a terminal and `NO_COLOR` is not set.
    pub fn stderr() -> Self {
        let colour = wants_colour(&io::stderr());
        Self::new(io::stderr as fn() -> io::Stderr).colour(colour)
    }
}

fn wants_colour(output: &impl IsTerminal) -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    output.is_terminal() && !no_colour
}

impl<W> TextLogs<W> {
    /// Makes a layer that writes to whatever `writer` makes for each line, without colour.
    pub fn new(writer: W) -> Self
    where
        W: for<'w> MakeWriter<'w> + 'static,
    {
        Self {
            lines: Lines::new(TextFormat { colour: false }, writer),
        }
    }

    /// Says whether to use colour.
    #[must_use]
    pub fn colour(mut self, colour: bool) -> Self {
        self.lines.set_format(TextFormat { colour });
        self
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
    /// let logs = cortex_trace::TextLogs::stdout().redact(["card_number", "iban"]);
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
    pub fn background(self, lines: usize) -> io::Result<TextLogs<Background>>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let lines = self.lines.into_background(lines)?;
        Ok(TextLogs { lines })
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
    /// layers, give them and a [`Filter`] to a registry instead.
    ///
    /// # Errors
    ///
    /// The filter is not valid, or the process has a subscriber already.
    ///
    /// # Examples
    ///
    /// ```
    /// let filter = cortex_trace::TextLogs::stdout().install("info,hyper=warn")?;
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

impl<W: fmt::Debug> fmt::Debug for TextLogs<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextLogs")
            .field("writer", self.lines.writer())
            .finish_non_exhaustive()
    }
}

impl<S, W> Layer<S> for TextLogs<W>
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
