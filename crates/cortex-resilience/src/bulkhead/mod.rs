//! The bulkhead: so many calls at once, so that one dependency that hangs does not take all there is with it.
//!
//! Who finds no permit waits in a bounded queue, if there is one: by [`Priority`], and within one in the order in which they came.
//! Nobody overtakes those who wait, and a permit goes from hand to hand, so that none can be snatched in between. With
//! [`adaptive_lifo`](Builder::adaptive_lifo), under load the newest comes first: those who have waited longest are likely to
//! have been given up already. A queue that is full takes a call of a higher priority in place of the newest of the lowest one.
//!
//! A wait ends with a permit, or is refused: [`Reason::Full`](crate::Reason::Full) at once,
//! [`Reason::QueueTimeout`](crate::Reason::QueueTimeout) after the longest wait, or [`Reason::Deadline`](crate::Reason::Deadline)
//! when the deadline of the [`Context`](cortex_core::Context) comes before. Who goes away, before or after its turn, loses
//! neither a permit nor a wake-up for others.
//!
//! A permit can be held until the body of a response has ended: see `PermitBody` (feature `http`).

mod builder;
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "nobody waits without timers")
)]
mod gate;
mod inner;
mod permit;
mod policy;
mod priority;
mod queue;
mod shard;
mod word;

#[cfg(feature = "tokio")]
mod acquire;
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "tokio")]
mod call;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod hold;
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
#[cfg(feature = "http")]
pub use self::body::PermitBody;
pub use self::builder::Builder;
#[cfg(feature = "tokio")]
pub use self::call::Call;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::hold::Hold;
pub use self::inner::Snapshot;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::layer::BulkheadLayer;
pub use self::permit::Permit;
pub use self::policy::Bulkhead;
pub use self::priority::Priority;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use self::service::{BulkheadService, ResponseFuture};
pub use crate::error::Error;
#[cfg(all(feature = "tokio", feature = "tower"))]
pub use crate::hold::UntilAnswer;
#[cfg(all(feature = "tokio", feature = "tower", feature = "http"))]
pub use crate::hold::UntilBodyEnd;
