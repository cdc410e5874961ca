//! Votes that wait for the body of an answer.

use crate::support::{Bench, Log, bench, millis, secs, without_files};
use bytes::Bytes;
use cortex_core::TscClock;
use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Aimd};
use cortex_resilience::circuit::{
    After, Breaker, BreakerLayer, Builder, Dropped, HalfOpen, ResponseFuture, Snapshot, State, UntilAnswer,
    UntilBodyEnd, VoteWhen,
};
use cortex_resilience::http::{ClassifyEnd, EndVote, ErrorKind, GrpcClassify, HttpClassify, VoteBody};
use cortex_resilience::throttle::{AdaptiveThrottle, AdaptiveThrottleLayer};
use cortex_resilience::{ErrIsFailure, Event, Outcome};
use cortex_testkit::ManualClock;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use std::any::Any;
use std::collections::VecDeque;
use std::future::Ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use tower::{Layer, Service};

/// What a body does when it is asked.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Data,
    Wait,
    Trailers(Option<u32>),
    Fail,
    Panic,
    /// The end, whatever was to come.
    Cut,
}

/// A body that does as it is told, and says that it is over when it knows.
#[derive(Clone, Debug)]
struct Script {
    steps: VecDeque<Step>,
    knows_its_end: bool,
    knows_its_length: bool,
}

fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    Script {
        steps: steps.into_iter().collect(),
        knows_its_end: false,
        knows_its_length: false,
    }
}

impl Script {
    fn with_known_end(mut self) -> Self {
        self.knows_its_end = true;
        self
    }

    fn with_known_length(mut self) -> Self {
        self.knows_its_length = true;
        self
    }

    fn left(&self) -> u64 {
        4 * self.steps.iter().filter(|step| **step == Step::Data).count() as u64
    }
}

fn trailers(status: Option<u32>) -> HeaderMap {
    let status = status.map(|status| {
        (
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from(status),
        )
    });
    HeaderMap::from_iter(status)
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.steps.pop_front() {
            Some(Step::Data) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data"))))),
            Some(Step::Wait) => Poll::Pending,
            Some(Step::Trailers(status)) => Poll::Ready(Some(Ok(Frame::trailers(trailers(status))))),
            Some(Step::Fail) => Poll::Ready(Some(Err("broken"))),
            Some(Step::Panic) => panic!("as written"),
            Some(Step::Cut) | None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.knows_its_length {
            SizeHint::with_exact(self.left())
        } else {
            SizeHint::default()
        }
    }
}

/// A dependency that gives one answer after the other.
#[derive(Clone)]
struct Upstream(Arc<Mutex<VecDeque<Response<Script>>>>);

impl Upstream {
    fn of(answers: impl IntoIterator<Item = Response<Script>>) -> Self {
        Self(Arc::new(Mutex::new(answers.into_iter().collect())))
    }
}

impl Service<Request<()>> for Upstream {
    type Response = Response<Script>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Script>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let next = self.0.lock().expect("nobody panics").pop_front();
        std::future::ready(next.ok_or("no more"))
    }
}

/// Makes a call that is answered at once.
fn call<S: Service<Request<()>>>(service: &mut S) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    match pin!(service.call(Request::new(()))).poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it is ready at once"),
    }
}

/// Reads until nothing comes.
fn read<B: Body>(body: &mut Pin<Box<B>>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(_))) = body.as_mut().poll_frame(&mut cx) {}
}

type Tested<C> = Breaker<C, Log, ManualClock>;

fn breaker<C>(
    classify: C,
    set: impl FnOnce(Builder<C, Log, ManualClock>) -> Builder<C, Log, ManualClock>,
) -> (Tested<C>, ManualClock, Log) {
    let (clock, log) = (ManualClock::new(), Log::new());
    let builder = Breaker::builder("test")
        .classify(classify)
        .observe(log.clone())
        .clock(clock.clone());
    (set(builder).build().expect("the settings make sense"), clock, log)
}

/// Votes for, votes against, ignored.
fn counts(snapshot: &Snapshot) -> (u64, u64, u64) {
    (snapshot.ok, snapshot.failed, snapshot.ignored)
}

