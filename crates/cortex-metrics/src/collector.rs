use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::budget::{Budget, element, text};
use crate::encode::{Number, push_label};
use crate::labels::cut;
use crate::loose::{Loose, LooseHistogram, LooseValue, SeriesHasher};
use crate::metric::Kind;
use crate::name::family_name;
use crate::scope::Scope;
use crate::{Buckets, HistogramSnapshot};

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
/// series twice, a counter that is negative or `NaN`, a histogram whose parts don't fit together, or a name that another
/// metric has.
///
/// Label values are cut at 256 bytes. What is kept of all that a collector gives at one scrape takes at most
/// [`MAX_BYTES`](Self::MAX_BYTES) of memory: a family that exceeds it is left out, too.
///
/// # Examples
///
/// See [`Collector`].
pub struct Samples<'a> {
    scope: &'a Scope,
    families: Vec<Loose>,
    by_name: HashMap<String, usize>,
    rejected: HashSet<String>,
    hasher: SeriesHasher,
    budget: Budget,
    /// Whether there was a family for which nothing was left.
    is_full: bool,
}

impl<'a> Samples<'a> {
    /// The most that one collector may make a scrape keep: 64 MiB, which is about a quarter of a million samples.
    ///
    /// A sample counts as its labels, escaped as in an exposition, and about 200 bytes.
    pub const MAX_BYTES: usize = 64 << 20;

    pub(crate) fn new(scope: &'a Scope, hasher: SeriesHasher) -> Self {
        Self {
            scope,
            families: Vec::new(),
            by_name: HashMap::new(),
            rejected: HashSet::new(),
            hasher,
            budget: Budget::new(Self::MAX_BYTES),
            is_full: false,
        }
    }

