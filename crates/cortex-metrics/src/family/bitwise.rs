#![expect(unsafe_code, reason = "a promise that the compiler cannot check")]

use crate::{Counter, CounterF64, Gauge, GaugeF64, Histogram, LabelEnum, LevelGauge, StateSet};

/// A metric that threads may copy bit by bit, to have it at hand beside its key.
///
/// # Safety
///
/// While a value is neither moved nor dropped nor borrowed mutably, a bitwise copy of it that is never dropped must be
/// as good as the value itself to who has a reference to it, on any thread. So nothing in it may change through a
/// reference, such as an atomic or a cell, and nothing may depend on where it is; what is behind a pointer may.
pub(crate) unsafe trait Bitwise {}

// SAFETY: an `Arc`, and beside it plain data that is written once.
unsafe impl Bitwise for Counter {}

// SAFETY: an `Arc`, and beside it plain data that is written once.
unsafe impl Bitwise for CounterF64 {}

// SAFETY: an `Arc` and nothing else.
unsafe impl Bitwise for Gauge {}

// SAFETY: an `Arc` and nothing else.
unsafe impl Bitwise for GaugeF64 {}

// SAFETY: an `Arc`, and beside it plain data that is written once.
unsafe impl Bitwise for LevelGauge {}

// SAFETY: an `Arc` and nothing else.
unsafe impl Bitwise for Histogram {}

// SAFETY: an `Arc` and nothing else: of the states it has only the type.
unsafe impl<S: LabelEnum> Bitwise for StateSet<S> {}

// SAFETY: plain data.
#[cfg(test)]
unsafe impl Bitwise for u64 {}
