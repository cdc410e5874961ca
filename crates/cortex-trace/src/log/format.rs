use std::fmt;

use cortex_core::Context;
use tracing::Level;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::plan::Kind;
use super::scratch::Ids;

/// How a line looks.
pub(super) trait Format: Clone + fmt::Debug + Send + Sync + 'static {
    /// The keys of an event's line, and of the span in it, that no field can have.
    const TAKEN_IN_EVENT: &'static [&'static str];
    const TAKEN_IN_SPAN: &'static [&'static str];
    /// A key that stands twice would be wrong, and not only odd.
    const KEYS_ARE_UNIQUE: bool;
    /// The message stands before the other fields, wherever it comes from.
    const MESSAGE_FIRST: bool;

    /// Writes what stands before the time.
    fn open(&self, out: &mut String);

    /// Writes what stands between the time and the fields.
    fn head(&self, out: &mut String, level: Level, target: &str);

    /// Writes the name of a field, with a separator of one byte before it, and all up to its value.
    fn key(&self, out: &mut String, name: &str, kind: Kind);

    fn message(&self, out: &mut String, message: impl fmt::Display);

    fn string(&self, out: &mut String, value: &str);

    /// Writes what has to be formatted first.
    fn formatted(&self, out: &mut String, value: impl fmt::Display);

    fn float(&self, out: &mut String, value: f64);

    /// Writes a number of more than 64 bits.
    fn wide(&self, out: &mut String, digits: &str);

    /// Writes what stands in place of a secret.
    fn secret(&self, out: &mut String);

    /// Writes the fields whose keys are taken.
    fn moved(&self, out: &mut String, fields: &str);

    /// Begins what is kept with a span.
    fn span_head(&self, out: &mut String, name: &str);

    /// Writes the span around an event, with what a layer has kept, and the ids of its trace.
    fn surroundings<'a, S: LookupSpan<'a>>(
        &self,
        out: &mut String,
        ids: &mut Ids,
        context: Context,
        span: Option<SpanRef<'a, S>>,
        layer: u64,
    );

    /// Ends the line.
    fn close(&self, out: &mut String);
}
