//! How each type of metric is read and shown.

use crate::cells::Walk;
use crate::counter;
use crate::encode::{Lines, Number, Series, Value};
use crate::gauge::NearLevel;
use crate::label_enum::repeated;
use crate::metric::{Absorb, Instrument, Kind, Metric, Shown, Single};
use crate::{
    Counter, CounterF64, Gauge, GaugeF64, Histogram, HistogramSnapshot, LabelEnum, LevelGauge,
    RegisterErrorKind, StateSet,
};

/// Writes what has nothing but a number.
fn show_lines<'a, M: Single>(
    mut lines: Lines<'_>,
    all: impl Iterator<Item = Shown<'a, M>>,
    number: impl Fn(M::Near, &M::Seen) -> Number,
) {
    for Shown {
        near, labels, seen, ..
    } in all
    {
        lines.push(labels.as_bytes(), number(near, seen));
    }
}

impl Metric for Counter {}
impl Instrument for Counter {}

impl Single for Counter {
    const KIND: Kind = Kind::Counter;
    const ABSORB: Option<Absorb<Self, u64>> = Some(|counter, other, before, now| {
        if !counter.is_same(other) {
            counter.add(now.wrapping_sub(*before));
        }
        0
    });

    type Seen = u64;

    type Near = counter::Near;

    fn near(&self) -> counter::Near {
        self.near()
    }

    fn see(&self, walk: &Walk<'_>) -> u64 {
        self.read(walk)
    }

    #[inline]
    fn see_near(&self, near: counter::Near, walk: &Walk<'_>) -> u64 {
        near.read(walk)
    }

    fn show(&self, labels: &str, seen: &u64, series: &mut Series<'_>) {
        let exemplar = series.has_exemplars().then(|| self.take_exemplar()).flatten();
        let value = Value::Counter {
            value: Number::Unsigned(*seen),
            exemplar: exemplar.as_ref(),
            created: Some(self.created()),
        };
        series.put(labels, &value);
    }

    fn show_all<'a>(all: impl Iterator<Item = Shown<'a, Self>> + Clone, series: &mut Series<'_>) {
        let has_exemplars = series.has_exemplars() && all.clone().any(|shown| shown.near.has_exemplars);
        let lines = if has_exemplars {
            None
        } else {
            series.lines(Kind::Counter)
        };
        match lines {
            Some(lines) => show_lines(lines, all, |_, seen| Number::Unsigned(*seen)),
            None => all.for_each(|shown| shown.metric.show(shown.labels.as_str(), shown.seen, series)),
        }
    }

    fn is_used(&self, before: &u64, now: &u64) -> bool {
        before != now
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }
}

impl Metric for CounterF64 {}
impl Instrument for CounterF64 {}

impl Single for CounterF64 {
    const KIND: Kind = Kind::Counter;
    const ABSORB: Option<Absorb<Self, f64>> = Some(|counter, other, before, now| {
        let more = now - before;
        if !counter.is_same(other) {
            counter.add(more);
        }
        u64::from(!more.is_finite())
    });

    type Seen = f64;

    type Near = ();

    fn near(&self) {}

    fn see(&self, walk: &Walk<'_>) -> f64 {
        self.read(walk)
    }

    fn show(&self, labels: &str, seen: &f64, series: &mut Series<'_>) {
        let value = Value::Counter {
            value: Number::Float(*seen),
            exemplar: None,
            created: Some(self.created()),
        };
        series.put(labels, &value);
    }

    fn show_all<'a>(all: impl Iterator<Item = Shown<'a, Self>> + Clone, series: &mut Series<'_>) {
        match series.lines(Kind::Counter) {
            Some(lines) => show_lines(lines, all, |(), seen| Number::Float(*seen)),
            None => all.for_each(|shown| shown.metric.show(shown.labels.as_str(), shown.seen, series)),
        }
    }

    fn is_used(&self, before: &f64, now: &f64) -> bool {
        before.to_bits() != now.to_bits()
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }
}

/// A level, and whether somebody set it since it was seen before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level<T> {
    pub(crate) value: T,
    pub(crate) is_touched: bool,
}

macro_rules! gauges {
    ($($gauge:ty: $value:ty => $number:path;)*) => {$(
        impl Metric for $gauge {}
        impl Instrument for $gauge {}

        impl Single for $gauge {
            const KIND: Kind = Kind::Gauge;
            const ABSORB: Option<Absorb<Self, Self::Seen>> = None;

            type Seen = Level<$value>;

            type Near = ();

            fn near(&self) {}

            fn see(&self, _walk: &Walk<'_>) -> Self::Seen {
                let is_touched = self.take_touched();
                Level { value: self.get(), is_touched }
            }

            fn show(&self, labels: &str, seen: &Self::Seen, series: &mut Series<'_>) {
                series.put(labels, &Value::Gauge($number(seen.value)));
            }

            fn show_all<'a>(all: impl Iterator<Item = Shown<'a, Self>> + Clone, series: &mut Series<'_>) {
                match series.lines(Kind::Gauge) {
                    Some(lines) => show_lines(lines, all, |(), seen| $number(seen.value)),
                    None => all.for_each(|shown| shown.metric.show(shown.labels.as_str(), shown.seen, series)),
                }
            }

            fn is_used(&self, _before: &Self::Seen, now: &Self::Seen) -> bool {
                now.is_touched
            }

            fn is_shared(&self) -> bool {
                Self::is_shared(self)
            }
        }
    )*};
}

