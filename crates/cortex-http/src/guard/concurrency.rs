use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Admission, AdmissionRequest, Completion, Permit, Refused};
use crate::admin::{ControlState, Controllable};
use crate::outcome::Outcome;

/// Serves so many requests at once and refuses more with 503, instead of letting all of them grow slow.
///
/// A request counts until its response body has been sent, so that a stream of events counts for as long as it lasts;
/// one that was upgraded to another protocol does not count any more. Nothing waits for its turn. Share it by `Arc` to
/// see it, also as one of the admin port's [`Controls`](crate::Controls), or to limit several servers together.
///
/// # Examples
///
/// ```
/// use cortex_http::{ConcurrencyLimit, Routes, Server};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let limit = Arc::new(ConcurrencyLimit::adaptive(8..=512, Duration::from_millis(200)));
/// let server = Server::new(Routes::new()).admission(Arc::clone(&limit));
/// assert_eq!((limit.in_flight(), limit.limit()), (0, 8));
/// # drop(server);
/// ```
#[derive(Debug)]
pub struct ConcurrencyLimit {
    in_flight: AtomicUsize,
    limit: AtomicUsize,
    adaptive: Option<Adaptive>,
    retry_after: Duration,
    refused: AtomicU64,
}

/// How the limit moves: up by one, down by a tenth.
#[derive(Debug)]
struct Adaptive {
    min: usize,
    max: usize,
    target: Duration,
}

impl ConcurrencyLimit {
    /// Serves at most `limit` requests at once; zero serves nobody.
    pub const fn fixed(limit: usize) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            adaptive: None,
            retry_after: Duration::from_secs(1),
            refused: AtomicU64::new(0),
        }
    }

    /// Finds a limit within `range` by itself, at which responses begin within `target`: additive increase,
    /// multiplicative decrease.
    ///
    /// It starts at the least. A response whose head came in time raises it by one, if at least half of the limit was
    /// in use when its request came; one that came too late lowers it by a tenth, as one does that was given up after the
    /// target. Requests that ended before it without a response say nothing, because their client left or gave them no
    /// more time, nor do those that panicked or that another admission refused.
    ///
    /// # Panics
    ///
    /// The range is empty or begins at zero.
    pub fn adaptive(range: std::ops::RangeInclusive<usize>, target: Duration) -> Self {
        let (min, max) = range.into_inner();
        assert!(
            0 < min && min <= max,
            "the range {min}..={max} holds no limit: begin at 1 or more, and end no lower"
        );
        Self {
            adaptive: Some(Adaptive { min, max, target }),
            ..Self::fixed(min)
        }
    }

    /// Tells those who are refused to wait so long. Default 1 s.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// Returns how many requests are being served.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many may be.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Returns how many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Admission for ConcurrencyLimit {
    fn admit(&self, _: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        let limit = self.limit();
        // Not a sum that is taken back where it is too much: that would turn away who comes in between.
        let taken = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
                (in_flight < limit).then_some(in_flight + 1)
            });
        taken
            .map(|before| Permit::tracked(before as u64 + 1))
            .map_err(|_| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Refused::overloaded().retry_after(self.retry_after)
            })
    }

    fn release(&self, permit: Permit, completion: &Completion) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(adaptive) = &self.adaptive
            && let Some(is_late) = adaptive.is_late(completion)
        {
            let in_flight = permit.token().unwrap_or(0);
            let moved = |limit: usize| Some(adaptive.next(limit, in_flight, is_late));
            let _ = self
                .limit
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
        }
    }
}

impl Controllable for ConcurrencyLimit {
    fn state(&self) -> ControlState {
        let (limit, in_flight) = (self.limit(), self.in_flight());
        ControlState::new(if in_flight < limit { "admitting" } else { "full" })
            .field("limit", limit)
            .field("in_flight", in_flight)
            .field("refused", self.refused())
    }
}

impl Adaptive {
    /// Says whether a response began too late; nothing where none shows how loaded the service is.
    fn is_late(&self, completion: &Completion) -> Option<bool> {
        match (completion.outcome, completion.latency) {
            // Clients choose deadlines: one that is shorter than the target shows nothing.
            (Outcome::Deadline, _) => (completion.duration > self.target).then_some(true),
            // Of the last two, the body of the request was what took so long.
            (
                Outcome::Shed | Outcome::RateLimited | Outcome::Panic | Outcome::Timeout | Outcome::TooLarge,
                _,
            ) => None,
            (_, Some(latency)) => Some(latency > self.target),
            (_, None) => (completion.duration > self.target).then_some(true),
        }
    }

