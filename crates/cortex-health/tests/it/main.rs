//! The crate as its users see it, on a real runtime.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod checks;
mod dependencies;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "axum")]
mod endpoint;
#[cfg(feature = "grpc")]
mod grpc;
mod observers;
mod once;
mod probe;
mod scheduler;
mod storm;
#[cfg(feature = "tls")]
mod tls;
mod wait;
