//! What can be seen of a policy without calling it.

mod reading;
mod watched;

pub(crate) use self::reading::{Look, Reading};
pub use self::watched::{Watch, Watched};
