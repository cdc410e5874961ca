use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use cortex_core::{Clock, SystemClock};

use crate::ExemplarFilter;
use crate::cells::{At, Block, Shape, Walk, walk};
use crate::exemplar::{Exemplar, Exemplars};

/// A count that only grows: requests served, bytes sent, errors.
///
/// Clones share the count. It is exposed with the suffix `_total`, and wraps around at 2^64. Adding to it costs about
/// 2 ns on any number of threads, because each has memory of its own to add in; [`get`](Self::get) sums them up.
///
/// # Panics
///
/// Making one panics if the process has more metrics than fit: 67 million numbers together.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Counter;
///
/// let sent = Counter::default();
/// sent.inc();
/// sent.clone().add(41);
/// assert_eq!(sent.get(), 42);
/// ```
#[derive(Clone)]
pub struct Counter {
    inner: Arc<Inner>,
    near: Near,
}

/// What is beside the pointer to the rest, so that adding and reading need not follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Near {
    cells: At,
    pub(crate) has_exemplars: bool,
}

impl Near {
    pub(crate) fn read(self, walk: &Walk<'_>) -> u64 {
        walk.first(self.cells)
    }
}

#[derive(Debug)]
struct Inner {
    #[expect(dead_code, reason = "whoever has the cells' place knows that they are there")]
    cells: Block,
    created: SystemTime,
    exemplars: Option<Box<Exemplars>>,
}

impl Counter {
    /// Makes a counter that also remembers the trace of one of those who added to it, so that a chart leads to an
    /// example.
    ///
    /// The trace is that of [`Context::current`](cortex_core::Context::current), if it is sampled; one is kept for each
    /// scrape.
    ///
    /// # Panics
    ///
    /// Panics if the process has more metrics than fit: 67 million numbers together.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Context, Flags, SpanId, TraceId};
    /// use cortex_metrics::{Counter, Registry};
    ///
    /// let failures = Counter::with_exemplars();
    /// let registry = Registry::default();
    /// registry.register("failures", "Requests that failed.", failures.clone())?;
    /// let (trace, span) = (TraceId::new(7).ok_or("zero")?, SpanId::new(1).ok_or("zero")?);
    /// let _guard = Context::new().with_span(trace, span, Flags::SAMPLED).attach();
    /// failures.inc();
    /// assert!(registry.to_open_metrics().contains("failures_total 1 # {trace_id=\"0000"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_exemplars() -> Self {
        Self::new(Exemplars::new(ExemplarFilter::Sampled).map(Box::new))
    }

    fn new(exemplars: Option<Box<Exemplars>>) -> Self {
        let cells = Block::new(Shape::INTEGER);
        Self {
            near: Near {
                cells: cells.at(),
                has_exemplars: exemplars.is_some(),
            },
            inner: Arc::new(Inner {
                cells,
                created: SystemClock.wall(),
                exemplars,
            }),
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.near.cells.add(n);
        if self.near.has_exemplars {
            offer(self, n);
        }
    }

    /// Returns the count so far.
    pub fn get(&self) -> u64 {
        self.read(&walk())
    }

    pub(crate) fn read(&self, walk: &Walk<'_>) -> u64 {
        self.near.read(walk)
    }

    pub(crate) fn near(&self) -> Near {
        self.near
    }

    pub(crate) fn created(&self) -> SystemTime {
        self.inner.created
    }

    pub(crate) fn take_exemplar(&self) -> Option<Exemplar> {
        let (_, exemplar) = self.inner.exemplars.as_ref()?.take().pop()?;
        Some(exemplar)
    }

    /// Whether there is a clone.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// Whether it is a clone of another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

/// Of C's convention, which does not unwind: see `cells::block`.
#[inline(never)]
extern "C" fn offer(counter: &Counter, n: u64) {
    if let Some(exemplars) = &counter.inner.exemplars {
        #[expect(clippy::cast_precision_loss, reason = "an example's value may be rounded")]
        exemplars.offer(0, n as f64);
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.get()).finish()
    }
}

