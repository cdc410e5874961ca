use crate::budget::{Budget, element, text};
use crate::encode::{Sample, label_pairs, parse_exemplar, push_label};
use crate::exemplar::Exemplar;
use crate::loose::{LooseHistogram, LooseValue};
use crate::{Buckets, HistogramSnapshot};

/// Puts histograms together again from their lines.
#[derive(Debug, Default)]
pub(super) struct Histograms {
    all: Vec<Parts>,
}

#[derive(Debug)]
struct Parts {
    labels: String,
    sum: f64,
    bounds: Vec<f64>,
    /// Cumulative, as they are written.
    counts: Vec<u64>,
    exemplars: Vec<(usize, Exemplar)>,
}

impl Histograms {
    /// Adds a line; nothing if a histogram has no such.
    pub(super) fn add(
        &mut self,
        suffix: &str,
        labels: String,
        sample: &Sample<'_>,
        budget: &mut Budget,
    ) -> Option<()> {
        if !sample.exemplar.is_empty() && !budget.pay(LooseValue::EXEMPLAR + sample.exemplar.len()) {
            return None;
        }
        match suffix {
            "_sum" if sample.exemplar.is_empty() => {
                self.parts(labels, budget)?.sum = sample.value.parse().ok()?;
            }
            // It is the last bucket's.
            "_count" if sample.exemplar.is_empty() => {
                sample.value.parse::<u64>().ok()?;
            }
            "_bucket" => {
                let (labels, bound) = split(&labels)?;
                if !budget.pay(element::<(f64, u64)>()) {
                    return None;
                }
                let parts = self.parts(labels, budget)?;
                if parts.bounds.last().is_some_and(|last| bound <= *last) {
                    return None;
                }
                let count = sample.value.parse().ok()?;
                if parts.counts.last().is_some_and(|last| count < *last) {
                    return None;
                }
                parts.bounds.push(bound);
                parts.counts.push(count);
                let slot = parts.counts.len() - 1;
                parts
                    .exemplars
                    .extend(parse_exemplar(sample.exemplar).map(|exemplar| (slot, exemplar)));
            }
            _ => return None,
        }
        Some(())
    }

    /// Returns the histograms; nothing if one has no bucket without a bound.
    pub(super) fn finish(self) -> Option<Vec<(String, LooseValue)>> {
        self.all.into_iter().map(Parts::finish).collect()
    }

    /// Returns the histogram with these labels: its lines stand together.
    fn parts(&mut self, labels: String, budget: &mut Budget) -> Option<&mut Parts> {
        if self.all.last().is_none_or(|last| last.labels != labels) {
            let cost = element::<Parts>() + LooseValue::HISTOGRAM;
            if !budget.pay(cost + text(labels.len())) {
                return None;
            }
            self.all.push(Parts {
                labels,
                sum: 0.0,
                bounds: Vec::new(),
                counts: Vec::new(),
                exemplars: Vec::new(),
            });
        }
        self.all.last_mut()
    }
}

impl Parts {
    fn finish(mut self) -> Option<(String, LooseValue)> {
        if self.bounds.pop() != Some(f64::INFINITY) {
            return None;
        }
        let mut before = 0;
        for count in &mut self.counts {
            let alone = *count - before;
            before = std::mem::replace(count, alone);
        }
        // False for a sum that is no number: OpenMetrics forbids it, too.
        let never_falls = self.sum >= 0.0 && self.bounds.first().is_none_or(|bound| *bound >= 0.0);
        let classic = (Buckets::from_checked(self.bounds), self.counts.into());
        let snapshot = HistogramSnapshot::new(Some(classic), None, self.sum, !never_falls);
        let exemplars = self.exemplars;
        let histogram = LooseHistogram { snapshot, exemplars };
        Some((self.labels, LooseValue::Histogram(Box::new(histogram))))
    }
}

/// Takes the bound out of a bucket's labels.
fn split(labels: &str) -> Option<(String, f64)> {
    let (mut rest, mut bound) = (String::new(), None);
    for (name, value) in label_pairs(labels)? {
        if name == "le" && bound.is_none() {
            bound = value.parse::<f64>().ok().filter(|bound| !bound.is_nan());
        } else {
            push_label(&mut rest, &name, &value);
        }
    }
    Some((rest, bound?))
}
