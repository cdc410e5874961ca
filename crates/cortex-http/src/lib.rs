#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod address;
mod admin;
#[cfg(feature = "client")]
pub mod client;
mod deadline_header;
mod error;
mod guard;
mod health_metrics;
mod join;
mod lifecycle;
mod limits;
mod listen;
mod metrics;
mod observe;
mod outcome;
mod policy_problem;
mod present;
mod problem;
mod registration;
mod report;
mod request_histogram;
mod request_id;
mod routes;
mod running;
mod serve;
mod server;
mod shared;
mod signals;
mod spans;
mod table;
mod tail;
#[cfg(feature = "tls")]
mod tls;

pub use self::access::AccessLog;
pub use self::address::{ClientAddress, Forwarded, ForwardedRejection, TrustedProxies};
pub use self::admin::{
    Acted, ActionError, ActionInput, Admin, ControlError, ControlState, ControlValue, Controllable,
    ControllablePolicy, ControllableStages, Controls, DrainError, InputKind, drain,
};
#[cfg(feature = "client")]
pub use self::client::pooled::Client;
pub use self::error::{Error, ErrorKind};
pub use self::guard::{
    Admission, AdmissionRequest, AdmissionStage, Completion, ConcurrencyLimit, Deadlines, LoadShed,
    Occupancy, Permit, RateLimit, Refused, SecurityHeaders,
};
pub use self::health_metrics::HealthMetrics;
pub use self::lifecycle::{Closing, Lifecycle, StepResult, Stopping, Subsystem};
pub use self::limits::Limits;
pub use self::listen::{ListenAddr, Listener};
pub use self::observe::{BodyError, Observed, ResponseBody, ResponseFuture};
pub use self::outcome::Outcome;
pub use self::problem::{Problem, ProblemValue};
pub use self::report::{Cut, ExitReport, PhaseReport, StepEnd, StepReport};
pub use self::request_id::{RequestId, RequestIds};
pub use self::routes::Routes;
pub use self::running::Running;
pub use self::server::Server;
#[cfg(feature = "tls")]
pub use self::tls::{ClientCertificate, ClientCertificateRejection, Tls, rustls};
