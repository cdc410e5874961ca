//! The pool as its users see it.

mod calls;
mod lifecycle;
#[cfg(feature = "metrics")]
mod metrics;
mod observe;
mod overflow;
mod panics;
mod stress;
mod support;
mod time;
mod times;
