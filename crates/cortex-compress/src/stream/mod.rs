//! Bodies that are encoded as they come.

mod batch;
mod core;
mod flow;

pub(crate) use self::flow::Stream;
