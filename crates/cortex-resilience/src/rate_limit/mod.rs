//! The rate limiter: so many calls in a period, as a bucket of tokens that fills evenly.
//!
//! It is the generic cell rate algorithm in one atomic word ([`Quota`]): there is no edge of a window at which twice the rate gets
//! through, and however many threads call at once, no more get through than there are tokens. A refusal says when a token will be
//! there; who comes at that moment gets it, if nobody else did.
//!
//! A limiter with a [maximum wait](Builder::max_wait) lets callers wait, each for a token that was reserved for it, so that they
//! are served in the order in which they came and those who would wait too long hear of it at once. A caller who goes away
//! gives the token back while nobody has reserved a later one.

mod bucket;
mod builder;
mod keyed;
mod limiter;
mod quota;
mod table;

#[cfg(feature = "tokio")]
mod acquire;
#[cfg(feature = "tokio")]
mod call;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod layer;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod service;

#[cfg(all(test, cortex_loom))]
mod model;

#[cfg(any(feature = "health", feature = "metrics"))]
mod look;

#[cfg(feature = "tokio")]
pub use self::acquire::Acquire;
pub use self::builder::Builder;
#[cfg(feature = "tokio")]
pub use self::call::Call;
pub use self::keyed::{KeyedBuilder, KeyedRateLimiter};
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::layer::RateLimitLayer;
pub use self::limiter::{RateLimiter, Snapshot};
pub use self::quota::Quota;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::service::{RateLimitService, ResponseFuture};
pub use self::table::QuotaTable;
pub use crate::error::Error;
