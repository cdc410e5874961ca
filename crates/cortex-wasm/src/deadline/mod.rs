//! Deadlines: a guest's code is written anew so that it looks whether its time is over, and a thread tells it so.

mod cell;
mod checks;
mod code;
mod cost;
mod function;
mod gauge;
mod limit;
mod meter;
#[cfg(all(test, cortex_loom))]
mod model;
mod sync;
#[cfg(all(test, not(cortex_loom)))]
mod tests;
mod watch;

pub(crate) use self::checks::{Checks, instrument, start_export};
pub(crate) use self::gauge::Gauge;
pub use self::limit::Deadline;
pub(crate) use self::meter::Meter;
pub(crate) use self::watch::{Stopper, Watch};
