//! What policies share that let a call through or refuse it, and hear how it ended.
//!
//! Such a policy is a [`Gate`]. It decides and counts; permits, futures and services are the same for all of them, and are here.
//! Implement the trait, and [`Judge`], for an admission of your own, and it has them too.
//!
//! # Examples
//!
//! ```
//! use cortex_resilience::gate::{Abandoned, Call, Error, Gate, Judge};
//! use cortex_resilience::{Outcome, Reason, Rejected};
//! use std::sync::atomic::{AtomicBool, Ordering};
//!
//! /// Lets nothing through while somebody works on the database.
//! #[derive(Default)]
//! struct Maintenance(AtomicBool);
//!
//! impl Gate for Maintenance {
//!     type Ticket = ();
//!
//!     fn admit(&self) -> Result<(), Rejected> {
//!         if self.0.load(Ordering::Relaxed) { Err(self.refuse()) } else { Ok(()) }
//!     }
//!
//!     fn refuse(&self) -> Rejected {
//!         Rejected::new(Reason::Overloaded, None)
//!     }
//!
//!     fn finish(&self, (): (), _: Outcome) {}
//!
//!     fn abandon(&self, (): (), _: Abandoned) {}
//! }
//!
//! impl<T, E> Judge<T, E> for Maintenance {
//!     fn judge(&self, _: Result<&T, &E>) -> Outcome {
//!         Outcome::Ignore
//!     }
//! }
//!
//! let gate = Maintenance::default();
//! let mut call = Box::pin(Call::new(&gate, async { Ok::<u8, ()>(7) }));
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # let mut poll = |call: &mut std::pin::Pin<Box<Call<'_, _, Maintenance>>>| call.as_mut().poll(&mut cx);
//! assert_eq!(poll(&mut call), std::task::Poll::Ready(Ok(7))); // poll: what the runtime does
//! ```

mod admission;
mod call;
mod permit;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod pending_vote;
#[cfg(feature = "tower")]
mod service;

#[cfg(all(feature = "http", feature = "tower"))]
pub use self::admission::JudgeEnd;
pub use self::admission::{Abandoned, Gate, Judge};
pub use self::call::Call;
#[cfg(feature = "tower")]
pub use self::layer::GateLayer;
#[cfg(feature = "tower")]
pub use self::pending_vote::PendingVote;
pub use self::permit::Permit;
#[cfg(feature = "tower")]
pub use self::service::{GateService, ResponseFuture};
pub use crate::error::Error;
#[cfg(all(feature = "http", feature = "tower"))]
pub use crate::hold::UntilBodyEnd;
#[cfg(feature = "tower")]
pub use crate::hold::{UntilAnswer, VoteWhen};
