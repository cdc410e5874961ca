use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::encode::{Number, push_label};
use crate::gather::{Loose, LooseSeries, LooseValue};
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
/// # Examples
///
/// See [`Collector`].
pub struct Samples<'a> {
    scope: &'a Scope,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    rejected: HashSet<String>,
    seen: HashSet<(usize, String)>,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(scope: &'a Scope) -> Self {
        Self {
            scope,
            families: Vec::new(),
            by_name: HashMap::new(),
            rejected: HashSet::new(),
            seen: HashSet::new(),
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
            families, rejected, ..
        } = self;
        let good = families
            .into_iter()
            .filter(|family| !rejected.contains(&family.name))
            .collect();
        (good, rejected.len())
    }

    fn push(&mut self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let name = self.scope.qualify(name);
        let name = family_name(&name, kind);
        if self.try_push(kind, name, help, labels, value).is_none() {
            self.rejected.insert(name.to_owned());
        }
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
        let series = LooseSeries::new(self.render(labels)?, value)?;
        let at = self.by_name.get(name).copied().unwrap_or(self.families.len());
        if at == self.families.len() {
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
            push_label(&mut rendered, name, value);
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
        let scope = Scope::default();
        let mut samples = Samples::new(&scope);
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
