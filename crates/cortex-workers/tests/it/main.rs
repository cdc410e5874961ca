//! The pool as its users see it.

mod batches;
mod calls;
#[cfg(feature = "rayon")]
mod cpu;
mod lifecycle;
mod overflow;
mod panics;
mod sources;
mod stress;
mod submit;
mod support;
mod time;
