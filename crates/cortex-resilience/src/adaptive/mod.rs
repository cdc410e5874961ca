//! Limits of concurrency that find themselves: as many calls at once as a dependency does in good time.
//!
//! An [`AdaptiveLimit`] lets a call through while fewer than the limit are under way, and refuses it otherwise: nothing waits. When
//! a call ends, it is a [`Sample`] for the algorithm, a [`Limit`], which moves the limit:
//!
//! - [`Aimd`] goes up by one while calls are in time, and down by a tenth with each that is not. It needs to be told what is in time.
//! - [`Vegas`] takes the shortest time that a call took for that of an idle dependency, and works out from it how many calls wait
//!   in its queue. It keeps that queue short.
//! - [`Gradient2`] compares each call with the mean of many: the limit falls while calls take longer than usual. It stands
//!   dependencies whose times change by themselves.
//!
//! [`Windowed`] makes one sample of many, for dependencies that answer very often.
//!
//! A call that fails is dropped load: the limit falls. Have the classifier ignore what fails for reasons of its own, such as a
//! request that was wrong; such calls, and those that are cancelled or panic, are no sample at all.

mod aimd;
mod builder;
mod gradient2;
mod inner;
mod limit;
mod limiter;
mod ticket;
mod vegas;
mod windowed;

#[cfg(all(test, cortex_loom))]
mod model;

#[cfg(feature = "tower")]
mod layer;

#[cfg(any(feature = "health", feature = "metrics"))]
mod look;

pub use self::aimd::Aimd;
pub use self::builder::Builder;
pub use self::gradient2::Gradient2;
pub use self::limit::{Limit, Sample};
pub use self::limiter::{AdaptiveLimit, Snapshot};
pub use self::ticket::{End, Started, Ticket};
pub use self::vegas::Vegas;
pub use self::windowed::Windowed;

#[cfg(feature = "tower")]
pub use self::layer::AdaptiveLimitLayer;
