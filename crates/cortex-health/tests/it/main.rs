//! The crate as its users see it, on a real runtime.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod dependencies;
#[cfg(feature = "axum")]
mod endpoint;
mod once;
mod probe;
mod scheduler;
mod wait;
