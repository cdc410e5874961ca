//! The tracer: what a service makes once and hands to everybody.

mod builder;
mod environment;
mod handle;
mod start;
mod wall;

pub use self::builder::{Resource, TracerBuilder};
pub use self::handle::Tracer;
pub(crate) use self::start::{First, Sort, Started};
