use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::cells::{At, Block, Shape, Walk, walk};

/// A whole number that goes up and down: jobs queued, the size of a file.
///
/// Clones share the value. Where it is only raised and lowered, a [`LevelGauge`] costs threads less.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Gauge;
///
/// let open = Gauge::default();
/// open.inc();
/// open.add(4);
/// open.dec();
/// assert_eq!(open.get(), 4);
/// ```
#[derive(Clone, Default)]
pub struct Gauge {
    inner: Arc<Inner<AtomicI64>>,
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.inner.value.store(value, Ordering::Relaxed);
        self.inner.touched.touch();
    }

    /// Adds `n`, wrapping around at the ends of `i64`.
    pub fn add(&self, n: i64) {
        self.inner.value.fetch_add(n, Ordering::Relaxed);
        self.inner.touched.touch();
    }

    /// Subtracts `n`, wrapping around at the ends of `i64`.
    pub fn sub(&self, n: i64) {
        self.add(n.wrapping_neg());
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts one.
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Returns the value.
    pub fn get(&self) -> i64 {
        self.inner.value.load(Ordering::Relaxed)
    }

    pub(crate) fn take_touched(&self) -> bool {
        self.inner.touched.take()
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge").field(&self.get()).finish()
    }
}

/// A number that goes up and down and need not be whole: a temperature, a ratio, a timestamp.
///
/// Clones share the value. `NaN` and the infinities are values like any other.
///
/// # Examples
///
/// ```
/// use cortex_metrics::GaugeF64;
///
/// let load = GaugeF64::default();
/// load.set(0.5);
/// load.add(-0.25);
/// assert_eq!(load.get(), 0.25);
/// ```
#[derive(Clone, Default)]
pub struct GaugeF64 {
    inner: Arc<Inner<AtomicU64>>,
}

impl GaugeF64 {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.inner.value.store(value.to_bits(), Ordering::Relaxed);
        self.inner.touched.touch();
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: f64) {
        let add = |bits| Some((f64::from_bits(bits) + n).to_bits());
        let _ = self
            .inner
            .value
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        self.inner.touched.touch();
    }

    /// Returns the value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.inner.value.load(Ordering::Relaxed))
    }

    pub(crate) fn take_touched(&self) -> bool {
        self.inner.touched.take()
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }
}

impl fmt::Debug for GaugeF64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GaugeF64").field(&self.get()).finish()
    }
}

/// A whole number that is only raised and lowered, by many threads: requests in flight, connections open.
///
/// It costs what a [`Counter`](crate::Counter) costs, because each thread adds in memory of its own; the price is that
/// it cannot be set, and that who reads it sums up what may change meanwhile: where one thread raises it and another
/// lowers it again, the one may be missed and the other not, so that it reads as less than it ever was. What shall never
/// show as less than nothing is made by [`non_negative`](Self::non_negative). Clones share the value.
///
/// # Panics
///
/// Making one panics if the process has more metrics than fit: 67 million numbers together.
///
/// # Examples
///
/// ```
/// use cortex_metrics::LevelGauge;
///
/// let in_flight = LevelGauge::default();
/// in_flight.inc();
/// in_flight.add(4);
/// std::thread::scope(|scope| {
///     scope.spawn(|| in_flight.dec()); // another thread may lower it
/// });
/// assert_eq!(in_flight.get(), 4);
/// ```
#[derive(Clone)]
pub struct LevelGauge {
    block: Arc<Block>,
    /// Those of `block`: beside the pointer, so that adding need not follow it.
    cells: At,
    is_non_negative: bool,
}

/// What is known of a level without following its pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearLevel {
    cells: At,
    is_non_negative: bool,
}

impl NearLevel {
    #[inline]
    pub(crate) fn read(self, walk: &Walk<'_>) -> i64 {
        walk.first(self.cells).cast_signed()
    }

    /// Returns what a value that was read is shown as.
    #[inline]
    pub(crate) fn shown(self, value: i64) -> i64 {
        if self.is_non_negative { value.max(0) } else { value }
    }
}

