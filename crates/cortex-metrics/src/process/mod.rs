//! What the operating system knows about this process.

mod collector;
mod limits;
mod place;
mod stat;
mod status;

pub use self::collector::ProcessCollector;
