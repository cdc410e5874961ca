use super::error::IllegalTransition;
use super::state::State;
use std::fmt;
use std::time::{Duration, SystemTime};

/// The state of a breaker, to be kept over a restart or given to other instances; times are of the wall clock.
///
/// The fields are what has to be written down, in any format.
///
/// What somebody has forced by hand is theirs to end, here and now: nobody would end it where it is
/// [restored](super::Breaker::restore), and so it is not forced there.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, State};
/// use std::time::Duration;
///
/// let here = Breaker::builder("payments").build()?;
/// here.open()?;
/// let there = Breaker::builder("payments").build()?;
/// there.restore(&here.save(), Duration::from_secs(10))?;
/// assert_eq!(there.state(), State::Open);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// When it was saved.
    pub at: SystemTime,
    /// The state; [`ForcedOpen`](State::ForcedOpen), [`Disabled`](State::Disabled) and [`MetricsOnly`](State::MetricsOnly) tell, and
    /// are not restored.
    pub state: State,
    /// When the break is over; `None` if it is not open, or never.
    pub until: Option<SystemTime>,
    /// How often it was half-open since it was closed last.
    pub half_open_attempts: u32,
}

/// Hears of every transition with the state after it, to share it with other instances.
///
/// It is called on the thread of the call, once the state is in force, and must neither block nor panic: hand the state on to a
/// task. A node whose own network fails opens its breakers: who adopts the states of peers should ask more than one.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, SavedState, StateSink};
/// use std::sync::{Arc, Mutex, mpsc};
///
/// struct ToPeers(Mutex<mpsc::Sender<(String, SavedState)>>);
///
/// impl StateSink for ToPeers {
///     fn on_transition(&self, breaker: &str, state: &SavedState) {
///         let _ = self.0.lock().expect("nothing panics under it").send((breaker.to_owned(), *state));
///     }
/// }
///
/// let (sender, states) = mpsc::channel();
/// let breaker = Breaker::builder("payments").sink(Arc::new(ToPeers(Mutex::new(sender)))).build()?;
/// breaker.open()?;
/// assert_eq!(states.try_recv()?.0, "payments");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait StateSink: Send + Sync {
    /// Takes note of a transition of the breaker with this name.
    fn on_transition(&self, breaker: &str, state: &SavedState);
}

/// Why a state was not restored; nothing has changed.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, RestoreError};
/// use std::time::Duration;
///
/// let breaker = Breaker::builder("payments").build()?;
/// let mut saved = breaker.save();
/// saved.at -= Duration::from_secs(60);
/// let error = breaker.restore(&saved, Duration::from_secs(10)).unwrap_err();
/// assert!(matches!(error, RestoreError::TooOld { .. }));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// It was saved too long ago.
    #[non_exhaustive]
    TooOld {
        /// How long ago.
        age: Duration,
        /// How long it may be.
        max: Duration,
    },
    /// Somebody has decided which state the breaker is in, and has to end that first.
    Illegal(IllegalTransition),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld { age, max } => {
                write!(f, "restore a state that is {age:?} old: {max:?} are allowed")
            }
            Self::Illegal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<IllegalTransition> for RestoreError {
    fn from(error: IllegalTransition) -> Self {
        Self::Illegal(error)
    }
}