    /// Returns the next limit, after a request that was one of `in_flight` when it came.
    fn next(&self, limit: usize, in_flight: u64, is_late: bool) -> usize {
        let next = if is_late {
            limit - limit.div_ceil(10)
        } else if in_flight.saturating_mul(2) >= limit as u64 {
            limit.saturating_add(1)
        } else {
            limit
        };
        next.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::{Clock, SystemClock};
    use proptest::prelude::*;
    use std::sync::Barrier;

    fn ask(limit: &ConcurrencyLimit) -> Result<Permit, Refused> {
        let (head, ()) = http::Request::new(()).into_parts();
        limit.admit(&AdmissionRequest::new(&head, SystemClock.now()))
    }

    fn answered(after: Duration) -> Completion {
        Completion {
            latency: Some(after),
            ..Completion::new(Outcome::Ok, after)
        }
    }

    #[test]
    fn no_more_than_the_limit_are_in_flight() {
        let limit = ConcurrencyLimit::fixed(2).retry_after(Duration::from_secs(7));
        let (first, second) = (ask(&limit).unwrap(), ask(&limit).unwrap());
        assert_eq!(
            ask(&limit),
            Err(Refused::overloaded().retry_after(Duration::from_secs(7)))
        );
        limit.release(first, &Completion::new(Outcome::ClientCancel, Duration::ZERO));
        assert_eq!(limit.in_flight(), 1);
        assert!(ask(&limit).is_ok() && ask(&limit).is_err());
        assert!(ask(&ConcurrencyLimit::fixed(0)).is_err());
        let shown = |state, in_flight: usize| {
            ControlState::new(state)
                .field("limit", 2_usize)
                .field("in_flight", in_flight)
                .field("refused", 2_u64)
        };
        assert_eq!(limit.state(), shown("full", 2));
        limit.release(second, &Completion::new(Outcome::ClientCancel, Duration::ZERO));
        assert_eq!(limit.state(), shown("admitting", 1));
    }

    #[test]
    fn threads_that_race_take_every_place_and_no_more() {
        let limit = ConcurrencyLimit::fixed(100);
        let barrier = Barrier::new(4);
        let admitted: usize = std::thread::scope(|scope| {
            let racers = [(); 4].map(|()| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..50).filter(|_| ask(&limit).is_ok()).count()
                })
            });
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!((admitted, limit.in_flight()), (100, 100));
    }

    #[test]
    fn the_limit_falls_when_responses_are_late_and_grows_when_it_is_used() {
        let target = Duration::from_millis(100);
        let limit = ConcurrencyLimit::adaptive(2..=50, target);
        let (fast, slow) = (answered(target), answered(target + Duration::from_nanos(1)));
        for _ in 0..100 {
            let permits: Vec<_> = std::iter::from_fn(|| ask(&limit).ok()).collect();
            for permit in permits {
                limit.release(permit, &fast);
            }
        }
        assert_eq!((limit.limit(), limit.in_flight()), (50, 0));
        for (completion, after) in [
            (fast, 50), // one of fifty says nothing about more
            (slow, 45),
            (Completion::new(Outcome::Deadline, target * 2), 40),
            (Completion::new(Outcome::Deadline, Duration::ZERO), 40),
            (
                Completion {
                    latency: Some(target),
                    ..Completion::new(Outcome::Deadline, target)
                },
                40,
            ),
            (Completion::new(Outcome::ClientCancel, target), 40),
            (Completion::new(Outcome::ClientCancel, target * 2), 36),
            (Completion::new(Outcome::Panic, target * 2), 36),
            (Completion::new(Outcome::Shed, target * 2), 36),
            (Completion::new(Outcome::TooLarge, target * 2), 36),
        ] {
            let permit = ask(&limit).unwrap();
            limit.release(permit, &completion);
            assert_eq!(limit.limit(), after, "{completion:?}");
        }
    }

    #[test]
    #[should_panic(expected = "the range 0..=3 holds no limit")]
    fn a_limit_that_could_fall_to_zero_is_refused() {
        let _ = ConcurrencyLimit::adaptive(0..=3, Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn an_adaptive_limit_stays_within_its_range(steps in prop::collection::vec((any::<bool>(), 0_u64..60), 0..200)) {
            let adaptive = Adaptive { min: 3, max: 40, target: Duration::ZERO };
            let mut limit = 3;
            for (late, in_flight) in steps {
                let next = adaptive.next(limit, in_flight, late);
                prop_assert!((3..=40).contains(&next));
                prop_assert!(late == (next < limit) || next == limit);
                limit = next;
            }
        }
    }
}
