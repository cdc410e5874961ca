use super::code::{Code, Refusal};
use super::frame::frame;
use super::message;
use super::serving::{Serving, serving};
use crate::published::Target;
use crate::shared::Shared;
use bytes::Bytes;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long a stream is held in a drain after it was told, so that the client has read it. Streams that stay open would
/// hold up the end of the server.
const FAREWELL: Duration = Duration::from_secs(1);

/// One stream of a `Watch`: the status at once, then every change of it. A client that reads slowly sees the last one.
pub(super) struct Watching {
    shared: Arc<Shared>,
    target: Option<Target>,
    changes: watch::Receiver<()>,
    told: Option<Serving>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    farewell: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    pub(super) fn new(
        shared: Arc<Shared>,
        target: Option<Target>,
        deadline: Option<Instant>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            changes: shared.changes(),
            shared,
            target,
            told: None,
            wait: None,
            deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
            farewell: None,
            _permit: permit,
        }
    }

    /// Returns the next message, or how the stream ends.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            self.changes.mark_unchanged(); // before the look: what changes after it wakes us
            let is_draining = self.shared.is_draining();
            if !is_draining {
                self.farewell = None; // it was called off
            }
            let now = serving(&self.shared, self.target);
            if self.told != Some(now) {
                self.told = Some(now);
                return Poll::Ready(Ok(frame(&message::response(now))));
            }
            if let Some(deadline) = &mut self.deadline
                && deadline.as_mut().poll(cx).is_ready()
            {
                let end = Refusal::new(Code::DeadlineExceeded, "the deadline of the call is over");
                return Poll::Ready(Err(end));
            }
            if is_draining
                && self
                    .farewell
                    .get_or_insert_with(|| Box::pin(sleep(FAREWELL)))
                    .as_mut()
                    .poll(cx)
                    .is_ready()
            {
                let end = Refusal::new(Code::Unavailable, "the server is draining");
                return Poll::Ready(Err(end));
            }
            let wait = self.wait.get_or_insert_with(|| {
                let lease = self.shared.next_expiry(self.target);
                Box::pin(change(self.changes.clone(), lease))
            });
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
    }
}

/// Waits for a change, or until the scheduler would have to give a sign of life.
async fn change(mut changes: watch::Receiver<()>, expiry: Option<Duration>) {
    let mut news = pin!(async move {
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await; // never: the stream holds the sender
        }
    });
    let mut expired = pin!(async move {
        match expiry {
            Some(expiry) => sleep(expiry).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|cx| {
        if news.as_mut().poll(cx).is_ready() || expired.as_mut().poll(cx).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
