use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::budget::{Budget, element, text};
use crate::encode::{Encoder, Header, Labels, Number, Value, label_pairs};
use crate::exemplar::Exemplar;
use crate::metric::Kind;
use crate::name::{Names, is_legacy_label, is_legacy_metric};
use crate::{HistogramSnapshot, NameScheme};

/// A family that is known only at the scrape.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<String>,
    help: String,
    series: Vec<LooseSeries>,
    keys: HashSet<SeriesKey>,
    /// The names of all labels: there are few, however many series there are.
    label_names: BTreeSet<Box<str>>,
}

/// One series of such a family.
#[derive(Debug)]
struct LooseSeries {
    /// With those of the sub-registry.
    labels: Box<str>,
    value: LooseValue,
}

#[derive(Debug)]
pub(crate) enum LooseValue {
    Counter(Number, Option<Box<Exemplar>>),
    Gauge(Number),
    Unknown(Number),
    Info,
    Histogram(Box<LooseHistogram>),
}

#[derive(Debug)]
pub(crate) struct LooseHistogram {
    pub(crate) snapshot: HistogramSnapshot,
    pub(crate) exemplars: Vec<(usize, Exemplar)>,
}

/// Tells a series from others of its family: its labels, in an order that does not depend on how they were written.
///
/// It is a hash, 16 bytes however long the labels are. That two series have the same is so unlikely, once in 2^64 for
/// families of 2^32 series, that it need not be told from a series that is there twice; and nobody can bring it about,
/// because the keys are random and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SeriesKey([u64; 2]);

/// Makes the keys of all series at one scrape.
#[derive(Clone, Debug)]
pub(crate) struct SeriesHasher([RandomState; 2]);

impl SeriesHasher {
    pub(crate) fn new() -> Self {
        Self([RandomState::new(), RandomState::new()])
    }

    fn key(&self, pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> SeriesKey {
        let [first, second] = &self.0;
        // The second one hashes another text, too: the standard library counts up from one state to the next.
        SeriesKey([first.hash_one(pairs), second.hash_one((pairs, "2"))])
    }
}

impl Loose {
    /// What a family takes beside its texts: itself, and where it is found by its name, in its source and in all.
    const COST: usize = element::<Self>() + 2 * element::<(String, usize)>() + 5 * text(0);

    /// Makes a family without series, whose name is good; nothing if the budget does not allow it.
    pub(crate) fn new(
        scheme: NameScheme,
        (name, kind): (&str, Kind),
        unit: Option<&str>,
        help: &str,
        budget: &mut Budget,
    ) -> Option<Self> {
        let texts = 3 * name.len() + unit.unwrap_or_default().len() + help.len();
        let cost = Self::COST + texts + Names::cost(scheme, name, kind);
        budget.pay(cost).then(|| Self {
            name: name.to_owned(),
            kind,
            unit: unit.map(str::to_owned),
            help: help.to_owned(),
            series: Vec::new(),
            keys: HashSet::new(),
            label_names: BTreeSet::new(),
        })
    }

    /// Adds a series with rendered labels; nothing if they are not well formed, one repeats, a series with the same is
    /// there, or the budget does not allow it.
    pub(crate) fn push(
        &mut self,
        labels: String,
        value: LooseValue,
        hasher: &SeriesHasher,
        budget: &mut Budget,
    ) -> Option<()> {
        if !budget.pay(LooseSeries::COST + text(labels.len())) {
            return None;
        }
        let mut pairs = label_pairs(&labels)?;
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        for (name, _) in &pairs {
            if !self.label_names.contains(&**name) {
                if !budget.pay(element::<Box<str>>() + text(name.len())) {
                    return None;
                }
                self.label_names.insert(Box::from(&**name));
            }
        }
        pairs.retain(|(_, value)| !value.is_empty()); // to a scraper an empty label is none
        if !self.keys.insert(hasher.key(&pairs)) {
            return None;
        }
        self.series.push(LooseSeries {
            labels: labels.into(),
            value,
        });
        Some(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Lists the names of all labels, in order.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.label_names.iter().map(|name| &**name)
    }

    /// Whether a series of the other one is there.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        !self.keys.is_disjoint(&other.keys)
    }

    /// Whether all labels of the other one are here, too.
    pub(crate) fn has_labels_of(&self, other: &Self) -> bool {
        other.label_names.is_subset(&self.label_names)
    }

    /// Lists the names of the labels of both, each once.
    pub(crate) fn all_label_names<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> + Clone {
        self.label_names.union(&other.label_names).map(|name| &**name)
    }

    /// Takes the series of another one, none of which is here.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.series.append(&mut other.series);
        self.keys.extend(other.keys);
        self.label_names.append(&mut other.label_names);
    }

    pub(crate) fn write(&self, encoder: &mut dyn Encoder) {
        encoder.begin(&Header {
            name: &self.name,
            kind: self.kind,
            unit: self.unit.as_deref(),
            help: &self.help,
            has_utf8_name: !is_legacy_metric(&self.name),
            has_utf8_labels: !self.label_names().all(is_legacy_label),
        });
        for series in &self.series {
            let labels = Labels {
                scope: "",
                own: &series.labels,
            };
            encoder.put(labels, &series.value.show());
        }
        encoder.end();
    }

