use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::encode::{Number, push_label};
use crate::gather::{Loose, LooseSeries, LooseValue};
use crate::labels::cut;
use crate::metric::Kind;
use crate::name::family_name;
use crate::scope::Scope;

/// Shows numbers that live elsewhere: it is asked at each scrape.
///
/// It must not block. If it panics, its part is left out of the exposition and counted in
/// [`Registry::dropped`](crate::Registry::dropped). Closures are collectors.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Collector, Registry, Samples};
///
/// struct Queues;
///
/// impl Collector for Queues {
///     fn collect(&self, out: &mut Samples<'_>) {
///         out.gauge("queue_depth", "Jobs that wait.", &[("queue", "mail")], 3.0);
///         out.counter("queue_jobs", "Jobs taken.", &[("queue", "mail")], 128.0);
///     }
/// }
///
/// let registry = Registry::default();
/// registry.register_collector(Queues);
/// let text = registry.to_text();
/// assert!(text.contains("queue_depth{queue=\"mail\"} 3.0\n"));
/// assert!(text.contains("queue_jobs_total{queue=\"mail\"} 128.0\n"));
/// ```
pub trait Collector: Send + Sync {
    /// Gives today's numbers.
    fn collect(&self, out: &mut Samples<'_>);
}

impl<F: Fn(&mut Samples<'_>) + Send + Sync> Collector for F {
    fn collect(&self, out: &mut Samples<'_>) {
        self(out);
    }
}

/// Takes the samples of a [`Collector`].
///
/// Samples of one family may come in any order and are grouped. A family with a sample that cannot be exposed is left
/// out as a whole and counted in [`Registry::dropped`](crate::Registry::dropped): a bad name or label, two types, one
/// series twice, a counter that is negative or `NaN`, or a name that another metric has.
///
/// Label values are cut at 256 bytes. All that a collector gives at one scrape, with 64 bytes for each sample, is at most
/// [`MAX_BYTES`](Self::MAX_BYTES): a family that exceeds it is left out, too.
///
/// # Examples
///
/// See [`Collector`].
pub struct Samples<'a> {
    scope: &'a Scope,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    rejected: HashSet<String>,
    seen: HashSet<(usize, String)>,
    /// How many bytes may still be given.
    left: usize,
    /// Whether there was a family for which nothing was left.
    is_full: bool,
}

impl<'a> Samples<'a> {
    /// The most that one collector may give at one scrape: 64 MiB, which is about half a million samples.
    pub const MAX_BYTES: usize = 64 << 20;

    /// What a name, and the labels of a sample, cost beside their text.
    const OVERHEAD: usize = 32;

    pub(crate) fn new(scope: &'a Scope) -> Self {
        Self {
            scope,
            families: Vec::new(),
            by_name: HashMap::new(),
            rejected: HashSet::new(),
            seen: HashSet::new(),
            left: Self::MAX_BYTES,
            is_full: false,
        }
    }

    /// Gives the value of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(Kind::Gauge, name, help, labels, value);
    }

    /// Gives the value of a counter; `_total` at the end of the name is implied.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(Kind::Counter, name, help, labels, value);
    }

    /// Returns the families that can be exposed and how many cannot.
    pub(crate) fn finish(self) -> (Vec<Loose>, usize) {
        let Self {
            families,
            rejected,
            is_full,
            ..
        } = self;
        let good = families
            .into_iter()
            .filter(|family| !rejected.contains(&family.name))
            .collect();
        (good, rejected.len() + usize::from(is_full))
    }

    fn push(&mut self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let name = self.scope.qualify(name);
        let name = family_name(&name, kind);
        // Bad samples cost, too: their names are kept.
        if !self.pay(name.len()) {
            if self.by_name.contains_key(name) {
                self.rejected.insert(name.to_owned());
            } else {
                self.is_full = true;
            }
            return;
        }
        if self.try_push(kind, name, help, labels, value).is_none() {
            self.rejected.insert(name.to_owned());
        }
    }

    /// Takes what a sample with a text of this length costs from what is left, and says whether it was enough.
    fn pay(&mut self, text: usize) -> bool {
        let left = self.left.checked_sub(text.saturating_add(Self::OVERHEAD));
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn try_push(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) -> Option<()> {
        let counts = value >= 0.0; // false for NaN
        if !self.scope.scheme().allows_metric(name) || (kind == Kind::Counter && !counts) {
            return None;
        }
        let number = Number::Float(value);
        let value = match kind {
            Kind::Counter => LooseValue::Counter(number, None),
            _ => LooseValue::Gauge(number),
        };
        let rendered = self.render(labels)?;
        if !self.pay(rendered.len()) {
            return None;
        }
        let series = LooseSeries::new(rendered, value)?;
        let at = self.by_name.get(name).copied().unwrap_or(self.families.len());
        if at == self.families.len() {
            if !self.pay(help.len()) {
                return None;
            }
            self.families.push(Loose::new(name, kind, None, help));
            self.by_name.insert(name.to_owned(), at);
        }
        if self.families[at].kind != kind || !self.seen.insert((at, series.key.clone())) {
            return None;
        }
        self.families[at].series.push(series);
        Some(())
    }

    /// Renders the labels, those of the sub-registry first; nothing if they cannot be exposed.
    fn render(&self, labels: &[(&str, &str)]) -> Option<String> {
        let mut rendered = self.scope.rendered().to_owned();
        for (at, (name, value)) in labels.iter().enumerate() {
            let repeats = self.scope.has_label(name) || labels[..at].iter().any(|(before, _)| before == name);
            if repeats || !self.scope.scheme().allows_label(name) {
                return None;
            }
            push_label(&mut rendered, name, cut(value));
        }
        Some(rendered)
    }
}

