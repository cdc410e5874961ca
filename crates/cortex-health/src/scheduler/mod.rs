//! Runs the checks: a pure [`Machine`](machine::Machine) decides, a thread does what it says.

mod driver;
mod hysteresis;
mod jitter;
mod machine;
mod run;

pub(crate) use self::driver::{Message, start};
