//! What a guest is made of: its bytes are judged, compiled or loaded, and kept with what is known of them.

mod abi;
mod artifact;
mod cache;
mod code;
mod common;
mod compiled;
mod compiler;
mod error;
mod facts;
mod features;
mod limits;
mod reset_plan;
#[cfg(test)]
mod scratch;
mod strip;
mod time_limit;

pub use self::abi::Abi;
pub use self::cache::{ArtifactCache, ArtifactStats};
pub(crate) use self::common::Common;
pub(crate) use self::compiled::Metering;
pub use self::compiled::{Module, Origin};
pub(crate) use self::compiler::{Compiler, Instrumentation};
pub use self::error::CompileError;
pub(crate) use self::error::printable;
pub(crate) use self::facts::Facts;
pub use self::limits::ModuleLimits;
pub use self::reset_plan::{ResetPlan, Why};
