//! What callers and other people's code do wrong to policies, services and pipelines: calls that are dropped at every poll, polled
//! after they have ended, or left by their runtime; panics at every touch of what is the user's. Nothing is held afterwards, and
//! another call works. A policy is a line of `cases`.

use crate::support::{TokioClock, millis, secs};
use cortex_core::Clock;
use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Vegas};
use cortex_resilience::budget::Budget;
use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use cortex_resilience::chaos::{Chaos, ChaosLayer};
use cortex_resilience::circuit::{Breaker, BreakerLayer, HalfOpen, State, Window};
use cortex_resilience::fallback::{Fallback, FallbackLayer, Handler};
use cortex_resilience::hedge::{Hedge, HedgeLayer};
use cortex_resilience::load_shed::{LoadShed, LoadShedLayer};
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::rate_limit::{RateLimitLayer, RateLimiter};
use cortex_resilience::retry::{Backoff, Retry, RetryLayer};
use cortex_resilience::throttle::{AdaptiveThrottle, AdaptiveThrottleLayer};
use cortex_resilience::timeout::{Timeout, TimeoutLayer};
use cortex_resilience::{Classify, Event, Observer, Outcome};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};
use tower::{Layer, Service, service_fn};

const SENSE: &str = "the settings make sense";

/// Panics once, at the touch that it is set to; counts them.
#[derive(Clone, Debug, Default)]
struct Fuse(Arc<AtomicU32>);

impl Fuse {
    fn set(&self, touch: u32) {
        self.0.store(touch, Ordering::Relaxed);
    }

    /// Says whether it will not blow any more, or has not.
    fn is_spent(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) == 0
    }

    fn touch(&self) {
        let left = self.0.load(Ordering::Relaxed);
        self.set(left.saturating_sub(1));
        assert!(left != 1, "the fuse has blown");
    }
}

impl Observer for Fuse {
    fn on_event(&self, _: &str, _: &Event) {
        self.touch();
    }
}

impl Clock for Fuse {
    fn now(&self) -> Instant {
        self.touch();
        TokioClock.now()
    }

    fn wall(&self) -> SystemTime {
        self.touch();
        TokioClock.wall()
    }
}

impl<T, E> Classify<T, E> for Fuse {
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        self.touch();
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

/// Answers with 7, in its second poll.
#[derive(Clone, Debug)]
struct Covers(Fuse);

impl<E: 'static> Handler<u32, E> for Covers {
    type Future = BoxFuture<Result<u32, E>>;

    fn handle(&self, _: Result<u32, E>) -> Self::Future {
        self.0.touch();
        let fuse = self.0.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            fuse.touch();
            Ok(7)
        })
    }
}

type Answer = Result<u32, String>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;
/// Makes the future of an attempt, or of an inner service.
type Operation = Rc<dyn Fn() -> BoxFuture<Result<u32, &'static str>>>;

/// A future as it is, but for the type of its error.
struct Plain<F>(Pin<Box<F>>);

impl<F: Future<Output = Result<u32, E>>, E: Debug> Future for Plain<F> {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(cx).map_err(|error| format!("{error:?}"))
    }
}

fn plain<E: Debug>(future: impl Future<Output = Result<u32, E>> + 'static) -> BoxFuture<Answer> {
    Box::pin(Plain(Box::pin(future)))
}

struct Case {
    name: &'static str,
    call: Box<dyn Fn(Operation) -> BoxFuture<Answer>>,
    /// How many permits, places and the like are out.
    held: Box<dyn Fn() -> u32>,
}

impl Case {
    fn new<F, E: Debug>(
        name: &'static str,
        call: impl Fn(Operation) -> F + 'static,
        held: impl Fn() -> u32 + 'static,
    ) -> Self
    where
        F: Future<Output = Result<u32, E>> + 'static,
    {
        Self {
            name,
            call: Box::new(move |operation| plain(call(operation))),
            held: Box::new(held),
        }
    }

