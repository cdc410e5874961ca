//! Numbers that every thread adds to in memory of its own.
//!
//! A locked addition costs about 10 ns even where nobody else wants the cache line, and 40 where somebody does. So each
//! thread leases a [`Slab`](slab::Slab) in which no other thread writes, and adds with a plain load and store. Who
//! reads sums the cell over all slabs. This module and its children have unsafe code, as besides only
//! `family::bitwise`, `family::cache` and `family::memory` do; the model in `tests.rs` (`--cfg cortex_loom`) checks
//! lease, recycling, reclaiming and reading.

mod arena;
mod block;
mod pool;
mod slab;
mod sync;
#[cfg(test)]
mod tests;
mod thread;
mod walk;

pub(crate) use self::arena::{At, Shape};
pub(crate) use self::block::Block;
pub(crate) use self::walk::{Walk, reclaim, walk};
