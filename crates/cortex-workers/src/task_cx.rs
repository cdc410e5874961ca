use crate::priority::Priority;
use crate::stop::Stop;
use crate::ticket::Ticket;
use cortex_core::{Clock, Context, Deadline};
use std::fmt;
use std::time::Duration;

/// What a task is told while it runs.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool, Stop, TaskCx};
///
/// fn count(cx: &TaskCx<'_>) -> Result<u64, Stop> {
///     let mut sum = 0;
///     for number in 0..1_000_000 {
///         if number % 1000 == 0 {
///             cx.check()?; // one load: a task that nobody waits for ends here
///         }
///         sum += number;
///     }
///     Ok(sum)
/// }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("sums").threads(1).build().await.unwrap();
/// assert_eq!(pool.run(|_, cx| count(cx)).await.unwrap(), Ok(499_999_500_000));
/// # });
/// ```
pub struct TaskCx<'a> {
    pub(crate) ticket: &'a Ticket,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) taken: u64,
}

impl TaskCx<'_> {
    /// Says whether the task is to stop, as nobody needs its answer any more. One load; on the thread of a caller
    /// ([`Overflow::CallerRuns`](crate::Overflow::CallerRuns)) it looks at the clock.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.stop().is_some()
    }

    /// Returns why the task is to stop, if it is.
    #[inline]
    pub fn stop(&self) -> Option<Stop> {
        if self.ticket.looks_itself {
            self.look();
        }
        self.ticket.stop()
    }

    /// Tells the task to stop if its time is over.
    #[cold]
    pub(crate) fn look(&self) {
        let (due, why) = self.ticket.due(self.taken);
        if due != crate::ticket::NEVER && due <= self.clock.nanos() {
            self.ticket.tell(why);
        }
    }

    /// Goes on, unless the task is to stop.
    ///
    /// # Errors
    ///
    /// Why it is to stop.
    #[inline]
    pub fn check(&self) -> Result<(), Stop> {
        self.stop().map_or(Ok(()), Err)
    }

    /// Returns until when somebody waits for the answer, and when its time to run is over: the earlier of the two.
    pub fn deadline(&self) -> Option<Deadline> {
        let (due, _) = self.ticket.due(self.taken);
        (due != crate::ticket::NEVER).then(|| Deadline::from_nanos(due))
    }

    /// Returns how much of that time is left, if there is a limit.
    pub fn remaining(&self) -> Option<Duration> {
        let left = |deadline: Deadline| deadline.nanos().saturating_sub(self.clock.nanos());
        self.deadline().map(left).map(Duration::from_nanos)
    }

    /// Returns the context of the caller, which is attached while the task runs.
    pub const fn context(&self) -> Context {
        self.ticket.context
    }

    /// Returns the priority that the task has.
    pub const fn priority(&self) -> Priority {
        self.ticket.priority
    }

    /// Returns how long the task has waited for its turn.
    pub const fn queued_for(&self) -> Duration {
        Duration::from_nanos(self.taken.saturating_sub(self.ticket.submitted))
    }
}

impl fmt::Debug for TaskCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCx")
            .field("priority", &self.priority())
            .field("stop", &self.stop())
            .field("queued_for", &self.queued_for())
            .finish_non_exhaustive()
    }
}
