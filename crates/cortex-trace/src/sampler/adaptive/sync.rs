//! The primitives, which the model checker replaces by its own.

#[cfg(cortex_loom)]
pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
#[cfg(not(cortex_loom))]
pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
