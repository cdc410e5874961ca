#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempt;
mod build_error;
mod classify;
mod clone_request;
mod error;
mod event;
#[cfg(feature = "tower")]
mod hold;
mod link;
#[cfg(feature = "tower")]
mod maybe;
mod observer;
mod outcome;
mod policy_error;
mod policy_id;
mod random;
mod rejected;
mod shared;
mod slot;
mod sync;
mod time;
#[cfg(feature = "tokio")]
mod timer;
mod total;
#[cfg(any(feature = "health", feature = "metrics"))]
mod watch;

pub mod adaptive;
pub mod budget;
pub mod bulkhead;
pub mod chaos;
pub mod circuit;
pub mod fallback;
pub mod gate;
#[cfg(feature = "health")]
pub mod health;
#[cfg(feature = "tokio")]
pub mod hedge;
#[cfg(feature = "http")]
pub mod http;
pub mod load_shed;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "tokio")]
pub mod pipeline;
pub mod rate_limit;
pub mod registry;
pub mod retry;
pub mod throttle;
pub mod timeout;
#[cfg(feature = "trace")]
pub mod trace;

pub use self::attempt::Attempt;
pub use self::build_error::BuildError;
pub use self::classify::{Classify, ErrIsFailure, Pushback};
pub use self::clone_request::{CloneRequest, Cloned};
pub use self::error::Error;
pub use self::event::Event;
pub use self::observer::Observer;
pub use self::outcome::Outcome;
pub use self::policy_error::{Cause, PolicyError, Through};
pub use self::policy_id::PolicyId;
pub use self::rejected::{Reason, Rejected};
pub use self::total::is_policy_deadline;
#[cfg(any(feature = "health", feature = "metrics"))]
pub use self::watch::{Watch, Watched};
