use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cortex_resilience::adaptive::{AdaptiveLimit, Aimd, End, Ticket};

use super::{Admission, AdmissionRequest, Completion, Occupancy, Permit, Refused};
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
    places: Places,
    retry_after: Duration,
    refused: AtomicU64,
}

#[derive(Debug)]
enum Places {
    Fixed {
        in_flight: AtomicUsize,
        limit: usize,
    },
    /// Up by one, down by a tenth.
    Adaptive {
        limiter: AdaptiveLimit<Aimd>,
        target: Duration,
    },
}

impl ConcurrencyLimit {
    /// Serves at most `limit` requests at once; zero serves nobody.
    pub const fn fixed(limit: usize) -> Self {
        Self {
            places: Places::Fixed {
                in_flight: AtomicUsize::new(0),
                limit,
            },
            retry_after: Duration::from_secs(1),
            refused: AtomicU64::new(0),
        }
    }

    /// Finds a limit within `range` by itself, at which responses begin within `target`: additive increase,
    /// multiplicative decrease.
    ///
    /// It starts at the least. A response whose head came in time raises it by one, if at least half of the limit was
    /// in use when its request came; one that came too late lowers it by a tenth, as one does that was given up after the
    /// target. Those that were under way then are of the old limit, and say nothing any more: a wave of late responses
    /// lowers it once.
    ///
    /// Nor does a request say anything that ended before the target without a response, because its client left or gave it
    /// no more time, that panicked or that another admission refused, or one that was late for its client alone, which
    /// took so long to send the body: who sends slowly lowers no limit for others.
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
        let places = |places| u32::try_from(places).unwrap_or(u32::MAX);
        Self::following(Aimd::new(places(min)..=places(max), target), target)
    }

    fn following(aimd: Aimd, target: Duration) -> Self {
        let limiter = AdaptiveLimit::builder("concurrency", aimd.once_per_wave()).build();
        Self {
            places: Places::Adaptive {
                limiter: limiter.expect("invariant: the range was looked at"),
                target,
            },
            retry_after: Duration::from_secs(1),
            refused: AtomicU64::new(0),
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
        match &self.places {
            Places::Fixed { in_flight, .. } => in_flight.load(Ordering::Relaxed),
            Places::Adaptive { limiter, .. } => limiter.in_flight() as usize,
        }
    }

    /// Returns how many may be.
    pub fn limit(&self) -> usize {
        match &self.places {
            Places::Fixed { limit, .. } => *limit,
            Places::Adaptive { limiter, .. } => limiter.limit() as usize,
        }
    }

    /// Returns how many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Admission for ConcurrencyLimit {
    fn admit(&self, _: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        let permit = match &self.places {
            // Not a sum that is taken back where it is too much: that would turn away who comes in between.
            Places::Fixed { in_flight, limit } => in_flight
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_flight| {
                    (in_flight < *limit).then_some(in_flight + 1)
                })
                .ok()
                .map(|_| 0),
            Places::Adaptive { limiter, .. } => limiter.enter().ok().map(Ticket::to_bits),
        };
        permit.map(Permit::tracked).ok_or_else(|| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Refused::overloaded().retry_after(self.retry_after)
        })
    }

    fn release(&self, permit: Permit, completion: &Completion) {
        match &self.places {
            Places::Fixed { in_flight, .. } => {
                in_flight.fetch_sub(1, Ordering::Relaxed);
            }
            Places::Adaptive { limiter, target } => {
                let ticket = Ticket::from_bits(permit.token().unwrap_or(0));
                let end = match is_late(completion, *target) {
                    Some(true) => End::Failed(Duration::ZERO),
                    // So few that it raises nothing: that needs no lock.
                    Some(false) if u64::from(ticket.in_flight()) * 2 < u64::from(limiter.limit()) => {
                        End::Ignored
                    }
                    Some(false) => End::Success(Duration::ZERO),
                    None => End::Ignored,
                };
                limiter.leave(ticket, end);
            }
        }
    }

    fn occupancy(&self) -> Option<Occupancy> {
        Some(Occupancy::new(self.in_flight(), self.limit()))
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

/// Says whether a response began too late; nothing where none shows how loaded the service is.
fn is_late(completion: &Completion, target: Duration) -> Option<bool> {
    use Outcome::{Deadline, Panic, RateLimited, Shed, Timeout, TooLarge};
    // Clients choose deadlines: one that is shorter than the target shows nothing.
    let latency = completion.latency.filter(|_| completion.outcome != Deadline);
    let took = latency.unwrap_or(completion.duration);
    match completion.outcome {
        // Of the last two, the body of the request was what took so long.
        Shed | RateLimited | Panic | Timeout | TooLarge => None,
        _ if took.saturating_sub(completion.awaited) > target => Some(true),
        // In time, or late for its client alone.
        _ => (latency.is_some() && took <= target).then_some(false),
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
            // The client took what is too much of it.
            (
                Completion {
                    awaited: target,
                    ..answered(target * 2)
                },
                36,
            ),
            (
                Completion {
                    awaited: target,
                    ..Completion::new(Outcome::Deadline, target * 2)
                },
                36,
            ),
            (
                Completion {
                    awaited: target,
                    ..Completion::new(Outcome::ClientCancel, target * 2)
                },
                36,
            ),
            (
                Completion {
                    awaited: target,
                    ..answered(target * 3)
                },
                32,
            ),
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

    /// A service that does `capacity` things at once in time, and more of them proportionally later, and clients that
    /// always want more.
    fn waves(limit: &ConcurrencyLimit, capacity: u32, base: Duration, count: usize) -> Vec<usize> {
        let wave = |_| {
            let permits: Vec<_> = std::iter::from_fn(|| ask(limit).ok()).collect();
            let under_way = u32::try_from(permits.len()).expect("a few");
            let took = base * under_way.max(capacity) / capacity;
            for permit in permits {
                limit.release(permit, &answered(took));
            }
            limit.limit()
        };
        (0..count).map(wave).collect()
    }

    #[test]
    fn the_limit_settles_where_responses_are_in_time() {
        let base = Duration::from_millis(10);
        let limit = ConcurrencyLimit::adaptive(4..=10_000, base * 2);
        let limits = waves(&limit, 50, base, 200);
        // 100 at once take 20 ms. A wave in time raises it by its size at most, and one that is late lowers it by a tenth.
        let (least, most) = (limits[20..].iter().min(), limits[20..].iter().max());
        assert!(least >= Some(&81) && most <= Some(&202), "{limits:?}");
    }

    proptest! {
        #[test]
        fn a_wave_of_late_responses_lowers_the_limit_once(
            begun in 1_usize..200,
            waves in prop::collection::vec(prop::collection::vec(any::<bool>(), 200), 1..6),
        ) {
            let target = Duration::from_millis(100);
            let limit = ConcurrencyLimit::following(Aimd::new(1..=1000, target).initial(500), target);
            for wave in waves {
                let before = limit.limit();
                let permits: Vec<_> = (0..begun).filter_map(|_| ask(&limit).ok()).collect();
                let late = wave[..permits.len()].iter().position(|late| *late);
                for (permit, late) in permits.into_iter().zip(wave) {
                    limit.release(permit, &answered(if late { target * 2 } else { target }));
                }
                // Fewer than half of the limit raise nothing, and what comes after the first that is late says nothing.
                match late {
                    Some(_) if begun * 2 < before => prop_assert_eq!(limit.limit(), before - before.div_ceil(10)),
                    Some(_) => prop_assert!(limit.limit() >= before - before.div_ceil(10)),
                    None => prop_assert!(limit.limit() >= before),
                }
            }
        }

        #[test]
        fn a_client_that_sends_slowly_lowers_no_limit(waits in prop::collection::vec((0_u64..10_000, 0_u64..=100, any::<bool>()), 0..100)) {
            let target = Duration::from_millis(100);
            let limit = ConcurrencyLimit::following(Aimd::new(1..=1000, target).initial(500), target);
            for (waited, own, answers) in waits {
                let (awaited, own) = (Duration::from_millis(waited), Duration::from_millis(own));
                let completion = if answers { answered(awaited + own) } else { Completion::new(Outcome::ClientCancel, awaited + own) };
                let permit = ask(&limit).expect("it is admitted");
                limit.release(permit, &Completion { awaited, ..completion });
                prop_assert_eq!(limit.limit(), 500);
            }
        }
    }
}
