use crate::job::Unstarted;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

/// Why a call has no answer.
///
/// What was not begun comes back: `Q` is the request, or the closure. `E` is the error of the worker.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Error, Pool};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("reports").threads(1).build().await.unwrap();
/// let error = pool.run(|_, _| -> u32 { panic!("no paper") }).await.unwrap_err();
/// assert_eq!(error.to_string(), "run a task: it panicked: no paper");
/// assert!(matches!(error, Error::Panicked(panic) if panic.message() == "no paper"));
/// # });
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<Q, E = Infallible> {
    /// The queue is full.
    Full(Q),
    /// The pool is shut down, or about to be.
    Closed(Q),
    /// No thread of the pool is alive, and none could be started.
    NoWorkers(Q),
    /// To wait here for a worker of this pool is to wait for oneself.
    WouldDeadlock(Q),
    /// The deadline came before the answer.
    Deadline {
        /// How far the task was.
        stage: Stage,
        /// What was to be done, if it had not begun.
        work: Option<Q>,
    },
    /// Its [`CancelToken`](crate::CancelToken) was cancelled before the answer.
    Cancelled {
        /// How far the task was.
        stage: Stage,
        /// What was to be done, if it had not begun.
        work: Option<Q>,
    },
    /// It has run for as long as it may.
    RunTimeout {
        /// How long that was.
        ran: Duration,
    },
    /// The task was removed from the queue.
    Discarded {
        /// For what.
        reason: Discard,
        /// What was to be done, unless it was handed over ([`Builder::on_discard`](crate::Builder::on_discard)).
        work: Option<Q>,
    },
    /// The pool was shut down while the task ran.
    Shutdown,
    /// The task panicked.
    Panicked(Panic),
    /// The worker returned an error.
    Failed(E),
}

/// How far a task was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It had not been offered to the pool.
    Submitting,
    /// It waited for a place in the queue.
    Admission,
    /// It was in the queue.
    Queued,
    /// It ran.
    Running,
}

/// Why what was not begun is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// For a newer one, or because there was no place for it.
    Overflow,
    /// The pool was shut down before its turn came.
    Shutdown,
    /// No thread of the pool is alive, and none could be started.
    NoWorkers,
}

/// What a panic said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    message: Box<str>,
    location: Option<Box<str>>,
}

impl Panic {
    pub(crate) fn new(message: &str, location: Option<Box<str>>) -> Self {
        Self {
            message: message.into(),
            location,
        }
    }

    /// Returns its text, up to 4096 bytes of it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns where it was, as `file:line:column`, if [`locate_panics`](crate::locate_panics) was called before. It is not known of a
    /// panic that was caught and resumed elsewhere, as by `join` of rayon.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }
}

impl Discard {
    /// Returns why something is discarded that nobody is told of. What is late, or was cancelled, nobody wants.
    pub(crate) const fn of(why: Unstarted) -> Option<Self> {
        match why {
            Unstarted::Full => Some(Self::Overflow),
            Unstarted::Closed => Some(Self::Shutdown),
            Unstarted::NoWorkers => Some(Self::NoWorkers),
            Unstarted::Discarded(reason) => Some(reason),
            Unstarted::Deadline(_) | Unstarted::Cancelled(_) => None,
        }
    }
}

impl<Q, E> Error<Q, E> {
    /// Returns what was to be done, if it was not begun: it can be offered again.
    pub fn into_work(self) -> Option<Q> {
        match self {
            Self::Full(work) | Self::Closed(work) | Self::NoWorkers(work) | Self::WouldDeadlock(work) => {
                Some(work)
            }
            Self::Deadline { work, .. } | Self::Cancelled { work, .. } | Self::Discarded { work, .. } => work,
            Self::RunTimeout { .. } | Self::Shutdown | Self::Panicked(_) | Self::Failed(_) => None,
        }
    }

    /// Makes another error of that of the worker.
    #[cfg(feature = "rayon")]
    pub(crate) fn or_failed<F>(self, failed: impl FnOnce(E) -> Error<Q, F>) -> Error<Q, F> {
        match self {
            Self::Full(work) => Error::Full(work),
            Self::Closed(work) => Error::Closed(work),
            Self::NoWorkers(work) => Error::NoWorkers(work),
            Self::WouldDeadlock(work) => Error::WouldDeadlock(work),
            Self::Deadline { stage, work } => Error::Deadline { stage, work },
            Self::Cancelled { stage, work } => Error::Cancelled { stage, work },
            Self::RunTimeout { ran } => Error::RunTimeout { ran },
            Self::Discarded { reason, work } => Error::Discarded { reason, work },
            Self::Shutdown => Error::Shutdown,
            Self::Panicked(panic) => Error::Panicked(panic),
            Self::Failed(error) => failed(error),
        }
    }

