//! The pool as its users see it.

mod batches;
mod calls;
mod cancel;
#[cfg(feature = "rayon")]
mod cpu;
mod discard;
mod fairness;
mod gates;
mod inline;
mod joined;
mod lifecycle;
#[cfg(feature = "metrics")]
mod metrics;
mod observe;
mod overflow;
mod panics;
#[cfg(all(feature = "affinity", target_os = "linux"))]
mod placement;
mod seams;
mod sources;
mod stress;
mod submit;
mod support;
mod time;
mod times;
#[cfg(feature = "trace")]
mod trace;
