//! The client against real servers, good and bad.

mod calls;
mod cancel;
mod deadlines;
mod faults;
mod layer;
mod limits;
mod policies;
mod pool;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod traces;
