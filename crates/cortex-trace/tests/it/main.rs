//! The crate from outside: spans from a request to an exporter, and every destination.

#[cfg(feature = "console")]
mod console;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "logs")]
mod logs;
mod pipeline;
mod spans;
mod support;
