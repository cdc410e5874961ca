use std::collections::{HashMap, HashSet};

use crate::Format;
use crate::encode::{Header, label_pairs};
use crate::metric::Kind;
use crate::name::Names;

/// A family that is known only at the scrape.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    pub(crate) samples: Vec<LooseSample>,
    /// Whether `OpenMetrics` forbids sums and counts, because a sum is negative or no number.
    pub(crate) without_sum: bool,
}

impl Loose {
    pub(crate) fn new(name: &str, kind: Kind, unit: Option<&str>, help: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            unit: unit.map(str::to_owned),
            help: help.to_owned(),
            samples: Vec::new(),
            without_sum: false,
        }
    }

    fn write(&self, format: Format, out: &mut String) {
        let header = Header {
            name: &self.name,
            kind: self.kind,
            unit: self.unit.as_deref(),
            help: &self.help,
        };
        header.write(format, out);
        let open_metrics = format == Format::OpenMetrics1;
        for sample in &self.samples {
            if !(open_metrics && self.without_sum && sample.is_sum_or_count) {
                let exemplar = if open_metrics { &*sample.exemplar } else { "" };
                out.extend([&*sample.line, exemplar, "\n"]);
            }
        }
    }
}

/// One line of such a family.
#[derive(Debug)]
pub(crate) struct LooseSample {
    /// Tells the series from others: name and labels, in an order that does not depend on how they were written.
    pub(crate) key: String,
    /// The line without its end and exemplar.
    pub(crate) line: String,
    /// With what separates it from the line.
    pub(crate) exemplar: String,
    pub(crate) is_sum_or_count: bool,
}

impl LooseSample {
    /// Makes a sample from the parts of its name, its rendered labels and its value; nothing if the labels are not
    /// well formed or one repeats.
    pub(crate) fn new(name: &[&str], labels: &str, value: &str) -> Option<Self> {
        let name = name.concat();
        let mut pairs = label_pairs(labels)?;
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        pairs.retain(|(_, value)| !value.is_empty()); // to a scraper an empty label is none
        let line = match labels {
            "" => format!("{name} {value}"),
            _ => format!("{name}{{{labels}}} {value}"),
        };
        Some(Self {
            key: format!("{name} {pairs:?}"),
            line,
            exemplar: String::new(),
            is_sum_or_count: false,
        })
    }
}

/// The families of one scrape that are not registered but collected, checked against those that are.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    registered: &'a Names,
    names: Names,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    keys: HashSet<String>,
    dropped: u64,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(registered: &'a Names) -> Self {
        Self {
            registered,
            names: Names::default(),
            families: Vec::new(),
            by_name: HashMap::new(),
            keys: HashSet::new(),
            dropped: 0,
        }
    }

    /// Adds a family, or its series to those that an earlier source gave of the same family. It is dropped, and
    /// counted, if it would expose what is exposed already.
    pub(crate) fn add(&mut self, mut family: Loose) {
        let known = self.by_name.get(&family.name).map(|&at| &mut self.families[at]);
        let clash = |names: &Names| names.clash(&family.name, family.kind).is_some();
        let fits = match &known {
            Some(known) => known.kind == family.kind && known.unit == family.unit,
            None => !clash(self.registered) && !clash(&self.names),
        };
        let mut keys = HashSet::new();
        let is_new = |key: &String| !self.keys.contains(key);
        if !fits
            || !family
                .samples
                .iter()
                .all(|sample| is_new(&sample.key) && keys.insert(sample.key.clone()))
        {
            self.dropped += 1;
            return;
        }
        self.keys.extend(keys);
        if let Some(known) = known {
            known.samples.append(&mut family.samples);
            known.without_sum |= family.without_sum;
        } else if !family.samples.is_empty() {
            self.names.insert(&family.name, family.kind);
            self.by_name.insert(family.name.clone(), self.families.len());
            self.families.push(family);
        }
    }

    /// Counts what never became a family.
    pub(crate) fn drop_families(&mut self, count: usize) {
        self.dropped += count as u64;
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn write(&self, format: Format, out: &mut String) {
        for family in &self.families {
            family.write(format, out);
        }
    }
}
