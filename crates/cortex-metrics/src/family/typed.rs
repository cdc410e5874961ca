use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::Clock;

use super::lookup::{Lookup, Probe};
use super::map::Map;
use crate::encode::Series;
use crate::labels::{Rendered, render, render_overflow};
use crate::metric::{Encode, Growth, Kind};
use crate::{Instrument, Labels, Metric, RegisterErrorKind};

/// One metric per combination of label values, made when it is first used, up to a bound.
///
/// What exceeds the bound is counted in a series whose label values all are `__other__`, so that totals stay true and
/// a label that somebody else controls cannot fill the memory. Clones share the series.
///
/// # Removal and totals
///
/// When a series is removed or expires, what was counted but not shown yet moves to the series of all others, and what
/// was shown ends with the series, so that a total over all series neither falls by more than what is gone nor jumps.
/// *Shown* is what anybody read last: with several readers (two scrapers, a `HEAD`, an answer that came too late,
/// [`to_text`](crate::Registry::to_text), OTLP), each misses in its total what another one saw first of a series that
/// is gone, at most what was counted between two reads.
///
/// # Panics
///
/// What makes a metric, [`with`](Self::with) and [`handle`](Self::handle) of new labels, panics if the process has more
/// metrics than fit, as [`Counter`](crate::Counter) does, and if `make` does.
///
/// # Performance
///
/// Each thread remembers the series it used, so that finding one takes no lock and writes to no shared memory: about
/// 20 ns with three labels. Where one series is used again and again, a [`handle`](Self::handle) finds it once.
///
/// Labels that cannot be remembered cost a microsecond or so each time, because they are rendered: those over the bound,
/// and those of which a value has more than 256 bytes. Of the latter the key is not kept, because it may be as long as it
/// likes, so their series is found by what is shown, under the one lock that scrapes take, too: on many threads at once,
/// it is better to cut such values beforehand.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Family};
///
/// cortex_metrics::labels! {
///     pub struct Tenant { tenant: &'static str }
/// }
///
/// let requests = Family::new(Counter::default).max_series(1);
/// requests.with(&Tenant { tenant: "a" }, |count| count.inc());
/// requests.with(&Tenant { tenant: "b" }, |count| count.inc());
/// requests.with(&Tenant { tenant: "c" }, |count| count.inc());
/// assert_eq!(requests.len(), 1);
/// assert_eq!(requests.handle(&Tenant { tenant: "d" }).get(), 2); // the series of all others
/// ```
pub struct Family<L, M: Instrument> {
    map: Arc<Map<L, M>>,
}

impl<L: Labels, M: Instrument> Family<L, M> {
    /// Makes an empty family, bounded at 2,000 series, that makes its metrics with `make`.
    ///
    /// `make` must return a new metric each time, of one kind and shape: the same buckets, the same configuration.
    /// Series of another shape are shown as they are, but when they are removed, the series of all others cannot take
    /// what they counted, see [`lost`](Self::lost); and clones of one metric are each shown with the counts of all. It
    /// must not use the family itself.
    pub fn new(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        Self {
            map: Arc::new(Map::new(make, render_overflow(L::NAMES))),
        }
    }

    /// Sets the bound; series that exist already stay.
    #[must_use]
    pub fn max_series(self, max: usize) -> Self {
        self.map.set_max_series(max);
        self
    }

    /// Removes series that nobody used for so long: the first scrape after that leaves them out.
    ///
    /// A series of which somebody has a [`handle`](Self::handle) stays. Scrapes find out what is used, so a family that
    /// is never scraped keeps its series, and one that is used less than once between two scrapes needs more time than
    /// lies between them.
    ///
    /// What expires makes room below the bound at once, but threads that remember it keep it in memory until they use
    /// the family again, or end: up to 1,024 series each. [`retired`](Self::retired) counts it, and at eight times the
    /// bound, or 1,024 if that is more, nothing expires until some of it is let go: so there are never more than nine
    /// times as many series as the bound says, and then new ones are counted in the series of all others. What is
    /// [removed](Self::remove) adds to it without a bound of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::SystemClock;
    /// use cortex_metrics::{Counter, Family};
    /// use std::time::Duration;
    ///
    /// cortex_metrics::labels! {
    ///     struct Peer { peer: String }
    /// }
    ///
    /// let sent = Family::<Peer, _>::new(Counter::default).expire_after(Duration::from_secs(600), SystemClock);
    /// sent.with(&Peer { peer: "10.0.0.7".into() }, Counter::inc);
    /// assert_eq!(sent.len(), 1);
    /// ```
    #[must_use]
    pub fn expire_after(self, idle: Duration, clock: impl Clock + 'static) -> Self {
        self.map.set_idle(idle, clock);
        self
    }

