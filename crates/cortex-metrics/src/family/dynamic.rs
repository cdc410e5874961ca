use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::Clock;

use super::lookup::{Lookup, Probe};
use super::map::Map;
use super::words::{Mixer, Words};
use crate::encode::Series;
use crate::labels::{LabelValues, Rendered, cut, render_overflow, render_with};
use crate::metric::{Encode, Growth, Kind};
use crate::{Instrument, Metric, RegisterErrorKind};

/// A [`Family`](crate::Family) whose labels' names are only known when it is made, and whose values are any strings.
///
/// Otherwise it is the same: bounded, with a series of all others, remembered by each thread. It takes the values in
/// the order of the names.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, DynamicFamily, Registry};
///
/// let columns = ["table".to_owned(), "operation".to_owned()]; // from a configuration
/// let queries = DynamicFamily::new(columns, Counter::default);
/// let registry = Registry::default();
/// registry.register("queries", "Queries sent.", queries.clone())?;
/// queries.with(["orders", "select"], |count| count.inc());
/// assert!(registry.to_text().contains("queries_total{table=\"orders\",operation=\"select\"} 1\n"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
pub struct DynamicFamily<M: Instrument, const N: usize> {
    inner: Arc<Inner<M, N>>,
}

struct Inner<M: Instrument, const N: usize> {
    names: [String; N],
    mixer: Mixer<N>,
    map: Map<Values<N>, M>,
}

impl<M: Instrument, const N: usize> DynamicFamily<M, N> {
    /// Makes an empty family, bounded at 2,000 series, with these names of labels, which are checked when it is
    /// registered.
    ///
    /// `make` must return a new metric each time, of one shape; see [`Family::new`](crate::Family::new).
    pub fn new<S: Into<String>>(names: [S; N], make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let names = names.map(Into::into);
        let map = Map::new(make, render_overflow(&names));
        Self {
            inner: Arc::new(Inner {
                names,
                mixer: Mixer::new(),
                map,
            }),
        }
    }

    /// Sets the bound; series that exist already stay.
    #[must_use]
    pub fn max_series(self, max: usize) -> Self {
        self.inner.map.set_max_series(max);
        self
    }

    /// Removes series that nobody used for so long, as [`Family::expire_after`](crate::Family::expire_after) does.
    #[must_use]
    pub fn expire_after(self, idle: Duration, clock: impl Clock + 'static) -> Self {
        self.inner.map.set_idle(idle, clock);
        self
    }

    /// Runs `f` on the metric with these values, which is made if need be. Of a value, 256 bytes count.
    ///
    /// No lock is held while `f` runs: it may use the family again.
    ///
    /// # Panics
    ///
    /// Panics if the series has to be made and `make` panics, or the process has more metrics than fit: 67 million
    /// numbers together. The family stays as it was.
    #[inline(never)] // among a caller's variables it runs out of registers, and takes a tenth longer
    pub fn with<R>(&self, values: [&str; N], f: impl FnOnce(&M) -> R) -> R {
        let words = values.map(Words::of);
        if Words::are_short(&words) {
            let probe = ByWords {
                words,
                hash: self.inner.mixer.hash_whole(&words),
            };
            self.inner.map.with(&probe, || self.lookup(values), f)
        } else {
            let probe = self.lookup_by(values, words);
            self.inner.map.with(&probe, || self.lookup(values), f)
        }
    }

    /// Returns the metric with these values, to be used without looking it up again; see
    /// [`Family::handle`](crate::Family::handle).
    ///
    /// # Panics
    ///
    /// Panics if [`with`](Self::with) does.
    pub fn handle(&self, values: [&str; N]) -> M
    where
        M: Clone,
    {
        self.with(values, M::clone)
    }

    /// Removes the series with these values, as [`Family::remove`](crate::Family::remove) does.
    pub fn remove(&self, values: [&str; N]) -> bool {
        self.inner.map.remove(&self.lookup(values))
    }

    /// Removes the series for which `keep` returns false, as [`Family::remove`](crate::Family::remove) does.
    pub fn retain(&self, mut keep: impl FnMut([&str; N], &M) -> bool) {
        self.inner.map.retain(|key, metric| keep(key.texts(), metric));
    }

    /// Returns the number of series, without that of all others.
    pub fn len(&self) -> usize {
        self.inner.map.len()
    }

    /// Says whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often the bound sent somebody to the series of all others.
    pub fn overflow_hits(&self) -> u64 {
        self.inner.map.overflow_hits()
    }

