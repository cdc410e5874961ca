use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::point::{Place, write_attribute, write_exemplar, write_exponential, write_histogram};
use super::unit::unit;
use crate::Registry;
use crate::encode::{Encoder, Header, Labels, Message, Number, Value, label_pairs};
use crate::exemplar::Exemplar;
use crate::metric::Kind;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;

/// As many bytes as the lengths of messages may take that are known only when what is in them is.
const LENGTHS: usize = 64;

/// What requests say beside the numbers, and how much one may say.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The attributes of the resource.
    pub(super) resource: Vec<(String, String)>,
    /// Whether names lose what their unit says, too.
    pub(super) trims_units: bool,
    /// The most bytes of a request, unless one point alone has more.
    pub(super) max_bytes: usize,
}

/// An `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest`, or metrics for one.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// How many data points are in it.
    pub(super) points: u64,
}

impl Frame {
    /// Encodes what a registry has at this time: in one request, or in several if there is more than one may have.
    ///
    /// <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto/metrics/v1>
    pub(super) fn encode(&self, registry: &Registry, now: SystemTime) -> Vec<Encoded> {
        let frame = self.request(&[]).len() + LENGTHS;
        let mut families = Families {
            trims_units: self.trims_units,
            now: nanos(now),
            max_bytes: self.max_bytes.saturating_sub(frame),
            requests: Vec::new(),
            name: String::new(),
            head: Vec::new(),
            kind: Kind::Unknown,
            points: Vec::new(),
            exponential: Vec::new(),
            count: 0,
            parts: Vec::new(),
        };
        registry.encode_with(&mut families);
        let requests = families.requests.into_iter();
        let requests = requests.map(|Encoded { bytes, points }| Encoded {
            bytes: self.request(&bytes),
            points,
        });
        requests.collect()
    }

    /// Returns a request with these metrics.
    fn request(&self, metrics: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(metrics.len() + 1024);
        Message::new(&mut bytes).message(1, |resource_metrics| {
            resource_metrics.message(1, |resource| {
                for (key, value) in &self.resource {
                    write_attribute(resource, 1, key, value);
                }
            });
            resource_metrics.message(2, |scope_metrics| {
                scope_metrics.message(1, |scope| {
                    scope.text(1, env!("CARGO_PKG_NAME"));
                    scope.text(2, env!("CARGO_PKG_VERSION"));
                });
                scope_metrics.append(metrics);
            });
        });
        bytes
    }
}

/// Writes each family as a `Metric`, or as several that have some of the points each.
#[derive(Debug)]
struct Families {
    trims_units: bool,
    now: u64,
    /// The most bytes that the metrics of a request may have.
    max_bytes: usize,
    /// The metrics of each request, without what is around them.
    requests: Vec<Encoded>,
    /// The name of the family as Prometheus has it, which is the label of a state.
    name: String,
    /// Everything of the `Metric` but its points.
    head: Vec<u8>,
    kind: Kind,
    points: Vec<u8>,
    /// Apart from the classic ones, since they are of another type.
    exponential: Vec<u8>,
    /// How many points there are in both.
    count: u64,
    /// Metrics of the family that are as long as they may be.
    parts: Vec<Encoded>,
}

impl Families {
    fn put_number(
        &mut self,
        labels: Labels<'_>,
        state: Option<&str>,
        number: Number,
        created: Option<SystemTime>,
        exemplar: Option<&Exemplar>,
    ) {
        let before = self.written();
        let place = Place::new(labels, created, self.now);
        Message::new(&mut self.points).message(1, |point| {
            place.write(point, 7);
            if let Some(state) = state {
                write_attribute(point, 7, &self.name, state);
            }
            let whole = match number {
                Number::Unsigned(value) => i64::try_from(value).ok(),
                Number::Signed(value) => Some(value),
                Number::Float(_) => None,
            };
            match whole {
                Some(whole) => point.fixed(6, whole.cast_unsigned()),
                None => point.double(4, number.to_float()),
            }
            if let Some(exemplar) = exemplar {
                write_exemplar(point, 5, exemplar);
            }
        });
        self.count_point(before);
    }

    /// Returns how long the points of both types are.
    fn written(&self) -> (usize, usize) {
        (self.points.len(), self.exponential.len())
    }

    /// Counts the point that was written after so much else, which goes into the next part if it is too much for this
    /// one.
    fn count_point(&mut self, (points, exponential): (usize, usize)) {
        let len = self.points.len() + self.exponential.len() + 2 * (self.head.len() + LENGTHS);
        if len > self.max_bytes && self.count > 0 {
            let (point, other) = (
                self.points.split_off(points),
                self.exponential.split_off(exponential),
            );
            self.end_part();
            (self.points, self.exponential) = (point, other);
        }
        self.count += 1;
    }

