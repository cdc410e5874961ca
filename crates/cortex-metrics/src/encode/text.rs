use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use super::encoder::{Encoder, Header, Labels, Number, Value};
use super::escape::escape;
use super::lines::Lines;
use super::number::push_float;
use crate::HistogramSnapshot;
use crate::exemplar::Exemplar;
use crate::metric::Kind;

/// Writes one of the two text formats.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
    /// As it stands between quotes, if it needs some.
    name: String,
    is_quoted: bool,
    prefix: Prefix,
    /// Where the family starts, and where its series do.
    start: usize,
    body: usize,
    /// Whether it has series that the format cannot show, and how many families have no others.
    hides: bool,
    hidden: u64,
}

/// What the lines of a family start with: its name with a suffix, the brace, the labels of the sub-registry. A name in
/// quotes stands behind the brace.
#[derive(Debug, Default)]
struct Prefix {
    suffix: &'static str,
    scope: String,
    text: String,
}

impl Prefix {
    #[inline]
    fn is_of(&self, suffix: &str, scope: &str) -> bool {
        // Empty ones first: glibc's `memcmp` takes some 30 ns for no bytes at an address that is none.
        let same_scope = self.scope.len() == scope.len() && (scope.is_empty() || self.scope == scope);
        // Suffixes are constants: the same one has the same address, or the text is only made again.
        !self.text.is_empty() && std::ptr::eq(self.suffix, suffix) && same_scope
    }

    #[cold]
    fn set(&mut self, name: &str, is_quoted: bool, suffix: &'static str, scope: &str) {
        self.suffix = suffix;
        scope.clone_into(&mut self.scope);
        self.text.clear();
        let comma = if scope.is_empty() { "" } else { "," };
        if is_quoted {
            self.text.extend(["{\"", name, suffix, "\",", scope, comma]);
        } else {
            self.text.extend([name, suffix, "{", scope, comma]);
        }
    }

