use std::collections::{BTreeSet, HashMap, HashSet};

use crate::HistogramSnapshot;
use crate::encode::{Encoder, Header, Labels, Number, Value, has_utf8_names, label_pairs};
use crate::exemplar::Exemplar;
use crate::metric::Kind;
use crate::name::{Names, alike, is_legacy_metric};

/// A family that is known only at the scrape.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    pub(crate) series: Vec<LooseSeries>,
}

impl Loose {
    pub(crate) fn new(name: &str, kind: Kind, unit: Option<&str>, help: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            unit: unit.map(str::to_owned),
            help: help.to_owned(),
            series: Vec::new(),
        }
    }

    fn write(&self, encoder: &mut dyn Encoder) {
        encoder.begin(&Header {
            name: &self.name,
            kind: self.kind,
            unit: self.unit.as_deref(),
            help: &self.help,
            has_utf8_name: !is_legacy_metric(&self.name),
            has_utf8_labels: self.series.iter().any(|series| series.has_utf8_names),
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
}

/// One series of such a family.
#[derive(Debug)]
pub(crate) struct LooseSeries {
    /// Tells the series from others: its labels, in an order that does not depend on how they were written.
    pub(crate) key: String,
    /// With those of the sub-registry.
    labels: String,
    /// Whether there are scrapers that cannot read the name of one.
    has_utf8_names: bool,
    pub(crate) value: LooseValue,
}

#[derive(Debug)]
pub(crate) enum LooseValue {
    Counter(Number, Option<Exemplar>),
    Gauge(Number),
    Unknown(Number),
    Info,
    Histogram(HistogramSnapshot, Vec<(usize, Exemplar)>),
}

impl LooseValue {
    fn show(&self) -> Value<'_> {
        match self {
            Self::Counter(value, exemplar) => Value::Counter {
                value: *value,
                exemplar: exemplar.as_ref(),
                created: None,
            },
            Self::Gauge(number) => Value::Gauge(*number),
            Self::Unknown(number) => Value::Unknown(*number),
            Self::Info => Value::Info,
            Self::Histogram(snapshot, exemplars) => Value::Histogram {
                snapshot,
                exemplars,
                created: None,
            },
        }
    }
}

impl LooseSeries {
    /// Takes rendered labels; nothing if they are not well formed or one repeats.
    pub(crate) fn new(labels: String, value: LooseValue) -> Option<Self> {
        let mut pairs = label_pairs(&labels)?;
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let has_utf8_names = has_utf8_names(&pairs);
        pairs.retain(|(_, value)| !value.is_empty()); // to a scraper an empty label is none
        let key = format!("{pairs:?}");
        Some(Self {
            key,
            labels,
            has_utf8_names,
            value,
        })
    }
}

/// Whether an escaping spells two labels alike, be they of one series or of two.
fn are_alike<'a>(mut series: impl Iterator<Item = &'a LooseSeries> + Clone) -> bool {
    let all = series.clone();
    if !series.any(|series| series.has_utf8_names) {
        return false;
    }
    let pairs = all.filter_map(|series| label_pairs(&series.labels)).flatten();
    let names: BTreeSet<_> = pairs.map(|(name, _)| name).collect();
    alike(&names.iter().map(AsRef::as_ref)).is_some()
}

/// The families of one scrape that are not registered but collected, checked against those that are.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    registered: &'a Names,
    names: Names,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    /// The keys of each family's series.
    keys: Vec<HashSet<String>>,
    dropped: u64,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(registered: &'a Names) -> Self {
        Self {
            registered,
            names: Names::new(registered.scheme()),
            families: Vec::new(),
            by_name: HashMap::new(),
            keys: Vec::new(),
            dropped: 0,
        }
    }

    /// Adds a family, or its series to those that an earlier source gave of the same family. It is dropped, and
    /// counted, if it would expose what is exposed already.
    pub(crate) fn add(&mut self, mut family: Loose) {
        let known = self.by_name.get(&family.name).copied();
        let clash = |names: &Names| names.clash(&family.name, family.kind).is_some();
        let fits = match known.map(|at| &self.families[at]) {
            Some(known) => {
                known.kind == family.kind
                    && known.unit == family.unit
                    && !are_alike(known.series.iter().chain(&family.series))
            }
            None => !clash(self.registered) && !clash(&self.names) && !are_alike(family.series.iter()),
        };
        let mut keys = HashSet::new();
        let is_new = |key: &String| known.is_none_or(|at| !self.keys[at].contains(key));
        let mut series = family.series.iter();
        if !fits || !series.all(|series| is_new(&series.key) && keys.insert(series.key.clone())) {
            self.dropped += 1;
            return;
        }
        if let Some(at) = known {
            self.families[at].series.append(&mut family.series);
            self.keys[at].extend(keys);
        } else if !family.series.is_empty() {
            self.names.insert(&family.name, family.kind);
            self.by_name.insert(family.name.clone(), self.families.len());
            self.families.push(family);
            self.keys.push(keys);
        }
    }

    /// Counts what never became a family.
    pub(crate) fn drop_families(&mut self, count: usize) {
        self.dropped += count as u64;
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn write(&self, encoder: &mut dyn Encoder) {
        for family in &self.families {
            family.write(encoder);
        }
    }
}