    pub(crate) fn map_work<R>(self, back: impl FnOnce(Q) -> R) -> Error<R, E> {
        match self {
            Self::Full(work) => Error::Full(back(work)),
            Self::Closed(work) => Error::Closed(back(work)),
            Self::NoWorkers(work) => Error::NoWorkers(back(work)),
            Self::WouldDeadlock(work) => Error::WouldDeadlock(back(work)),
            Self::Deadline { stage, work } => Error::Deadline {
                stage,
                work: work.map(back),
            },
            Self::Cancelled { stage, work } => Error::Cancelled {
                stage,
                work: work.map(back),
            },
            Self::RunTimeout { ran } => Error::RunTimeout { ran },
            Self::Discarded { reason, work } => Error::Discarded {
                reason,
                work: work.map(back),
            },
            Self::Shutdown => Error::Shutdown,
            Self::Panicked(panic) => Error::Panicked(panic),
            Self::Failed(error) => Error::Failed(error),
        }
    }
}

/// Without the work: few closures could be shown.
impl<Q, E: fmt::Debug> fmt::Debug for Error<Q, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::NoWorkers(_) => f.write_str("NoWorkers(..)"),
            Self::WouldDeadlock(_) => f.write_str("WouldDeadlock(..)"),
            Self::Deadline { stage, .. } => write!(f, "Deadline {{ stage: {stage:?}, .. }}"),
            Self::Cancelled { stage, .. } => write!(f, "Cancelled {{ stage: {stage:?}, .. }}"),
            Self::RunTimeout { ran } => f.debug_struct("RunTimeout").field("ran", ran).finish(),
            Self::Discarded { reason, .. } => write!(f, "Discarded {{ reason: {reason:?}, .. }}"),
            Self::Shutdown => f.write_str("Shutdown"),
            Self::Panicked(panic) => f.debug_tuple("Panicked").field(panic).finish(),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<Q, E: fmt::Display> fmt::Display for Error<Q, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("run a task: ")?;
        match self {
            Self::Full(_) => f.write_str("the queue is full"),
            Self::Closed(_) => f.write_str("the pool is shut down"),
            Self::NoWorkers(_) => f.write_str("no thread of the pool is alive"),
            Self::WouldDeadlock(_) => {
                f.write_str("to wait in a task for a worker of its own pool would never end")
            }
            Self::Deadline { stage, .. } => write!(f, "the deadline came {stage}"),
            Self::Cancelled { stage, .. } => write!(f, "it was cancelled {stage}"),
            Self::RunTimeout { ran } => write!(f, "it had not ended after {ran:?}"),
            Self::Discarded { reason, .. } => write!(f, "it was discarded {reason}"),
            Self::Shutdown => f.write_str("the pool was shut down while it ran"),
            Self::Panicked(panic) => write!(f, "it panicked: {}", panic.message),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<Q, E: std::error::Error + 'static> std::error::Error for Error<Q, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submitting => "before it was offered to the pool",
            Self::Admission => "before there was a place in the queue",
            Self::Queued => "before its turn",
            Self::Running => "while it ran",
        })
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "as the queue is full",
            Self::Shutdown => "as the pool was shut down before its turn",
            Self::NoWorkers => "as no thread of the pool is alive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_happened_and_gives_back_what_was_not_begun() {
        let ran = Duration::from_secs(5);
        let errors: [(Error<u8, Infallible>, &str, Option<u8>); 10] = [
            (Error::Full(1), "the queue is full", Some(1)),
            (Error::Closed(2), "the pool is shut down", Some(2)),
            (Error::NoWorkers(3), "no thread of the pool is alive", Some(3)),
            (
                Error::WouldDeadlock(4),
                "to wait in a task for a worker of its own pool would never end",
                Some(4),
            ),
            (
                Error::Deadline {
                    stage: Stage::Queued,
                    work: Some(5),
                },
                "the deadline came before its turn",
                Some(5),
            ),
            (
                Error::Cancelled {
                    stage: Stage::Admission,
                    work: Some(8),
                },
                "it was cancelled before there was a place in the queue",
                Some(8),
            ),
            (Error::RunTimeout { ran }, "it had not ended after 5s", None),
            (
                Error::Discarded {
                    reason: Discard::Overflow,
                    work: Some(6),
                },
                "it was discarded as the queue is full",
                Some(6),
            ),
            (Error::Shutdown, "the pool was shut down while it ran", None),
            (
                Error::Panicked(Panic::new("a value that is no text", None)),
                "it panicked: a value that is no text",
                None,
            ),
        ];
        for (error, text, work) in errors {
            assert_eq!(error.to_string(), format!("run a task: {text}"));
            assert_eq!(
                error.clone().map_work(|work| work + 1).into_work(),
                work.map(|work| work + 1)
            );
            assert_eq!(error.into_work(), work);
        }
    }
}
