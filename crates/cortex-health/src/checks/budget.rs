use cortex_core::{Clock, Context, SystemClock};
use std::io;
use std::time::{Duration, Instant};

/// What a run may take if nobody says otherwise.
const USUAL: Duration = Duration::from_secs(2);

/// How much earlier a run gives up than the scheduler does: it knows what it waited for.
const HEAD_START: Duration = Duration::from_millis(100);

/// The time that is left to a run that blocks. The kernel's waits go by real time, so this does too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    end: Instant,
}

impl Budget {
    /// Takes the deadline of the run, which the scheduler has put into the context.
    pub(super) fn of_run() -> Self {
        let now = SystemClock.now();
        let left = Context::current()
            .deadline()
            .map_or(USUAL, |deadline| deadline.remaining(now));
        Self::of(left.saturating_sub((left / 10).min(HEAD_START)))
    }

    pub(super) fn of(left: Duration) -> Self {
        const FAR: Duration = Duration::from_hours(24 * 365);
        Self {
            end: SystemClock.now() + left.min(FAR),
        }
    }

    /// Returns what is left, never zero: to a socket that would mean for ever.
    pub(super) fn left(self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(SystemClock.now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }
}

/// Says why an exchange failed. A socket that waits too long says "would block", which nobody understands.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::Deadline;

    #[test]
    fn a_run_ends_a_little_before_its_deadline() {
        let deadline = Deadline::after(SystemClock.now(), Duration::from_mins(1));
        let _guard = Context::new().with_deadline(deadline).attach();
        let end = Budget::of_run().end;
        let early = deadline.instant().saturating_duration_since(end);
        assert!(
            early > Duration::from_millis(99) && early < Duration::from_millis(101),
            "{early:?}"
        );
    }

    #[test]
    fn without_a_deadline_there_is_a_usual_one() {
        let left = Budget::of_run().left().unwrap();
        assert!(left <= USUAL, "{left:?}");
        assert!(Budget::of(Duration::MAX).left().is_ok());
    }

    #[test]
    fn what_is_over_is_an_error_and_never_zero() {
        let error = Budget::of(Duration::ZERO).left().unwrap_err();
        assert_eq!(reason(&error), "no answer in time");
        assert_eq!(reason(&io::Error::other("reset")), "reset");
    }
}
