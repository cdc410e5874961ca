use std::fmt::{self, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::bounded::Bounded;
use crate::log_crate::LOG_TARGET;

/// Where a record of the `log` crate is from; an event of `tracing` knows that without us.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub(super) target: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u64>,
}

impl Origin {
    pub(super) fn of_log_crate(event: &Event<'_>) -> Self {
        let mut origin = Self::default();
        event.record(&mut origin);
        origin
    }
}

impl Visit for Origin {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            LOG_TARGET => self.target = Some(value.to_owned()),
            "log.file" => self.file = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.line = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// The message of an event and nothing else.
#[derive(Debug)]
pub(super) struct Message<'a>(pub(super) &'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(Bounded::new(&mut *self.0), "{value:?}"); // as far as it goes
        }
    }
}
