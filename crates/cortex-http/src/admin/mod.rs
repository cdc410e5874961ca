//! The admin port: probes, metrics and what operators do, on a thread and a runtime of their own.

mod blocking;
mod builder;
mod controls;
mod drain;
mod drain_client;
mod gate;
mod guesses;
mod hosts;
mod index;
mod input;
mod json;
mod listener;
#[cfg(feature = "logs")]
mod log_level;
mod metrics;
mod refusal;
mod routes;
mod rules;
mod run_check;
mod seats;
mod start;
mod thread;

pub use self::builder::Admin;
pub use self::controls::{
    Acted, ActionError, ActionInput, ControlError, ControlState, ControlValue, Controllable,
    ControllablePolicy, ControllableStages, Controls, InputKind,
};
pub use self::drain_client::{DrainError, drain};
pub(crate) use self::start::start;
pub(crate) use self::thread::AdminThread;
