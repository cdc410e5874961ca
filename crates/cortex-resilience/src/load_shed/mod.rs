//! Load shedding: calls are refused at once while there is too much to do, instead of late.
//!
//! [`LoadShed`] refuses by two signs. A service behind its layer that is not ready is not waited for: it has as much to do as it
//! takes. And a [`ShedPolicy`] says by whatever signal whether there is too much to do: a function, for instance of the load of
//! the processors, a [`QueueDelay`], or with the feature `tokio` how late a runtime is.

mod policy;
mod queue_delay;
#[cfg(feature = "tokio")]
mod runtime_lag;
mod shed;

#[cfg(feature = "tower")]
mod layer;

pub use self::policy::{Busy, ShedPolicy};
pub use self::queue_delay::QueueDelay;
#[cfg(feature = "tokio")]
pub use self::runtime_lag::RuntimeLag;
pub use self::shed::{Builder, LoadShed};

#[cfg(feature = "tower")]
pub use self::layer::LoadShedLayer;
