//! Deadlines: a guest's code is written anew so that it looks whether its time is over, and a thread tells it so.
#![expect(dead_code, reason = "used once the parts are joined")]

mod cell;
pub(crate) mod checks;
mod code;
mod cost;
mod function;
mod limit;
pub(crate) mod meter;
#[cfg(all(test, cortex_loom))]
mod model;
mod sync;
#[cfg(all(test, not(cortex_loom)))]
mod tests;
pub(crate) mod watch;

pub use self::limit::Deadline;