/// A sum that only grows and need not be whole: seconds spent, euros earned.
///
/// Clones share the sum. It is exposed with the suffix `_total`. A sum beyond the greatest number there is becomes
/// infinite, and stays so.
///
/// # Panics
///
/// Making one panics if the process has more metrics than fit: 67 million numbers together.
///
/// # Examples
///
/// ```
/// use cortex_metrics::CounterF64;
///
/// let waited = CounterF64::default();
/// waited.add(0.25);
/// waited.add(-1.0); // left out: a counter never falls
/// waited.add(f64::NAN);
/// assert_eq!(waited.get(), 0.25);
/// ```
#[derive(Clone)]
pub struct CounterF64 {
    inner: Arc<InnerF64>,
    /// Those of `inner`, see [`Counter`].
    cells: At,
}

#[derive(Debug)]
struct InnerF64 {
    cells: Block,
    created: SystemTime,
    floor: Floor,
}

impl CounterF64 {
    /// Adds `n`; what is negative, infinite or `NaN` would spoil the sum and is left out.
    #[inline]
    pub fn add(&self, n: f64) {
        if (0.0..f64::INFINITY).contains(&n) {
            self.cells.add_float(n);
        }
    }

    /// Returns the sum so far.
    pub fn get(&self) -> f64 {
        self.read(&walk())
    }

    pub(crate) fn read(&self, walk: &Walk<'_>) -> f64 {
        let inner = &*self.inner;
        inner.floor.raise(inner.cells.float(walk, 0))
    }

    pub(crate) fn created(&self) -> SystemTime {
        self.inner.created
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// Whether it is a clone of another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Default for CounterF64 {
    fn default() -> Self {
        let cells = Block::new(Shape::FLOAT);
        Self {
            cells: cells.at(),
            inner: Arc::new(InnerF64 {
                cells,
                created: SystemClock.wall(),
                floor: Floor::default(),
            }),
        }
    }
}

impl fmt::Debug for CounterF64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CounterF64").field(&self.get()).finish()
    }
}

/// The last total that somebody saw.
///
/// When the sum of a thread that ended moves to the slab of all, the total may round to one bit less, and a scraper
/// takes any fall for a restart.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    bits: AtomicU64,
}

impl Floor {
    /// Returns the greater of the total and the last one; called with the right to sum cells, so by one at a time.
    pub(crate) fn raise(&self, total: f64) -> f64 {
        let total = total.max(f64::from_bits(self.bits.load(Ordering::Relaxed)));
        self.bits.store(total.to_bits(), Ordering::Relaxed);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_and_debug_shows_the_count() {
        let counter = Counter::default();
        counter.clone().add(3);
        counter.inc();
        assert_eq!(counter.get(), 4);
        assert_eq!(format!("{counter:?}"), "Counter(4)");
        counter.add(u64::MAX);
        assert_eq!(counter.get(), 3);
    }

    #[test]
    fn threads_lose_no_count() {
        let (counter, sum) = (Counter::default(), CounterF64::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        counter.inc();
                        sum.add(0.5);
                    }
                });
            }
        });
        assert_eq!(counter.get(), 80_000);
        assert_eq!(sum.get().to_bits(), 40_000_f64.to_bits());
        assert_eq!(format!("{sum:?}"), "CounterF64(40000.0)");
    }

    #[test]
    fn a_float_counter_takes_only_what_grows_it() {
        let sum = CounterF64::default();
        for n in [f64::NAN, -0.5, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0] {
            sum.add(n);
        }
        assert_eq!(sum.get().to_bits(), 0);
    }

    #[test]
    fn a_total_that_was_seen_is_not_taken_back() {
        let floor = Floor::default();
        let totals = [1.0, 0.5, 2.0].map(|total| floor.raise(total).to_bits());
        assert_eq!(totals, [1.0_f64, 1.0, 2.0].map(f64::to_bits));
    }
}