gauges! {
    Gauge: i64 => Number::Signed;
    GaugeF64: f64 => Number::Float;
}

impl Metric for LevelGauge {}
impl Instrument for LevelGauge {}

impl Single for LevelGauge {
    const KIND: Kind = Kind::Gauge;
    const ABSORB: Option<Absorb<Self, i64>> = Some(|gauge, other, before, now| {
        if !gauge.is_same(other) {
            gauge.add(now.wrapping_sub(*before));
        }
        0
    });

    type Seen = i64;

    type Near = NearLevel;

    fn near(&self) -> NearLevel {
        self.near()
    }

    fn see(&self, walk: &Walk<'_>) -> i64 {
        self.near().read(walk)
    }

    #[inline]
    fn see_near(&self, near: NearLevel, walk: &Walk<'_>) -> i64 {
        near.read(walk)
    }

    fn show(&self, labels: &str, seen: &i64, series: &mut Series<'_>) {
        series.put(labels, &Value::Gauge(Number::Signed(self.near().shown(*seen))));
    }

    fn show_all<'a>(all: impl Iterator<Item = Shown<'a, Self>> + Clone, series: &mut Series<'_>) {
        match series.lines(Kind::Gauge) {
            Some(lines) => show_lines(lines, all, |near, seen| Number::Signed(near.shown(*seen))),
            None => all.for_each(|shown| shown.metric.show(shown.labels.as_str(), shown.seen, series)),
        }
    }

    /// A level that is not zero is in use: whoever raised it will lower it again.
    fn is_used(&self, before: &i64, now: &i64) -> bool {
        before != now || *now != 0
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }

    fn carry(_seen: i64) -> i64 {
        0
    }
}

impl Metric for Histogram {}
impl Instrument for Histogram {}

impl Single for Histogram {
    const KIND: Kind = Kind::Histogram;
    const ABSORB: Option<Absorb<Self, HistogramSnapshot>> = Some(Self::absorb);

    type Seen = HistogramSnapshot;

    type Near = ();

    fn near(&self) {}

    fn see(&self, walk: &Walk<'_>) -> HistogramSnapshot {
        self.read(walk)
    }

    fn show(&self, labels: &str, seen: &HistogramSnapshot, series: &mut Series<'_>) {
        let exemplars = series.has_exemplars().then(|| self.take_exemplars());
        let value = Value::Histogram {
            snapshot: seen,
            exemplars: &exemplars.unwrap_or_default(),
            created: Some(self.created()),
        };
        series.put(labels, &value);
    }

    fn is_used(&self, before: &HistogramSnapshot, now: &HistogramSnapshot) -> bool {
        before.counts() != now.counts()
            || before.count() != now.count()
            || before.sum().to_bits() != now.sum().to_bits()
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }
}

impl<S: LabelEnum> Metric for StateSet<S> {}
impl<S: LabelEnum> Instrument for StateSet<S> {}

impl<S: LabelEnum> Single for StateSet<S> {
    const KIND: Kind = Kind::StateSet;
    const ABSORB: Option<Absorb<Self, Self::Seen>> = None;

    type Seen = Level<u64>;

    type Near = ();

    fn check_type() -> Result<(), RegisterErrorKind> {
        match repeated(S::VALUES) {
            Some(state) => Err(RegisterErrorKind::RepeatedState {
                state: S::VALUES[state].to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn near(&self) {}

    fn see(&self, _walk: &Walk<'_>) -> Level<u64> {
        let is_touched = self.take_touched();
        Level {
            value: self.bits(),
            is_touched,
        }
    }

    fn show(&self, labels: &str, seen: &Level<u64>, series: &mut Series<'_>) {
        if const { repeated(S::VALUES).is_some() } {
            return; // refused where it is registered, unless that is a registry of `prometheus-client`
        }
        let states = S::VALUES.iter().enumerate();
        let states: Vec<_> = states
            .map(|(at, name)| (*name, seen.value >> at & 1 == 1))
            .collect();
        series.put(labels, &Value::States(&states));
    }

    fn is_used(&self, _before: &Level<u64>, now: &Level<u64>) -> bool {
        now.is_touched
    }

    fn is_shared(&self) -> bool {
        Self::is_shared(self)
    }
}
