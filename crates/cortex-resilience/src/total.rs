use cortex_core::{Clock, Context, Deadline};
use std::cell::Cell;

/// Says whether this deadline of the [`Context`] is one that a policy around the call set, such as a total timeout or
/// [`within`](crate::retry::Builder::within), and not the caller's.
///
/// Who is still at work when it comes has taken too long, as with any other timeout; that the caller waits no longer is nobody's
/// failure. Whoever is under way at that moment has failed, however little time was left for them: give attempts a timeout of their
/// own, with which a slow one ends before it uses up the time of the next.
///
/// A total timeout drops what is inside when its time is over: what keeps that deadline itself, as the client of `cortex-http` does,
/// has failed by then, and what does not has no result, and no vote in a breaker between. A timeout between leaves that end to it.
///
/// It is known where the policy polls the call, and not in tasks that the call spawns: there it counts as the caller's.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// use cortex_core::Context;
/// use cortex_resilience::{is_policy_deadline, timeout::Timeout};
/// use std::time::Duration;
///
/// let timeout = Timeout::builder("search").total(Duration::from_secs(1)).build()?;
/// let inside = timeout.call(async { Ok::<_, std::io::Error>(Context::current().deadline()) });
/// let looked = timeout.call(async { Ok::<_, std::io::Error>(Context::current().deadline().map(is_policy_deadline)) });
/// assert_eq!(looked.await?, Some(true));
/// assert!(!inside.await?.is_some_and(is_policy_deadline)); // outside it is nobody's
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn is_policy_deadline(deadline: Deadline) -> bool {
    CURRENT.get().is_some_and(|total| total.deadline == deadline)
}

/// The limit on all attempts that surrounds what is polled: what is inside sees it as the deadline of its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    deadline: Deadline,
    /// While it begins, nothing inside has to look whether it is past.
    is_new: bool,
    /// It ends what is inside itself, and so nothing inside has to.
    ends: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Total>> = const { Cell::new(None) };
}

/// Brings back what surrounded the thread before.
pub(crate) struct Guard {
    previous: Option<Total>,
    _context: cortex_core::Guard,
}

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(self.previous);
    }
}

impl Total {
    /// Surrounds what runs until the guard is dropped, unless the context has a nearer deadline. Whoever calls it ends what is
    /// inside.
    #[cfg(feature = "tokio")]
    pub(crate) fn enter(deadline: Deadline, is_new: bool) -> Option<Guard> {
        let ends = true;
        Self {
            deadline,
            is_new,
            ends,
        }
        .surround()
    }

    /// Surrounds what runs until the guard is dropped, unless the context has a nearer deadline. What is inside ends by itself.
    pub(crate) fn tell(deadline: Deadline) -> Option<Guard> {
        let (is_new, ends) = (false, false);
        Self {
            deadline,
            is_new,
            ends,
        }
        .surround()
    }

    fn surround(self) -> Option<Guard> {
        let context = Context::current();
        if context.deadline().is_some_and(|nearer| nearer <= self.deadline) {
            return None;
        }
        Some(Guard {
            previous: CURRENT.replace(Some(self)),
            _context: context.with_deadline(self.deadline).attach(),
        })
    }

    /// Returns the limit that a deadline of the context is of, if it is of one that ends what is inside.
    pub(crate) fn of(deadline: Deadline) -> Option<Self> {
        CURRENT
            .get()
            .filter(|total| total.ends && total.deadline == deadline)
    }

    /// Says whether a deadline of the context is past, and reads the clock only where that is not known.
    pub(crate) fn is_past(deadline: Deadline, clock: &impl Clock) -> bool {
        !Self::of(deadline).is_some_and(|total| total.is_new) && deadline.is_past(clock.now())
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use super::*;
    use cortex_core::SystemClock;
    use std::time::Duration;

    #[test]
    fn what_is_inside_sees_the_nearest_and_knows_whose_it_is() {
        let now = SystemClock.now();
        let [near, far] = [1, 9].map(|secs| Deadline::after(now, Duration::from_secs(secs)));
        let outer = Total::enter(near, true);
        assert!(Total::of(near).is_some() && Total::of(far).is_none());
        assert!(Total::enter(far, true).is_none()); // that of the outer one comes first
        assert_eq!(Context::current().deadline(), Some(near));
        let past = Deadline::at(now);
        assert!(Total::is_past(past, &SystemClock) && !Total::is_past(near, &SystemClock));
        let inner = Total::enter(past, true);
        assert!(!Total::is_past(past, &SystemClock)); // it has just begun
        drop(inner);
        let inner = Total::enter(past, false);
        assert!(Total::is_past(past, &SystemClock));
        drop(inner);
        assert_eq!(Context::current().deadline(), Some(near));
        assert!(is_policy_deadline(near) && !is_policy_deadline(far));
        let told = Total::tell(past);
        assert!(is_policy_deadline(past) && Total::of(past).is_none());
        assert!(Total::is_past(past, &SystemClock));
        drop(told);
        drop(outer);
        assert!(!is_policy_deadline(near));
        assert!(Total::of(near).is_none() && Context::current().deadline().is_none());
    }
}
