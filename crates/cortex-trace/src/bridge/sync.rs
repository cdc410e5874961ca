//! The primitives, which the model checker replaces by its own.

#[cfg(cortex_loom)]
pub(crate) use loom::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};
#[cfg(not(cortex_loom))]
pub(crate) use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};
