use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use cortex_core::{SpanId, TraceId};

use super::Exporter;
use crate::printable::Printable;
use crate::{ExportError, SpanData};

/// Prints every local trace as a tree once its local root has ended, for people.
///
/// A span that ends after its local root, or long before it, is printed apart from its parent: with the next spans if
/// nothing has ended in its trace for 30 seconds, when more than 4096 are held back, or with a
/// [flush](crate::Tracer::flush), which prints all there is.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Console, Tracer};
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// # #[derive(Clone, Default)]
/// # struct Shared(Arc<Mutex<Vec<u8>>>);
/// # impl std::io::Write for Shared {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
/// #         self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.write(bytes)
/// #     }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// let output = Shared::default(); // any writer; `Console::stderr()` in a service
/// let tracer = Tracer::builder("shop").export(Console::new(output.clone())).build()?;
/// let outer = tracer.span("restock").start();
/// outer.in_scope(|| tracer.span("count").start().end());
/// drop(outer);
/// tracer.shutdown_blocking(Duration::from_secs(60))?;
/// let text = String::from_utf8(output.0.lock().map_err(|_| "poisoned")?.clone())?;
/// assert!(text.starts_with("restock ") && text.contains("\n└─ count "), "{text}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Console {
    writer: Box<dyn Write + Send>,
    colour: bool,
    /// Finished spans whose local root has not ended, or had before them, by trace.
    waiting: HashMap<TraceId, Held>,
    /// Those traces, the one that waits longest first.
    order: VecDeque<TraceId>,
    /// The spans in `waiting`.
    held: usize,
    /// When the span of the last batch that ended last did.
    newest: SystemTime,
}

/// What is held back of a trace.
struct Held {
    spans: Vec<SpanData>,
    /// When the span that ended last did.
    newest: SystemTime,
}

/// The most spans held back; beyond it the oldest trace is printed as far as it is known.
const HELD: usize = 4096;

/// How long a trace is held back in which no span ends; then it is printed as far as it is known.
const AGE: Duration = Duration::from_secs(30);

