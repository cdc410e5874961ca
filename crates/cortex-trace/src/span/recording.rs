use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant, SystemTime};

#[cfg(feature = "bridge")]
use super::inbox::Place;
use super::{Attribute, Link, SpanData, SpanEvent, Status, Value};
use crate::Tracer;

/// The most attributes of a span or an event, and the most events of a span; more are counted.
pub(super) const ATTRIBUTES: usize = 128;
pub(super) const EVENTS: usize = 128;
/// The most links of a span; more are counted.
const LINKS: usize = 128;
/// For how many attributes memory is fetched beforehand: more than most spans of functions have.
const FETCHED: usize = 4;
/// The most bytes of a text.
pub(crate) const TEXT: usize = 4096;

/// A span that is being recorded.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(super) data: SpanData,
    /// The instant that `data.start` stands for: all other times of the span are measured from it. `None` if there is no
    /// span, or nobody measures any more.
    started: Option<Instant>,
    /// When the span ended, or was left so far. `data.end` is made of it where it is needed, not by who ends the span.
    pub(super) ended: Option<Instant>,
}

/// A span that is being recorded, and the tracer that gets it.
#[derive(Debug)]
pub(crate) struct Recording {
    tracer: Tracer,
    record: Box<Record>,
    /// Where it finds what `tracing` has said about it.
    #[cfg(feature = "bridge")]
    inbox: Option<Place>,
}

impl Record {
    /// The record of no span yet.
    pub(super) const BLANK: Self = Self::over(SpanData::BLANK);

    /// Makes the record of a span that is over.
    pub(crate) const fn over(data: SpanData) -> Self {
        Self {
            data,
            started: None,
            ended: None,
        }
    }

    /// Begins a span in a blank record, at an instant and the wall-clock time of that.
    #[inline]
    pub(crate) fn begin(&mut self, started: Instant, start: SystemTime) -> &mut SpanData {
        self.started = Some(started);
        self.ended = None;
        self.data.start = start;
        self.data.end = start;
        &mut self.data
    }

    /// Completes the finished span: its end is written here, and nothing else of it.
    pub(crate) fn complete(&mut self) -> &SpanData {
        if let Some(end) = self.ended {
            self.data.end = self.wall(end);
        }
        &self.data
    }

    /// Takes the finished span out.
    pub(crate) fn take_data(&mut self) -> SpanData {
        self.complete();
        (self.started, self.ended) = (None, None);
        std::mem::replace(&mut self.data, SpanData::BLANK)
    }

    /// Makes it blank again, but for its memory, which is written to so that it comes into this core's cache.
    ///
    /// It was another core's, that of the exporter's thread. To wait for each piece of it in the middle of a span takes
    /// several times as long as to ask for all of it at once. The exporter's thread leaves what it has read as it is:
    /// what it had written to would take longer still, and texts are best freed where they were made.
    pub(super) fn fetch(&mut self) {
        (self.started, self.ended) = (None, None);
        let mut attributes = std::mem::take(&mut self.data.attributes);
        attributes.clear();
        self.data = SpanData {
            attributes,
            ..SpanData::BLANK
        };
        for room in self.data.attributes.spare_capacity_mut().iter_mut().take(FETCHED) {
            room.write(Attribute {
                key: Cow::Borrowed(""),
                value: Value::Bool(false),
            });
        }
    }

    /// Says whether nothing is left of a span, but perhaps its memory.
    #[cfg(test)]
    pub(super) fn is_blank(&self) -> bool {
        (self.started, self.ended) == (None, None) && self.data == SpanData::BLANK
    }

    /// Returns the span, whose end is not known yet.
    pub(crate) const fn data(&self) -> &SpanData {
        &self.data
    }

    /// Puts a finished span into a blank record.
    pub(super) fn put_data(&mut self, span: SpanData) {
        self.data = span;
    }

    pub(crate) fn set_attribute(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let dropped = put(&mut self.data.attributes, Attribute::new(key, value));
        self.data.dropped_attributes = self.data.dropped_attributes.saturating_add(dropped);
    }

    /// Sets an attribute unless somebody has said it better.
    pub(crate) fn set_default(&mut self, key: &'static str, value: impl Into<Value>) {
        if self.data.attribute(key).is_none() {
            self.set_attribute(key, value);
        }
    }