    /// The service makes the call that it was ready for; clones of it make the others.
    fn service<S>(name: &'static str, service: S, held: impl Fn() -> u32 + 'static) -> Self
    where
        S: Service<Operation, Response = u32, Error: Debug, Future: 'static> + Clone + 'static,
    {
        let call = move |operation: Operation| {
            let mut service = service.clone();
            let mut cx = Context::from_waker(Waker::noop());
            let ready = service.poll_ready(&mut cx);
            assert!(matches!(ready, Poll::Ready(Ok(()))), "{name}");
            service.call(operation)
        };
        Self::new(name, call, held)
    }

    fn check(&self, what: &str) {
        assert_eq!((self.held)(), 0, "{}: after {what}", self.name);
    }
}

/// A call that waits behind a permit, which is given back in the third poll.
struct Behind<F, P> {
    call: Pin<Box<F>>,
    polls: u32,
    permit: Option<P>,
}

impl<F, P> Behind<F, P> {
    fn new(permit: Option<P>, call: F) -> Self {
        Self {
            call: Box::pin(call),
            polls: 0,
            permit,
        }
    }
}

impl<F: Future, P: Unpin> Future for Behind<F, P> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.call.as_mut().poll(cx);
        self.polls += 1;
        if self.polls == 3 {
            self.permit = None;
        }
        polled
    }
}

/// The inner service of all of them.
fn inner()
-> impl Service<Operation, Response = u32, Error = &'static str, Future = BoxFuture<Result<u32, &'static str>>>
+ Clone {
    service_fn(|operation: Operation| operation())
}

/// Makes a value that lives as long as the test, so that futures can borrow it.
fn lasting<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

const fn nothing() -> u32 {
    0
}

