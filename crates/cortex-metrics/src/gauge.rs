use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A whole number that goes up and down: connections open, jobs queued.
///
/// Clones share the value.
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
    value: Arc<AtomicI64>,
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// Adds `n`, wrapping around at the ends of `i64`.
    pub fn add(&self, n: i64) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts `n`, wrapping around at the ends of `i64`.
    pub fn sub(&self, n: i64) {
        self.value.fetch_sub(n, Ordering::Relaxed);
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
        self.value.load(Ordering::Relaxed)
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
    bits: Arc<AtomicU64>,
}

impl GaugeF64 {
    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: f64) {
        add_f64(&self.bits, n, Ordering::Relaxed);
    }

    /// Returns the value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for GaugeF64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GaugeF64").field(&self.get()).finish()
    }
}

/// Adds to a number kept as its bits; `order` is that of the successful store.
pub(crate) fn add_f64(bits: &AtomicU64, n: f64, order: Ordering) {
    let mut old = bits.load(Ordering::Relaxed);
    loop {
        let new = (f64::from_bits(old) + n).to_bits();
        match bits.compare_exchange_weak(old, new, order, Ordering::Relaxed) {
            Ok(_) => return,
            Err(seen) => old = seen,
        }
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
}