#[test]
fn the_end_of_a_body_is_the_vote_and_there_is_one() {
    use Step::{Data, Fail, Trailers, Wait};
    for (steps, is_read, expected) in [
        (vec![Data, Data], true, (1, 0, 0)),
        (vec![Data, Trailers(Some(14))], true, (1, 0, 0)), // nobody asked for them
        (vec![Data, Fail, Data], true, (0, 1, 0)),
        (vec![Data, Wait, Wait, Wait], true, (0, 0, 1)),
        (vec![Data], false, (0, 0, 1)),
        (vec![], true, (1, 0, 0)),
        (vec![], false, (0, 0, 1)), // nobody looked
    ] {
        for knows in [false, true] {
            let body = Script {
                knows_its_end: knows,
                ..script(steps.clone())
            };
            let (breaker, ..) = breaker(HttpClassify::new(), |builder| builder);
            let mut service = BreakerLayer::new(breaker.clone())
                .until_body_end()
                .layer(Upstream::of([Response::new(body)]));
            let mut body = Box::pin(call(&mut service).unwrap().into_body());
            let at_once = knows && steps.is_empty();
            assert_eq!(
                counts(&breaker.snapshot()),
                (u64::from(at_once), 0, 0),
                "{steps:?}"
            );
            assert_eq!(body.is_waiting(), !at_once);
            if is_read {
                read(&mut body);
                read(&mut body); // there is no other vote
            }
            drop(body);
            let expected = if at_once { (1, 0, 0) } else { expected };
            assert_eq!(counts(&breaker.snapshot()), expected, "{steps:?} {knows}");
        }
    }
}

#[test]
fn what_is_no_success_by_its_head_votes_at_once() {
    let answer = |status| {
        let mut answer = Response::new(script([Step::Data, Step::Fail]));
        *answer.status_mut() = status;
        answer
    };
    let judge = |result: Result<&Response<Script>, &&str>| match result.map(Response::status) {
        Ok(StatusCode::OK) => Outcome::Success,
        Ok(StatusCode::NOT_FOUND) => Outcome::Ignore,
        _ => Outcome::Failure,
    };
    let (breaker, ..) = breaker(judge, |builder| builder);
    let upstream = Upstream::of([answer(StatusCode::BAD_GATEWAY), answer(StatusCode::NOT_FOUND)]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    let mut bodies = Vec::new();
    for expected in [(0, 1, 0), (0, 1, 1)] {
        let body = Box::pin(call(&mut service).unwrap().into_body());
        assert!(!body.is_waiting());
        assert_eq!(counts(&breaker.snapshot()), expected);
        bodies.push(body);
    }
    assert_eq!(call(&mut service).unwrap_err().into_inner(), Some("no more"));
    assert_eq!(counts(&breaker.snapshot()), (0, 2, 1));
    bodies.iter_mut().for_each(read);
    drop(bodies);
    assert_eq!(counts(&breaker.snapshot()), (0, 2, 1));
}

#[test]
fn trailers_of_grpc_open_a_breaker_although_every_head_is_a_success() {
    let (breaker, _, log) = breaker(Arc::new(GrpcClassify::new()), |builder| builder.min_calls(3));
    let answer = |status| Response::new(script([Step::Data, Step::Trailers(status)]));
    let mut trailers_only = answer(Some(0));
    trailers_only.headers_mut().insert("grpc-status", 0.into());
    *trailers_only.body_mut() = script([]).with_known_end();
    let upstream = Upstream::of([trailers_only, answer(Some(14)), answer(None), answer(Some(13))]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    let mut expected = vec![(1, 0, 0), (1, 1, 0), (1, 2, 0)].into_iter();
    while breaker.state() == State::Closed {
        let mut body = Box::pin(call(&mut service).unwrap().into_body());
        read(&mut body);
        assert_eq!(Some(counts(&breaker.snapshot())), expected.next());
    }
    assert_eq!(expected.next(), None);
    assert!(
        log.all()
            .iter()
            .any(|event| matches!(event, Event::Opened { .. }))
    );
    assert!(call(&mut service).unwrap_err().rejected().is_some());
}

#[test]
fn a_pushback_among_trailers_is_what_a_break_is_computed_from() {
    let wait = |cx: &cortex_resilience::circuit::BreakCx| cx.retry_after.unwrap_or(secs(60));
    let (breaker, ..) = breaker(GrpcClassify::new(), |builder| {
        builder.min_calls(1).break_with(wait)
    });
    let mut headers = trailers(Some(14));
    headers.insert("grpc-retry-pushback-ms", 7000.into());
    let body = http_body_util::Full::new(Bytes::from_static(b"half"));
    let answer = http_body_util::BodyExt::with_trailers(body, std::future::ready(Some(Ok(headers))));
    let mut answer = Some(Response::new(answer));
    let service = tower::service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, ()>(answer.take().expect("one call")))
    });
    let mut service = BreakerLayer::new(breaker.clone()).until_body_end().layer(service);
    read(&mut Box::pin(call(&mut service).unwrap().into_body()));
    assert_eq!((breaker.state(), breaker.remaining()), (State::Open, secs(7)));
}