/// Every policy, as a future and as a service, and pipelines of them. All that is the user's touches the fuse.
#[expect(clippy::too_many_lines, reason = "a list")]
fn cases(fuse: &Fuse) -> Vec<Case> {
    let breaker = lasting(breaker(fuse));
    let probe = || u32::from(breaker.state() == State::HalfOpen && breaker.try_acquire().is_err());
    let probing = lasting(self::breaker(fuse));
    let queue = lasting(bulkhead(fuse));
    let behind = || queue.snapshot().in_use + queue.snapshot().waiting;
    let queued = BulkheadLayer::new(queue.clone()).layer(inner());
    let bulkhead = lasting(bulkhead(fuse));
    let places = || bulkhead.snapshot().in_use + bulkhead.snapshot().waiting;
    let builder = RateLimiter::builder("test")
        .limit(20, secs(1))
        .burst(1)
        .max_wait(secs(9));
    let limiter = lasting(
        builder
            .observe(fuse.clone())
            .clock(fuse.clone())
            .build()
            .expect(SENSE),
    );
    let builder = RateLimiter::builder("test")
        .limit(1000, secs(1))
        .observe(fuse.clone());
    let wide = builder.clock(fuse.clone()).build().expect(SENSE);
    let timeout = lasting(timeout(fuse));
    let builder = AdaptiveLimit::builder("test", Vegas::new(1..=9)).classify(fuse.clone());
    let adaptive = lasting(
        builder
            .observe(fuse.clone())
            .clock(fuse.clone())
            .build()
            .expect(SENSE),
    );
    let in_flight = || adaptive.in_flight();
    let builder = AdaptiveThrottle::builder("test")
        .classify(fuse.clone())
        .observe(fuse.clone());
    let throttle = lasting(builder.clock(fuse.clone()).build().expect(SENSE));
    let shedder = {
        let fuse = fuse.clone();
        move || {
            fuse.touch();
            false
        }
    };
    let shed = lasting(
        LoadShed::builder("test")
            .policy(shedder)
            .observe(fuse.clone())
            .build(),
    );
    let builder = Fallback::builder("test")
        .classify(fuse.clone())
        .observe(fuse.clone());
    let fallback = lasting(builder.handler(Covers(fuse.clone())).build());
    let chaos = lasting(chaos(fuse));
    let budget = lasting(Budget::in_flight(0.9, 3).expect(SENSE));
    let more = || u32::from(budget.level() > 0.0);
    let retry = lasting(retry(fuse, budget));
    let builder = Hedge::builder("test")
        .delay(millis(90))
        .max_attempts(3)
        .budget(budget.clone());
    let builder = builder.classify(fuse.clone()).observe(fuse.clone());
    let hedge = lasting(builder.clock(fuse.clone()).build().expect(SENSE));

    let standard = |limiter: &RateLimiter<Fuse, Fuse>| {
        let builder = Pipeline::standard("test")
            .rate_limit(limiter.clone())
            .classify(fuse.clone());
        let again = |retry: cortex_resilience::retry::Builder| retry.backoff(Backoff::constant(millis(90)));
        let builder = builder.retry(|retry| again(retry).budget(budget.clone()));
        let builder = builder.breaker(|breaker| breaker.min_calls(9));
        builder
            .observe(fuse.clone())
            .clock(fuse.clone())
            .build()
            .expect(SENSE)
    };
    let (standard, wide_standard) = (lasting(standard(limiter)), standard(&wide));
    let builder = Pipeline::outer_breaker("test").classify(fuse.clone());
    let builder = builder.retry(|retry| {
        retry
            .backoff(Backoff::constant(millis(90)))
            .budget(budget.clone())
    });
    let builder = builder.bulkhead(|bulkhead| bulkhead.max_concurrent(1).queue(1));
    let outer = lasting(
        builder
            .observe(fuse.clone())
            .clock(fuse.clone())
            .build()
            .expect(SENSE),
    );
    let odd = lasting(Pipeline::new((
        timeout.clone(),
        bulkhead.clone(),
        fallback.clone(),
        limiter.clone(),
        breaker.clone(),
        hedge.clone(),
        adaptive.clone(),
        chaos.clone(),
    )));
    let all = move || probe() + places() + in_flight() + more();
    vec![
        Case::new("breaker", |operation| breaker.call(operation()), probe),
        Case::new(
            "probing breaker",
            |operation| {
                let _ = probing.open();
                probing.half_open().expect("it is open");
                probing.call(operation())
            },
            || u32::from(probing.state() == State::HalfOpen && probing.try_acquire().is_err()),
        ),
        Case::new(
            "queue",
            |operation| Behind::new(queue.try_acquire_owned().ok(), queue.call(operation())),
            behind,
        ),
        Case::new(
            "queue's",
            move |operation| {
                let (mut service, permit) = (queued.clone(), queue.try_acquire_owned().ok());
                let mut cx = Context::from_waker(Waker::noop());
                assert!(service.poll_ready(&mut cx).is_ready());
                Behind::new(permit, service.call(operation))
            },
            behind,
        ),
        Case::new("bulkhead", |operation| bulkhead.call(operation()), places),
        Case::new("rate limit", |operation| limiter.call(operation()), nothing),
        Case::new("timeout", |operation| timeout.call(operation()), nothing),
        Case::new(
            "adaptive limit",
            |operation| adaptive.call(operation()),
            in_flight,
        ),
        Case::new("throttle", |operation| throttle.call(operation()), nothing),
        Case::new("load shed", |operation| shed.call(operation()), nothing),
        Case::new("fallback", |operation| fallback.call(operation()), nothing),
        Case::new("chaos", |operation| chaos.call(operation()), nothing),
        Case::new("retry", |operation| retry.call(move |_| operation()), more),
        Case::new("hedge", |operation| hedge.call(move |_| operation()), more),
        Case::new("standard", |operation| standard.call(move |_| operation()), more),
        Case::service("rate limit's", RateLimitLayer::new(wide).layer(inner()), nothing),
        Case::service(
            "standard's",
            wide_standard.layer_for(cortex_resilience::Cloned).layer(inner()),
            more,
        ),
        Case::new(
            "outer breaker",
            |operation| outer.call(move |_| operation()),
            more,
        ),
        Case::new("odd pipeline", |operation| odd.call(move |_| operation()), all),
        Case::service(
            "breaker's",
            BreakerLayer::new(breaker.clone()).layer(inner()),
            probe,
        ),
        Case::service(
            "bulkhead's",
            BulkheadLayer::new(bulkhead.clone()).layer(inner()),
            places,
        ),
        Case::service(
            "timeout's",
            TimeoutLayer::new(timeout.clone()).layer(inner()),
            nothing,
        ),
        Case::service(
            "adaptive limit's",
            AdaptiveLimitLayer::new(adaptive.clone()).layer(inner()),
            in_flight,
        ),
        Case::service(
            "throttle's",
            AdaptiveThrottleLayer::new(throttle.clone()).layer(inner()),
            nothing,
        ),
        Case::service(
            "load shed's",
            LoadShedLayer::new(shed.clone()).layer(inner()),
            nothing,
        ),
        Case::service(
            "fallback's",
            FallbackLayer::new(fallback.clone()).layer(inner()),
            nothing,
        ),
        Case::service("chaos'", ChaosLayer::new(chaos.clone()).layer(inner()), nothing),
        Case::service("retry's", RetryLayer::new(retry.clone()).layer(inner()), more),
        Case::service("hedge's", HedgeLayer::new(hedge.clone()).layer(inner()), more),
        Case::service(
            "outer breaker's",
            outer.layer_for(cortex_resilience::Cloned).layer(inner()),
            more,
        ),
    ]
}