    /// Returns how many values of removed series are missing in the series of all others, as
    /// [`Family::lost`](crate::Family::lost) does.
    pub fn lost(&self) -> u64 {
        self.inner.map.lost()
    }

    fn lookup<'a>(&'a self, values: [&'a str; N]) -> ByValues<'a, N> {
        self.lookup_by(values, values.map(Words::of))
    }

    #[inline]
    fn lookup_by<'a>(&'a self, mut values: [&'a str; N], mut words: [Words; N]) -> ByValues<'a, N> {
        if words.iter().any(|words| words.len() > LabelValues::MAX_BYTES) {
            (values, words) = cut_all(values);
        }
        ByValues {
            names: &self.inner.names,
            values,
            words,
            hash: self.inner.mixer.hash(&values, &words),
        }
    }
}

impl<M: Instrument, const N: usize> Clone for DynamicFamily<M, N> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M: Instrument, const N: usize> fmt::Debug for DynamicFamily<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicFamily")
            .field("names", &self.inner.names)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<M: Instrument, const N: usize> Metric for DynamicFamily<M, N> {}

impl<M: Instrument, const N: usize> Encode for DynamicFamily<M, N> {
    fn kind(&self) -> Kind {
        M::KIND
    }

    fn label_names(&self) -> Vec<&str> {
        self.inner.names.iter().map(String::as_str).collect()
    }

    fn check(&self) -> Result<(), RegisterErrorKind> {
        M::check_type()
    }

    fn is_empty(&self) -> bool {
        self.inner.map.is_empty()
    }

    fn growth(&self) -> Option<Growth> {
        Some(self.inner.map.growth())
    }

    fn write(&self, series: &mut Series<'_>) {
        self.inner.map.write(series);
    }
}

#[cold]
#[inline(never)]
fn cut_all<const N: usize>(values: [&str; N]) -> ([&str; N], [Words; N]) {
    let values = values.map(cut);
    (values, values.map(Words::of))
}

/// The key of a series.
#[derive(Clone)]
struct Values<const N: usize> {
    words: [Words; N],
    /// All values, one after the other.
    text: Box<str>,
}

impl<const N: usize> Values<N> {
    fn texts(&self) -> [&str; N] {
        let mut rest = &*self.text;
        self.words.map(|words| {
            let (text, after) = rest.split_at(words.len());
            rest = after;
            text
        })
    }
}

struct ByValues<'a, const N: usize> {
    names: &'a [String; N],
    values: [&'a str; N],
    words: [Words; N],
    hash: u64,
}

impl<const N: usize> ByValues<'_, N> {
    /// Whether the values that are longer than their words are those of the key, whose words are the same.
    fn is_text(&self, key: &Values<N>) -> bool {
        let mut rest = key.text.as_bytes();
        self.values.iter().zip(&self.words).all(|(value, words)| {
            let (text, after) = rest.split_at(words.len());
            rest = after;
            words.are_of_both(text, value.as_bytes())
        })
    }
}

/// Short values, of which the words are all.
struct ByWords<const N: usize> {
    words: [Words; N],
    hash: u64,
}

impl<const N: usize> Probe<Values<N>> for ByWords<N> {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn is(&self, key: &Values<N>) -> bool {
        self.words == key.words
    }
}

impl<const N: usize> Probe<Values<N>> for ByValues<'_, N> {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn is(&self, key: &Values<N>) -> bool {
        self.words == key.words && self.is_text(key)
    }
}

impl<const N: usize> Lookup<Values<N>> for ByValues<'_, N> {
    fn key(&self) -> Values<N> {
        Values {
            words: self.words,
            text: self.values.concat().into(),
        }
    }

    fn render(&self) -> Rendered {
        render_with(self.names, |out| {
            for value in self.values {
                out.push(value);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    #[test]
    fn values_of_every_length_are_told_apart() {
        let text: String = ('a'..='z').chain('A'..='Z').collect();
        let family = DynamicFamily::new(["one", "two"], Counter::default);
        for len in 0..40 {
            let (one, two) = (&text[..len], &text[len..]);
            let key = family.lookup([one, two]).key();
            assert_eq!(key.texts(), [one, two]);
            let is = |values: [&str; 2]| family.lookup(values).is(&key);
            assert!(is([&String::from(one), two]), "{len}");
            assert!(
                !is([&text[..=len], two]) && !is([&text[..=len], &text[len + 1..]]),
                "{len}"
            );
            for at in 0..text.len() {
                let mut other = text.clone();
                other.replace_range(at..=at, "-");
                assert!(!is([&other[..len], &other[len..]]), "{len} at {at}");
            }
        }
    }
}
