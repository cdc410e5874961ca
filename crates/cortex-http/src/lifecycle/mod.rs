//! The life of a service: what starts before it serves, what ends it, and in which order.

mod closing;
mod control;
mod drain;
mod parts;
mod phase;
mod starting;
mod step;
mod stopping;
mod subsystem;
mod thread;
mod times;
mod watch;

pub use self::closing::Closing;
pub(crate) use self::control::Control;
pub(crate) use self::drain::Drain;
pub(crate) use self::parts::Parts;
pub(crate) use self::phase::{Phase, PhaseCell};
pub(crate) use self::starting::Starting;
pub use self::step::StepResult;
pub use self::stopping::Stopping;
pub use self::subsystem::Subsystem;
pub(crate) use self::thread::LifecycleThread;
pub use self::times::Lifecycle;
pub(crate) use self::watch::Watch;
