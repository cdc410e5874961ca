//! The admin port: probes and metrics on a thread and a runtime of their own.

mod builder;
mod routes;
mod thread;

pub use self::builder::Admin;
pub(crate) use self::routes::routes;
pub(crate) use self::thread::AdminThread;
