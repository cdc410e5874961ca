//! Policies around one another, in an order that their type shows.
//!
//! [`Pipeline::new`] takes policies, the outermost first. Each of them is asked, and told how the call ended, as if it were
//! alone: classifiers look [through](crate::Through) the errors of the policies inside, and what the caller gets is one flat
//! [`Error`]. [`call`](Pipeline::call) calls a function for each attempt, once all policies have let it through. `layer` puts tower
//! services behind the same policies, and `layer_for` where requests may be sent again: it says which.
//!
//! # Which order
//!
//! [`Pipeline::standard`] is what most callers of a dependency want, from the outside in:
//!
//! 1. a **rate limit**, before anything is spent on a call that may not be made;
//! 2. the **total timeout**, which is what the caller waits at most, attempts and pauses together;
//! 3. the **retry**, so that one failure of many is nobody's;
//! 4. the **breaker**, which sees every attempt, and so opens early; that it is open is not tried again;
//! 5. the **attempt timeout**, so that an attempt that hangs leaves time for another, and is a vote against the dependency.
//!
//! [`Pipeline::outer_breaker`] has the breaker outside: one vote a call, after all its attempts. It opens later, and attempts go on
//! at a dependency that is dying; but one refusal ends a call with all its attempts, and the permit of the bulkhead, which is inside,
//! is free while the retry pauses.
//!
//! At most one policy of a [`call`](Pipeline::call) may make several attempts: a retry around a hedge, or one hedge around another,
//! multiplies the load on what fails. Layers can be put around one another like that; let both share a budget then.

mod added;
mod around;
mod call;
mod composed;
mod error;
mod nested;
mod operation;
mod policy;
mod stages;
mod tuples;
mod wrap;

mod presets;
mod repeat;

#[cfg(feature = "tower")]
mod layer;
#[cfg(any(feature = "health", feature = "metrics"))]
mod look;
#[cfg(feature = "tower")]
mod serve;
#[cfg(feature = "tower")]
mod service;

pub mod parts;

pub use self::call::Call;
pub use self::composed::Pipeline;
pub use self::error::Error;
#[cfg(feature = "tower")]
pub use self::layer::PipelineLayer;
pub use self::presets::{OuterBreaker, OuterBreakerBuilder, Standard, StandardBuilder};
#[cfg(feature = "tower")]
pub use self::service::{PipelineService, ResponseFuture};
