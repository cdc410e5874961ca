//! Runs the checks: a pure [`Machine`](machine::Machine) decides, a thread does what it says.

mod driver;
mod flap;
mod herald;
mod hold;
mod hysteresis;
mod jitter;
mod lane;
mod log;
mod machine;
mod once;
mod plan;
mod run;
mod slot;
mod threads;
mod waiters;

#[cfg(test)]
mod ask;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod blame;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod skip;

pub(crate) use self::driver::{Message, start};
pub(crate) use self::once::once;
pub(crate) use self::waiters::Waiter;
