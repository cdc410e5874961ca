use std::time::Duration;

use super::parts::Parts;
use crate::error::{Error, ErrorKind};

/// How long each phase of the end may take.
///
/// A drain goes: readiness fails, connections are still accepted for `drain_delay`; the listener closes and what is
/// under way gets `drain_timeout` to finish; the rest is cut and reported; [subsystems](crate::Subsystem) stop, the last
/// one first, each within a limit of its own; telemetry gets `flush_timeout`; the admin port closes last.
///
/// These are numbers alone, which can be copied and compared; what is to be started, stopped and flushed is handed to the
/// [`Server`](crate::Server).
///
/// # Examples
///
/// ```
/// use cortex_http::Lifecycle;
/// use std::time::Duration;
///
/// let lifecycle = Lifecycle::kubernetes().drain_timeout(Duration::from_secs(10));
/// assert!(lifecycle.total() < Duration::from_secs(30)); // Kubernetes' default grace period
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) flush_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) grace: Option<Duration>,
    pub(crate) end_event_streams: bool,
}

/// What of a grace period is left for what no limit covers: connections that are cut, the admin port, the end of the
/// process itself.
const RESERVE: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// For a process that nobody routes traffic to: no delay, 10 s to drain, 3 s to flush, no grace period.
    pub const fn local() -> Self {
        Self {
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            flush_timeout: Duration::from_secs(3),
            linger: Duration::from_millis(250),
            grace: None,
            end_event_streams: true,
        }
    }

    /// For a pod with the default grace period of 30 s: 5 s until the endpoints are updated, 15 s to drain, 3 s to
    /// flush. Of the rest, 2 s are kept in reserve, and 5 s are for subsystems, less 250 ms for each
    /// task and each step of theirs, and for `Server::telemetry`.
    pub const fn kubernetes() -> Self {
        Self {
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(15),
            linger: Duration::from_secs(1),
            grace: Some(Duration::from_secs(30)),
            ..Self::local()
        }
    }

    /// Goes on accepting connections for this long after readiness failed.
    #[must_use]
    pub const fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// Lets requests that are under way finish within this time.
    #[must_use]
    pub const fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// Leaves idle HTTP/1 connections open for this long when the listener closes, and answers what still comes over them:
    /// a client may have sent a request at that very moment, and would read the end of the connection in place of an
    /// answer. Each answer says `connection: close`, as all do since the drain began. It is part of the time to drain.
    /// Default: 250 ms, for Kubernetes 1 s; zero closes them at once.
    ///
    /// What remains is a client that was quiet for all of the delay and this, and asks in the moment when the connection
    /// closes. No server of HTTP/1 can avoid that; clients repeat such requests if they may (RFC 9110, section 9.2.2).
    #[must_use]
    pub const fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Lets the exporters of the tracer send what they still hold within this time.
    #[must_use]
    pub const fn flush_timeout(mut self, limit: Duration) -> Self {
        self.flush_timeout = limit;
        self
    }

    /// Says whether responses of type `text/event-stream` are ended when the listener closes, between two events. Their
    /// clients then connect again, to an instance that stays. Default: they are.
    ///
    /// Without that each of them would hold the drain until its timeout, and be cut: they have no end of their own. A
    /// handler that has last words for its clients says them at the [`Closing`](crate::Closing) and ends its stream; if
    /// it needs more time for them than one event takes, switch this off, and see to the end of all streams yourself.
    #[must_use]
    pub const fn end_event_streams(mut self, ended: bool) -> Self {
        self.end_event_streams = ended;
        self
    }

    /// Says how long the platform waits before it kills the process: `terminationGracePeriodSeconds` in Kubernetes, less
    /// what a `preStop` hook takes; `TimeoutStopSec` in systemd. A server whose times sum up to more, with 2 s in reserve,
    /// does not start: it would be killed in the middle of its end, on the one day when it needs all of it.
    ///
    /// The sum counts the delay, the drain, the limits of all [subsystems](crate::Subsystem), and the longest flush, as they
    /// run side by side: `flush_timeout`, or that of [`Server::flush`](crate::Server::flush). To each limit of a subsystem or
    /// of `Server::flush` come 250 ms, in which what takes longer has to be gone, and 250 ms for the last lines of the log
    /// where `Server::telemetry` flushes them. Default: unknown, and anything goes.
    #[must_use]
    pub const fn grace(mut self, period: Duration) -> Self {
        self.grace = Some(period);
        self
    }

    /// Returns the longest time from the signal to the exit without subsystems, and without what
    /// [`Server::flush`](crate::Server::flush) adds, but for up to two seconds in which connections that are cut and the
    /// admin port close, and the last lines of the log are flushed. [`grace`](Self::grace) counts all of it.
    pub fn total(&self) -> Duration {
        self.drain_delay
            .saturating_add(self.drain_timeout)
            .saturating_add(self.flush_timeout)
    }

    /// Refuses times that do not fit into the grace period.
    pub(crate) fn checked(self, parts: &Parts) -> Result<Self, Error> {
        let Some(grace) = self.grace else {
            return Ok(self);
        };
        let (stops, flushes) = (parts.stops(), parts.flushes(self.flush_timeout));
        let Self {
            drain_delay,
            drain_timeout,
            ..
        } = self;
        let sum = [drain_timeout, stops, flushes, RESERVE]
            .into_iter()
            .fold(drain_delay, Duration::saturating_add);
        if sum <= grace {
            return Ok(self);
        }
        let message = format!(
            "end within the grace period of {grace:?}: drain_delay {drain_delay:?} + drain_timeout {drain_timeout:?} + \
             subsystems {stops:?} + flush {flushes:?}, with 250 ms more for each limit, + {RESERVE:?} in reserve are {sum:?}; \
             shorten one, or lengthen the grace period of the platform"
        );
        Err(Error::new(ErrorKind::Lifecycle, message, None))
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Subsystem;

    #[test]
    fn the_end_takes_as_long_as_its_times_together_and_for_ever_is_no_overflow() {
        let secs = Duration::from_secs;
        let times = Lifecycle::default()
            .drain_delay(secs(1))
            .drain_timeout(secs(2))
            .flush_timeout(secs(4));
        assert_eq!(times.total(), secs(7));
        assert_eq!(times.drain_timeout(Duration::MAX).total(), Duration::MAX);
    }

    #[test]
    fn times_that_do_not_fit_the_grace_period_are_refused_with_their_sum() {
        let secs = Duration::from_secs;
        let mut parts = Parts::default();
        assert!(Lifecycle::kubernetes().checked(&parts).is_ok());
        parts
            .subsystems
            .push(Subsystem::new("queue").stop(Duration::from_millis(2750), async {}));
        parts.subsystems.push(Subsystem::new("consumer").task(
            Duration::from_millis(1750),
            |stop| async move {
                stop.cancelled().await;
            },
        ));
        assert!(
            Lifecycle::kubernetes().checked(&parts).is_ok(),
            "5 + 15 + 3 + 2 + 2.75 + 0.25 + 1.75 + 0.25"
        );

        parts.flush("metrics".into(), secs(4), async {});
        let error = Lifecycle::kubernetes().checked(&parts).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lifecycle);
        assert!(
            error.to_string().contains("flush 4.25s") && error.to_string().contains("are 31.25s"),
            "{error}"
        );
        let grace = |millis| Lifecycle::kubernetes().grace(Duration::from_millis(millis));
        assert!(grace(31_249).checked(&parts).is_err());
        assert!(grace(31_250).checked(&parts).is_ok());
        parts.last = Some(Box::new(|_| Box::pin(async { true })));
        assert!(grace(31_499).checked(&parts).is_err());
        assert!(grace(31_500).checked(&parts).is_ok());
        assert!(
            Lifecycle::local()
                .drain_timeout(Duration::MAX)
                .checked(&parts)
                .is_ok()
        );
        let endless = Lifecycle::kubernetes().drain_timeout(Duration::MAX);
        assert!(endless.checked(&parts).is_err());
    }
}
