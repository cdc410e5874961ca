//! A sampler that keeps a budget: counters and a threshold per route on the hot path (`routes`), and once a second a
//! tick (`control`) that divides the budget (`shares`) and sets the thresholds anew.

mod arrivals;
mod children;
mod control;
mod routes;
mod sampler;
mod shares;
mod sync;
#[cfg(all(test, not(cortex_loom)))]
mod tests;

pub use self::sampler::Adaptive;
