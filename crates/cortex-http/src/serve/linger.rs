use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::shared::{Conn, Shared};

/// Keeps an idle connection open for a moment when the service closes.
///
/// hyper closes it at once, and a request that its client has sent in that moment is lost: the client reads the end of
/// the connection in place of an answer (hyperium/hyper#3808). HTTP/1 has no way to say "not this one any more" before
/// that, as HTTP/2 has; only an answer says `connection: close`. So the connection stays until an answer could say so,
/// until the client closes it, or until nothing came for long enough that nothing is on its way.
#[derive(Debug)]
pub(super) struct Linger {
    timer: Option<Pin<Box<Sleep>>>,
    since: Option<Instant>,
    /// What had been written by then.
    written: u64,
}

/// How often a connection that is busy without a request is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Linger {
    pub(super) const fn new() -> Self {
        Self {
            timer: None,
            since: None,
            written: 0,
        }
    }

    /// Says whether the connection is to be closed now, after a poll that left it waiting; the task is woken when it may
    /// be. Called only while the service closes. `more` is added to the time that the service gives.
    pub(super) fn is_over(&mut self, conn: &Conn, more: Duration, cx: &mut Context<'_>) -> bool {
        let Shared { clock, linger, .. } = &*conn.shared;
        let now = clock.now();
        let written = conn.written();
        if self.written != written {
            (self.written, self.since) = (written, Some(now)); // its client takes what is left of responses
        }
        let since = *self.since.get_or_insert(now);
        let until = if conn.is_busy() || conn.is_sending() {
            now + (*linger).max(LOOK_AGAIN) // its end wakes the task, unless it happens in a task of the application
        } else {
            since.max(conn.idle_since()) + *linger + more
        };
        if until <= now {
            return true;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        if timer.deadline() != until.into() {
            timer.as_mut().reset(until.into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref(); // the two clocks may differ by a tick
        }
        false
    }
}

/// Waits until the service closes, and for as long as a connection may stay then that has sent nothing yet. One that was
/// taken from the backlog when the service closed is given a moment in any case: the runtime has yet to hear of its bytes.
///
/// # Cancel safety
///
/// Dropping it stops the waiting.
pub(super) async fn lingered(shared: &Shared) {
    shared.no_more.cancelled().await;
    tokio::time::sleep(shared.linger.max(LOOK_AGAIN)).await;
}
