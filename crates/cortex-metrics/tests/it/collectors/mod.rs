//! Collectors that come with the crate, against the real thing.

mod build_info;
#[cfg(all(feature = "process", target_os = "linux"))]
mod process;
#[cfg(feature = "tokio")]
mod runtime;