impl LevelGauge {
    /// Makes one that is exposed as 0 when it reads as less: for what is counted in before it is counted out, maybe on
    /// another thread.
    ///
    /// # Panics
    ///
    /// Panics if the process has more metrics than fit: 67 million numbers together.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{LevelGauge, Registry};
    ///
    /// let registry = Registry::default();
    /// let open = LevelGauge::non_negative();
    /// registry.register("connections", "Open connections.", open.clone())?;
    /// open.dec(); // as a scrape may see it that missed `inc` on another thread
    /// assert!(registry.to_text().ends_with("\nconnections 0\n"));
    /// assert_eq!(open.get(), -1);
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    pub fn non_negative() -> Self {
        Self {
            is_non_negative: true,
            ..Self::default()
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts one.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds `n`, which may be negative, wrapping around at the ends of `i64`.
    #[inline]
    pub fn add(&self, n: i64) {
        self.cells.add(n.cast_unsigned());
    }

    /// Returns the value, which may be less than 0.
    pub fn get(&self) -> i64 {
        self.near().read(&walk())
    }

    pub(crate) fn near(&self) -> NearLevel {
        NearLevel {
            cells: self.cells,
            is_non_negative: self.is_non_negative,
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.block) > 1
    }

    /// Whether it is a clone of another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }
}

impl Default for LevelGauge {
    fn default() -> Self {
        let block = Block::new(Shape::INTEGER);
        Self {
            cells: block.at(),
            block: Arc::new(block),
            is_non_negative: false,
        }
    }
}

impl fmt::Debug for LevelGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LevelGauge").field(&self.get()).finish()
    }
}

#[derive(Debug, Default)]
struct Inner<T> {
    value: T,
    touched: Touched,
}

/// Whether a value was set, maybe to what it was.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    flag: AtomicBool,
}

impl Touched {
    pub(crate) fn touch(&self) {
        // Read first: mostly it is set, and a line that is only read is not fought for.
        if !self.flag.load(Ordering::Relaxed) {
            self.flag.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn take(&self) -> bool {
        self.flag.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_gauge_moves_both_ways() {
        let gauge = Gauge::default();
        gauge.set(10);
        gauge.sub(13);
        gauge.clone().dec();
        assert_eq!(gauge.get(), -4);
        assert_eq!(format!("{gauge:?}"), "Gauge(-4)");
        gauge.sub(i64::MIN);
        assert_eq!(gauge.get(), i64::MIN.wrapping_sub(4));
    }

    #[test]
    fn a_float_gauge_loses_no_addition() {
        let gauge = GaugeF64::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5_000).for_each(|_| gauge.add(0.5)));
            }
        });
        assert_eq!(gauge.get().to_bits(), 10_000_f64.to_bits());
        assert_eq!(format!("{gauge:?}"), "GaugeF64(10000.0)");
        gauge.set(f64::NAN);
        assert!(gauge.get().is_nan());
    }

    #[test]
    fn a_level_may_be_lowered_where_it_was_not_raised() {
        let gauge = LevelGauge::default();
        std::thread::scope(|scope| {
            for raise in [true, false] {
                let gauge = gauge.clone();
                scope.spawn(move || (0..1_000).for_each(|_| if raise { gauge.inc() } else { gauge.dec() }));
            }
        });
        assert_eq!(gauge.get(), 0);
        gauge.add(-5);
        assert_eq!(format!("{gauge:?}"), "LevelGauge(-5)");
    }

    #[test]
    fn a_level_that_shall_not_be_negative_is_shown_as_none() {
        let registry = crate::Registry::default();
        let family = crate::DynamicFamily::new(["a"], LevelGauge::non_negative);
        let level = family.handle(["b"]);
        registry.register("many", "", family).unwrap();
        registry.register("one", "", level.clone()).unwrap();
        for (n, shown) in [(-3, 0), (1, 0), (5, 3)] {
            level.clone().add(n);
            let expected =
                format!("# TYPE many gauge\nmany{{a=\"b\"}} {shown}\n# TYPE one gauge\none {shown}\n");
            assert_eq!(registry.to_text(), expected);
        }
        assert_eq!(level.get(), 3);
    }

    #[test]
    fn setting_the_same_value_touches() {
        let gauge = Gauge::default();
        assert!(!gauge.take_touched());
        gauge.set(0);
        assert!(gauge.take_touched() && !gauge.take_touched());
    }
}