    pub(crate) fn set_name(&mut self, name: String) {
        self.data.name = cut(Cow::Owned(name));
    }

    pub(crate) fn set_error(&mut self, kind: Cow<'static, str>) {
        self.set_attribute("error.type", kind);
        self.data.status = Status::Error {
            description: Cow::Borrowed(""),
        };
    }

    pub(crate) fn add_link(&mut self, link: Link) {
        if self.data.links.len() < LINKS {
            self.data.links.push(link);
        } else {
            self.data.dropped_links = self.data.dropped_links.saturating_add(1);
        }
    }

    /// Ends the span.
    pub(crate) fn end(&mut self, end: Instant) {
        self.ended = Some(end);
    }

    /// Says whether another event fits, and counts it if not.
    pub(super) fn has_room_for_event(&mut self) -> bool {
        let fits = self.data.events.len() < EVENTS;
        if !fits {
            self.data.dropped_events = self.data.dropped_events.saturating_add(1);
        }
        fits
    }

    pub(super) fn wall(&self, instant: Instant) -> SystemTime {
        let since = |started| instant.saturating_duration_since(started);
        after(self.data.start, self.started.map_or(Duration::ZERO, since))
    }
}

impl Recording {
    pub(crate) fn new(tracer: Tracer, record: Box<Record>) -> Self {
        Self {
            #[cfg(feature = "bridge")]
            inbox: tracer
                .inboxes()
                .and_then(|inboxes| inboxes.open(record.data.span_id)),
            tracer,
            record,
        }
    }

    pub(super) const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    pub(crate) fn add_event(
        &mut self,
        name: Cow<'static, str>,
        attributes: impl IntoIterator<Item = Attribute>,
    ) {
        if !self.has_room_for_event() {
            return;
        }
        let time = self.wall(self.tracer.clock().now());
        let mut event = SpanEvent {
            name: cut(name),
            time,
            attributes: Vec::new(),
            dropped_attributes: 0,
        };
        for attribute in attributes {
            let dropped = put(&mut event.attributes, attribute);
            event.dropped_attributes = event.dropped_attributes.saturating_add(dropped);
        }
        self.data.events.push(event);
    }

    pub(crate) fn end_now(mut self) {
        #[cfg(feature = "bridge")]
        self.fetch_logged();
        let now = self.tracer.clock().now();
        self.record.end(now);
        self.tracer.submit_at(self.record, now);
    }

    pub(crate) fn end(mut self, end: Instant) {
        #[cfg(feature = "bridge")]
        self.fetch_logged();
        self.record.end(end);
        self.tracer.submit(self.record);
    }

    /// Takes over what `tracing` has said while the span was current.
    #[cfg(feature = "bridge")]
    fn fetch_logged(&mut self) {
        let inbox = self.inbox.take().zip(self.tracer.inboxes());
        if let Some(inbox) = inbox.map(|(place, inboxes)| inboxes.close(place)) {
            self.record.add_all_logged(inbox);
        }
    }
}

impl Deref for Recording {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl DerefMut for Recording {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}

/// Adds a duration, staying at the last time that can be represented.
fn after(time: SystemTime, duration: Duration) -> SystemTime {
    time.checked_add(duration).unwrap_or(time)
}

/// Sets an attribute, in place of one with the same key; returns how many were dropped.
#[inline]
pub(crate) fn put(attributes: &mut Vec<Attribute>, attribute: Attribute) -> u32 {
    let Attribute { key, value } = attribute;
    let key = cut(key);
    let value = match value {
        Value::Str(text) => Value::Str(cut(text)),
        other => other,
    };
    if let Some(old) = attributes.iter_mut().find(|old| old.key == key) {
        old.value = value;
    } else if attributes.len() < ATTRIBUTES {
        attributes.push(Attribute { key, value });
    } else {
        return 1;
    }
    0
}

/// Cuts a text to the limit, between two characters.
#[inline]
pub(crate) fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= TEXT { text } else { cut_long(text) }
}

#[cold]
fn cut_long(text: Cow<'static, str>) -> Cow<'static, str> {
    let end = text.floor_char_boundary(TEXT);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            text.shrink_to_fit();
            Cow::Owned(text)
        }
    }
}