/// Half-open with one permit, which nothing but its return makes free again.
fn breaker(fuse: &Fuse) -> Breaker<Fuse, Fuse, Fuse> {
    let builder = Breaker::builder("test").window(Window::count(9)).min_calls(9);
    let builder = builder.half_open(HalfOpen::permits(1).without_max_time());
    let builder = builder.classify(fuse.clone()).observe(fuse.clone());
    let breaker = builder.clock(fuse.clone()).build().expect(SENSE);
    breaker.open().expect("it is closed");
    breaker.half_open().expect("it is open");
    breaker
}

fn bulkhead(fuse: &Fuse) -> Bulkhead<Fuse, Fuse> {
    let builder = Bulkhead::builder("test")
        .max_concurrent(1)
        .queue(1)
        .max_wait(secs(9));
    let builder = builder.observe(fuse.clone()).clock(fuse.clone());
    builder.adaptive_lifo(millis(1)).build().expect(SENSE)
}

fn timeout(fuse: &Fuse) -> Timeout<Fuse, Fuse> {
    let builder = Timeout::builder("test").total(secs(9)).observe(fuse.clone());
    builder.clock(fuse.clone()).build().expect(SENSE)
}

fn retry(fuse: &Fuse, budget: &Budget) -> Retry<Fuse, Fuse, Fuse> {
    let builder = Retry::builder("test")
        .backoff(Backoff::constant(millis(90)))
        .budget(budget.clone());
    let builder = builder.classify(fuse.clone()).observe(fuse.clone());
    builder.clock(fuse.clone()).build().expect(SENSE)
}

type Late = Chaos<
    cortex_resilience::chaos::Errors<Box<dyn Fn() -> &'static str + Send + Sync>>,
    cortex_resilience::chaos::Unset,
    cortex_resilience::chaos::Unset,
    Fuse,
>;

/// Late always, and wrong every second time or so.
fn chaos(fuse: &Fuse) -> Late {
    let fails = fuse.clone();
    let error: Box<dyn Fn() -> &'static str + Send + Sync> = Box::new(move || {
        fails.touch();
        "chaos"
    });
    let builder = Chaos::builder("test")
        .latency(1.0, millis(90)..=millis(90))
        .seed(7);
    let chaos = builder
        .error(0.5, error)
        .observe(fuse.clone())
        .build()
        .expect(SENSE);
    chaos.enable();
    chaos
}

