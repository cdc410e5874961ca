//! Who decides which traces are recorded.

mod constant;
mod decision;
mod ot;
mod parent;
mod probability;
mod threshold;

pub use self::constant::{AlwaysOff, AlwaysOn};
pub use self::decision::{Decision, SampleParams, Sampler};
pub(crate) use self::ot::published;
pub use self::parent::ParentBased;
pub use self::probability::{InvalidProbability, Probability};
pub use self::threshold::Threshold;
