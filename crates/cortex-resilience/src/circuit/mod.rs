//! The circuit breaker.
//!
//! **Closed**, it lets all calls through and counts how they end: [`Success`](crate::Outcome::Success) and
//! [`Failure`](crate::Outcome::Failure) are votes, and either may be slow, which is strictly longer than the threshold. After
//! every vote, once the [`Window`] holds the minimum, it opens if the share of failed or of slow votes is at its limit or above.
//!
//! **Open**, it rejects all calls and says when to come back. With the first call after the break it is half-open.
//!
//! **Half-open**, it lets as many calls through as there are permits, however many come at once. A vote uses its permit up; a
//! call that is ignored or dropped gives it back. The votes close it, with an empty window, or open it again. Without a verdict in
//! time ([`HalfOpen::max_time`]) it opens, so that a probe that hangs blocks no recovery.
//!
//! A call belongs to the generation that it began in, and each transition starts one, also one to the same state. What ends in a
//! later generation is counted as late and does nothing else. Nothing happens by a timer: what is due happens when somebody calls,
//! looks or [advances](Breaker::advance) it, and the end of probing is dated when it was due.
//!
//! A vote is given when there is a result. A layer can wait with it until the body of an answer has ended, or its trailers have
//! come (feature `http`): `BreakerLayer::until_body_end`.
//!
//! Votes of a window of time that come on several threads at the same moment may be judged with the next one; all others are
//! judged as if they came one by one.

mod breaker;
mod builder;
mod call;
mod error;
mod half_open;
mod permit;
mod saved;
mod settings;
mod snapshot;
mod state;
mod window;

mod admit;
mod control;
mod core;
mod guarded;
mod keep;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod pending_vote;
#[cfg(feature = "tower")]
mod service;

mod inner;
mod record;
mod running;
mod state_word;
mod transition;

mod cell;
mod compact;
mod count_window;
mod counters;
mod shard;
mod tally;
mod time;

#[cfg(all(test, cortex_loom))]
mod model;

#[cfg(any(feature = "health", feature = "metrics"))]
mod look;

pub use self::breaker::Breaker;
pub use self::builder::Builder;
pub use self::call::Call;
pub use self::error::IllegalTransition;
pub use self::half_open::{After, HalfOpen};
#[cfg(feature = "tower")]
pub use self::layer::BreakerLayer;
#[cfg(feature = "tower")]
pub use self::pending_vote::PendingVote;
pub use self::permit::Permit;
pub use self::saved::{RestoreError, SavedState, StateSink};
#[cfg(feature = "tower")]
pub use self::service::{BreakerService, ResponseFuture};
pub use self::settings::{BreakCx, Dropped};
pub use self::snapshot::{Axis, Snapshot};
pub use self::state::State;
pub use self::window::Window;
pub use crate::error::Error;
#[cfg(all(feature = "http", feature = "tower"))]
pub use crate::hold::{TimedUntilBodyEnd, UntilBodyEnd};
#[cfg(feature = "tower")]
pub use crate::hold::{UntilAnswer, VoteWhen};
