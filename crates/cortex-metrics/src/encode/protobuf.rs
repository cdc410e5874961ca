use std::time::{SystemTime, UNIX_EPOCH};

use super::encoder::{Encoder, Header, Labels, Value};
use super::escape::unescape;
use super::parse::{quoted, raw_pairs};
use super::wire::{Message, delimited};
use crate::exemplar::Exemplar;
use crate::metric::Kind;
use crate::name::own_suffix;
use crate::{HistogramSnapshot, NativeSnapshot};

/// Writes `io.prometheus.client.MetricFamily` messages, each after its length: the only format of Prometheus that knows
/// native histograms.
///
/// <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>
#[derive(Debug)]
pub(crate) struct Protobuf<'a> {
    out: &'a mut Vec<u8>,
    name: String,
    head: Vec<u8>,
    series: Vec<u8>,
}

impl<'a> Protobuf<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            name: String::new(),
            head: Vec::new(),
            series: Vec::new(),
        }
    }
}

impl Encoder for Protobuf<'_> {
    fn begin(&mut self, header: &Header<'_>) {
        // There is no counterpart to names without a suffix, nor to infos and state sets.
        let kind = match header.kind {
            Kind::Counter => 0,
            Kind::Gauge | Kind::StateSet | Kind::Info => 1,
            Kind::Unknown => 3,
            Kind::Histogram => 4,
        };
        header.name.clone_into(&mut self.name);
        self.head.clear();
        self.series.clear();
        let mut family = Message::new(&mut self.head);
        family.text(1, &format!("{}{}", self.name, own_suffix(header.kind)));
        family.text(2, header.help);
        family.uint(3, kind);
        family.text(5, header.unit.unwrap_or_default());
    }

    fn put(&mut self, labels: Labels<'_>, value: &Value<'_>) {
        let mut family = Message::new(&mut self.series);
        let mut metric = |more: Option<(&str, &str)>, write: &dyn Fn(&mut Message<'_>)| {
            family.message(4, |metric| {
                for rendered in [labels.scope, labels.own] {
                    write_labels(metric, rendered);
                }
                if let Some((name, value)) = more {
                    write_label(metric, name, value);
                }
                write(metric);
            });
        };
        match *value {
            Value::Counter {
                value,
                exemplar,
                created,
            } => metric(None, &|metric| {
                metric.message(3, |counter| {
                    counter.double(1, value.to_float());
                    if let Some(exemplar) = exemplar {
                        counter.message(2, |message| write_exemplar(message, exemplar));
                    }
                    write_time(counter, 3, created);
                });
            }),
            Value::Gauge(number) => metric(None, &|metric| {
                metric.message(2, |gauge| gauge.double(1, number.to_float()));
            }),
            Value::Info => metric(None, &|metric| metric.message(2, |gauge| gauge.double(1, 1.0))),
            Value::Unknown(number) => metric(None, &|metric| {
                metric.message(5, |untyped| untyped.double(1, number.to_float()));
            }),
            Value::States(states) => {
                for (state, on) in states {
                    metric(Some((&self.name, state)), &|metric| {
                        metric.message(2, |gauge| gauge.double(1, f64::from(u8::from(*on))));
                    });
                }
            }
            Value::Histogram {
                snapshot,
                exemplars,
                created,
            } => metric(None, &|metric| {
                metric.message(7, |histogram| {
                    write_histogram(histogram, snapshot, exemplars);
                    write_time(histogram, 15, created);
                });
            }),
        }
    }

    fn end(&mut self) {
        if self.series.is_empty() {
            return;
        }
        delimited(self.out, |family| {
            family.append(&self.head);
            family.append(&self.series);
        });
    }

    fn abandon(&mut self) {} // written by `end` only

    fn has_exemplars(&self) -> bool {
        true
    }
}

