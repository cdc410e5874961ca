use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::OtlpError;

/// Where the result of a push goes.
pub(super) type Done = oneshot::Sender<Result<(), OtlpError>>;

#[derive(Debug)]
pub(super) enum Command {
    Flush(Done),
    Shutdown(Instant, Done),
}

/// Why the task ends.
#[derive(Debug)]
pub(super) enum End {
    /// One last push until then.
    Shutdown(Instant, Done),
    /// Nobody is there any more.
    Dropped,
}

/// What the handle asks for, collected while something else goes on.
#[derive(Debug)]
pub(super) struct Inbox {
    commands: mpsc::UnboundedReceiver<Command>,
    flushes: Vec<Done>,
    end: Option<End>,
    is_ending: bool,
}

impl Inbox {
    pub(super) fn new(commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self {
            commands,
            flushes: Vec::new(),
            end: None,
            is_ending: false,
        }
    }

    /// Waits until then, or until somebody asks for something.
    pub(super) async fn idle(&mut self, until: Instant) {
        let mut time = pin!(sleep_until(until));
        poll_fn(|cx| {
            self.receive(cx);
            let is_asked = !self.is_ending && (self.end.is_some() || !self.flushes.is_empty());
            if is_asked {
                Poll::Ready(())
            } else {
                time.as_mut().poll(cx)
            }
        })
        .await;
    }

    /// Runs a future to its end; nothing if the task has to end instead.
    pub(super) async fn during<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.receive(cx);
            if self.end.is_some() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Whether somebody waits for a push.
    pub(super) fn is_asked(&self) -> bool {
        !self.is_ending && !self.flushes.is_empty()
    }

    /// Returns those who wait for a push.
    pub(super) fn take_flushes(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.flushes)
    }

    /// Lets them wait for the next one.
    pub(super) fn put_back(&mut self, mut flushes: Vec<Done>) {
        self.flushes.append(&mut flushes);
    }

    /// Returns why the task has to end, and interrupts nothing more.
    pub(super) fn take_end(&mut self) -> Option<End> {
        self.is_ending = self.end.is_some();
        self.end.take()
    }

    fn receive(&mut self, cx: &mut std::task::Context<'_>) {
        while self.end.is_none() && !self.is_ending {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Flush(done))) => {
                    self.flushes.retain(|done| !done.is_closed());
                    self.flushes.push(done);
                }
                Poll::Ready(Some(Command::Shutdown(deadline, done))) => {
                    self.end = Some(End::Shutdown(deadline, done));
                }
                Poll::Ready(None) => self.end = Some(End::Dropped),
                Poll::Pending => return,
            }
        }
    }
}
