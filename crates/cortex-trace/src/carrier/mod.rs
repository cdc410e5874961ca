//! What goes with a [`Context`](cortex_core::Context) where it goes: the `tracestate` and the baggage.

mod captured;
mod current;
#[cfg(feature = "tokio")]
mod spawn;
mod traced;

pub use self::captured::{Captured, CapturedGuard};
#[cfg(feature = "bridge")]
pub(crate) use self::current::{Carrier, replace};
pub(crate) use self::current::{peek, tracestate_of};
#[cfg(feature = "tokio")]
pub use self::spawn::{spawn_blocking_traced, spawn_traced};
pub use self::traced::Traced;