    #[cfg(test)]
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |series: &LooseSeries| match series.value {
            LooseValue::Gauge(value) | LooseValue::Counter(value, _) => {
                format!("{}{{{}}} {:?}", self.name, series.labels, value.to_float())
            }
            _ => unreachable!("a collector gives nothing else"),
        };
        self.series.iter().map(line).collect()
    }
}

impl LooseSeries {
    /// What a series takes beside its labels, and what its value points to.
    const COST: usize = element::<Self>() + element::<SeriesKey>();
}

impl LooseValue {
    /// What an exemplar takes beside its labels.
    pub(crate) const EXEMPLAR: usize = element::<(usize, Exemplar)>() + text(0);

    /// What a histogram takes beside its buckets and exemplars.
    pub(crate) const HISTOGRAM: usize = size_of::<LooseHistogram>() + 4 * text(0);

    fn show(&self) -> Value<'_> {
        match self {
            Self::Counter(value, exemplar) => Value::Counter {
                value: *value,
                exemplar: exemplar.as_deref(),
                created: None,
            },
            Self::Gauge(number) => Value::Gauge(*number),
            Self::Unknown(number) => Value::Unknown(*number),
            Self::Info => Value::Info,
            Self::Histogram(histogram) => Value::Histogram {
                snapshot: &histogram.snapshot,
                exemplars: &histogram.exemplars,
                created: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LooseValue = LooseValue::Gauge(Number::Unsigned(1));

    fn family(budget: &mut Budget) -> Loose {
        Loose::new(NameScheme::Legacy, ("f", Kind::Gauge), None, "", budget).expect("there is room")
    }

    #[test]
    fn series_are_told_apart_by_their_labels() {
        let (hasher, budget) = (SeriesHasher::new(), &mut Budget::new(1 << 20));
        let mut family = family(budget);
        let mut push = |labels: &str| family.push(labels.to_owned(), ONE, &hasher, budget).is_some();
        assert!(push("a=\"1\",b=\"2\""));
        for new in [
            "",
            "a=\"1\"",
            "b=\"1\",a=\"2\"",
            "a=\"12\",b=\"\"",
            "\"a.\"=\"1\",b=\"2\"",
            "a=\"1\\n\"",
        ] {
            assert!(push(new), "{new}");
            assert!(!push(new), "{new}");
        }
        // In another order, with an empty one, and not well formed.
        for old in ["b=\"2\",a=\"1\"", "c=\"\",a=\"1\"", "a=\"1\",a=\"2\"", "a"] {
            assert!(!push(old), "{old}");
        }
        assert_eq!(family.label_names().collect::<Vec<_>>(), ["a", "a.", "b", "c"]);
    }

    #[test]
    fn both_halves_of_a_key_tell_series_apart() {
        let hashers = [SeriesHasher::new(), SeriesHasher::new()];
        let mut halves = HashSet::new();
        for hasher in &hashers {
            for n in 0..1_000 {
                let name = Cow::from("n");
                let SeriesKey(key) = hasher.key(&[(name.clone(), n.to_string().into())]);
                assert_eq!(key, hasher.clone().key(&[(name, n.to_string().into())]).0);
                halves.extend(key);
            }
        }
        assert_eq!(halves.len(), 4_000);
    }

    #[test]
    fn families_meet_in_series_and_labels() {
        let (hasher, budget) = (SeriesHasher::new(), &mut Budget::new(1 << 20));
        let mut with = |labels: &[&str]| {
            let mut family = family(budget);
            for labels in labels {
                family
                    .push((*labels).to_owned(), ONE, &hasher, budget)
                    .expect("it is new");
            }
            family
        };
        let mut first = with(&["a=\"1\"", "b=\"1\""]);
        let second = with(&["a=\"2\""]);
        let third = with(&["b=\"1\"", "c=\"1\""]);
        assert!(!first.meets(&second) && first.meets(&third) && third.meets(&first));
        assert!(first.has_labels_of(&second) && !first.has_labels_of(&third));
        assert_eq!(first.all_label_names(&third).collect::<Vec<_>>(), ["a", "b", "c"]);
        first.append(second);
        assert!(first.meets(&with(&["a=\"2\""])));
        assert_eq!(first.series.len(), 3);
    }

    #[test]
    fn what_is_kept_is_paid_for() {
        let hasher = SeriesHasher::new();
        let few = &mut Budget::new(10);
        assert!(Loose::new(NameScheme::Legacy, ("f", Kind::Gauge), None, "", few).is_none());
        let budget = &mut Budget::new(1 << 20);
        let mut family = family(budget);
        let value = "\u{1}".repeat(200);
        let mut count = 0_usize;
        while family
            .push(format!("n=\"{count}{value}\""), ONE, &hasher, budget)
            .is_some()
        {
            count += 1;
        }
        let series = family.series.capacity() * size_of::<LooseSeries>();
        let keys = family.keys.capacity() * (size_of::<SeriesKey>() + 1);
        let labels: usize = family.series.iter().map(|series| series.labels.len()).sum();
        assert!(series + keys + labels <= 1 << 20);
        assert!(labels >= 1 << 19, "{labels}");
    }
}
