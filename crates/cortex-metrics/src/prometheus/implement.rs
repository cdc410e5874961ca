use std::fmt::Error;

use prometheus_client::encoding::{
    EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use crate::encode::{Encoder, Header, Labels as Rendered, Number, Series, Value, label_pairs, push_label};
use crate::metric::{Encode, Kind};
use crate::name::alike;
use crate::{
    Counter, CounterF64, DenseFamily, DenseLabels, DynamicFamily, Escaping, Family, Gauge, GaugeF64,
    Histogram, HistogramSnapshot, Info, Instrument, LabelEnum, Labels, LevelGauge, StateSet,
};

macro_rules! encode_metric {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> EncodeMetric for $type {
            fn encode(&self, encoder: MetricEncoder) -> Result<(), Error> {
                encode(self, encoder)
            }

            fn metric_type(&self) -> MetricType {
                metric_type(Encode::kind(self))
            }

            fn is_empty(&self) -> bool {
                is_empty(self)
            }
        }
    )*};
}

encode_metric! {
    [] Counter;
    [] CounterF64;
    [] Gauge;
    [] GaugeF64;
    [] LevelGauge;
    [] Histogram;
    [] Info;
    [S: LabelEnum] StateSet<S>;
    [L: Labels, M: Instrument] Family<L, M>;
    [L: DenseLabels, M: Instrument] DenseFamily<L, M>;
    [M: Instrument, const N: usize] DynamicFamily<M, N>;
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::StateSet => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
        Kind::Unknown => MetricType::Unknown,
    }
}

/// Gives what our own formats would show to the encoder of the other crate.
fn encode(metric: &dyn Encode, encoder: MetricEncoder<'_>) -> Result<(), Error> {
    let mut theirs = Theirs {
        encoder,
        result: Ok(()),
    };
    metric.write(&mut Series::new(&mut theirs, ""));
    theirs.result
}

fn is_empty(metric: &dyn Encode) -> bool {
    metric.is_empty()
}

/// Their encoder as one of ours.
struct Theirs<'a> {
    encoder: MetricEncoder<'a>,
    result: Result<(), Error>,
}

impl Encoder for Theirs<'_> {
    fn begin(&mut self, _header: &Header<'_>) {}

    fn put(&mut self, labels: Rendered<'_>, value: &Value<'_>) {
        if self.result.is_err() {
            return;
        }
        self.result = match *value {
            // The name of the metric, which would be the label's, is not known here.
            Value::States(states) => state_label(labels.own).and_then(|name| {
                states.iter().try_for_each(|(state, on)| {
                    let mut own = labels.own.to_owned();
                    push_label(&mut own, &name, state);
                    let on = Value::Gauge(Number::Unsigned(u64::from(*on)));
                    self.series(&own, &on)
                })
            }),
            _ => self.series(labels.own, value),
        };
    }

    fn end(&mut self) {}

    fn abandon(&mut self) {}

    fn has_exemplars(&self) -> bool {
        false // theirs cannot be made
    }
}

impl Theirs<'_> {
    fn series(&mut self, labels: &str, value: &Value<'_>) -> Result<(), Error> {
        match (labels, value) {
            (_, Value::Info) => self.encoder.encode_info(&Pairs(labels)),
            ("", value) => write(&mut self.encoder, value),
            (labels, value) => write(&mut self.encoder.encode_family(&Pairs(labels))?, value),
        }
    }
}

/// Returns the name of the label that says which state: `state`, or one with underscores if the series has that label
/// of its own.
fn state_label(own: &str) -> Result<String, Error> {
    let pairs = label_pairs(own).ok_or(Error)?;
    let mut name = "state".to_owned();
    while pairs.iter().any(|(own, _)| *own == name) {
        name.push('_');
    }
    Ok(name)
}

fn write(encoder: &mut MetricEncoder<'_>, value: &Value<'_>) -> Result<(), Error> {
    match *value {
        Value::Counter { value, .. } => match value {
            Number::Unsigned(value) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
            other => encoder.encode_counter::<NoLabelSet, _, u64>(&other.to_float(), None),
        },
        Value::Gauge(Number::Unsigned(value)) => encoder.encode_gauge(&value),
        Value::Gauge(Number::Signed(value)) => encoder.encode_gauge(&value),
        Value::Gauge(Number::Float(value)) => encoder.encode_gauge(&value),
        Value::Histogram { snapshot, .. } => write_histogram(encoder, snapshot),
        Value::Unknown(_) | Value::Info | Value::States(_) => Err(Error),
    }
}

fn write_histogram(encoder: &mut MetricEncoder<'_>, snapshot: &HistogramSnapshot) -> Result<(), Error> {
    let bounds = snapshot.bounds().iter().copied().chain([f64::INFINITY]);
    let mut buckets: Vec<_> = bounds.zip(snapshot.counts().iter().copied()).collect();
    if buckets.is_empty() {
        buckets.push((f64::INFINITY, snapshot.count())); // native ones cannot be shown there
    }
    // Not that of native buckets, which may be one ahead: it has to be that of +Inf.
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(snapshot.sum(), count, &buckets, None)
}

/// Returns how names of labels are spelled, since that crate puts none in quotes: as everybody does who is not asked,
/// or, where two would be the same then, in the way that keeps them apart.
fn escaping<'a>(names: &(impl Iterator<Item = &'a str> + Clone)) -> Escaping {
    match alike(names) {
        None => Escaping::Underscores,
        Some(_) => Escaping::Values,
    }
}

/// Labels that are rendered already, taken apart again for an encoder that may not write text.
struct Pairs<'a>(&'a str);

impl EncodeLabelSet for Pairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), Error> {
        let pairs = label_pairs(self.0).ok_or(Error)?;
        let escaping = escaping(&pairs.iter().map(|(name, _)| name.as_ref()));
        for (name, value) in &pairs {
            (escaping.label_name(name).as_ref(), value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
