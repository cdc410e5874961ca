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
    /// With which request of several a push begins: one that nobody answers must not keep the others back each time.
    pub(super) begin: usize,
}

/// What became of a request.
#[derive(Debug)]
enum Sent {
    Taken(Option<Rejection>),
    /// The collector will not take it another time either.
    Refused(OtlpError),
    /// There is no time to try again.
    GivenUp(OtlpError),
    /// Somebody asked for newer numbers, or for the end.
    Interrupted(Option<OtlpError>),
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
        let mut payloads = match self.inbox.during(self.pusher.source.read(until)).await? {
            Ok(payloads) => payloads,
            Err(error) => {
                self.fail(0, Some(error.clone()));
                return Some(Err(error));
            }
        };
        let mut left: u64 = payloads.iter().map(|payload| payload.points).sum();
        if left == 0 {
            return Some(Ok(()));
        }
        let (mut refused, mut rejected) = (None, None);
        let begin = self.begin % payloads.len();
        payloads.rotate_left(begin);
        for (at, payload) in payloads.into_iter().enumerate() {
            match self.send(&payload, until).await {
                Sent::Taken(None) => self.tally.accepted.add(payload.points),
                Sent::Taken(Some(rejection)) => {
                    let points = rejection.points.min(payload.points);
                    self.tally.accepted.add(payload.points - points);
                    self.tally.rejected.add(points);
                    let all = rejected.get_or_insert(Rejection {
                        points: 0,
                        ..rejection
                    });
                    all.points += points;
                }
                // The others may be taken.
                Sent::Refused(error) => {
                    self.tally.dropped.add(payload.points);
                    refused = Some(error);
                }
                Sent::GivenUp(error) => {
                    self.begin = begin + at + 1;
                    self.fail(left, Some(error.clone()));
                    return Some(Err(error));
                }
                Sent::Interrupted(error) => {
                    self.fail(left, error);
                    return None;
                }
            }
            left -= payload.points;
        }
        if let Some(error) = refused {
            self.fail(0, Some(error.clone()));
            return Some(Err(error));
        }
        self.tally.pushed.inc();
        Some(rejected.map_or(Ok(()), |Rejection { points, message }| {
            let error = OtlpError::new(Kind::Rejected { points, message });
            *self.tally.last_error.lock() = Some(error.clone());
            Err(error)
        }))
    }

    /// Sends one request of a push, and tries again until then.
    async fn send(&mut self, payload: &Payload, until: Instant) -> Sent {
        let mut backoff = Backoff::new();
        loop {
            let attempt = self.pusher.attempt(payload, until);
            let Failure { error, retry } = match self.inbox.during(attempt).await {
                Some(Ok(rejection)) => return Sent::Taken(rejection),
                Some(Err(failure)) => failure,
                None => return Sent::Interrupted(None),
            };
            let Some(again) = self.schedule(retry, &mut backoff) else {
                return Sent::Refused(error);
            };
            if again >= until {
                return Sent::GivenUp(error);
            }
            self.inbox.idle(again).await;
            if Instant::now() < again || self.inbox.is_asked() {
                return Sent::Interrupted(Some(error));
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
