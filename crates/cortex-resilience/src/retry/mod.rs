//! Retries.
//!
//! After an attempt whose result is [retryable](crate::Classify::is_retryable), [`Retry`] waits for as long as its [`Backoff`]
//! or the dependency says, and makes another one. It gives up, with the last result and [the reason](GaveUp), when
//!
//! - the result is not retryable, or the request can't be sent again;
//! - as many attempts as may be were made, the first included;
//! - the dependency wants no more attempts, or none for longer than [`max_retry_after`](Builder::max_retry_after): a delay
//!   that it asks for is never shortened;
//! - the next attempt could begin only at the deadline or after it: that is the earlier of the caller's, in the
//!   [`Context`](cortex_core::Context), and the policy's own, [`within`](Builder::within). It gives up at once then, and does not wait
//!   for nothing;
//! - the [`Budget`](crate::budget::Budget) has nothing left, which is found out before the wait;
//! - a policy inside refused the attempt, such as an open breaker. See [`through`](Builder::through), and
//!   [`wait_out_rejections`](Builder::wait_out_rejections) for another choice. The error is then the call's own of the attempt
//!   before, if there is one;
//! - a service fails to become ready for another attempt.
//!
//! Retry only what may be done twice.

mod backoff;
mod blocking;
mod builder;
#[cfg(feature = "tokio")]
mod call;
mod error;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod layer;
mod policy;

mod presets;
mod progress;
#[cfg(feature = "tokio")]
mod run;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod service;
mod settings;

pub use self::backoff::{Backoff, Jitter, RetryCx};
pub use self::blocking::{Sleeper, ThreadSleeper};
pub use self::builder::Builder;
#[cfg(feature = "tokio")]
pub use self::call::Call;
pub use self::error::{Error, GaveUp};
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::layer::RetryLayer;
pub use self::policy::Retry;
#[cfg(feature = "tokio")]
pub use self::run::{Make, Run};
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::service::{ResponseFuture, RetryService};
