use std::collections::HashMap;

use crate::encode::Encoder;
use crate::loose::{Loose, SeriesHasher};
use crate::name::{Names, alike};

/// The families of one scrape that are not registered but collected, checked against those that are.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    registered: &'a Names,
    names: Names,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    hasher: SeriesHasher,
    dropped: u64,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(registered: &'a Names) -> Self {
        Self {
            registered,
            names: Names::new(registered.scheme()),
            families: Vec::new(),
            by_name: HashMap::new(),
            hasher: SeriesHasher::new(),
            dropped: 0,
        }
    }

    /// Returns who makes the keys of series, which all sources share.
    pub(crate) fn hasher(&self) -> SeriesHasher {
        self.hasher.clone()
    }

    /// Adds a family, or its series to those that an earlier source gave of the same family. It is dropped, and
    /// counted, if it would expose what is exposed already.
    pub(crate) fn add(&mut self, family: Loose) {
        let known = self.by_name.get(&family.name).copied();
        if !self.fits(known.map(|at| &self.families[at]), &family) {
            self.dropped += 1;
            return;
        }
        if let Some(at) = known {
            self.families[at].append(family);
        } else if !family.is_empty() {
            self.names.insert(&family.name, family.kind);
            self.by_name.insert(family.name.clone(), self.families.len());
            self.families.push(family);
        }
    }

    fn fits(&self, known: Option<&Loose>, family: &Loose) -> bool {
        let Some(known) = known else {
            let clashes = |names: &Names| names.clash(&family.name, family.kind).is_some();
            return !clashes(self.registered)
                && !clashes(&self.names)
                && alike(&family.label_names()).is_none();
        };
        known.kind == family.kind
            && known.unit == family.unit
            && !known.meets(family)
            && (known.has_labels_of(family) || alike(&known.all_label_names(family)).is_none())
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