    /// Returns two parts that stand instead before the blank, if the series has no labels of its own.
    fn bare(&self) -> [&str; 2] {
        let start = &*self.text;
        match start.strip_suffix(',') {
            Some(start) => [start, "}"],
            None => [start.strip_suffix('{').unwrap_or(start), ""],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Prometheus,
    OpenMetrics { created: bool },
}

impl<'a> Text<'a> {
    pub(crate) fn prometheus(out: &'a mut Vec<u8>) -> Self {
        Self::new(out, Dialect::Prometheus)
    }

    /// With `created`, lines of their own tell since when something is counted.
    pub(crate) fn open_metrics(out: &'a mut Vec<u8>, created: bool) -> Self {
        Self::new(out, Dialect::OpenMetrics { created })
    }

    fn new(out: &'a mut Vec<u8>, dialect: Dialect) -> Self {
        Self {
            out,
            dialect,
            name: String::new(),
            is_quoted: false,
            prefix: Prefix::default(),
            start: 0,
            body: 0,
            hides: false,
            hidden: 0,
        }
    }

    /// Ends the exposition and returns how many families it could not show.
    pub(crate) fn finish(mut self) -> u64 {
        if self.is_open_metrics() {
            self.push(&["# EOF\n"]);
        }
        self.hidden
    }

    fn is_open_metrics(&self) -> bool {
        self.dialect != Dialect::Prometheus
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes everything before the value.
    #[inline]
    fn open(&mut self, suffix: &'static str, labels: Labels<'_>) {
        if labels.own.is_empty() {
            if self.is_quoted {
                return self.open_bare(suffix, labels.scope);
            }
            self.out.extend_from_slice(self.name.as_bytes());
            match labels.scope {
                "" => self.push(&[suffix, " "]),
                scope => self.push(&[suffix, "{", scope, "} "]),
            }
        } else {
            self.start(suffix, labels.scope);
            self.out.extend_from_slice(labels.own.as_bytes());
            self.out.extend_from_slice(b"} ");
        }
    }

    /// Writes everything before the value of a series without labels of its own, whose name is in quotes.
    #[cold]
    fn open_bare(&mut self, suffix: &'static str, scope: &str) {
        self.prefix.set(&self.name, true, suffix, scope);
        let [start, end] = self.prefix.bare();
        for part in [start, end, " "] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Writes everything before one more label, and returns where it stands.
    fn open_more(&mut self, suffix: &'static str, labels: Labels<'_>) -> Range<usize> {
        let start = self.out.len();
        self.start(suffix, labels.scope);
        if !labels.own.is_empty() {
            self.push(&[labels.own, ","]);
        }
        start..self.out.len()
    }

    /// Writes what many lines start with alike, up to the labels of the series.
    #[inline]
    fn start(&mut self, suffix: &'static str, scope: &str) {
        if !self.prefix.is_of(suffix, scope) {
            self.prefix.set(&self.name, self.is_quoted, suffix, scope);
        }
        self.out.extend_from_slice(self.prefix.text.as_bytes());
    }

    #[inline]
    fn number(&mut self, number: Number) {
        match number {
            Number::Unsigned(value) => {
                self.out
                    .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            Number::Signed(value) => self.push(&[itoa::Buffer::new().format(value)]),
            Number::Float(value) => push_float(self.out, value),
        }
    }

    fn line(&mut self, suffix: &'static str, labels: Labels<'_>, number: Number) {
        self.open(suffix, labels);
        self.number(number);
        self.out.push(b'\n');
    }

    fn counter(
        &mut self,
        labels: Labels<'_>,
        value: Number,
        exemplar: Option<&Exemplar>,
        created: Option<SystemTime>,
    ) {
        self.open("_total", labels);
        self.number(value);
        if let Some(exemplar) = exemplar {
            self.exemplar(exemplar);
        }
        self.out.push(b'\n');
        self.created(labels, created);
    }

    fn histogram(
        &mut self,
        labels: Labels<'_>,
        snapshot: &HistogramSnapshot,
        exemplars: &[(usize, Exemplar)],
        created: Option<SystemTime>,
    ) {
        if snapshot.counts().is_empty() {
            self.hides = true;
            return; // neither format knows native buckets
        }
        let mut number = itoa::Buffer::new();
        let mut cumulative = 0_u64;
        let mut start: Option<Range<usize>> = None;
        for (at, (tail, count)) in snapshot.tails().iter().zip(snapshot.counts()).enumerate() {
            // All lines start alike: the start is copied from the first.
            match &start {
                Some(start) => self.out.extend_from_within(start.clone()),
                None => start = Some(self.open_more("_bucket", labels)),
            }
            cumulative += count;
            self.push(&[tail, number.format(cumulative)]);
            if let Some((_, exemplar)) = exemplars.iter().find(|(bucket, _)| *bucket == at) {
                self.exemplar(exemplar);
            }
            self.out.push(b'\n');
        }
        // OpenMetrics forbids a sum that may fall, and a count without a sum.
        if !(snapshot.is_signed() && self.is_open_metrics()) {
            self.line("_sum", labels, Number::Float(snapshot.sum()));
            self.line("_count", labels, Number::Unsigned(cumulative));
            self.created(labels, created);
        }
    }

    fn states(&mut self, labels: Labels<'_>, states: &[(&str, bool)]) {
        for (state, on) in states {
            self.open_more("", labels);
            let mut value = String::new();
            escape(&mut value, state, true);
            // The label has the name of the metric: OpenMetrics 1.0, StateSet.
            let name = std::mem::take(&mut self.name);
            let quote = if self.is_quoted { "\"" } else { "" };
            self.push(&[
                quote,
                &name,
                quote,
                "=\"",
                &value,
                if *on { "\"} 1\n" } else { "\"} 0\n" },
            ]);
            self.name = name;
        }
    }

    fn exemplar(&mut self, exemplar: &Exemplar) {
        if !self.is_open_metrics() {
            return;
        }
        self.push(&[" # {", &exemplar.labels, "} "]);
        push_float(self.out, exemplar.value);
        if let Some(time) = exemplar.time {
            self.push(&[" "]);
            self.time(time);
        }
    }

    fn created(&mut self, labels: Labels<'_>, created: Option<SystemTime>) {
        if let (Dialect::OpenMetrics { created: true }, Some(time)) = (self.dialect, created) {
            self.open("_created", labels);
            self.time(time);
            self.out.push(b'\n');
        }
    }

    /// Writes seconds since 1970, to the millisecond.
    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = format!("{}.{:03}", since.as_secs(), since.subsec_millis());
        self.push(&[&text]);
    }
}

impl Encoder for Text<'_> {
    fn begin(&mut self, header: &Header<'_>) {
        self.start = self.out.len();
        self.hides = false;
        self.prefix = Prefix::default();
        self.is_quoted = header.has_utf8_name;
        self.name.clear();
        if self.is_quoted {
            escape(&mut self.name, header.name, true);
        } else {
            self.name.push_str(header.name);
        }
        // The older format knows names of series only, and fewer types.
        let (suffix, kind) = match header.kind {
            _ if self.is_open_metrics() => ("", ""),
            Kind::Counter => ("_total", "counter"),
            Kind::Info => ("_info", "gauge"),
            Kind::StateSet => ("", "gauge"),
            Kind::Unknown => ("", "untyped"),
            Kind::Gauge | Kind::Histogram => ("", header.kind.name()),
        };
        let quoted = self.is_quoted.then(|| ["\"", &self.name, suffix, "\""].concat());
        let (name, suffix) = match &quoted {
            Some(quoted) => (quoted.as_str(), ""),
            None => (header.name, suffix),
        };
        if self.is_open_metrics() {
            self.push(&["# TYPE ", name, " ", header.kind.name(), "\n"]);
            if let Some(unit) = header.unit {
                self.push(&["# UNIT ", name, " ", unit, "\n"]);
            }
        }
        if !header.help.is_empty() {
            let mut help = String::new();
            escape(&mut help, header.help, self.is_open_metrics());
            self.push(&["# HELP ", name, suffix, " ", &help, "\n"]);
        }
        if !self.is_open_metrics() {
            self.push(&["# TYPE ", name, suffix, " ", kind, "\n"]);
        }
        self.body = self.out.len();
    }

    fn put(&mut self, labels: Labels<'_>, value: &Value<'_>) {
        match *value {
            Value::Counter {
                value,
                exemplar,
                created,
            } => self.counter(labels, value, exemplar, created),
            Value::Gauge(number) | Value::Unknown(number) => self.line("", labels, number),
            Value::Histogram {
                snapshot,
                exemplars,
                created,
            } => self.histogram(labels, snapshot, exemplars, created),
            Value::Info => self.line("_info", labels, Number::Unsigned(1)),
            Value::States(states) => self.states(labels, states),
        }
    }

    fn end(&mut self) {
        if self.out.len() == self.body {
            self.out.truncate(self.start); // no series: neither a header
            self.hidden += u64::from(self.hides);
        }
    }

    fn abandon(&mut self) {
        self.out.truncate(self.start);
    }

    fn lines(&mut self, kind: Kind, scope: &str) -> Option<Lines<'_>> {
        let suffix = match (kind, self.dialect) {
            (Kind::Counter, Dialect::OpenMetrics { created: true }) => return None,
            (Kind::Counter, _) => "_total",
            (Kind::Gauge, _) => "",
            _ => return None,
        };
        if !self.prefix.is_of(suffix, scope) {
            self.prefix.set(&self.name, self.is_quoted, suffix, scope);
        }
        let (start, bare) = (&*self.prefix.text, self.prefix.bare());
        let out = &mut *self.out;
        Some(Lines { out, start, bare })
    }

    fn has_exemplars(&self) -> bool {
        self.is_open_metrics()
    }
}