fn probing() -> Bench {
    let bench = bench(|builder| {
        builder
            .half_open(HalfOpen::permits(1).max_time(secs(30), After::Open))
            .min_calls(1)
    });
    bench.breaker.open().expect("it may");
    bench.clock.advance(secs(60));
    bench
}

#[test]
fn a_probe_has_its_permit_until_the_body_has_ended_and_loses_none() {
    let answers = || Upstream::of((0..9).map(|_| Response::new(script([Step::Data]))));
    let bench = probing();
    let mut service = BreakerLayer::new(bench.breaker.clone())
        .until_body_end()
        .layer(answers());
    for _ in 0..3 {
        let answer = call(&mut service).unwrap();
        assert_eq!(bench.breaker.state(), State::HalfOpen);
        assert!(call(&mut service).unwrap_err().rejected().is_some()); // its permit is in use
        drop(answer); // and given back
    }
    let mut body = Box::pin(call(&mut service).unwrap().into_body());
    read(&mut body);
    assert_eq!(bench.breaker.state(), State::Closed);

    let bench = probing();
    let mut service = BreakerLayer::new(bench.breaker.clone())
        .until_body_end()
        .layer(answers());
    let mut hangs = Box::pin(call(&mut service).unwrap().into_body());
    bench.clock.advance(secs(30));
    assert_eq!(bench.breaker.state(), State::Open); // a body that hangs blocks no recovery
    bench.clock.advance(secs(60));
    let answer = call(&mut service).unwrap();
    read(&mut hangs); // late
    assert_eq!(
        (bench.breaker.state(), bench.breaker.snapshot().late),
        (State::HalfOpen, 1)
    );
    read(&mut Box::pin(answer.into_body()));
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn who_does_not_wait_for_bodies_has_no_larger_future() {
    type Answer<H> = ResponseFuture<Ready<Result<(), u8>>, ErrIsFailure, (), TscClock, H>;
    assert_eq!(
        size_of::<Answer<UntilAnswer>>(),
        size_of::<Answer<UntilBodyEnd>>()
    );
    #[cfg(target_pointer_width = "64")]
    assert_eq!(size_of::<Answer<UntilAnswer>>(), 64); // what it was when it knew of no bodies
}

#[test]
fn bodies_that_take_longer_than_probing_may_keep_a_breaker_open_unless_it_is_told() {
    for (probing, after) in [
        (HalfOpen::permits(1).max_time(secs(30), After::Open), State::Open),
        (
            HalfOpen::permits(1).max_time(secs(30), After::Closed),
            State::Closed,
        ),
        (
            HalfOpen::permits(1).max_time(secs(41), After::Open),
            State::Closed,
        ),
    ] {
        let bench = bench(|builder| builder.half_open(probing).min_calls(1));
        bench.breaker.open().expect("it may");
        let answers = (0..3).map(|_| Response::new(script([Step::Data])));
        let mut service = BreakerLayer::new(bench.breaker.clone())
            .until_body_end()
            .layer(Upstream::of(answers));
        for _ in 0..3 {
            bench.clock.advance(secs(60));
            let mut body = Box::pin(call(&mut service).unwrap().into_body());
            bench.clock.advance(secs(40));
            read(&mut body);
            assert_eq!(bench.breaker.state(), after, "{probing:?}");
        }
    }
}

#[test]
fn a_call_is_slow_by_its_head_unless_the_body_is_asked() {
    let set =
        |builder: Builder<HttpClassify, Log, ManualClock>| builder.slow_call(millis(100), 1.0).min_calls(9);
    let answer = || Upstream::of([Response::new(script([Step::Data]))]);
    let slow = |snapshot: Snapshot| (snapshot.ok, snapshot.slow_ok, snapshot.failed, snapshot.ignored);

    let (by_head, clock, _) = breaker(HttpClassify::new(), set);
    let mut service = BreakerLayer::new(by_head.clone())
        .until_body_end()
        .layer(answer());
    let mut body = Box::pin(call(&mut service).unwrap().into_body());
    clock.advance(secs(9));
    read(&mut body);
    assert_eq!(slow(by_head.snapshot()), (1, 0, 0, 0));

    let (by_body, clock, _) = breaker(HttpClassify::new(), set);
    let mut service = BreakerLayer::new(by_body.clone())
        .slow_until_body_end()
        .layer(answer());
    let mut body = Box::pin(call(&mut service).unwrap().into_body());
    clock.advance(secs(9));
    read(&mut body);
    assert_eq!(slow(by_body.snapshot()), (1, 1, 0, 0));

    // A head that was slow stays slow, and who leaves then says so if that is asked.
    for (dropped, expected) in [
        (Dropped::Ignore, (0, 0, 0, 1)),
        (Dropped::FailIfSlow, (0, 0, 1, 0)),
    ] {
        let (breaker, clock, _) = breaker(HttpClassify::new(), |builder| set(builder).on_drop(dropped));
        let late = tower::service_fn({
            let clock = clock.clone();
            move |_: Request<()>| {
                clock.advance(millis(101));
                std::future::ready(Ok::<_, ()>(Response::new(script([Step::Data]))))
            }
        });
        let mut service = BreakerLayer::new(breaker.clone()).until_body_end().layer(late);
        drop(call(&mut service).unwrap());
        assert_eq!(slow(breaker.snapshot()), expected);
        read(&mut Box::pin(call(&mut service).unwrap().into_body()));
        assert_eq!(breaker.snapshot().slow_ok, 1);
    }
}

#[test]
fn a_body_that_panics_has_failed() {
    let (breaker, ..) = breaker(HttpClassify::new(), |builder| builder);
    let upstream = Upstream::of([Response::new(script([Step::Data, Step::Panic]))]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    let mut body = Box::pin(call(&mut service).unwrap().into_body());
    assert!(catch_unwind(AssertUnwindSafe(|| read(&mut body))).is_err());
    drop(body);
    assert_eq!(counts(&breaker.snapshot()), (0, 1, 0));
}

#[test]
fn an_error_of_a_body_is_what_the_classifier_says() {
    #[derive(Clone)]
    struct Late;

    impl<B, E> cortex_resilience::Classify<Response<B>, E> for Late {
        fn outcome(&self, result: Result<&Response<B>, &E>) -> Outcome {
            result.map_or(Outcome::Failure, |_| Outcome::Success)
        }
    }

    impl<B, E> ClassifyEnd<Response<B>, E> for Late {
        fn broke(&self, error: &dyn Any) -> Outcome {
            match error.downcast_ref() {
                Some(&"broken") => Outcome::Ignore,
                _ => Outcome::Failure,
            }
        }
    }

    let broken = || Upstream::of([Response::new(script([Step::Data, Step::Fail]))]);
    let (late, ..) = breaker(Arc::new(Late), |builder| builder);
    let mut service = BreakerLayer::new(late.clone()).until_body_end().layer(broken());
    read(&mut Box::pin(call(&mut service).unwrap().into_body()));
    assert_eq!(counts(&late.snapshot()), (0, 0, 1));

    let limit = AdaptiveLimit::builder("test", Aimd::new(1..=9, secs(1)));
    let limit = limit.classify(Late).build().unwrap();
    let layer = AdaptiveLimitLayer::new(limit.clone()).until_body_end();
    read(&mut Box::pin(
        call(&mut layer.layer(broken())).unwrap().into_body(),
    ));
    assert_eq!((limit.in_flight(), limit.limit()), (0, 1)); // neither more nor less

    let throttle = AdaptiveThrottle::builder("test").classify(Late).build().unwrap();
    let layer = AdaptiveThrottleLayer::new(throttle.clone()).until_body_end();
    read(&mut Box::pin(
        call(&mut layer.layer(broken())).unwrap().into_body(),
    ));
    assert_eq!((throttle.snapshot().ok, throttle.snapshot().failed), (0, 0));

    // By default as an error of a call is, if it is one.
    let ours = |error: &&'static str| match *error {
        "broken" => ErrorKind::Request,
        _ => ErrorKind::Transport,
    };
    let (by_kind, ..) = breaker(HttpClassify::new().errors(ours), |builder| builder);
    let mut service = BreakerLayer::new(by_kind.clone())
        .until_body_end()
        .layer(broken());
    read(&mut Box::pin(call(&mut service).unwrap().into_body()));
    assert_eq!(counts(&by_kind.snapshot()), (0, 0, 1));
}

/// One whose end comes while nobody asks.
struct Ends(Arc<AtomicBool>);
impl Body for Ends {
    type Data = Bytes;
    type Error = ();

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_body_is_as_long_as_it_says_and_may_be_known_to_have_ended_without_being_asked() {
    let (breaker, ..) = breaker(HttpClassify::new(), |builder| builder);
    let body = script([Step::Data, Step::Data])
        .with_known_end()
        .with_known_length();
    let body = VoteBody::new(body, breaker.try_acquire_owned().unwrap());
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(8), false));
    let mut body = Box::pin(body);
    let mut cx = Context::from_waker(Waker::noop());
    for votes in [0, 1] {
        assert!(body.as_mut().poll_frame(&mut cx).is_ready());
        assert_eq!(breaker.snapshot().ok, votes);
    }
    assert!(body.is_end_stream() && format!("{body:?}").contains("is_waiting: false"));

    let ended = Arc::default();
    let body = VoteBody::new(Ends(Arc::clone(&ended)), breaker.try_acquire_owned().unwrap());
    ended.store(true, Ordering::Relaxed);
    drop(body);
    assert_eq!(counts(&breaker.snapshot()), (2, 0, 0));
}

