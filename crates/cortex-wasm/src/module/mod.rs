//! What a guest is made of: its bytes are judged, compiled or loaded, and kept with what is known of them.

#![cfg_attr(not(test), expect(dead_code, reason = "used once the parts are joined"))]

mod abi;
mod artifact;
mod cache;
mod code;
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
pub use self::compiled::{Module, Origin};
pub use self::error::CompileError;
use self::facts::Facts;
pub use self::limits::ModuleLimits;
pub use self::reset_plan::{ResetPlan, Why};
