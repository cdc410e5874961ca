//! As much of WASI preview1 as lets guests start: what they are told, what they print, time and randomness; no files
//! and no sockets.

mod config;
mod errno;
mod functions;
mod output;
mod poll;
#[cfg(all(test, not(cortex_loom)))]
mod tests;

pub use self::config::Wasi;
pub(crate) use self::output::Streams;
pub use self::output::{OutputLine, Stream};
