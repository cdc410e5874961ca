//! Hedges: a second attempt beside one that takes long.
//!
//! [`Hedge`] makes the first attempt at once, another one after a delay, and so on, up to as many as may be. The first that
//! succeeds is the answer, and the others are dropped in the same moment. So is the first whose failure others would repeat. A
//! failure that is [retryable](crate::Classify::is_retryable) brings the next attempt forward: it is made at once, and those that
//! follow every delay from then on. If all fail, the last result is the answer; there are no retries on top.
//!
//! A dependency that [asks for a delay](crate::Pushback) gets it before the next attempt. If it wants none, or a longer delay than
//! [`max_retry_after`](Builder::max_retry_after), or if a policy inside refuses an attempt, none are made any more, and those that
//! run go on. Nor is an attempt waited for that could begin only at the deadline, or that the budget would not pay for as it is: if
//! nothing else runs, the call ends at once. Attempts beyond the first need the
//! [`Budget`](crate::budget::Budget) and an open deadline of the [`Context`](cortex_core::Context); once refused, none follow.
//!
//! Hedge only what may be done twice at once. A delay about which nineteen of twenty attempts are faster than costs a twentieth
//! more load.

mod builder;
mod call;
mod policy;

#[cfg(feature = "tower")]
mod layer;
mod race;
#[cfg(feature = "tower")]
mod service;
mod settings;

pub use self::builder::Builder;
pub use self::call::Call;
#[cfg(feature = "tower")]
pub use self::layer::HedgeLayer;
pub use self::policy::Hedge;
pub use self::race::{Make, Race};
#[cfg(feature = "tower")]
pub use self::service::{HedgeService, ResponseFuture};
pub use crate::error::Error;
