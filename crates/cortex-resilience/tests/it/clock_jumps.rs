//! Clocks that stand, step back and jump a century: no policy panics, and none sticks. Once the clock shows a time that it never
//! showed before, and runs on, breaks end and tokens come; what is given back is free at any time.

use crate::support::{millis, secs, without_files};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::adaptive::{AdaptiveLimit, Aimd, Gradient2, Limit, Vegas, Windowed};
use cortex_resilience::budget::{Budget, Cost};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::circuit::{self, After, Breaker, Builder, HalfOpen, State, Window};
use cortex_resilience::gate;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::load_shed::{QueueDelay, ShedPolicy};
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
use cortex_resilience::registry::Registry;
use cortex_resilience::retry::{Backoff, Retry};
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_resilience::timeout::Timeout;
use cortex_resilience::{ErrIsFailure, Outcome};
use proptest::prelude::*;
use std::future::{pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

const SENSE: &str = "the settings make sense";
const CENTURY: Duration = Duration::from_hours(24 * 36_525);

/// Goes wherever it is told to, but no farther ahead than two centuries: some policies count nanoseconds up to 292 years.
#[derive(Clone, Debug)]
struct Jumpy {
    begin: Instant,
    /// What it shows, and the latest that it ever showed.
    faces: Arc<Mutex<(Instant, Instant)>>,
}

impl Jumpy {
    fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self {
            begin: now,
            faces: Arc::new(Mutex::new((now, now))),
        }
    }

    fn to(&self, place: impl FnOnce(Instant, Instant) -> Option<Instant>) {
        let mut faces = self.faces.lock().expect("nothing panics under it");
        faces.0 = place(faces.0, faces.1).unwrap_or(faces.0);
        faces.1 = faces.1.max(faces.0);
    }

    /// Shows a time that it never showed before.
    fn beyond(&self, by: Duration) {
        self.to(|_, latest| latest.checked_add(by));
    }
}

impl Clock for Jumpy {
    fn now(&self) -> Instant {
        self.faces.lock().expect("nothing panics under it").0
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + CENTURY
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ahead(Duration),
    Back(Duration),
    /// A call begins with each policy; those that wait are polled.
    Begin,
    /// The oldest call of each policy ends.
    End(Outcome),
    /// The youngest goes away.
    Drop,
    /// All that waits is polled again.
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..5000_u64).prop_map(|by| Step::Ahead(millis(by))),
        2 => (0..100_000_u64).prop_map(|by| Step::Back(millis(by))),
        1 => Just(Step::Ahead(CENTURY)),
        1 => Just(Step::Back(CENTURY)),
        8 => Just(Step::Begin),
        3 => Just(Step::End(Outcome::Success)),
        4 => Just(Step::End(Outcome::Failure)),
        1 => Just(Step::End(Outcome::Ignore)),
        2 => Just(Step::Drop),
        2 => Just(Step::Poll),
    ];
    prop::collection::vec(step, 1..60)
}

/// A policy whose calls are two steps.
trait Steps {
    fn begin(&mut self);
    fn end(&mut self, outcome: Outcome);
    fn drop_one(&mut self);
    /// Lets go of all calls, lets the clock run on, and sees whether it works.
    fn recovers(&mut self, clock: &Jumpy);
}

/// Permits that are out.
struct Held<P, A, R, W> {
    permits: Vec<P>,
    acquire: A,
    record: R,
    works: W,
}

impl<P, A: Fn() -> Option<P>, R: Fn(P, Outcome), W: Fn(&Jumpy)> Steps for Held<P, A, R, W> {
    fn begin(&mut self) {
        self.permits.extend((self.acquire)());
    }

    fn end(&mut self, outcome: Outcome) {
        if !self.permits.is_empty() {
            (self.record)(self.permits.remove(0), outcome);
        }
    }

    fn drop_one(&mut self) {
        self.permits.pop();
    }

    fn recovers(&mut self, clock: &Jumpy) {
        self.permits.clear();
        (self.works)(clock);
    }
}