/// Reads one frame.
fn take<B: Body>(body: &mut Pin<Box<B>>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(&mut cx).is_ready());
}

#[test]
fn who_knows_the_length_of_a_body_asks_for_no_more_and_loses_no_success() {
    let answer = || Response::new(script([Step::Data, Step::Data]).with_known_length());
    let (breaker, ..) = breaker(HttpClassify::new(), |builder| builder);
    let upstream = Upstream::of([answer(), answer()]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    for expected in [(1, 0, 0), (1, 0, 1)] {
        let mut body = Box::pin(call(&mut service).unwrap().into_body());
        take(&mut body);
        if expected == (1, 0, 0) {
            take(&mut body);
        }
        assert!(!body.is_end_stream());
        drop(body);
        assert_eq!(counts(&breaker.snapshot()), expected);
    }

    // One that was cut short says so by nothing else than its length.
    let cut = || script([Step::Data, Step::Cut, Step::Data]);
    let upstream = Upstream::of([Response::new(cut().with_known_length()), Response::new(cut())]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    for expected in [(1, 1, 1), (2, 1, 1)] {
        read(&mut Box::pin(call(&mut service).unwrap().into_body()));
        assert_eq!(counts(&breaker.snapshot()), expected);
    }

    // Where the status comes after the body, its length says nothing.
    let (breaker, ..) = self::breaker(GrpcClassify::new(), |builder| builder);
    let mut failed = answer();
    failed.body_mut().steps.push_back(Step::Trailers(Some(14)));
    let upstream = Upstream::of([failed, answer()]);
    let mut service = BreakerLayer::new(breaker.clone())
        .until_body_end()
        .layer(upstream);
    read(&mut Box::pin(call(&mut service).unwrap().into_body()));
    assert_eq!(counts(&breaker.snapshot()), (0, 1, 0));
    let mut body = Box::pin(call(&mut service).unwrap().into_body());
    take(&mut body);
    take(&mut body);
    drop(body);
    assert_eq!(counts(&breaker.snapshot()), (0, 1, 1));
}

#[test]
fn limits_and_throttles_wait_too() {
    let clock = ManualClock::new();
    let limit = AdaptiveLimit::builder("test", Aimd::new(1..=9, secs(1)))
        .classify(GrpcClassify::new())
        .clock(clock.clone())
        .build()
        .unwrap();
    let throttle = AdaptiveThrottle::builder("test")
        .classify(GrpcClassify::new())
        .build()
        .unwrap();
    let answers =
        [Some(0), Some(14), None].map(|status| Response::new(script([Step::Data, Step::Trailers(status)])));
    let mut limited = AdaptiveLimitLayer::new(limit.clone())
        .until_body_end()
        .layer(Upstream::of(answers.clone()));
    let mut throttled = AdaptiveThrottleLayer::new(throttle.clone())
        .until_body_end()
        .layer(Upstream::of(answers));
    for (limited_to, ok, failed) in [(2, 1, 0), (1, 1, 1), (1, 1, 2)] {
        let answer = call(&mut limited).unwrap();
        assert_eq!(limit.in_flight(), 1);
        read(&mut Box::pin(answer.into_body()));
        assert_eq!((limit.in_flight(), limit.limit()), (0, limited_to));
        read(&mut Box::pin(call(&mut throttled).unwrap().into_body()));
        let snapshot = throttle.snapshot();
        assert_eq!((snapshot.ok, snapshot.failed), (ok, failed));
    }
    assert_eq!(call(&mut limited).unwrap_err().into_inner(), Some("no more"));
    assert_eq!(limit.in_flight(), 0);

    // Whoever goes away says nothing, and frees its place.
    let mut limited = AdaptiveLimitLayer::new(limit.clone())
        .until_body_end()
        .layer(Upstream::of([
            Response::new(script([Step::Data])),
            Response::new(script([Step::Fail])),
        ]));
    drop(call(&mut limited).unwrap());
    assert_eq!((limit.in_flight(), limit.limit()), (0, 1));
    let body = VoteBody::new(script([Step::Fail]), throttle.try_acquire_owned().unwrap());
    read(&mut Box::pin(body));
    assert_eq!(throttle.snapshot().failed, 3);
}

/// Writes down what it is told, and whether it is asked twice.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<&'static str>>>);

struct Vote {
    heard: Heard,
    is_told: bool,
    needs_trailers: bool,
}

impl EndVote for Vote {
    fn needs_trailers(&self) -> bool {
        self.needs_trailers
    }

    fn ended(mut self, trailers: Option<&HeaderMap>) {
        self.is_told = true;
        let what = if trailers.is_some() { "trailers" } else { "ended" };
        self.heard.0.lock().expect("nobody panics").push(what);
    }

    fn failed(mut self) {
        self.is_told = true;
        self.heard.0.lock().expect("nobody panics").push("failed");
    }
}

impl Drop for Vote {
    fn drop(&mut self) {
        if !self.is_told {
            self.heard.0.lock().expect("nobody panics").push("dropped");
        }
    }
}

/// What a vote should hear of a body that is asked so often: a slow, obviously right reading of its script.
fn model(body: &Script, needs_trailers: bool, polls: usize) -> &'static str {
    let is_over =
        |body: &Script| body.is_end_stream() || body.knows_its_length && !needs_trailers && body.left() == 0;
    if is_over(body) {
        return "ended";
    }
    let mut rest = body.clone();
    for _ in 0..polls {
        match rest.steps.pop_front() {
            Some(Step::Trailers(_)) => return "trailers",
            Some(Step::Fail | Step::Panic) => return "failed",
            Some(Step::Cut) if rest.knows_its_length && rest.left() > 0 => return "failed",
            Some(Step::Cut) | None => return "ended",
            Some(Step::Data | Step::Wait) if is_over(&rest) => return "ended",
            Some(Step::Data | Step::Wait) => {}
        }
    }
    "dropped"
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn model_body_votes(
        steps in prop::collection::vec(
            prop_oneof![
                4 => Just(Step::Data),
                2 => Just(Step::Wait),
                1 => prop::option::of(0_u32..17).prop_map(Step::Trailers),
                1 => Just(Step::Fail),
                1 => Just(Step::Panic),
                1 => Just(Step::Cut),
            ],
            0..8,
        ),
        (knows_its_end, knows_its_length, needs_trailers) in any::<(bool, bool, bool)>(),
        polls in 0_usize..10,
    ) {
        let script = Script { knows_its_end, knows_its_length, ..script(steps) };
        let expected = model(&script, needs_trailers, polls);
        let heard = Heard::default();
        let vote = Vote { heard: heard.clone(), is_told: false, needs_trailers };
        let answer = UntilBodyEnd::answer(Response::new(script), Some(vote));
        let mut body = Box::pin(answer.into_body());
        for _ in 0..polls {
            let mut cx = Context::from_waker(Waker::noop());
            let poll = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(&mut cx)));
            if poll.is_err() {
                break; // nobody asks it again
            }
        }
        drop(body);
        prop_assert_eq!(&*heard.0.lock().expect("nobody panics"), &[expected]);
    }
}
