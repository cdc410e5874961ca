//! What stands between observation and the router: who is let in, for how long, and what every answer bears.

mod admission;
mod concurrency;
mod deadlines;
mod guards;
mod permits;
mod refused;

pub use self::admission::{Admission, AdmissionRequest, AdmissionStage, Completion, Permit};
pub use self::concurrency::ConcurrencyLimit;
pub use self::deadlines::Deadlines;
pub(crate) use self::guards::Guards;
pub(crate) use self::permits::Permits;
pub use self::refused::Refused;
