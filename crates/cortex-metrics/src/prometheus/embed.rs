use std::borrow::Cow;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry as Embedded;

use super::histograms::Histograms;
use crate::budget::Budget;
use crate::encode::{
    Number, Sample, has_utf8_names, label_pairs, parse_exemplar, parse_sample, push_label, unescape,
};
use crate::gather::Gathered;
use crate::labels::cut;
use crate::loose::{Loose, LooseValue, SeriesHasher};
use crate::metric::Kind;
use crate::name::is_legacy_metric;
use crate::scope::Scope;
use crate::{LabelValues, NameScheme, Registry, Samples};

impl Registry {
    /// Exposes a registry of `prometheus-client` after our own metrics, in every format; a sub-registry adds its prefix
    /// and labels.
    ///
    /// It knows no names that need quotes: those stay left out even where the registry is one of
    /// [`NameScheme::Utf8`].
    ///
    /// That registry checks nothing, so it is checked here, at each scrape: a family with a line that is malformed, or
    /// with a name or series that is exposed already, is left out and counted in [`dropped`](Self::dropped). If the
    /// registry fails in the middle, or exposes more than 64 MiB, or so much that more than 64 MiB have to be kept,
    /// what follows is left out too. Families with the same name, which it allows, are joined. Label values are cut at
    /// 256 bytes.
    ///
    /// # Examples
    ///
    /// See the module [`prometheus`](crate::prometheus).
    pub fn prometheus(&self, registry: Embedded) {
        self.embed(registry);
    }
}

/// Reads what an embedded registry exposes.
pub(crate) fn gather(registry: &Embedded, scope: &Scope, out: &mut Gathered<'_>) {
    gather_at_most(MAX_BYTES, Budget::new(MAX_BYTES), registry, scope, out);
}

fn gather_at_most(bytes: usize, budget: Budget, registry: &Embedded, scope: &Scope, out: &mut Gathered<'_>) {
    let mut bounded = Bounded {
        text: String::new(),
        left: bytes,
    };
    let encoded = catch_unwind(AssertUnwindSafe(|| encode_registry(&mut bounded, registry)));
    let mut text = bounded.text;
    if !matches!(encoded, Ok(Ok(()))) {
        // Cut back to the start of the family that failed.
        text.truncate(text.rfind("\n# HELP ").map_or(0, |at| at + 1));
        out.drop_families(1);
    }
    let mut reader = Reader {
        scope,
        hasher: out.hasher(),
        budget,
    };
    let mut block: Option<Block<'_>> = None;
    for line in text.split_terminator('\n') {
        if let Some(start) = line.strip_prefix("# HELP ") {
            finish(block.replace(Block::new(start)), &mut reader, out);
        } else if let Some(block) = &mut block {
            block.lines.push(line);
        }
    }
    finish(block, &mut reader, out);
}

fn finish(block: Option<Block<'_>>, reader: &mut Reader<'_>, out: &mut Gathered<'_>) {
    let Some(block) = block else { return };
    match block.read(reader) {
        Some(family) => out.add(family),
        None => out.drop_families(1),
    }
}

/// What an embedded registry exposes at most, and what is kept of it at most.
const MAX_BYTES: usize = Samples::MAX_BYTES;

/// A text that fails to grow beyond the bound.
struct Bounded {
    text: String,
    left: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.left = self.left.checked_sub(more.len()).ok_or(fmt::Error)?;
        self.text.push_str(more);
        Ok(())
    }
}

/// Cuts label values to as much as a family keeps, and takes out what no exposition may have; nothing if the labels are not
/// well formed.
fn cut_values(labels: &str) -> Option<Cow<'_, str>> {
    if labels.len() <= LabelValues::MAX_BYTES && !labels.contains('\0') {
        return Some(Cow::Borrowed(labels));
    }
    let mut rendered = String::new();
    for (name, value) in label_pairs(labels)? {
        push_label(&mut rendered, &name, cut(&value));
    }
    Some(Cow::Owned(rendered))
}

/// What families are read with.
struct Reader<'a> {
    scope: &'a Scope,
    hasher: SeriesHasher,
    budget: Budget,
}

