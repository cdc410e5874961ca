use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::answer::{Failure, Rejection, Retry};
use super::backoff::Backoff;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::inbox::{End, Inbox};
use super::pusher::{Payload, Pusher};
use super::stats::Tally;

/// The task: pushes at every interval, and whenever somebody asks for it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) pusher: Pusher,
    pub(super) inbox: Inbox,
    pub(super) interval: Duration,
    pub(super) tally: Arc<Tally>,
    pub(super) random: fastrand::Rng,
    /// Until then the collector asked to be left alone.
    pub(super) not_before: Option<Instant>,
}

impl Worker {
    pub(super) async fn run(mut self) {
        let mut next = after(self.interval);
        loop {
            self.inbox.idle(next).await;
            if let Some(end) = self.inbox.take_end() {
                return self.finish(end).await;
            }
            let now = Instant::now();
            if now >= next {
                // At the same pace, unless a tick was missed.
                next += self.interval;
                if next <= now {
                    next = after(self.interval);
                }
            }
            self.serve(next).await;
        }
    }

    /// Pushes, one last time if that is asked for, and tells how it went.
    async fn finish(mut self, end: End) {
        let End::Shutdown(deadline, done) = end else {
            return;
        };
        self.inbox.put_back(vec![done]);
        self.serve(deadline).await;
    }

    /// Pushes and tells those who wait for it.
    async fn serve(&mut self, until: Instant) {
        let is_allowed = self.not_before.is_none_or(|at| at < until);
        if is_allowed && let Some(at) = self.not_before {
            // Who asks meanwhile is served as well: the numbers are read only then.
            if self.inbox.during(sleep_until(at)).await.is_none() {
                return;
            }
        }
        let waiting = self.inbox.take_flushes();
        let result = if is_allowed {
            self.push(until).await
        } else {
            let throttled = OtlpError::new(Kind::Throttled);
            self.fail(0, Some(throttled.clone()));
            Some(Err(throttled))
        };
        match result {
            Some(result) => {
                for done in waiting {
                    let _ = done.send(result.clone()); // who does not wait any more need not know
                }
            }
            None => self.inbox.put_back(waiting),
        }
    }

    /// Pushes, and tries again until then; nothing if somebody asked for newer numbers or for the end.
    async fn push(&mut self, until: Instant) -> Option<Result<(), OtlpError>> {
        let payload = match self.inbox.during(self.pusher.source.read(until)).await? {
            Ok(payload) => payload,
            Err(error) => {
                self.fail(0, Some(error.clone()));
                return Some(Err(error));
            }
        };
        if payload.points == 0 {
            return Some(Ok(()));
        }
        let mut backoff = Backoff::new();
        loop {
            let attempt = self.pusher.attempt(&payload, until);
            let Some(attempt) = self.inbox.during(attempt).await else {
                self.fail(payload.points, None);
                return None;
            };
            let Failure { error, retry } = match attempt {
                Ok(rejection) => return Some(self.succeed(&payload, rejection)),
                Err(failure) => failure,
            };
            let again = self.schedule(retry, &mut backoff).filter(|at| *at < until);
            let Some(at) = again else {
                self.fail(payload.points, Some(error.clone()));
                return Some(Err(error));
            };
            self.inbox.idle(at).await;
            if Instant::now() < at || self.inbox.is_asked() {
                self.fail(payload.points, Some(error));
                return None;
            }
            self.tally.retries.inc();
        }
    }

    /// Returns when to try again, if at all.
    fn schedule(&mut self, retry: Retry, backoff: &mut Backoff) -> Option<Instant> {
        match retry {
            Retry::Never => None,
            Retry::Later => Some(after(backoff.next(&mut self.random))),
            Retry::After(wait) => {
                // Not at once, whatever it says: a time that is over, or none, would make a flood.
                let wait = wait.max(backoff.next(&mut self.random));
                self.not_before = Some(after(wait));
                self.not_before
            }
        }
    }

    fn succeed(&self, payload: &Payload, rejection: Option<Rejection>) -> Result<(), OtlpError> {
        let tally = &self.tally;
        tally.pushed.inc();
        let Some(Rejection { points, message }) = rejection else {
            tally.accepted.add(payload.points);
            return Ok(());
        };
        let points = points.min(payload.points);
        tally.accepted.add(payload.points - points);
        tally.rejected.add(points);
        let error = OtlpError::new(Kind::Rejected { points, message });
        *tally.last_error.lock() = Some(error.clone());
        Err(error)
    }

    fn fail(&self, points: u64, error: Option<OtlpError>) {
        self.tally.failed.inc();
        self.tally.dropped.add(points);
        if let Some(error) = error {
            *self.tally.last_error.lock() = Some(error);
        }
    }
}

/// Returns the time so long from now.
pub(super) fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365 * 30);
    Instant::now() + duration.min(FAR)
}