/// Attempts of a call: each is pending three times; the first fails and the others succeed. What they hold is counted.
fn attempts(fuse: &Fuse, running: &Rc<Cell<u32>>) -> Operation {
    struct Guard(Rc<Cell<u32>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let (fuse, running, made) = (fuse.clone(), running.clone(), Cell::new(0));
    Rc::new(move || {
        fuse.touch();
        made.set(made.get() + 1);
        running.set(running.get() + 1);
        let (number, fuse, guard) = (made.get(), fuse.clone(), Guard(running.clone()));
        let mut left = Some(3);
        Box::pin(poll_fn(move |cx| {
            let _held = &guard;
            fuse.touch();
            let polls = left.expect("the operation was polled after it was ready");
            if polls > 0 {
                left = Some(polls - 1);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            left = None;
            Poll::Ready(if number == 1 { Err("as told") } else { Ok(number) })
        }))
    })
}

type Panic = Box<dyn Any + Send>;

/// Polls once, with the runtime's waker.
async fn poll(call: &mut BoxFuture<Answer>) -> Result<Poll<Answer>, Panic> {
    poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))))).await
}

fn text(panic: &Panic) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// Polls until the call has ended or panicked, in steps of 40 ms, and so many times at most; says how often it did.
async fn run(call: &mut BoxFuture<Answer>, most: u32) -> (u32, Result<Poll<Answer>, Panic>) {
    for polls in 1..=most {
        let polled = poll(call).await;
        if !matches!(polled, Ok(Poll::Pending)) {
            return (polls, polled);
        }
        tokio::time::advance(millis(40)).await;
    }
    (most, Ok(Poll::Pending))
}

/// A call that nothing disturbs, once breaks are over; it is answered or fails as told.
async fn works(case: &Case, fuse: &Fuse, what: &str) {
    tokio::time::advance(secs(120)).await;
    for _ in 0..2 {
        let mut call = (case.call)(attempts(fuse, &Rc::default()));
        let (_, polled) = run(&mut call, 500).await;
        let Ok(Poll::Ready(answer)) = polled else {
            panic!("{}: it is stuck after {what}: {polled:?}", case.name)
        };
        let told = answer.as_ref().map_or_else(
            |error| error.contains("as told") || error.contains("chaos"),
            |_| true,
        );
        assert!(told, "{}: after {what}: {answer:?}", case.name);
        tokio::time::advance(secs(120)).await; // a failure may have opened a breaker that probes
    }
    case.check(what);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("threads can have runtimes")
}