/// The lines of one family.
struct Block<'a> {
    name: &'a str,
    help: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Block<'a> {
    fn new(start: &'a str) -> Self {
        let (name, help) = start.split_once(' ').unwrap_or((start, ""));
        let lines = Vec::new();
        Self { name, help, lines }
    }

    /// Reads the family strictly; nothing if a line is malformed.
    fn read(&self, reader: &mut Reader<'_>) -> Option<Loose> {
        let Reader {
            scope,
            hasher,
            budget,
        } = reader;
        let name = scope.qualify(self.name);
        // Names that not every scraper can read, which that crate writes without quotes, cannot be told from others;
        // the prefix, which may be one, is known.
        let is_readable = match scope.scheme() {
            NameScheme::Legacy => is_legacy_metric(&name),
            NameScheme::Utf8 => is_legacy_metric(self.name),
        };
        if !is_readable {
            return None;
        }
        let type_prefix = format!("# TYPE {} ", self.name);
        let mut lines = self.lines.iter();
        // Help is written as it is: what stands before the type are its further lines. Whether it was escaped by hand
        // cannot be known; what reads as an escape is taken for one.
        let mut help = self.help.to_owned();
        let kind = loop {
            let line = lines.next()?;
            if let Some(kind) = line.strip_prefix(&type_prefix) {
                break kind;
            }
            help.extend(["\n", line]);
        };
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "info" => Kind::Info,
            "unknown" => Kind::Unknown,
            _ => return None,
        };
        let unit_prefix = format!("# UNIT {} ", self.name);
        let unit = lines
            .as_slice()
            .first()
            .and_then(|line| line.strip_prefix(&unit_prefix));
        if unit.is_some() {
            lines.next();
        }
        if unit.is_some_and(|unit| !self.name.ends_with(&format!("_{unit}"))) {
            return None;
        }
        let mut family = Loose::new(scope.scheme(), (&name, kind), unit, &unescape(&help), budget)?;
        let mut histograms = Histograms::default();
        for line in lines {
            let sample = parse_sample(line)?;
            let suffix = sample.name.strip_prefix(self.name)?;
            let may_have_quotes = sample.labels.starts_with('"') || sample.labels.contains(",\"");
            if may_have_quotes && has_utf8_names(&label_pairs(sample.labels)?) {
                return None;
            }
            let labels = scope.join(&cut_values(sample.labels)?);
            if family.kind == Kind::Histogram {
                histograms.add(suffix, labels, &sample, budget)?;
            } else {
                family.push(labels, value(kind, suffix, &sample, budget)?, hasher, budget)?;
            }
        }
        for (labels, histogram) in histograms.finish()? {
            family.push(labels, histogram, hasher, budget)?;
        }
        Some(family)
    }
}

/// Reads the one sample of a series that is no histogram.
fn value(kind: Kind, suffix: &str, sample: &Sample<'_>, budget: &mut Budget) -> Option<LooseValue> {
    if !sample.exemplar.is_empty()
        && (kind != Kind::Counter || !budget.pay(LooseValue::EXEMPLAR + sample.exemplar.len()))
    {
        return None;
    }
    let number = number(sample.value)?;
    match (kind, suffix) {
        // False for NaN.
        (Kind::Counter, "_total") if number.to_float() >= 0.0 => Some(LooseValue::Counter(
            number,
            parse_exemplar(sample.exemplar).map(Box::new),
        )),
        (Kind::Gauge, "") => Some(LooseValue::Gauge(number)),
        (Kind::Unknown, "") => Some(LooseValue::Unknown(number)),
        (Kind::Info, "_info") => Some(LooseValue::Info),
        _ => None,
    }
}

fn number(text: &str) -> Option<Number> {
    let whole = text.parse().map(Number::Unsigned);
    let whole = whole.or_else(|_| text.parse().map(Number::Signed));
    whole.ok().or_else(|| text.parse().ok().map(Number::Float))
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
    use prometheus_client::metrics::family::Family as Labelled;
    use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
    use prometheus_client::metrics::histogram::Histogram;

    use super::*;
    use crate::encode::Text;
    use crate::name::Names;

    #[derive(Debug)]
    struct Endless;

    impl Collector for Endless {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            (0_u64..).try_for_each(|n| {
                let gauge = ConstGauge::new(n);
                gauge.encode(encoder.encode_descriptor(&format!("g{n}"), "G", None, gauge.metric_type())?)
            })
        }
    }

    #[test]
    fn an_exposition_without_end_is_cut_back() {
        let mut registry = Embedded::default();
        registry.register_collector(Box::new(Endless));
        for bytes in (0..300).chain([4_000]) {
            let names = Names::default();
            let mut gathered = Gathered::new(&names);
            let budget = Budget::new(MAX_BYTES);
            gather_at_most(bytes, budget, &registry, &Scope::default(), &mut gathered);
            assert_eq!(gathered.dropped(), 1);
            let mut text = Vec::new();
            gathered.write(&mut Text::prometheus(&mut text));
            let text = String::from_utf8(text).unwrap();
            let family = |n: u64| format!("# HELP g{n} G\n# TYPE g{n} gauge\ng{n} {n}\n");
            let (mut all, mut last) = (String::new(), 0);
            for n in 0.. {
                let more = family(n);
                if all.len() + more.len() > bytes {
                    break;
                }
                last = all.len();
                all += &more;
            }
            // What fitted, or without the last one, if the next had not begun.
            assert!(text == all || text == all[..last], "{bytes}: {text}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut registry = Embedded::default();
        let family =
            Labelled::<Vec<(String, String)>, Histogram>::new_with_constructor(|| Histogram::new([1.0]));
        registry.register("first", "F", family.clone());
        registry.register("second", "S", family.clone());
        registry.register("third", "T", Gauge::<i64>::default());
        for n in 0..100 {
            family
                .get_or_create(&vec![("n".to_owned(), n.to_string())])
                .observe(0.5);
        }
        // More than the text takes, so that each bound is somewhere in the middle of what is kept.
        for (kept, families) in [(10, 0), (20_000, 0), (100_000, 1), (1 << 20, 3)] {
            let names = Names::default();
            let mut gathered = Gathered::new(&names);
            gather_at_most(
                MAX_BYTES,
                Budget::new(kept),
                &registry,
                &Scope::default(),
                &mut gathered,
            );
            let mut text = Vec::new();
            gathered.write(&mut Text::prometheus(&mut text));
            let text = String::from_utf8(text).unwrap();
            assert_eq!(text.matches("# TYPE").count(), families, "{kept}");
            assert_eq!(gathered.dropped(), 3 - families as u64, "{kept}");
        }
    }
}
