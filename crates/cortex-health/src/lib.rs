#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod builder;
mod check;
mod context;
mod error;
mod graph;
mod group;
mod health;
mod heartbeat;
mod history;
mod name;
mod outcome;
mod status;

mod observer;
mod report;
mod respond;
mod subscription;

mod negotiate;
mod probe;
mod published;
mod redact;
mod render;
mod running;
mod scheduler;
mod shared;
mod source;

pub mod checks;

#[cfg(feature = "axum")]
mod endpoint;
#[cfg(feature = "grpc")]
mod grpc;

pub use self::access::{Access, InvalidToken};
pub use self::builder::Builder;
pub use self::check::Check;
pub use self::context::{CheckCtx, RunReason};
#[cfg(feature = "axum")]
pub use self::endpoint::router;
pub use self::error::{BuildError, BuildErrorKind, InvalidName, RunNowError};
pub use self::group::Group;
#[cfg(feature = "grpc")]
pub use self::grpc::{GrpcBody, GrpcHealth};
pub use self::health::Health;
pub use self::heartbeat::Heartbeat;
pub use self::history::{Run, Transition};
pub use self::observer::{Event, Observer, RunResult};
pub use self::outcome::Outcome;
pub use self::probe::{ProbeError, probe};
pub use self::redact::redact;
pub use self::report::{CheckReport, Report};
pub use self::respond::{Detail, Endpoint};
pub use self::running::Running;
pub use self::status::{Criticality, Status};
pub use self::subscription::Subscription;