fn held<P: 'static>(
    acquire: impl Fn() -> Option<P> + 'static,
    record: impl Fn(P, Outcome) + 'static,
    works: impl Fn(&Jumpy) + 'static,
) -> Box<dyn Steps> {
    Box::new(Held {
        permits: Vec::new(),
        acquire,
        record,
        works,
    })
}

fn breaker(clock: &Jumpy, builder: Builder, probes: HalfOpen) -> Box<dyn Steps> {
    let builder = builder.min_calls(3).ramp_up(secs(9), 0.1).half_open(probes);
    let breaker = builder.clock(clock.clone()).build().expect(SENSE);
    let handle = breaker.clone();
    held(
        move || handle.try_acquire_owned().ok(),
        circuit::Permit::record,
        move |clock| {
            for _ in 0..9 {
                clock.beyond(secs(90)); // a break, and the ramp after it
                for _ in 0..2 {
                    if let Ok(permit) = breaker.try_acquire() {
                        permit.success();
                    }
                }
            }
            assert_eq!(breaker.state(), State::Closed);
            assert!(breaker.try_acquire().is_ok());
            assert!(breaker.remaining().is_zero());
        },
    )
}

fn adaptive(clock: &Jumpy, algorithm: impl Limit + 'static) -> Box<dyn Steps> {
    let builder = AdaptiveLimit::builder("test", algorithm).clock(clock.clone());
    let limit = builder.build().expect(SENSE);
    let handle = limit.clone();
    held(
        move || handle.try_acquire_owned().ok(),
        gate::Permit::record,
        move |clock| {
            assert_eq!(limit.in_flight(), 0);
            for _ in 0..200 {
                clock.beyond(millis(10));
                let permit = limit.try_acquire().expect("nothing is under way");
                clock.beyond(millis(10));
                permit.success();
            }
            assert!((1..=20).contains(&limit.limit()));
        },
    )
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn policies(clock: &Jumpy) -> Vec<Box<dyn Steps>> {
    let limiter = RateLimiter::builder("test")
        .limit(3, secs(1))
        .clock(clock.clone());
    let limiter = limiter.build().expect(SENSE);
    let limits = limiter.clone();
    let keyed = KeyedRateLimiter::builder("test").limit(1, secs(1)).keys(9);
    let keyed = Arc::new(keyed.clock(clock.clone()).build().expect(SENSE));
    let keys = Arc::clone(&keyed);
    let throttle = AdaptiveThrottle::builder("test")
        .period(secs(10))
        .min_calls(2)
        .seed(1);
    let throttle = throttle.clock(clock.clone()).build().expect(SENSE);
    let throttles = throttle.clone();
    let budget = Budget::windowed(0.2).min_per_sec(1).clock(clock.clone());
    let budget = budget.build().expect(SENSE);
    let budgets = budget.clone();
    let delay = QueueDelay::with_clock(millis(5), millis(100), clock.clone()).expect(SENSE);
    let delays = delay.clone();
    let registry: Registry<u32, RateLimiter<(), Jumpy>, (), Jumpy> = Registry::builder("test")
        .capacity(2)
        .idle(secs(60))
        .clock(clock.clone())
        .build_any({
            let clock = clock.clone();
            move |_: &u32| {
                let limiter = RateLimiter::builder("test").limit(1, secs(1));
                limiter.clock(clock.clone()).build().expect(SENSE)
            }
        })
        .expect(SENSE);
    let registry = Arc::new(registry);
    let entries = Arc::clone(&registry);
    let windowed = |window| Breaker::builder("test").window(window);
    let (time, count) = (windowed(Window::time(secs(10))), windowed(Window::count(10)));
    let (k_of_n, probes) = (windowed(Window::k_of_n(3, 5)), HalfOpen::permits(2));
    vec![
        breaker(
            clock,
            time.slow_call(secs(2), 0.9),
            probes.max_time(secs(5), After::Open),
        ),
        breaker(
            clock,
            count.slow_call(secs(2), 0.9),
            probes.max_time(secs(5), After::Closed),
        ),
        breaker(
            clock,
            k_of_n,
            HalfOpen::success(1, 2).max_time(secs(5), After::Open),
        ),
        adaptive(clock, Aimd::new(1..=20, secs(1))),
        adaptive(clock, Vegas::new(1..=20)),
        adaptive(clock, Gradient2::new(1..=20)),
        adaptive(clock, Windowed::new(Vegas::new(1..=20), secs(1))),
        held(
            move || limits.try_acquire().ok(),
            |(), _| {},
            move |clock| {
                clock.beyond(secs(1));
                assert_eq!(limiter.snapshot().tokens, 3);
                for _ in 0..3 {
                    limiter.try_acquire().expect("a second brings three tokens");
                }
                let refused = limiter.try_acquire().expect_err("there are three");
                assert!(refused.retry_after().is_some_and(|wait| wait <= secs(1)));
            },
        ),
        held(
            move || keys.try_acquire("key").ok(),
            |(), _| {},
            move |clock| {
                clock.beyond(secs(1));
                keyed.try_acquire("key").expect("a second brings a token");
                assert!(keyed.try_acquire("key").is_err());
            },
        ),
        held(
            move || throttles.try_acquire_owned().ok(),
            gate::Permit::record,
            move |clock| {
                clock.beyond(secs(20));
                assert!(throttle.rejection_rate() <= 0.0);
                throttle.try_acquire().expect("what failed is past").success();
            },
        ),
        held(
            move || {
                drop(budgets.begin());
                budgets.try_withdraw_owned(Cost::Retry)
            },
            |withdrawal, _| drop(withdrawal.start()),
            move |clock| {
                clock.beyond(secs(30));
                assert!(budget.try_withdraw(Cost::Retry).is_some()); // from the reserve
                assert!(budget.level().is_finite());
            },
        ),
        held(
            move || {
                delays.record(millis(9));
                Some(delays.is_overloaded())
            },
            |_, _| {},
            move |clock| {
                clock.beyond(secs(9));
                assert!(!delay.is_overloaded()); // nobody knows
                for wait in [9, 9] {
                    delay.record(millis(wait));
                    clock.beyond(millis(100));
                }
                assert!(delay.is_overloaded());
                delay.record(millis(1));
                assert!(!delay.is_overloaded());
            },
        ),
        held(
            move || entries.get(&1).ok(),
            |limiter, _| {
                let _ = limiter.try_acquire();
            },
            move |clock| {
                clock.beyond(secs(61));
                for key in 2..9 {
                    clock.beyond(secs(61)); // others have been idle for longer than they may
                    let limiter = registry.get(&key).expect("there is room");
                    limiter.try_acquire().expect("it is new");
                    assert!(registry.len() <= 2);
                }
            },
        ),
    ]
}

type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What waits, by the clock and by tokio's timers.
struct Waiting {
    bulkhead: Bulkhead<(), Jumpy>,
    limiter: RateLimiter<(), Jumpy>,
    timeout: Timeout<(), Jumpy>,
    retry: Retry<ErrIsFailure, (), Jumpy>,
    hedge: Hedge<ErrIsFailure, (), Jumpy>,
    clock: Jumpy,
    futures: Vec<BoxFuture>,
}

impl Waiting {
    fn new(clock: &Jumpy) -> Self {
        let bulkhead = Bulkhead::builder("test").max_concurrent(2).queue(3);
        let bulkhead = bulkhead.max_wait(secs(1)).adaptive_lifo(millis(100));
        let limiter = RateLimiter::builder("test").limit(1, secs(1)).max_wait(secs(5));
        let timeout = Timeout::builder("test").total(secs(1));
        let retry = Retry::builder("test")
            .max_attempts(9)
            .backoff(Backoff::constant(secs(1)));
        let hedge = Hedge::builder("test").delay(secs(1)).max_attempts(3);
        Self {
            bulkhead: bulkhead.clock(clock.clone()).build().expect(SENSE),
            limiter: limiter.clock(clock.clone()).build().expect(SENSE),
            timeout: timeout.clock(clock.clone()).build().expect(SENSE),
            retry: retry.clock(clock.clone()).build().expect(SENSE),
            hedge: hedge.clock(clock.clone()).build().expect(SENSE),
            clock: clock.clone(),
            futures: Vec::new(),
        }
    }

    /// Each of them waits, those of every second call with a deadline.
    fn begin(&mut self) {
        let never = || pending::<Result<(), ()>>();
        let (bulkhead, limiter) = (self.bulkhead.clone(), self.limiter.clone());
        let (timeout, retry, hedge) = (self.timeout.clone(), self.retry.clone(), self.hedge.clone());
        let pipeline = Pipeline::new((timeout.clone(), retry.clone(), bulkhead.clone(), limiter.clone()));
        let all: [BoxFuture; 6] = [
            Box::pin(async move { assert!(bulkhead.call(never()).await.is_err()) }),
            Box::pin(async move { assert!(limiter.call(never()).await.is_err()) }),
            Box::pin(async move { assert!(timeout.call(never()).await.is_err()) }),
            Box::pin(async move { assert!(retry.call(|_| ready(Err::<(), ()>(()))).await.is_err()) }),
            Box::pin(async move { assert!(hedge.call(|_| never()).await.is_err()) }),
            Box::pin(async move { assert!(pipeline.call(|_| never()).await.is_err()) }),
        ];
        let context = if self.futures.len().is_multiple_of(2) {
            Context::new()
        } else {
            Context::new().with_deadline(Deadline::after(self.clock.now(), secs(2)))
        };
        let begun = self.futures.len();
        self.futures
            .extend(all.map(|future| Box::pin(future.with_context(context)) as BoxFuture));
        self.poll_from(begun);
    }

    fn poll_from(&mut self, from: usize) {
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let mut index = from;
        while index < self.futures.len() {
            match self.futures[index].as_mut().poll(&mut cx) {
                Poll::Ready(()) => drop(self.futures.remove(index)),
                Poll::Pending => index += 1,
            }
        }
    }

    async fn recovers(mut self) {
        self.futures.clear();
        let snapshot = self.bulkhead.snapshot();
        assert_eq!((snapshot.in_use, snapshot.waiting), (0, 0));
        self.clock.beyond(secs(10));
        let answer = || ready(Ok::<_, ()>(7));
        assert_eq!(self.bulkhead.call(answer()).await, Ok(7));
        assert_eq!(self.limiter.call(answer()).await, Ok(7));
        assert_eq!(self.timeout.call(answer()).await, Ok(7));
        assert_eq!(self.retry.call(|_| answer()).await, Ok(7));
        assert_eq!(self.hedge.call(|_| answer()).await, Ok(7));
    }
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn nothing_panics_or_sticks(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("threads can have runtimes");
        runtime.block_on(async {
            let clock = Jumpy::new();
            let (mut policies, mut waiting) = (policies(&clock), Waiting::new(&clock));
            for step in steps {
                match step {
                    Step::Ahead(by) => {
                        let last = clock.begin + 2 * CENTURY;
                        clock.to(|now, _| now.checked_add(by).filter(|then| *then <= last));
                        tokio::time::advance(by.min(secs(5))).await;
                    }
                    Step::Back(by) => clock.to(|now, _| now.checked_sub(by)),
                    Step::Begin => {
                        for policy in &mut policies {
 policy.begin();
}
                        waiting.begin();
                    }
                    Step::End(outcome) => {
for policy in &mut policies {
 policy.end(outcome);
}
}
                    Step::Drop => {
                        for policy in &mut policies {
 policy.drop_one();
}
                        waiting.futures.pop();
                    }
                    Step::Poll => waiting.poll_from(0),
                }
            }
            for policy in &mut policies {
 policy.recovers(&clock);
}
            waiting.recovers().await;
        });
    }
}
