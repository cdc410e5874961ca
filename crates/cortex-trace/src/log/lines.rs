use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use cortex_core::{Clock, SystemClock};
use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::background::{Action, Background};
use super::duplicates::{DuplicateLimit, Limiter};
use super::fields::{EventFields, IntoSpan, SpanFields, Visitor};
use super::format::Format;
use super::handle::{LogHandle, Remote};
use super::kept::Kept;
use super::origin::{Message, Origin};
use super::plan::{Kind, Plan, Plans};
use super::scratch::Scratch;
use super::timestamp::Stamp;
use crate::event_context::EventContext;
use crate::redact::Redact;

/// What the layers that write lines have in common.
pub(super) struct Lines<F, W> {
    format: F,
    writer: Arc<W>,
    clock: Arc<dyn Clock>,
    context: EventContext,
    redact: Redact,
    plans: Plans,
    limiter: Option<Arc<Limiter>>,
    background: Option<Background>,
    /// The lines that the writer refused.
    failed: Arc<AtomicU64>,
}

impl<F, W> Lines<F, W> {
    pub(super) fn writer(&self) -> &W {
        &self.writer
    }
}

impl<F: Format, W> Lines<F, W> {
    pub(super) fn new(format: F, writer: W) -> Self {
        Self {
            format,
            writer: Arc::new(writer),
            clock: Arc::new(SystemClock),
            context: EventContext::default(),
            redact: Redact::default(),
            plans: Plans::new(),
            limiter: None,
            background: None,
            failed: Arc::default(),
        }
    }

    pub(super) fn set_clock(&mut self, clock: impl Clock + 'static) {
        self.clock = Arc::new(clock);
    }

    pub(super) fn set_format(&mut self, format: F) {
        self.format = format;
        self.plans = Plans::new(); // the old ones were made for the old format
    }

    pub(super) fn redact(&mut self, change: impl FnOnce(&mut Redact)) {
        change(&mut self.redact);
        self.plans = Plans::new();
    }

    pub(super) fn set_limit(&mut self, limit: DuplicateLimit) {
        self.limiter = Some(Arc::new(Limiter::new(limit)));
    }

    /// Puts a queue and a thread between the lines and their writer.
    pub(super) fn into_background(self, lines: usize) -> io::Result<Lines<F, Background>>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let writer = self.writer;
        let (format, clock) = (self.format.clone(), Arc::clone(&self.clock));
        let act = move |action: Action<'_>| action.on(writer.make_writer());
        let background = Background::start(lines, Box::new(act), move |out, dropped| {
            let notice = Notice {
                level: Level::WARN,
                target: "cortex_trace",
                message: "log lines dropped",
                numbers: &[("dropped", dropped)],
                texts: &[],
            };
            notice.write(out, &format, clock.wall());
        })?;
        Ok(Lines {
            format: self.format,
            writer: Arc::new(background.clone()),
            clock: self.clock,
            context: self.context,
            redact: self.redact,
            plans: self.plans,
            limiter: self.limiter,
            background: Some(background),
            failed: self.failed,
        })
    }

    pub(super) fn handle(&self) -> LogHandle
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        LogHandle::new(Remote {
            format: self.format.clone(),
            writer: Arc::clone(&self.writer),
            clock: Arc::clone(&self.clock),
            limiter: self.limiter.clone(),
            background: self.background.clone(),
            failed: Arc::clone(&self.failed),
        })
    }

    fn plan(&self, metadata: &Metadata<'_>) -> Plan {
        Plan::new(&self.format, &self.redact, metadata)
    }
}

/// What a subscriber tells its layers.
impl<F: Format, W: for<'w> MakeWriter<'w>> Lines<F, W> {
    pub(super) fn register_dispatch(&self, subscriber: &Dispatch) {
        self.context.register(subscriber);
    }

