//! OTLP over the wire: a real server, which is the collector, on a port and a thread of its own.

mod collector;
mod faults;
#[cfg(feature = "logs")]
mod logs;
mod relay;
mod runtimes;
mod spans;
#[cfg(feature = "tls")]
mod tls;