impl Console {
    /// Makes a console on standard error, in colour if that is a terminal and `NO_COLOR` is not set.
    pub fn stderr() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let stderr = io::stderr();
        let colour = stderr.is_terminal() && !no_colour;
        Self::new(stderr).colour(colour)
    }

    /// Makes a console on any writer, without colour.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self {
            writer: Box::new(writer),
            colour: false,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            held: 0,
            newest: SystemTime::UNIX_EPOCH,
        }
    }

    /// Says whether to use colour.
    #[must_use]
    pub const fn colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    fn hold(&mut self, span: &SpanData) {
        let held = self.waiting.entry(span.trace_id).or_insert_with(|| {
            self.order.push_back(span.trace_id);
            Held {
                spans: Vec::new(),
                newest: span.end,
            }
        });
        held.newest = held.newest.max(span.end);
        held.spans.push(span.clone());
        self.held += 1;
    }

    fn take(&mut self, trace: TraceId) -> Vec<SpanData> {
        self.order.retain(|waiting| *waiting != trace);
        let spans = self
            .waiting
            .remove(&trace)
            .map_or_else(Vec::new, |held| held.spans);
        self.held -= spans.len();
        spans
    }

    /// Takes out of a trace what lies below a root that has ended; what belongs to another root goes on waiting.
    fn take_tree(&mut self, root: &SpanData) -> Vec<SpanData> {
        let Some(Held { spans, .. }) = self.waiting.get_mut(&root.trace_id) else {
            return Vec::new();
        };
        let mut inside = HashSet::from([root.span_id]);
        // Spans mostly end before their parents, so backwards one pass finds nearly all; repeat until nothing is added.
        loop {
            let before = inside.len();
            for span in spans.iter().rev() {
                if span.parent_span_id.is_some_and(|parent| inside.contains(&parent)) {
                    inside.insert(span.span_id);
                }
            }
            if inside.len() == before {
                break;
            }
        }
        let tree: Vec<_> = spans
            .extract_if(.., |span| inside.contains(&span.span_id))
            .collect();
        self.held -= tree.len();
        if spans.is_empty() {
            self.take(root.trace_id);
        }
        tree
    }

    /// Writes the trace that waits longest, as far as it is known.
    fn oldest(&mut self, out: &mut String) -> bool {
        let Some(trace) = self.order.front().copied() else {
            return false;
        };
        self.incomplete(out, trace);
        true
    }

    /// Writes the traces in which nothing has ended for long: their roots have ended before, or take their time.
    fn aged(&mut self, out: &mut String) {
        let is_old = |trace: &&TraceId| {
            let held = self.waiting.get(trace);
            held.is_some_and(|held| {
                self.newest
                    .duration_since(held.newest)
                    .is_ok_and(|age| age >= AGE)
            })
        };
        let old: Vec<_> = self.order.iter().filter(is_old).copied().collect();
        for trace in old {
            self.incomplete(out, trace);
        }
    }

    fn incomplete(&mut self, out: &mut String, trace: TraceId) {
        let spans = self.take(trace);
        self.tree(out, &spans.iter().collect::<Vec<_>>());
    }

    /// Writes the spans that have no parent among them, each with what lies below it.
    fn tree(&self, out: &mut String, spans: &[&SpanData]) {
        let known: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
        let mut children: HashMap<SpanId, Vec<&SpanData>> = HashMap::new();
        let mut roots = Vec::new();
        for &span in spans {
            match span.parent_span_id {
                Some(parent) if !span.is_local_root() && known.contains(&parent) => {
                    children.entry(parent).or_default().push(span);
                }
                _ => roots.push(span),
            }
        }
        for siblings in children.values_mut() {
            siblings.sort_by_key(|span| span.start);
        }
        roots.sort_by_key(|span| span.start);
        for root in roots {
            let incomplete = !root.is_local_root();
            self.branch(out, root, &children, incomplete);
        }
    }

    /// Writes a root and what lies below it, without recursion: a trace may be deeper than the stack.
    fn branch(
        &self,
        out: &mut String,
        root: &SpanData,
        children: &HashMap<SpanId, Vec<&SpanData>>,
        incomplete: bool,
    ) {
        let mut stack = vec![(root, String::new(), String::new())];
        let mut is_root = true;
        while let Some((span, lead, below)) = stack.pop() {
            out.push_str(&lead);
            self.span(out, span);
            if is_root {
                let note = if incomplete {
                    " (apart from its parent)"
                } else {
                    ""
                };
                self.paint(out, DIM, format_args!("  trace {}{note}", span.trace_id));
                is_root = false;
            }
            out.push('\n');
            let inner = children.get(&span.span_id).map(Vec::as_slice).unwrap_or_default();
            for event in &span.events {
                let rail = if inner.is_empty() { "   " } else { "│  " };
                let after = event.time.duration_since(span.start).unwrap_or_default();
                write!(out, "{below}{rail}• {} ", printable(&event.name)).expect(INFALLIBLE);
                self.paint(out, DIM, format_args!("+{}", Short(after)));
                out.push('\n');
            }
            for (at, child) in inner.iter().enumerate().rev() {
                let last = at + 1 == inner.len();
                let (lead, rail) = if last {
                    ("└─ ", "   ")
                } else {
                    ("├─ ", "│  ")
                };
                // Deep down the indentation is cut, so that a chain of spans does not fill the screen.
                let below = if below.chars().count() < 120 {
                    below.as_str()
                } else {
                    "…"
                };
                stack.push((child, format!("{below}{lead}"), format!("{below}{rail}")));
            }
        }
    }

    fn span(&self, out: &mut String, span: &SpanData) {
        let failed = span.status.is_error();
        if failed {
            self.paint(out, RED, format_args!("{}", printable(&span.name)));
        } else {
            self.paint(out, BOLD, format_args!("{}", printable(&span.name)));
        }
        write!(out, " {}", Short(span.duration())).expect(INFALLIBLE);
        if failed {
            out.push(' ');
            match span.attribute("error.type").map(ToString::to_string) {
                Some(kind) => self.paint(out, RED, format_args!("ERROR {}", printable(&kind))),
                None => self.paint(out, RED, format_args!("ERROR")),
            }
        }
        for attribute in span
            .attributes
            .iter()
            .filter(|attribute| attribute.key != "error.type")
        {
            let value = attribute.value.to_string();
            self.paint(
                out,
                DIM,
                format_args!(" {}={}", printable(&attribute.key), printable(&value)),
            );
        }
    }

    fn paint(&self, out: &mut String, style: &str, text: fmt::Arguments<'_>) {
        if self.colour {
            write!(out, "\x1b[{style}m{text}\x1b[0m").expect(INFALLIBLE);
        } else {
            write!(out, "{text}").expect(INFALLIBLE);
        }
    }

    fn print(&mut self, text: &str) -> Result<(), ExportError> {
        if text.is_empty() {
            return Ok(());
        }
        self.writer.write_all(text.as_bytes())?;
        Ok(self.writer.flush()?)
    }
}

impl Exporter for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let mut out = String::new();
        // Not the newest of all: the wall clock may have been in the future.
        let newest = batch.iter().map(|span| span.end).max();
        self.newest = newest.unwrap_or(self.newest);
        for span in batch {
            if span.is_local_root() {
                let below = self.take_tree(span);
                let tree: Vec<_> = below.iter().chain([*span]).collect();
                self.tree(&mut out, &tree);
            } else {
                self.hold(span);
            }
            while self.held > HELD && self.oldest(&mut out) {}
        }
        self.aged(&mut out);
        self.print(&out)
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let mut out = String::new();
        while self.oldest(&mut out) {}
        self.print(&out)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("colour", &self.colour)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

const INFALLIBLE: &str = "invariant: writing to a String does not fail";
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";

/// Text that cannot make a terminal act, of at most 200 characters.
const fn printable(text: &str) -> Printable<'_> {
    Printable::cut(text, 200)
}

/// A duration with three digits: `12.3ms`.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        let (value, unit) = match self.0.as_nanos() {
            0..1_000 => return write!(f, "{}ns", self.0.as_nanos()),
            1_000..1_000_000 => (secs * 1e6, "µs"),
            1_000_000..1_000_000_000 => (secs * 1e3, "ms"),
            _ => (secs, "s"),
        };
        let digits = match value {
            ..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{value:.digits$}{unit}")
    }
}
