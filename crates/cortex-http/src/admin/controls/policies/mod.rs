//! The policies of `cortex_resilience` as parts that an operator can look at and act on.

mod breaker;
mod limits;
mod pipeline;
mod repeats;
mod term;

pub use self::pipeline::{ControllablePolicy, ControllableStages};