fn write_labels(message: &mut Message<'_>, rendered: &str) {
    for (name, value) in raw_pairs(rendered) {
        match quoted(name) {
            Some(inside) => write_label(message, &unescape(inside), &unescape(value)),
            None => write_label(message, name, &unescape(value)),
        }
    }
}

fn write_label(message: &mut Message<'_>, name: &str, value: &str) {
    message.message(1, |pair| {
        pair.text(1, name);
        pair.text(2, value);
    });
}

fn write_histogram(message: &mut Message<'_>, snapshot: &HistogramSnapshot, exemplars: &[(usize, Exemplar)]) {
    message.uint(1, snapshot.count());
    message.double(2, snapshot.sum());
    let mut cumulative = 0;
    // The last bucket, that of +Inf, is the count.
    for (at, (bound, count)) in snapshot.bounds().iter().zip(snapshot.counts()).enumerate() {
        cumulative += count;
        message.message(3, |bucket| {
            bucket.uint(1, cumulative);
            bucket.double(2, *bound);
            write_bucket_exemplar(bucket, at, exemplars);
        });
    }
    let last = snapshot.bounds().len();
    if !snapshot.counts().is_empty() && exemplars.iter().any(|(at, _)| *at == last) {
        message.message(3, |bucket| {
            bucket.uint(1, snapshot.count());
            bucket.double(2, f64::INFINITY);
            write_bucket_exemplar(bucket, last, exemplars);
        });
    }
    if let Some(native) = snapshot.native() {
        write_native(message, native);
        // Those of native histograms must have a time, and ours do.
        for (_, exemplar) in exemplars.iter().filter(|(_, exemplar)| exemplar.time.is_some()) {
            message.message(16, |message| write_exemplar(message, exemplar));
        }
    }
}

fn write_bucket_exemplar(bucket: &mut Message<'_>, at: usize, exemplars: &[(usize, Exemplar)]) {
    if let Some((_, exemplar)) = exemplars.iter().find(|(slot, _)| *slot == at) {
        bucket.message(3, |message| write_exemplar(message, exemplar));
    }
}

fn write_native(message: &mut Message<'_>, native: &NativeSnapshot) {
    message.sint(5, native.schema().into());
    message.double(6, native.zero_threshold());
    message.uint(7, native.zero_count());
    write_side(message, (9, 10), native.negative());
    write_side(message, (12, 13), native.positive());
    // Without a threshold and without buckets it would be taken for a classic histogram: a span of none tells.
    let is_empty = native.positive().is_empty() && native.negative().is_empty();
    if native.zero_threshold() == 0.0 && is_empty {
        message.message(12, |_| {});
    }
}

/// Writes spans of buckets that follow each other, and each count as the difference to the one before.
fn write_side(message: &mut Message<'_>, (span_field, delta_field): (u32, u32), buckets: &[(i32, u64)]) {
    let mut end = 0;
    for span in buckets.chunk_by(|(one, _), (next, _)| one + 1 == *next) {
        let first = span[0].0;
        message.message(span_field, |message| {
            message.sint(1, i64::from(first - end));
            message.uint(2, span.len() as u64);
        });
        end = span[span.len() - 1].0 + 1;
    }
    let deltas = buckets.iter().scan(0, |before, (_, count)| {
        let count = count.cast_signed();
        Some(count - std::mem::replace(before, count))
    });
    message.packed_signed(delta_field, deltas);
}

fn write_exemplar(message: &mut Message<'_>, exemplar: &Exemplar) {
    write_labels(message, &exemplar.labels);
    message.double(2, exemplar.value);
    write_time(message, 3, exemplar.time);
}

/// Writes a `google.protobuf.Timestamp`.
fn write_time(message: &mut Message<'_>, field: u32, time: Option<SystemTime>) {
    if let Some(time) = time {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        message.message(field, |timestamp| {
            timestamp.uint(1, since.as_secs());
            timestamp.uint(2, since.subsec_nanos().into());
        });
    }
}