impl fmt::Debug for Samples<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples")
            .field("families", &self.families.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families(collect: impl Fn(&mut Samples<'_>)) -> (Vec<String>, usize) {
        families_within(Samples::MAX_BYTES, collect)
    }

    fn families_within(bytes: usize, collect: impl Fn(&mut Samples<'_>)) -> (Vec<String>, usize) {
        let scope = Scope::default();
        let mut samples = Samples::new(&scope);
        samples.left = bytes;
        collect(&mut samples);
        assert!(format!("{samples:?}").starts_with("Samples { families: "));
        let (families, rejected) = samples.finish();
        let lines = |family: &Loose| {
            let line = |series: &LooseSeries| match series.value {
                LooseValue::Gauge(value) | LooseValue::Counter(value, _) => {
                    format!("{}{} {:?}", family.name, series.key, value.to_float())
                }
                _ => unreachable!("a collector gives nothing else"),
            };
            family.series.iter().map(line).collect::<Vec<_>>()
        };
        (families.iter().flat_map(lines).collect(), rejected)
    }

    #[test]
    fn samples_are_grouped_by_family() {
        let (lines, rejected) = families(|out| {
            out.gauge("a", "A.", &[("x", "1")], 1.0);
            out.counter("b_total", "B.", &[], 2.0);
            out.gauge("a", "A.", &[("x", "2\n")], f64::NAN);
            out.counter("b", "B.", &[("y", "")], 0.0); // an empty label is none
        });
        assert_eq!(lines, ["a[(\"x\", \"1\")] 1.0", "a[(\"x\", \"2\\n\")] NaN"]);
        assert_eq!(rejected, 1);
    }

    #[test]
    fn values_are_cut_and_what_is_given_is_bounded() {
        let long = "x".repeat(1 << 20);
        let (lines, rejected) = families(|out| {
            out.gauge("cut", "", &[("x", &long), ("y", "z")], 1.0);
            // The first of two that read the same then takes the family along.
            out.gauge("same", "", &[("x", &format!("{long}1"))], 1.0);
            out.gauge("same", "", &[("x", &format!("{long}2"))], 1.0);
        });
        let cut = "x".repeat(256);
        assert_eq!(lines, [format!("cut[(\"x\", \"{cut}\"), (\"y\", \"z\")] 1.0")]);
        assert_eq!(rejected, 1);
        // Names of labels, help, and names that are bad: all of a 64th.
        let (all, long) = (1 << 18, &long[..1 << 12]);
        let labels: fn(&mut Samples<'_>, usize, &str) = |out, n, long| {
            out.gauge("large", "", &[(long, ""), ("n", &n.to_string())], 1.0);
        };
        let help: fn(&mut Samples<'_>, usize, &str) =
            |out, n, long| out.gauge(&format!("g{n}"), long, &[], 1.0);
        let bad: fn(&mut Samples<'_>, usize, &str) =
            |out, n, long| out.gauge(&format!("{n}{long}"), "", &[], 1.0);
        for (give, whole, left_out) in [(labels, 1, 1), (help, 1 + 62, 1), (bad, 1, 63)] {
            let (lines, rejected) = families_within(all, |out| {
                out.gauge("first", "", &[], 1.0);
                out.gauge("second", "", &[], 1.0);
                (0..80).for_each(|n| give(out, n, long));
                out.gauge("third", "", &[], 1.0);
                out.gauge("second", "", &[("late", "")], 1.0);
            });
            assert_eq!((lines.len(), &*lines[0]), (whole, "first[] 1.0"));
            // The second, because it had not all, and what came when nothing was left.
            assert_eq!(rejected, left_out + 2);
        }
        let many = families_within(all, |out| {
            out.gauge("few", "", &[], 1.0);
            for n in 0..=all / 64 {
                out.gauge("many", "", &[("n", &n.to_string())], 1.0);
            }
        });
        assert_eq!(many, (vec!["few[] 1.0".to_owned()], 1));
    }

    #[test]
    fn what_cannot_be_exposed_takes_its_family_along() {
        for labels in [
            &[("le__", "1"), ("__x", "1")][..],
            &[("x", "1"), ("x", "2")],
            &[("x y", "")],
        ] {
            let (lines, rejected) = families(|out| {
                out.gauge("good", "", &[], 1.0);
                out.gauge("bad", "", &[], 1.0);
                out.gauge("bad", "", labels, 1.0);
                out.gauge("bad", "", labels, 2.0);
            });
            assert_eq!(
                (lines, rejected),
                (vec!["good[] 1.0".to_owned()], 1),
                "{labels:?}"
            );
        }
        let all_bad = families(|out| {
            out.gauge("a b", "", &[], 1.0);
            out.gauge("", "", &[], 1.0);
            out.counter("nan", "", &[], f64::NAN);
            out.counter("negative", "", &[], -1.0);
            out.gauge("twice", "", &[("a", "1"), ("b", "2")], 1.0);
            out.gauge("twice", "", &[("b", "2"), ("a", "1")], 1.0);
            out.gauge("types", "", &[("a", "1")], 1.0);
            out.counter("types", "", &[("a", "2")], 1.0);
        });
        assert_eq!(all_bad, (vec![], 6));
    }
}
