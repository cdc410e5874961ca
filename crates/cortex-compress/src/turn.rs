//! How long the task that runs on a thread has been encoding.

use crate::encoder::BUDGET;
use std::cell::Cell;
use std::task::Waker;

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn { task: 0, spent: 0, until: 0 }) };
}

/// What one task has done on this thread without giving it away, as far as can be told.
///
/// A server may send several responses in one poll of the task of a connection, as requests of HTTP/1.1 may be
/// pipelined: 16 of them with hyper. Each response knows only of itself.
#[derive(Clone, Copy)]
struct Turn {
    /// Where the data of its waker is.
    task: usize,
    /// In nanoseconds.
    spent: u64,
    /// When it last encoded something.
    until: u64,
}

impl Turn {
    /// Nobody tells when a poll begins. It is another one if it is of another task; and likely if the task has encoded
    /// nothing for as long as it may encode. To be wrong costs little: one more poll in a quarter of a millisecond of
    /// work.
    fn is_of(self, task: usize, now: u64) -> bool {
        self.task == task && now.abs_diff(self.until) <= BUDGET // another clock may be ahead
    }
}

fn task(waker: &Waker) -> usize {
    waker.data().addr()
}

/// Returns how many nanoseconds the task has spent encoding, for this response or for others, since it gave its thread
/// away.
pub(crate) fn spent(waker: &Waker, now: u64) -> u64 {
    let turn = TURN.get();
    if turn.is_of(task(waker), now) {
        turn.spent
    } else {
        0
    }
}

/// Takes note that the task has spent this many nanoseconds, which began then.
pub(crate) fn spend(waker: &Waker, began: u64, nanos: u64) {
    TURN.set(Turn {
        task: task(waker),
        spent: spent(waker, began).saturating_add(nanos),
        until: began.saturating_add(nanos),
    });
}

/// The task is about to give its thread away.
pub(crate) fn end() {
    let turn = TURN.get();
    TURN.set(Turn { spent: 0, ..turn });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_turn_lasts_until_its_task_gives_way_or_another_one_runs() {
        let (one, other) = (Arc::new(Task), Arc::new(Task));
        let (one, other) = (Waker::from(one), Waker::from(other));
        assert_eq!(spent(&one, 0), 0);
        spend(&one, 1000, 200);
        spend(&one.clone(), 1500, 300);
        assert_eq!((spent(&one, 1800), spent(&other, 1800)), (500, 0));
        assert_eq!(spent(&one, 1800 + BUDGET), 500);
        assert_eq!(spent(&one, 1801 + BUDGET), 0, "so much later it is another poll");
        end();
        assert_eq!(spent(&one, 1800), 0);
        spend(&one, 2000, 100);
        spend(&other, 2100, 7);
        assert_eq!((spent(&one, 2200), spent(&other, 2200)), (0, 7));
    }
}
