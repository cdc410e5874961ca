use std::time::SystemTime;

use super::lines::Lines;
use crate::HistogramSnapshot;
use crate::exemplar::Exemplar;
use crate::metric::Kind;

/// Writes families in some format, one after the other.
pub(crate) trait Encoder {
    /// Starts a family.
    fn begin(&mut self, header: &Header<'_>);

    /// Adds a series to it.
    fn put(&mut self, labels: Labels<'_>, value: &Value<'_>);

    /// Ends the family.
    fn end(&mut self);

    /// Takes back what there is of the family.
    fn abandon(&mut self);

    /// Returns a shorter way for series of the family that have nothing but a number, if there is one.
    fn lines(&mut self, _kind: Kind, _scope: &str) -> Option<Lines<'_>> {
        None
    }

    /// Whether exemplars would be written: a scrape that cannot show them must not use them up.
    fn has_exemplars(&self) -> bool;
}

/// What stands above the series of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<&'a str>,
    pub(crate) help: &'a str,
    /// Whether there are scrapers that cannot read the name, or that of a label.
    pub(crate) has_utf8_name: bool,
    pub(crate) has_utf8_labels: bool,
}

/// The labels of a series, rendered as the text formats spell them; names that not every scraper can read are in
/// quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels<'a> {
    /// Those of the sub-registry.
    pub(crate) scope: &'a str,
    /// Those of the series itself.
    pub(crate) own: &'a str,
}

/// What a series shows.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Counter {
        value: Number,
        exemplar: Option<&'a Exemplar>,
        created: Option<SystemTime>,
    },
    Gauge(Number),
    Unknown(Number),
    Histogram {
        snapshot: &'a HistogramSnapshot,
        /// Each with the index of its classic bucket, or of something else if there are none.
        exemplars: &'a [(usize, Exemplar)],
        created: Option<SystemTime>,
    },
    Info,
    /// Each state, and whether it is on.
    States(&'a [(&'a str, bool)]),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl Number {
    #[expect(
        clippy::cast_precision_loss,
        reason = "formats that know floats only round, too"
    )]
    pub(crate) fn to_float(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Signed(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Where the series of one part of a family go.
pub(crate) struct Series<'a> {
    encoder: &'a mut dyn Encoder,
    scope: &'a str,
}

impl<'a> Series<'a> {
    pub(crate) fn new(encoder: &'a mut dyn Encoder, scope: &'a str) -> Self {
        Self { encoder, scope }
    }

    /// Adds a series.
    pub(crate) fn put(&mut self, own: &str, value: &Value<'_>) {
        let scope = self.scope;
        self.encoder.put(Labels { scope, own }, value);
    }

    /// Returns a shorter way for series that have nothing but a number, if there is one.
    pub(crate) fn lines(&mut self, kind: Kind) -> Option<Lines<'_>> {
        self.encoder.lines(kind, self.scope)
    }

    pub(crate) fn has_exemplars(&self) -> bool {
        self.encoder.has_exemplars()
    }
}
