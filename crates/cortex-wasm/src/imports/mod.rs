//! What guests may call: functions of the host, and nothing that nobody has provided.

mod cx;
mod failure;
mod function;
mod link;
mod provide;
mod signature;
mod state;
#[cfg(all(test, not(cortex_loom)))]
pub(crate) mod tests;
mod unmet;
mod wait;

pub use self::cx::HostCx;
pub use self::failure::HostError;
pub use self::function::{AsyncHostFunction, HostFunction};
pub(crate) use self::link::Linkage;
pub use self::provide::Imports;
pub use self::signature::{HostResult, Scalar};
pub use self::state::HostUsage;
pub(crate) use self::unmet::show;
pub use self::unmet::{Unmet, UnmetReason};