    /// Ends a part of the family.
    fn end_part(&mut self) {
        let mut part = Encoded {
            points: std::mem::take(&mut self.count),
            bytes: Vec::new(),
        };
        let (field, is_sum) = match self.kind {
            Kind::Counter => (7, true),
            Kind::Histogram => (9, false),
            Kind::Gauge | Kind::Info | Kind::StateSet | Kind::Unknown => (5, false),
        };
        for (field, points) in [(field, &mut self.points), (10, &mut self.exponential)] {
            if points.is_empty() {
                continue;
            }
            Message::new(&mut part.bytes).message(2, |metric| {
                metric.append(&self.head);
                metric.message(field, |data| {
                    data.append(points);
                    if field != 5 {
                        data.uint(2, CUMULATIVE);
                        data.uint(3, u64::from(is_sum));
                    }
                });
            });
            points.clear();
        }
        if part.points > 0 {
            self.parts.push(part);
        }
    }
}

impl Encoder for Families {
    fn begin(&mut self, header: &Header<'_>) {
        self.abandon();
        header.name.clone_into(&mut self.name);
        self.kind = header.kind;
        self.head.clear();
        let mut metric = Message::new(&mut self.head);
        metric.text(1, &name(header, self.trims_units));
        metric.text(2, header.help);
        metric.text(3, &header.unit.map(unit).unwrap_or_default());
        // Types that OTLP does not have can be told apart by it.
        write_attribute(&mut metric, 12, "prometheus.type", header.kind.name());
    }

    fn put(&mut self, labels: Labels<'_>, value: &Value<'_>) {
        match *value {
            Value::Counter {
                value,
                exemplar,
                created,
            } => self.put_number(labels, None, value, created, exemplar),
            Value::Gauge(number) | Value::Unknown(number) => {
                self.put_number(labels, None, number, None, None);
            }
            Value::Info => self.put_number(labels, None, Number::Signed(1), None, None),
            Value::States(states) => {
                for (state, on) in states {
                    let number = Number::Signed(i64::from(*on));
                    self.put_number(labels, Some(state), number, None, None);
                }
            }
            Value::Histogram {
                snapshot,
                exemplars,
                created,
            } => {
                let before = self.written();
                let place = Place::new(labels, created, self.now);
                // Finer where there are both: nothing is lost, and only one can bear the name.
                if let Some(native) = snapshot.native() {
                    Message::new(&mut self.exponential).message(1, |point| {
                        place.write(point, 1);
                        write_exponential(point, snapshot, native);
                        for (_, exemplar) in exemplars {
                            write_exemplar(point, 11, exemplar);
                        }
                    });
                } else {
                    Message::new(&mut self.points).message(1, |point| {
                        place.write(point, 9);
                        write_histogram(point, snapshot);
                        for (_, exemplar) in exemplars {
                            write_exemplar(point, 8, exemplar);
                        }
                    });
                }
                self.count_point(before);
            }
        }
    }

    fn end(&mut self) {
        self.end_part();
        for mut part in self.parts.drain(..) {
            match self.requests.last_mut() {
                Some(last) if last.bytes.len() + part.bytes.len() <= self.max_bytes => {
                    last.bytes.append(&mut part.bytes);
                    last.points += part.points;
                }
                _ => self.requests.push(part),
            }
        }
    }

    fn abandon(&mut self) {
        self.points.clear();
        self.exponential.clear();
        self.parts.clear();
        self.count = 0;
    }

    fn has_exemplars(&self) -> bool {
        true
    }
}

/// Returns the name: that of Prometheus without `_total` and, if told so, without the unit.
fn name<'a>(header: &Header<'a>, trims_units: bool) -> Cow<'a, str> {
    let name = header.name;
    if header.kind == Kind::Info {
        return format!("{name}_info").into();
    }
    // A receiver appends `ratio` again only to gauges.
    let is_lost = |unit| unit == "ratio" && header.kind != Kind::Gauge;
    let trimmed = header
        .unit
        .filter(|unit| trims_units && !is_lost(*unit))
        .and_then(|unit| name.strip_suffix(unit)?.strip_suffix('_'))
        .filter(|rest| !rest.is_empty());
    trimmed.unwrap_or(name).into()
}

/// Returns the nanoseconds since 1970, as far as they fit.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the pairs of labels that we rendered.
pub(super) fn pairs(rendered: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    label_pairs(rendered).expect("invariant: we rendered them")
}
