//! What the types of pipelines are made of. Code that is generic over pipelines may have to name them.

pub use super::added::Added;
pub use super::around::Around;
pub use super::nested::{Nested, Peel, Peeled};
pub use super::operation::{Lazy, Operation};
#[cfg(feature = "tower")]
pub use super::policy::WrapService;
pub use super::policy::{Policy, Wrap};
pub use super::repeat::{Again, Repeat};
#[cfg(feature = "tower")]
pub use super::stages::Serve;
pub use super::stages::{Attempts, Execute, Stages};
pub use super::tuples::Policies;
pub use crate::hedge::{Make as MakeHedged, Race};
pub use crate::retry::{Make, Run};
