//! Another answer where a call fails: a value, one that is computed, or that of another call.
//!
//! A [`Fallback`] covers the results that its classifier takes for failures, be they `Err` or `Ok`; all others pass. What it gives
//! instead may be an error too.
//!
//! Mind that a fallback which calls another dependency needs policies of its own: it gets all the load when the first one fails.

mod builder;
mod call;
mod handler;
mod policy;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;

pub use self::builder::Builder;
pub use self::call::Call;
pub use self::handler::{AsyncFunction, Function, Handler, Unset, Value};
#[cfg(feature = "tower")]
pub use self::layer::FallbackLayer;
pub use self::policy::Fallback;
#[cfg(feature = "tower")]
pub use self::service::{FallbackService, ResponseFuture};
pub use crate::error::Error;
