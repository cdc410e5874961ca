//! The rate limiter against one that is slow and obviously right: it keeps when each token was used or is to be used, and fills
//! a bucket step by step.

use crate::support::Log;
use crate::tokio_clock::TokioClock;
use cortex_resilience::rate_limit::{Acquire, KeyedRateLimiter, RateLimiter};
use cortex_resilience::{Reason, Rejected};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::advance;

/// Milliseconds.
type Time = u64;

#[derive(Clone, Copy, Debug)]
enum Step {
    Take(u32),
    Wait(u32),
    /// Drops one of those who wait.
    Cancel(usize),
    Advance(Time),
}

/// Uses of tokens, oldest first: when, how many.
#[derive(Debug)]
struct Model {
    interval: Time,
    burst: u64,
    max_wait: Time,
    uses: Vec<Use>,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    at: Time,
    tokens: u32,
}

impl Model {
    /// Returns the parts of tokens (as many to a token as its time has milliseconds) in the bucket at `now`, after all of the
    /// uses until then.
    fn parts(&self, now: Time) -> u64 {
        let (full, mut filled_at) = (self.burst * self.interval, 0);
        let mut parts = full;
        for used in &self.uses {
            assert!(filled_at <= used.at);
            parts = (parts + used.at - filled_at).min(full);
            filled_at = used.at;
            parts = parts
                .checked_sub(u64::from(used.tokens) * self.interval)
                .expect("it was there");
        }
        // Later tokens are promised: nobody takes one before.
        (parts + now.saturating_sub(filled_at)).min(full)
    }

    /// Tries each moment in turn.
    fn earliest(&self, tokens: u32, now: Time) -> Option<Time> {
        let cost = u64::from(tokens) * self.interval;
        if cost > self.burst * self.interval {
            return None;
        }
        let last = self.uses.last().map_or(0, |used| used.at);
        let mut at = now.max(last);
        while self.parts(at) < cost {
            at += 1;
        }
        Some(at)
    }

    fn take(&mut self, tokens: u32, now: Time, max_wait: Time) -> Result<Time, Rejected> {
        let never = Rejected::new(Reason::ExceedsBurst, None);
        let at = self.earliest(tokens, now).ok_or(never)?;
        if at - now > max_wait {
            let wait = Duration::from_millis(at - now);
            return Err(Rejected::new(Reason::RateLimit, Some(wait)));
        }
        self.uses.push(Use { at, tokens });
        Ok(at)
    }
}

struct Waiter<'a> {
    acquire: Pin<Box<Acquire<'a, Log, TokioClock>>>,
    at: Time,
    index: usize,
}

fn poll(waiter: &mut Waiter<'_>) -> Poll<Result<(), Rejected>> {
    waiter
        .acquire
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

async fn compare(interval: Time, burst: u32, max_wait: Time, steps: Vec<Step>) {
    let limiter = RateLimiter::builder("test")
        .limit(1, Duration::from_millis(interval))
        .burst(burst)
        .max_wait(Duration::from_millis(max_wait))
        .clock(TokioClock)
        .observe(Log::new())
        .build()
        .expect("the settings make sense");
    let mut model = Model {
        interval,
        burst: u64::from(burst),
        max_wait,
        uses: Vec::new(),
    };
    let (mut now, mut waiters) = (0, Vec::<Waiter<'_>>::new());
    for step in steps {
        match step {
            Step::Take(tokens) => {
                let expected = model.take(tokens, now, 0).map(drop);
                assert_eq!(limiter.try_acquire_n(tokens), expected, "{step:?} at {now}");
            }
            Step::Wait(tokens) => {
                let expected = model.take(tokens, now, model.max_wait);
                let mut waiter = Waiter {
                    acquire: Box::pin(limiter.acquire_n(tokens)),
                    at: expected.unwrap_or(now),
                    index: model.uses.len().wrapping_sub(1),
                };
                match (poll(&mut waiter), expected) {
                    (Poll::Ready(result), expected) => {
                        assert_eq!(
                            result,
                            expected.map(|at| assert_eq!(at, now)),
                            "{step:?} at {now}"
                        );
                    }
                    (Poll::Pending, expected) => {
                        assert!(
                            expected.is_ok_and(|at| at > now),
                            "{step:?} at {now}: {expected:?}"
                        );
                        waiters.push(waiter);
                    }
                }
            }
            Step::Cancel(which) if !waiters.is_empty() => {
                let waiter = waiters.remove(which % waiters.len());
                if waiter.index + 1 == model.uses.len() {
                    model.uses.pop();
                }
            }
            Step::Cancel(_) => {}
            Step::Advance(time) => {
                advance(Duration::from_millis(time)).await;
                now += time;
            }
        }
        waiters.retain_mut(|waiter| match poll(waiter) {
            Poll::Ready(result) => {
                assert!(result.is_ok() && waiter.at <= now, "{step:?} at {now}");
                false
            }
            Poll::Pending => {
                assert!(waiter.at > now, "{step:?} at {now}");
                true
            }
        });
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..4).prop_map(|tokens| Step::Take(tokens.max(1))),
        4 => (1_u32..4).prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Cancel),
        4 => (0_u64..40).prop_map(Step::Advance),
    ]
}

proptest! {
    #[test]
    fn model_of_a_rate_limiter(
        interval in 1_u64..12,
        burst in 1_u32..5,
        max_wait in 0_u64..40,
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(compare(interval, burst, max_wait, steps));
    }

    /// While there is room, a limiter for many keys is as many limiters.
    #[test]
    fn model_of_a_rate_limiter_for_keys(
        interval in 1_u64..12,
        burst in 1_u32..5,
        calls in prop::collection::vec((0_u8..9, 0_u64..20), 0..80),
    ) {
        let clock = ManualClock::new();
        let limiter = KeyedRateLimiter::builder("test")
            .limit(1, Duration::from_millis(interval))
            .burst(burst)
            .keys(9)
            .clock(clock.clone())
            .build()
            .expect("the settings make sense");
        let mut models = HashMap::new();
        let mut now = 0;
        for (key, pause) in calls {
            clock.advance(Duration::from_millis(pause));
            now += pause;
            let model = models.entry(key).or_insert_with(|| Model {
                interval,
                burst: u64::from(burst),
                max_wait: 0,
                uses: Vec::new(),
            });
            prop_assert_eq!(limiter.try_acquire(&key), model.take(1, now, 0).map(drop));
        }
    }
}
