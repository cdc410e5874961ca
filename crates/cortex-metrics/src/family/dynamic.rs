use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use cortex_core::Clock;

use super::lookup::Lookup;
use super::map::Map;
use crate::encode::Series;
use crate::labels::{Rendered, cut, render_overflow, render_with};
use crate::metric::{Encode, Growth, Kind};
use crate::{Instrument, Metric};

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
    map: Map<Values<N>, M>,
}

impl<M: Instrument, const N: usize> DynamicFamily<M, N> {
    /// Makes an empty family, bounded at 2,000 series, with these names of labels, which are checked when it is
    /// registered.
    ///
    /// `make` must not use the family itself.
    pub fn new<S: Into<String>>(names: [S; N], make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let names = names.map(Into::into);
        let map = Map::new(make, render_overflow(&names));
        Self {
            inner: Arc::new(Inner { names, map }),
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
    #[inline]
    pub fn with<R>(&self, values: [&str; N], f: impl FnOnce(&M) -> R) -> R {
        self.inner.map.with(&self.lookup(values), f)
    }

    /// Returns the metric with these values, to be used without looking it up again; see
    /// [`Family::handle`](crate::Family::handle).
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
        self.inner
            .map
            .retain(|key, metric| keep(key.0.each_ref().map(|value| &**value), metric));
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

    #[inline]
    fn lookup<'a>(&'a self, values: [&'a str; N]) -> ByValues<'a, N> {
        ByValues {
            names: &self.inner.names,
            values: values.map(cut),
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

/// The key of a series.
#[derive(Clone, PartialEq, Eq)]
struct Values<const N: usize>([Box<str>; N]);

impl<const N: usize> Hash for Values<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| hash(value, state));
    }
}

struct ByValues<'a, const N: usize> {
    names: &'a [String; N],
    values: [&'a str; N],
}

impl<const N: usize> Hash for ByValues<'_, N> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.iter().for_each(|value| hash(value, state));
    }
}

impl<const N: usize> Lookup<Values<N>> for ByValues<'_, N> {
    #[inline]
    fn is(&self, key: &Values<N>) -> bool {
        self.values
            .iter()
            .zip(&key.0)
            .all(|(value, key)| equal(value, key))
    }

    fn key(&self) -> Values<N> {
        Values(self.values.map(Box::from))
    }

    fn render(&self) -> Rendered {
        render_with(self.names, |out| {
            for value in self.values {
                out.push(value);
            }
        })
    }
}

/// Hashes the value, and where it ends.
#[inline]
fn hash<H: Hasher>(value: &str, state: &mut H) {
    state.write_usize(value.len());
    state.write(value.as_bytes());
}

/// Compares two values: most are so short that two loads each do, and a call of `memcmp` costs more.
#[inline]
fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        4..8 => one.first_chunk::<4>() == other.first_chunk() && one.last_chunk::<4>() == other.last_chunk(),
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk() && one.last_chunk::<8>() == other.last_chunk()
        }
        0..4 => one.iter().zip(other).all(|(one, other)| one == other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_length_are_compared() {
        let text: String = ('a'..='z').chain('A'..='Z').collect();
        for len in 0..40 {
            let one = &text[..len];
            assert!(equal(one, &String::from(one)), "{len}");
            assert!(!equal(one, &text[..=len]), "{len}");
            for at in 0..len {
                let other: String = one
                    .char_indices()
                    .map(|(n, c)| if n == at { '-' } else { c })
                    .collect();
                assert!(!equal(one, &other), "{len} at {at}");
            }
        }
    }
}