    /// Gives the value of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(Kind::Gauge, name, help, labels, || {
            Some(LooseValue::Gauge(Number::Float(value)))
        });
    }

    /// Gives the value of a counter; `_total` at the end of the name is implied.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(Kind::Counter, name, help, labels, || {
            let counts = value >= 0.0; // false for NaN
            counts.then_some(LooseValue::Counter(Number::Float(value), None))
        });
    }

    /// Gives a classic histogram: how many values each bucket has that the one before has not, the last one those above all
    /// bounds, and the sum of all values.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Buckets, Registry, Samples};
    ///
    /// let registry = Registry::default();
    /// let buckets = Buckets::new([0.1, 1.0])?;
    /// registry.register_collector(move |out: &mut Samples<'_>| {
    ///     let labels = [("queue", "mail")];
    ///     out.histogram("queue_wait_seconds", "Time in the queue.", &labels, &buckets, &[7, 2, 1], 5.5);
    /// });
    /// let text = registry.to_text();
    /// assert!(text.contains("queue_wait_seconds_bucket{queue=\"mail\",le=\"1.0\"} 9\n"));
    /// assert!(text.contains("queue_wait_seconds_count{queue=\"mail\"} 10\n"));
    /// # Ok::<(), cortex_metrics::BucketsError>(())
    /// ```
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        buckets: &Buckets,
        counts: &[u64],
        sum: f64,
    ) {
        let has_le = self.scope.has_label("le") || labels.iter().any(|(name, _)| *name == "le");
        let is_whole = !has_le && counts.len() == buckets.bounds().len() + 1 && !sum.is_nan();
        let is_paid = is_whole && self.budget.pay(LooseValue::HISTOGRAM + size_of_val(counts));
        self.push(Kind::Histogram, name, help, labels, || {
            let never_falls = sum >= 0.0 && buckets.bounds().first().is_none_or(|bound| *bound >= 0.0);
            let classic = (buckets.clone(), counts.into());
            is_paid.then(|| {
                LooseValue::Histogram(Box::new(LooseHistogram {
                    snapshot: HistogramSnapshot::new(Some(classic), None, sum, !never_falls),
                    exemplars: Vec::new(),
                }))
            })
        });
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

    fn push(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl FnOnce() -> Option<LooseValue>,
    ) {
        let name = self.scope.qualify(name);
        let name = family_name(&name, kind);
        if self.try_push(kind, name, help, labels, value).is_none() {
            self.reject(name);
        }
    }

    /// Remembers that a family has a sample that cannot be exposed.
    fn reject(&mut self, name: &str) {
        if self.rejected.contains(name) {
            return;
        }
        // Bad samples cost, too: their names are kept.
        let is_paid = self.budget.pay(element::<String>() + text(name.len()));
        if is_paid || self.by_name.contains_key(name) {
            self.rejected.insert(name.to_owned());
        } else {
            self.is_full = true;
        }
    }

    fn try_push(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl FnOnce() -> Option<LooseValue>,
    ) -> Option<()> {
        if !self.scope.scheme().allows_metric(name) {
            return None;
        }
        let value = value()?;
        if self.budget.is_spent() {
            return None;
        }
        let rendered = self.render(labels)?;
        let at = self.by_name.get(name).copied().unwrap_or(self.families.len());
        if at == self.families.len() {
            let scheme = self.scope.scheme();
            let family = Loose::new(scheme, (name, kind), None, help, &mut self.budget)?;
            self.families.push(family);
            self.by_name.insert(name.to_owned(), at);
        }
        let family = &mut self.families[at];
        if family.kind != kind {
            return None;
        }
        family.push(rendered, value, &self.hasher, &mut self.budget)
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
        let mut samples = Samples::new(&scope, SeriesHasher::new());
        samples.budget = Budget::new(bytes);
        collect(&mut samples);
        assert!(format!("{samples:?}").starts_with("Samples { families: "));
        let (families, rejected) = samples.finish();
        (families.iter().flat_map(Loose::lines).collect(), rejected)
    }

    #[test]
    fn samples_are_grouped_by_family() {
        let (lines, rejected) = families(|out| {
            out.gauge("a", "A.", &[("x", "1")], 1.0);
            out.counter("b_total", "B.", &[], 2.0);
            out.gauge("a", "A.", &[("x", "2\n")], f64::NAN);
            out.counter("b", "B.", &[("y", "")], 0.0); // an empty label is none
        });
        assert_eq!(lines, ["a{x=\"1\"} 1.0", "a{x=\"2\\n\"} NaN"]);
        assert_eq!(rejected, 1);
    }

    #[test]
    fn a_histogram_is_left_out_if_its_parts_do_not_fit() {
        let buckets = Buckets::new([1.0]).unwrap();
        let (lines, rejected) = families(|out| {
            out.histogram("few", "", &[], &buckets, &[1], 1.0);
            out.histogram("many", "", &[], &buckets, &[1, 2, 3], 1.0);
            out.histogram("sum", "", &[], &buckets, &[1, 2], f64::NAN);
            out.histogram("le", "", &[("le", "1")], &buckets, &[1, 2], 1.0);
            out.gauge("types", "", &[], 1.0);
            out.histogram("types", "", &[("a", "1")], &buckets, &[1, 2], 1.0);
        });
        assert_eq!((lines, rejected), (vec![], 5));
        let most = [0; 65];
        let many = Buckets::linear(1.0, 1.0, 64).unwrap();
        let (lines, rejected) = families_within(1 << 16, |out| {
            out.gauge("first", "", &[], 1.0);
            for n in 0..1_000 {
                out.histogram("large", "", &[("n", &n.to_string())], &many, &most, 0.0);
            }
        });
        assert_eq!((lines, rejected), (vec!["first{} 1.0".to_owned()], 1));
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
        assert_eq!(lines, [format!("cut{{x=\"{cut}\",y=\"z\"}} 1.0")]);
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
        // Families cost more than their texts.
        for (give, whole, left_out) in [(labels, 1..=1, 1), (help, 40..=63, 0), (bad, 1..=1, 62)] {
            let (lines, rejected) = families_within(all, |out| {
                out.gauge("first", "", &[], 1.0);
                out.gauge("second", "", &[], 1.0);
                (0..80).for_each(|n| give(out, n, long));
                out.gauge("third", "", &[], 1.0);
                out.gauge("second", "", &[("late", "")], 1.0);
            });
            assert!(whole.contains(&lines.len()), "{}", lines.len());
            assert_eq!(lines[0], "first{} 1.0");
            // The second, because it had not all, and what came when nothing was left, which has no names.
            assert_eq!(rejected, left_out + 2);
        }
        let many = families_within(all, |out| {
            out.gauge("few", "", &[], 1.0);
            for n in 0..=all / 64 {
                out.gauge("many", "", &[("n", &n.to_string())], 1.0);
            }
        });
        assert_eq!(many, (vec!["few{} 1.0".to_owned()], 1));
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
                (vec!["good{} 1.0".to_owned()], 1),
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
