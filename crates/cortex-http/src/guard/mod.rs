//! What stands between observation and the router: who is let in, for how long, and what every answer bears.

mod admission;
mod concurrency;
#[cfg(feature = "cors")]
mod cross_origin;
mod deadlines;
mod grpc;
mod guards;
mod load_shed;
mod nanos;
mod permits;
mod rate_limit;
mod refused;
#[cfg(not(feature = "cors"))]
mod same_origin;
mod security_headers;

pub use self::admission::{Admission, AdmissionRequest, AdmissionStage, Completion, Occupancy, Permit};
pub use self::concurrency::ConcurrencyLimit;
#[cfg(feature = "cors")]
pub(crate) use self::cross_origin::{CrossOrigin, Verdict};
pub use self::deadlines::Deadlines;
pub(crate) use self::grpc::answer_type as grpc_answer_type;
pub(crate) use self::guards::Guards;
pub use self::load_shed::LoadShed;
pub(crate) use self::nanos::nanos;
pub(crate) use self::permits::Permits;
pub use self::rate_limit::RateLimit;
pub(crate) use self::rate_limit::network;
pub use self::refused::Refused;
pub(crate) use self::refused::problem;
#[cfg(not(feature = "cors"))]
pub(crate) use self::same_origin::{CrossOrigin, Verdict};
pub use self::security_headers::SecurityHeaders;
