//! Faults on purpose: calls that are late, fail, answer otherwise, hang, or whose answer is lost.
//!
//! A [`Chaos`] is put where the dependency is, inside of all policies, to see whether they do what they are for. It is off until
//! [`enable`](Chaos::enable) is called, and can be switched at any time. Each fault hits a share of the calls by chance, and a
//! predicate says which calls it may hit at all.
//!
//! A call may be late and then have one of the others: of those that hit, the first of hang, error, outcome and loss.

mod builder;
mod call;
mod delay;
mod fault;
mod policy;
mod source;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;

pub use self::builder::Builder;
pub use self::call::Call;
pub use self::fault::Fault;
#[cfg(feature = "tower")]
pub use self::layer::ChaosLayer;
pub use self::policy::Chaos;
#[cfg(feature = "tower")]
pub use self::service::{ChaosService, ResponseFuture};
pub use self::source::{Answers, Errors, Source, Target, Unset, When};
pub use crate::error::Error;
