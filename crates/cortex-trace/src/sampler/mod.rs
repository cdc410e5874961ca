//! Who decides which traces are recorded.

mod adaptive;
mod constant;
mod decision;
mod env;
mod intent;
mod ot;
mod parent;
mod presumed;
mod probability;
mod rate_bound;
mod rules;
mod threshold;

pub use self::adaptive::Adaptive;
pub use self::constant::{AlwaysOff, AlwaysOn};
pub use self::decision::{Decision, SampleParams, Sampler};
pub use self::env::{InvalidSampler, InvalidSamplerKind, from_env_values};
pub use self::intent::SamplingIntent;
pub(crate) use self::ot::{published, threshold as published_threshold};
pub use self::parent::{FollowParent, ParentBased};
pub(crate) use self::presumed::Presumed;
pub use self::presumed::SamplingStats;
pub use self::probability::{InvalidProbability, Probability};
pub use self::rate_bound::RateBound;
pub use self::rules::Rules;
pub(crate) use self::threshold::END;
pub use self::threshold::Threshold;