    /// Runs `f` on the metric with these labels, which is made if need be.
    ///
    /// No lock is held while `f` runs: it may use the family again.
    ///
    /// # Panics
    ///
    /// Panics if the series has to be made and `make` panics, or the process has more metrics than fit: 67 million
    /// numbers together. The family stays as it was.
    #[inline(never)] // among a caller's variables it runs out of registers, and takes a tenth longer
    pub fn with<R>(&self, labels: &L, f: impl FnOnce(&M) -> R) -> R {
        self.map.with(&self.lookup(labels), || self.lookup(labels), f)
    }

    /// Returns the metric with these labels, which is made if need be, to be used without looking it up again.
    ///
    /// A handle outlives the removal of its series: what it counts from then on is added to the series of all others,
    /// so that totals stay true, as far as [removals](Self#removal-and-totals) leave them so. A gauge that was
    /// [set](crate::Gauge::set) has no total; it is not shown any more.
    ///
    /// # Panics
    ///
    /// Panics if [`with`](Self::with) does.
    pub fn handle(&self, labels: &L) -> M
    where
        M: Clone,
    {
        self.with(labels, M::clone)
    }

    /// Removes the series with these labels from the exposition and says whether there was one.
    ///
    /// What was added to it since anybody last read it is added to the series of all others. That one stays, and so
    /// does the only series of a family without labels, which is both.
    pub fn remove(&self, labels: &L) -> bool {
        self.map.remove(&self.lookup(labels))
    }

    /// Removes the series for which `keep` returns false, as [`remove`](Self::remove) does.
    ///
    /// Series one of whose values is longer than 256 bytes are not asked about and stay. No lock is held while `keep`
    /// runs: it may use the family again.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Counter, Family};
    ///
    /// cortex_metrics::labels! {
    ///     struct Tenant { tenant: &'static str }
    /// }
    ///
    /// let requests = Family::new(Counter::default);
    /// for tenant in ["acme", "umbrella"] {
    ///     requests.with(&Tenant { tenant }, Counter::inc);
    /// }
    /// requests.retain(|labels, _| labels.tenant != "umbrella");
    /// assert_eq!(requests.len(), 1);
    /// ```
    pub fn retain(&self, keep: impl FnMut(&L, &M) -> bool) {
        self.map.retain(keep);
    }

    /// Returns the number of series, without that of all others.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Says whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often the bound sent somebody to the series of all others: more than 0 says that the bound is too
    /// low, or a label has too many values.
    pub fn overflow_hits(&self) -> u64 {
        self.map.overflow_hits()
    }

    /// Returns how many series were removed but are still in memory, because somebody has a handle or because a thread
    /// that used them did not use the family since.
    pub fn retired(&self) -> usize {
        self.map.retired()
    }

    /// Returns how many values of removed series are missing in the series of all others: `make` made histograms of
    /// different shapes, or a sum went beyond the greatest number, which leaves the values out of the sum only.
    pub fn lost(&self) -> u64 {
        self.map.lost()
    }

    #[inline]
    fn lookup<'a>(&'a self, labels: &'a L) -> ByKey<'a, L> {
        ByKey {
            labels,
            hash: self.map.hasher().hash_one(labels),
        }
    }

    #[cfg(test)]
    /// Returns the number of series and holes.
    pub(crate) fn slots(&self) -> usize {
        self.map.slots()
    }

    #[cfg(test)]
    /// Settles some of so many removed series, and returns how many are left.
    pub(crate) fn settle_some(&self, left: usize) -> usize {
        self.map.settle_some(left)
    }

    #[cfg(test)]
    /// Runs `f` on the rendered labels of every series and what it shows.
    pub(crate) fn each(&self, mut f: impl FnMut(&str, &M, &M::Seen)) {
        self.map
            .each(|batch| batch.for_each(|shown| f(shown.labels.as_str(), shown.metric, shown.seen)));
    }
}

impl<L, M: Instrument> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self {
            map: Arc::clone(&self.map),
        }
    }
}

impl<L: Labels, M: Instrument> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<L: Labels, M: Instrument> Metric for Family<L, M> {}

impl<L: Labels, M: Instrument> Encode for Family<L, M> {
    fn kind(&self) -> Kind {
        M::KIND
    }

    fn label_names(&self) -> Vec<&str> {
        L::NAMES.to_vec()
    }

    fn check(&self) -> Result<(), RegisterErrorKind> {
        M::check_type()
    }

    fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn growth(&self) -> Option<Growth> {
        Some(self.map.growth())
    }

    fn write(&self, series: &mut Series<'_>) {
        self.map.write(series);
    }
}

struct ByKey<'a, L> {
    labels: &'a L,
    hash: u64,
}

impl<L: Labels> Probe<L> for ByKey<'_, L> {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn is(&self, key: &L) -> bool {
        self.labels == key
    }
}

impl<L: Labels> Lookup<L> for ByKey<'_, L> {
    fn key(&self) -> L {
        self.labels.clone()
    }

    fn render(&self) -> Rendered {
        render(self.labels)
    }
}
