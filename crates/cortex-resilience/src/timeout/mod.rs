//! The timeout: a call ends in time, or with an error that says which time it was.
//!
//! A limit is of one attempt or of all of them ([`Kind`]), and either shrinks to what the deadline of the
//! [`Context`](cortex_core::Context) leaves. The call is polled first and the timer after it, so that a result that is there in
//! time is never thrown away. The time of an attempt begins when it first waits; one that is ready at once neither makes a timer
//! nor reads the clock, unless the context has a deadline: if that is past, nothing is tried. The time of all attempts begins with
//! the call, or when a service is first waited for: it costs a reading of the clock, and what is inside sees its end as the
//! deadline of the context. Retries, queues and limits inside stop there, and attempts leave it to the total to end them.

#[cfg(feature = "tokio")]
mod builder;
#[cfg(feature = "tokio")]
mod call;
mod error;
#[cfg(feature = "tokio")]
mod inner;
mod kind;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod layer;
#[cfg(feature = "tokio")]
mod policy;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod service;
mod timed_out;

#[cfg(feature = "tokio")]
pub use self::builder::Builder;
#[cfg(feature = "tokio")]
pub use self::call::Call;
pub use self::error::Error;
#[cfg(feature = "tokio")]
pub use self::inner::Snapshot;
pub use self::kind::Kind;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::layer::TimeoutLayer;
#[cfg(feature = "tokio")]
pub use self::policy::Timeout;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::service::{ResponseFuture, TimeoutService};
pub use self::timed_out::TimedOut;