    pub(super) fn new_span<S>(&self, attributes: &Attributes<'_>, id: &Id, registry: &layer::Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.keep(attributes.metadata(), id, registry, |visitor| {
            attributes.record(visitor);
        });
    }

    pub(super) fn record<S>(&self, id: &Id, values: &Record<'_>, registry: &layer::Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(metadata) = registry.metadata(id) else {
            return;
        };
        self.keep(metadata, id, registry, |visitor| values.record(visitor));
    }

    fn keep<S>(
        &self,
        metadata: &'static Metadata<'static>,
        id: &Id,
        registry: &layer::Context<'_, S>,
        visit: impl FnOnce(&mut dyn Visit),
    ) where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        if metadata.fields().is_empty() {
            return; // a line takes the name from the span itself
        }
        let mut scratch = Scratch::take();
        let Scratch { recent, span, .. } = &mut *scratch;
        let plan = recent.get(&self.plans, metadata, || self.plan(metadata));
        span.plain
            .restart(|head| self.format.span_head(head, metadata.name()));
        span.moved.restart(|_| ());
        // Visited before the span is locked: a value's `Debug` is foreign code and may log itself.
        visit(&mut Visitor::new(IntoSpan {
            format: &self.format,
            plan,
            fields: span,
        }));
        if !span.is_empty() {
            self.keep_fields(span, id, registry);
        }
        scratch.keep();
    }

    fn keep_fields<S>(&self, fields: &SpanFields, id: &Id, registry: &layer::Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let Some(span) = registry.span(id) else { return };
        let fields = fields.clone();
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<Kept>() {
            Some(kept) => kept.update(self.plans.layer, fields),
            None => extensions.insert(Kept::new(self.plans.layer, fields)),
        }
    }

    pub(super) fn event<S>(&self, event: &Event<'_>, registry: &layer::Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let mut scratch = Scratch::take();
        if self.build(event, registry, &mut scratch) {
            self.write(event.metadata(), &scratch.line);
        }
        scratch.keep();
    }

    /// Builds the line of an event; says whether it is to be written.
    fn build<S>(&self, event: &Event<'_>, registry: &layer::Context<'_, S>, scratch: &mut Scratch) -> bool
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let metadata = event.metadata();
        let Scratch {
            line,
            moved,
            stamp,
            recent,
            ids,
            ..
        } = scratch;
        let plan = recent.get(&self.plans, metadata, || self.plan(metadata));
        let origin = if plan.is_log_crate {
            Origin::of_log_crate(event)
        } else {
            Origin::default()
        };
        if let Some(limiter) = &self.limiter {
            let now = limiter.at(self.clock.now());
            for suppressed in limiter.due(now) {
                line.clear();
                suppressed.notice(|notice| notice.write(line, &self.format, self.clock.wall()));
                self.write(suppressed.metadata, line);
            }
            line.clear();
            if limiter.by_message() && !plan.hides_message {
                event.record(&mut Message(line));
            }
            if !limiter.admit(now, metadata, &origin, line) {
                return false;
            }
        }

        line.clear();
        self.format.open(line);
        stamp.write(line, self.clock.wall());
        match &origin.target {
            None => line.push_str(&plan.head),
            Some(target) => self.format.head(line, *metadata.level(), target),
        }
        moved.restart(|_| ());
        let start = line.len();
        let mut visitor = Visitor::new(EventFields {
            format: &self.format,
            plan,
            line,
            moved,
            start,
        });
        event.record(&mut visitor);
        if !moved.is_empty() {
            self.format.moved(line, moved.separated());
        }
        let span = registry.event_span(event);
        self.format
            .surroundings(line, ids, self.context.of(event), span, self.plans.layer);
        self.format.close(line);
        true
    }

    fn write(&self, metadata: &Metadata<'_>, line: &str) {
        write_line(&*self.writer, &self.failed, metadata, line);
    }
}

/// A line that the layer writes about itself.
#[derive(Debug)]
pub(super) struct Notice<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: &'a str,
    pub(super) numbers: &'a [(&'a str, u64)],
    pub(super) texts: &'a [(&'a str, &'a str)],
}

impl Notice<'_> {
    pub(super) fn write(&self, out: &mut String, format: &impl Format, time: SystemTime) {
        format.open(out);
        Stamp::default().write(out, time);
        format.head(out, self.level, self.target);
        format.key(out, "message", Kind::Message);
        format.message(out, self.message);
        for (name, number) in self.numbers {
            format.key(out, name, Kind::Plain);
            out.push_str(itoa::Buffer::new().format(*number));
        }
        for (name, text) in self.texts {
            format.key(out, name, Kind::Plain);
            format.string(out, text);
        }
        format.close(out);
    }
}

pub(super) fn write_line<W: for<'w> MakeWriter<'w>>(
    writer: &W,
    failed: &AtomicU64,
    metadata: &Metadata<'_>,
    line: &str,
) {
    // A log that cannot be written has nowhere to complain.
    if writer
        .make_writer_for(metadata)
        .write_all(line.as_bytes())
        .is_err()
    {
        failed.fetch_add(1, Ordering::Relaxed);
    }
}
