use std::fmt::Debug;

use crate::encode::Series;

/// What a [`Registry`](crate::Registry) can hold: [`Counter`](crate::Counter), [`Gauge`](crate::Gauge),
/// [`GaugeF64`](crate::GaugeF64), [`Histogram`](crate::Histogram), [`Info`](crate::Info), or a
/// [`Family`](crate::Family) of one of the first four.
///
/// It cannot be implemented elsewhere: numbers that live elsewhere are shown by a [`Collector`](crate::Collector).
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Family, Metric};
///
/// fn is_metric<M: Metric>(_: &M) {}
/// is_metric(&Counter::default());
/// is_metric(&Family::<(), _>::new(Counter::default));
/// ```
#[expect(private_bounds, reason = "sealed: the encoding is free to change")]
pub trait Metric: Encode {}

/// What a [`Family`](crate::Family) can hold for each of its series: any [`Metric`] that is one series itself.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Gauge, Instrument};
///
/// fn is_instrument<M: Instrument>(_: &M) {}
/// is_instrument(&Gauge::default());
/// ```
#[expect(private_bounds, reason = "sealed: the encoding is free to change")]
pub trait Instrument: Metric + Single {}

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
    /// Only what another library exposes has no type.
    Unknown,
}

/// How a metric is written.
pub(crate) trait Encode: Debug + Send + Sync + 'static {
    fn kind(&self) -> Kind;

    fn label_names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether there is no series, so that the family is left out.
    fn is_empty(&self) -> bool {
        false
    }

    fn write(&self, series: &mut Series<'_>);
}

/// How one series is written.
pub(crate) trait Single: Debug + Send + Sync + 'static {
    const KIND: Kind;

    fn write_single(&self, series: &mut Series<'_>);
}

impl<T: Single> Encode for T {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn write(&self, series: &mut Series<'_>) {
        self.write_single(series);
    }
}

macro_rules! instruments {
    ($($type:ident: $kind:ident, $self:ident, $series:ident => $write:expr;)*) => {$(
        impl Metric for crate::$type {}
        impl Instrument for crate::$type {}
        impl Single for crate::$type {
            const KIND: Kind = Kind::$kind;

            fn write_single(&$self, $series: &mut Series<'_>) {
                $write;
            }
        }
    )*};
}

instruments! {
    Counter: Counter, self, series => series.integer("_total", self.get());
    Gauge: Gauge, self, series => series.integer("", self.get());
    GaugeF64: Gauge, self, series => series.float("", self.get());
    Histogram: Histogram, self, series => series.histogram(&self.snapshot());
}
