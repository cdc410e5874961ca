//! Lower levels while there is too much to do.

mod control;
mod controller;
mod ladder;
mod policy;
mod queue;

pub(crate) use self::control::{Control, Costs};
pub(crate) use self::ladder::{ladder, steps};
pub use self::policy::Adaptive;