/// How many polls or touches are tried at most; a case that needs more is stuck.
const MOST: u32 = 500;

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_any_poll_leaves_nothing() {
    let fuse = Fuse::default();
    for case in cases(&fuse) {
        let running = Rc::default();
        let mut ended = false;
        for polls in 0..MOST {
            let mut call = (case.call)(attempts(&fuse, &running));
            ended = polls > 0 && matches!(run(&mut call, polls).await.1, Ok(Poll::Ready(_)));
            drop(call);
            assert_eq!(running.get(), 0, "{}: after {polls} polls", case.name);
            case.check("a drop");
            if ended {
                break;
            }
            tokio::time::advance(secs(1)).await;
        }
        assert!(ended, "{}", case.name);
        works(&case, &fuse, "drops").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_ended_says_so_and_corrupts_nothing() {
    let fuse = Fuse::default();
    for case in cases(&fuse) {
        let mut call = (case.call)(attempts(&fuse, &Rc::default()));
        assert!(
            matches!(run(&mut call, MOST).await.1, Ok(Poll::Ready(_))),
            "{}",
            case.name
        );
        for _ in 0..3 {
            match poll(&mut call).await {
                Ok(Poll::Ready(_)) => {}
                Ok(Poll::Pending) => panic!("{}: it waits for nothing", case.name),
                Err(panic) => assert!(
                    text(&panic).contains("polled after it"),
                    "{}: {panic:?}",
                    case.name
                ),
            }
            case.check("a poll too many");
        }
        drop(call);
        works(&case, &fuse, "polls too many").await;
    }
}

#[test]
fn a_runtime_that_is_dropped_takes_nothing_with_it() {
    let fuse = Fuse::default();
    let count = runtime().block_on(async { cases(&fuse).len() });
    for (index, polls) in (0..count).flat_map(|index| (1..16).map(move |polls| (index, polls))) {
        let runtime = runtime();
        let (case, call) = runtime.block_on(async {
            let case = cases(&fuse).swap_remove(index);
            let mut call = (case.call)(attempts(&fuse, &Rc::default()));
            let (_, polled) = run(&mut call, polls).await;
            (
                case,
                polled.is_ok_and(|polled| polled.is_pending()).then_some(call),
            )
        });
        let Some(mut call) = call else {
            continue;
        };
        drop(runtime);
        if polls % 2 == 0 {
            // Timers of tokio panic without their runtime.
            let mut cx = Context::from_waker(Waker::noop());
            drop(catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut cx))));
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(call))).is_err();
        assert!(!panicked, "{}: dropped after {polls} polls", case.name);
        self::runtime().block_on(async {
            case.check("its runtime went");
            works(&case, &fuse, "its runtime went").await;
        });
    }
}

/// The fuse blows at its first touch, at its second and so on: in the clock, an observer, a classifier, a handler, a shed policy, a
/// source of chaos, the operation and its future; while the call is made, polled and dropped.
#[tokio::test(start_paused = true)]
async fn a_panic_at_any_touch_of_what_is_the_user_s_leaves_nothing() {
    let fuse = Fuse::default();
    for case in cases(&fuse) {
        let mut is_over = false;
        for touch in 1..MOST {
            let running = Rc::default();
            fuse.set(touch);
            let made = catch_unwind(AssertUnwindSafe(|| (case.call)(attempts(&fuse, &running))));
            if let Ok(mut call) = made {
                let (_, polled) = run(&mut call, MOST).await;
                is_over = polled.is_ok() && !fuse.is_spent();
                if let Err(panic) = polled {
                    assert!(
                        text(&panic).contains("fuse has blown"),
                        "{}: {panic:?}",
                        case.name
                    );
                    let again = poll(&mut call).await; // whoever caught the panic may try
                    if let Err(panic) = again {
                        assert!(!text(&panic).is_empty(), "{}", case.name);
                    }
                }
                fuse.set(0);
                drop(call);
            }
            fuse.set(0);
            assert_eq!(running.get(), 0, "{}: touch {touch}", case.name);
            case.check(&format!("a panic at touch {touch}"));
            if is_over {
                break;
            }
            works(&case, &fuse, &format!("a panic at touch {touch}")).await;
        }
        assert!(is_over, "{}", case.name);
    }
}

/// What is told of a call that is dropped while it runs may panic, too.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_call_is_dropped_leaves_nothing() {
    let fuse = Fuse::default();
    let blown = RefCell::new(Vec::new());
    for case in cases(&fuse) {
        for polls in 1..6 {
            for touch in 1..6 {
                let running = Rc::default();
                let mut call = (case.call)(attempts(&fuse, &running));
                let (_, polled) = run(&mut call, polls).await;
                assert!(polled.is_ok());
                fuse.set(touch);
                if catch_unwind(AssertUnwindSafe(|| drop(call))).is_err() {
                    blown.borrow_mut().push(case.name);
                }
                fuse.set(0);
                assert_eq!(running.get(), 0, "{}: touch {touch}", case.name);
                case.check("a panic of its drop");
                tokio::time::advance(secs(120)).await;
            }
        }
        works(&case, &fuse, "panics of drops").await;
    }
    assert!(blown.borrow().contains(&"breaker") && blown.borrow().contains(&"adaptive limit"));
}
