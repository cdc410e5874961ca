//! Throttling by the client: calls to a dependency that refuses or fails most of them are mostly not made.
//!
//! An [`AdaptiveThrottle`] counts how calls ended over the last while. As long as enough of them succeed, it lets all through. When
//! fewer do, it refuses a share by chance, the more of them the fewer succeed. Some always get through, so that it notices by itself
//! when the dependency is well again. This is the client-side throttling of Google's book on site reliability.
//!
//! A [`Breaker`](crate::circuit::Breaker) is for dependencies that are down or not; this is for those that do a part of the work.

mod adaptive;
mod builder;
mod settings;
mod window;

#[cfg(feature = "tower")]
mod layer;

#[cfg(any(feature = "health", feature = "metrics"))]
mod look;

pub use self::adaptive::{AdaptiveThrottle, Snapshot};
pub use self::builder::Builder;

#[cfg(feature = "tower")]
pub use self::layer::AdaptiveThrottleLayer;
