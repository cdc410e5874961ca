use cortex_core::{Clock, Context, Deadline};
use std::cell::Cell;

/// The total limit that surrounds what is polled: what is inside sees its deadline as that of its context.
///
/// It ends what is inside itself, and so nothing inside has to; and while it begins, nothing inside has to look whether it is past.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    deadline: Deadline,
    is_new: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Total>> = const { Cell::new(None) };
}

/// Brings back what surrounded the thread before.
pub(super) struct Guard {
    previous: Option<Total>,
    _context: cortex_core::Guard,
}

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(self.previous);
    }
}

impl Total {
    /// Surrounds what runs until the guard is dropped, unless the context has a nearer deadline.
    pub(super) fn enter(deadline: Deadline, is_new: bool) -> Option<Guard> {
        let context = Context::current();
        if context.deadline().is_some_and(|nearer| nearer <= deadline) {
            return None;
        }
        let total = Self { deadline, is_new };
        Some(Guard {
            previous: CURRENT.replace(Some(total)),
            _context: context.with_deadline(deadline).attach(),
        })
    }

    /// Returns the limit that a deadline of the context is of, if it is of one.
    pub(super) fn of(deadline: Deadline) -> Option<Self> {
        CURRENT.get().filter(|total| total.deadline == deadline)
    }

    /// Says whether a deadline of the context is past, and reads the clock only where that is not known.
    pub(crate) fn is_past(deadline: Deadline, clock: &impl Clock) -> bool {
        !Self::of(deadline).is_some_and(|total| total.is_new) && deadline.is_past(clock.now())
    }
}

#[cfg(test)]
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
        drop(outer);
        assert!(Total::of(near).is_none() && Context::current().deadline().is_none());
    }
}
