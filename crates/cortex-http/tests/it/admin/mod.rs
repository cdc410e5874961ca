//! The admin port on real sockets.

mod actions;
mod capacity;
mod client;
mod controls;
#[cfg(feature = "logs")]
mod log_level;
mod policies;
mod probes;
mod security;
