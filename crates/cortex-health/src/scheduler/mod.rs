//! Runs the checks: a pure [`Machine`](machine::Machine) decides, a thread does what it says.

mod driver;
mod flap;
mod hysteresis;
mod jitter;
mod log;
mod machine;
mod plan;
mod run;
mod slot;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod skip;

pub(crate) use self::driver::{Message, start};
