use std::fmt::Debug;

use crate::RegisterErrorKind;
use crate::cells::Walk;
use crate::encode::Series;
use crate::family::Bitwise;

/// What a [`Registry`](crate::Registry) can hold: [`Counter`](crate::Counter), [`CounterF64`](crate::CounterF64),
/// [`Gauge`](crate::Gauge), [`GaugeF64`](crate::GaugeF64), [`LevelGauge`](crate::LevelGauge),
/// [`Histogram`](crate::Histogram), [`StateSet`](crate::StateSet), [`Info`](crate::Info), or a family of one of them
/// but the last.
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
    StateSet,
    /// Only what another library exposes has no type.
    Unknown,
}

impl Kind {
    /// Returns the name that `OpenMetrics` gives it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }
}

/// How far a family has grown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) series: usize,
    /// How often the series of all others was found.
    pub(crate) overflow_hits: u64,
    /// Removed, but still in memory.
    pub(crate) retired: usize,
    /// How many values of removed series went nowhere.
    pub(crate) lost: u64,
}

impl Growth {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            series: self.series + other.series,
            overflow_hits: self.overflow_hits + other.overflow_hits,
            retired: self.retired + other.retired,
            lost: self.lost + other.lost,
        }
    }
}

/// How a metric is written.
pub(crate) trait Encode: Debug + Send + Sync + 'static {
    fn kind(&self) -> Kind;

    fn label_names(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Says what would make an exposition invalid, beside names.
    fn check(&self) -> Result<(), RegisterErrorKind> {
        Ok(())
    }

    /// Whether there is no series.
    fn is_empty(&self) -> bool {
        false
    }

    /// What there is to say of a family that grows; nothing of a single metric.
    fn growth(&self) -> Option<Growth> {
        None
    }

    /// Writes all series.
    fn write(&self, series: &mut Series<'_>);
}

/// Adds to a metric what another one has seen, before and now, and returns how many values it could not take.
///
/// Nothing is added if both are clones of one metric: it would grow each time.
pub(crate) type Absorb<M, Seen> = fn(&M, other: &M, before: &Seen, now: &Seen) -> u64;

/// One series: how it is read, shown, and added to another when it is removed.
pub(crate) trait Single: Bitwise + Debug + Send + Sync + Sized + 'static {
    const KIND: Kind;

    /// What it shows at one moment.
    type Seen: Clone + Debug + Default + Send + Sync;

    /// What is known of it without following its pointer.
    type Near: Copy + Debug + Send + Sync;

    /// Says what about the type would make an exposition invalid.
    fn check_type() -> Result<(), RegisterErrorKind> {
        Ok(())
    }

    fn near(&self) -> Self::Near;

    fn see(&self, walk: &Walk<'_>) -> Self::Seen;

    /// Does the same for who has at hand what is near.
    #[inline]
    fn see_near(&self, _near: Self::Near, walk: &Walk<'_>) -> Self::Seen {
        self.see(walk)
    }

    /// Writes what was seen.
    fn show(&self, labels: &str, seen: &Self::Seen, series: &mut Series<'_>);

    /// Writes what was seen of many.
    fn show_all<'a>(all: impl Iterator<Item = Shown<'a, Self>> + Clone, series: &mut Series<'_>) {
        for Shown {
            metric, labels, seen, ..
        } in all
        {
            metric.show(labels.as_str(), seen, series);
        }
    }

    /// Whether somebody used it between two moments, the second of which is now.
    fn is_used(&self, before: &Self::Seen, now: &Self::Seen) -> bool;

    /// Whether there is a clone.
    fn is_shared(&self) -> bool;

    /// Returns what of a series stays shown when it is removed: what was seen of a count. Of a level nothing is, since
    /// a level that is not shown any more is missed in the total.
    fn carry(seen: Self::Seen) -> Self::Seen {
        seen
    }

    /// Adds to it what another one has now more than it had before; says no if that has no meaning, as for a level that
    /// is set, not counted.
    const ABSORB: Option<Absorb<Self, Self::Seen>>;
}

/// A series to be shown.
#[derive(Debug)]
pub(crate) struct Shown<'a, M: Single> {
    pub(crate) metric: &'a M,
    pub(crate) near: M::Near,
    pub(crate) labels: Piece<'a>,
    pub(crate) seen: &'a M::Seen,
}

/// A piece of a text, cut out when it is asked for: not everybody asks, or needs to know that it is whole characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<'a> Piece<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        &self.text[self.start..self.end]
    }

    #[inline]
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        &self.text.as_bytes()[self.start..self.end]
    }
}

impl<T: Single> Encode for T {
    fn kind(&self) -> Kind {
        Self::KIND
    }

    fn check(&self) -> Result<(), RegisterErrorKind> {
        Self::check_type()
    }

    fn write(&self, series: &mut Series<'_>) {
        let seen = self.see(&crate::cells::walk());
        self.show("", &seen, series);
    }
}
