//! What only the bridge from `tracing` does to a recorded span.

use std::borrow::Cow;
use std::time::Instant;

use cortex_core::{SpanId, TraceId};

use super::inbox::{Inbox, Logged};
use super::recording::{Record, cut, put};
use super::{Attribute, Attributes, SpanEvent, SpanKind, Status};
use crate::bridge::SpanFields;

impl Record {
    pub(crate) const fn name(&self) -> &Cow<'static, str> {
        &self.data.name
    }

    pub(crate) const fn kind(&self) -> SpanKind {
        self.data.kind
    }

    pub(crate) fn route(&self) -> Option<String> {
        self.data.attribute("http.route").map(ToString::to_string)
    }

    pub(crate) const fn ids(&self) -> (TraceId, SpanId) {
        (self.data.trace_id, self.data.span_id)
    }

    /// Notes that the span was left. It ends where that was for the last time.
    pub(crate) fn leave(&mut self, at: Instant) {
        self.ended = self.ended.max(Some(at));
    }

    pub(crate) const fn was_left(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns memory for the attributes that the span is made with.
    pub(crate) fn spare_list(&mut self) -> Vec<Attribute> {
        debug_assert!(self.data.attributes.is_empty(), "it would lose them");
        std::mem::take(&mut self.data.attributes)
    }

    /// Takes over the fields that the span was made with, or that were recorded later.
    pub(crate) fn apply(&mut self, mut fields: SpanFields) {
        if let Some(name) = fields.name.take() {
            self.set_name(name);
        }
        if let Some(kind) = fields.kind {
            self.data.kind = kind;
        }
        if fields.has_status() {
            let old = std::mem::take(&mut self.data.status);
            self.data.status = fields.status(old);
        }
        self.add_attributes(fields.attributes);
    }

    /// Adds an event of `tracing`.
    pub(crate) fn add_logged(&mut self, logged: Logged) {
        let Logged {
            name,
            time,
            fields,
            is_error,
        } = logged;
        if let Some(error) = fields.error {
            // What a function returned as its error says more than an event before it.
            if self.data.status != Status::Ok {
                self.data.status = Status::Error {
                    description: cut(error.into()),
                };
            }
        } else if is_error {
            self.mark_failed();
        }
        self.add_attributes(fields.exception);
        if self.has_room_for_event() {
            let time = self.wall(time);
            self.data.events.push(SpanEvent {
                name: cut(name),
                time,
                attributes: fields.attributes.list,
                dropped_attributes: fields.attributes.dropped,
            });
        }
    }

    /// Adds the events of `tracing` that were left to the span.
    pub(super) fn add_all_logged(&mut self, inbox: Inbox) {
        if inbox.is_empty() {
            return;
        }
        let are_others = !self.data.events.is_empty();
        for logged in inbox.events {
            self.add_logged(logged);
        }
        if are_others {
            self.data.events.sort_by_key(|event| event.time);
        }
        self.data.dropped_events = self.data.dropped_events.saturating_add(inbox.dropped);
        if let Some(logged) = inbox.last_error {
            self.add_logged(*logged);
        }
    }

    /// Marks the span as failed, unless somebody has said how it ended.
    fn mark_failed(&mut self) {
        if self.data.status == Status::Unset {
            self.data.status = Status::Error {
                description: Cow::Borrowed(""),
            };
        }
    }

    pub(crate) fn set_status(&mut self, status: Status) {
        if self.data.status == Status::Ok {
            return;
        }
        self.data.status = match status {
            Status::Error { description } => Status::Error {
                description: cut(description),
            },
            other => other,
        };
    }

    /// Takes over the identity of another record of the same span, and keeps its own contents.
    pub(crate) fn become_part_of(&mut self, other: Self) {
        let (data, other) = (&mut self.data, other.data);
        data.trace_id = other.trace_id;
        data.span_id = other.span_id;
        data.parent_span_id = other.parent_span_id;
        data.parent_is_remote = other.parent_is_remote;
        data.flags = other.flags;
        data.tracestate = other.tracestate;
        data.links.splice(..0, other.links);
    }

    fn add_attributes(&mut self, attributes: Attributes) {
        let Attributes { list, dropped } = attributes;
        self.data.dropped_attributes = self.data.dropped_attributes.saturating_add(dropped);
        if self.data.attributes.is_empty() {
            self.data.attributes = list;
            return;
        }
        for attribute in list {
            let dropped = put(&mut self.data.attributes, attribute);
            self.data.dropped_attributes = self.data.dropped_attributes.saturating_add(dropped);
        }
    }
}
