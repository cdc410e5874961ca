use std::cell::Cell;

use cortex_core::Context;

use super::fields::{Fields, SpanFields};
use super::plan::Recent;
use super::timestamp::Stamp;

/// What a thread needs to build lines, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) line: String,
    pub(super) moved: Fields,
    pub(super) span: SpanFields,
    pub(super) stamp: Stamp,
    pub(super) recent: Recent,
    pub(super) ids: Ids,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The largest buffer that a thread keeps.
const KEPT: usize = 16 << 10;

impl Scratch {
    /// Takes the thread's.
    ///
    /// It is away for as long as a line is built: a value that logs while it is formatted gets another one. So does a
    /// destructor that logs while the thread ends.
    pub(super) fn take() -> Box<Self> {
        SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    pub(super) fn keep(mut self: Box<Self>) {
        if self.line.capacity() > KEPT {
            self.line = String::new();
        }
        if self.moved.whole().len() > KEPT || self.span.plain.whole().len() > KEPT {
            (self.moved, self.span) = Default::default();
        }
        let _ = SCRATCH.try_with(|scratch| scratch.set(Some(self))); // else the thread is ending
    }
}

/// The ids of a trace as they stand in a line, for all lines of a span.
#[derive(Debug, Default)]
pub(super) struct Ids {
    context: Context,
    text: String,
}

impl Ids {
    /// Returns the text that `write` makes of the context, or has made of it for the last line; nothing without a trace.
    pub(super) fn of(&mut self, context: Context, write: impl FnOnce(&mut String)) -> &str {
        if self.context != context {
            self.text.clear();
            write(&mut self.text);
            self.context = context;
        }
        &self.text
    }
}
