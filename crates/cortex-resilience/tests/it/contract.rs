//! What tower asks of every layer, by the probes that others publish for it. A layer is one line of `contract!`.

use crate::support::secs;
use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Aimd, Gradient2, Vegas};
use cortex_resilience::circuit::{Breaker, BreakerLayer, HalfOpen, Window};
use cortex_resilience::fallback::{Fallback, FallbackLayer};
use cortex_resilience::load_shed::{LoadShed, LoadShedLayer};
use cortex_resilience::throttle::{AdaptiveThrottle, AdaptiveThrottleLayer};
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_resilience_core::testing::{
    ControlledHandle, ControlledService, ProbeHandle, ServiceProbe, StatefulInner,
};
use tower_test::mock::{Handle, Spawn};

/// The checks of one layer each; the expression makes a new one, which lets calls through.
macro_rules! contract {
    ($($name:ident => $layer:expr;)+) => {$(
        mod $name {
            use super::*;

            contract!(@every $layer);

            #[tokio::test(start_paused = true)]
            async fn who_waits_for_readiness_is_woken() {
                let (service, probe, inner) = probed(&$layer);
                woken(service, probe, inner).await;
            }

            #[tokio::test(start_paused = true)]
            async fn of_the_inner_service_s_permits_one_is_held_at_most_and_freed() {
                let inner = Scarce::default();
                scarce($layer.layer(inner.clone()), &inner).await;
            }

            #[tokio::test(start_paused = true)]
            async fn a_mock_is_asked_as_tower_says() {
                let (service, handle) = tower_test::mock::spawn_layer($layer);
                mocked(service, handle).await;
            }
        }
    )+};
    (@every $layer:expr) => {
        #[tokio::test(start_paused = true)]
        async fn the_instance_that_was_ready_is_called() {
            ready_instance($layer.layer(StatefulInner::new())).await;
            let (service, probe, inner) = probed(&$layer);
            ready_instances(service, probe, inner).await;
        }

        #[tokio::test(start_paused = true)]
        async fn a_clone_that_is_not_ready_is_answered_with_an_error() {
            let (service, probe, inner) = probed(&$layer);
            unready(service, probe, inner).await;
        }

        #[tokio::test(start_paused = true)]
        async fn a_call_that_is_dropped_at_any_point_leaves_nothing() {
            let (service, probe, inner) = probed(&$layer);
            cancelled(service, probe, inner).await;
        }

        #[tokio::test(start_paused = true)]
        async fn an_answer_outlives_its_service() {
            let (service, probe, inner) = probed(&$layer);
            orphaned(service, probe, inner).await;
        }

        #[tokio::test(start_paused = true)]
        async fn errors_of_readiness_and_of_calls_are_passed_on() {
            let (service, probe, inner) = probed(&$layer);
            closed(service, probe, inner).await;
            let (service, handle) = tower_test::mock::spawn_layer($layer);
            failed(service, handle).await;
        }
    };
}

contract! {
    breaker_of_time => BreakerLayer::new(breaker(Window::time(secs(10)), false));
    breaker_of_votes => BreakerLayer::new(breaker(Window::count(100), false));
    breaker_of_k_of_n => BreakerLayer::new(breaker(Window::k_of_n(90, 100), false));
    breaker_that_probes => BreakerLayer::new(breaker(Window::count(100), true));
    adaptive_limit_aimd => AdaptiveLimitLayer::new(limit(Aimd::new(1..=9, secs(1)).initial(9)));
    adaptive_limit_vegas => AdaptiveLimitLayer::new(limit(Vegas::new(1..=9)));
    adaptive_limit_gradient => AdaptiveLimitLayer::new(limit(Gradient2::new(1..=9)));
    adaptive_throttle => AdaptiveThrottleLayer::new(
        AdaptiveThrottle::builder("test").build().expect("the settings make sense")
    );
    fallback => FallbackLayer::new(Fallback::builder("test").build());
}

/// The layers of policies that wait.
#[cfg(feature = "tokio")]
mod waiting {
    use super::*;
    use crate::tokio_clock::TokioClock;
    use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer};
    use cortex_resilience::chaos::{Chaos, ChaosLayer};
    use cortex_resilience::hedge::{Hedge, HedgeLayer};
    use cortex_resilience::pipeline::Pipeline;
    use cortex_resilience::rate_limit::{RateLimitLayer, RateLimiter};
    use cortex_resilience::retry::{Backoff, Retry, RetryLayer};
    use cortex_resilience::timeout::{Timeout, TimeoutLayer};

    const SENSE: &str = "the settings make sense";

    contract! {
        bulkhead => BulkheadLayer::new(bulkhead());
        chaos_that_is_off => ChaosLayer::new(Chaos::builder("test").hang(1.0).build().expect(SENSE));
        chaos_that_is_late => ChaosLayer::new(late());
        hedge => HedgeLayer::new(hedge(secs(1)));
        hedge_of_all_at_once => HedgeLayer::new(hedge(Duration::ZERO)).requests(uncopied);
        rate_limit => RateLimitLayer::new(rate_limit());
        retry => RetryLayer::new(retry());
        retry_of_what_is_not_copied => RetryLayer::new(retry()).requests(uncopied);
        timeout_of_attempts => TimeoutLayer::new(timeout(false));
        timeout_of_all => TimeoutLayer::new(timeout(true));
        pipeline_standard => Pipeline::standard("test")
            .rate_limit(rate_limit())
            .clock(TokioClock)
            .build()
            .expect(SENSE)
            .layer_for(cortex_resilience::Cloned);
        pipeline_outer_breaker => Pipeline::outer_breaker("test")
            .bulkhead(|bulkhead| bulkhead.max_concurrent(1).queue(9))
            .clock(TokioClock)
            .build()
            .expect(SENSE)
            .layer_for(cortex_resilience::Cloned);
        pipeline_in_an_odd_order => Pipeline::new((
            timeout(false),
            bulkhead(),
            Fallback::builder("test").build(),
            rate_limit(),
            breaker(Window::count(100), true),
            hedge(secs(1)),
            limit(Vegas::new(1..=9)),
            late(),
        ))
        .layer_for(cortex_resilience::Cloned);
        pipeline_of_one => Pipeline::new((retry(),)).layer_for(cortex_resilience::Cloned);
    }

    const fn uncopied<R>(_: &R) -> Option<R> {
        None
    }

    fn bulkhead() -> Bulkhead<(), TokioClock> {
        let builder = Bulkhead::builder("test").max_concurrent(1).queue(9);
        builder.max_wait(secs(9)).clock(TokioClock).build().expect(SENSE)
    }

    fn late() -> Chaos {
        let late = Duration::ZERO..=Duration::from_millis(9);
        let chaos = Chaos::builder("test")
            .latency(1.0, late)
            .seed(1)
            .build()
            .expect(SENSE);
        chaos.enable();
        chaos
    }

    fn hedge(delay: Duration) -> Hedge<cortex_resilience::ErrIsFailure, (), TokioClock> {
        let builder = Hedge::builder("test").delay(delay).max_attempts(3);
        builder.clock(TokioClock).build().expect(SENSE)
    }

    fn rate_limit() -> RateLimiter<(), TokioClock> {
        let builder = RateLimiter::builder("test").limit(1000, secs(1));
        builder.clock(TokioClock).build().expect(SENSE)
    }

    fn retry() -> Retry<cortex_resilience::ErrIsFailure, (), TokioClock> {
        let builder = Retry::builder("test").backoff(Backoff::constant(secs(1)));
        builder.max_attempts(3).clock(TokioClock).build().expect(SENSE)
    }

    fn timeout(total: bool) -> Timeout<(), TokioClock> {
        let builder = Timeout::builder("test").clock(TokioClock);
        let builder = if total {
            builder.total(secs(99))
        } else {
            builder.attempt(secs(99))
        };
        builder.build().expect(SENSE)
    }

    /// The only permit of the inner service, and the only one of the bulkhead: a call that waits for one must not be kept from it
    /// by its own service, which was ready.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_bulkhead_does_not_wait_for_its_own_service() {
        let (bulkhead, inner) = (bulkhead(), Scarce::default());
        let mut service = BulkheadLayer::new(bulkhead.clone()).layer(inner.clone());
        let running = bulkhead.try_acquire_owned().unwrap();
        let mut answer = pin!(service.ready().await.unwrap().call(7));
        assert!(once(&mut answer).await.is_pending());
        assert_eq!(inner.held(), 1); // of the instance that was ready, which goes with the call
        drop(running);
        assert_eq!(tokio::time::timeout(secs(1), answer).await.unwrap(), Ok(7));
        assert_eq!((inner.held(), bulkhead.snapshot().in_use), (0, 0));
    }

    /// As services that connect again do.
    #[tokio::test(start_paused = true)]
    async fn readiness_that_fails_and_fails_again_costs_no_tokens() {
        let limiter = RateLimiter::builder("test")
            .limit(3, secs(1))
            .clock(TokioClock)
            .build()
            .unwrap();
        let (mut service, probe, inner) = probed(&RateLimitLayer::new(limiter.clone()));
        ServiceExt::<u32>::ready(&mut service).await.unwrap();
        inner.close();
        for _ in 0..9 {
            assert!(ServiceExt::<u32>::ready(&mut service).await.is_err());
            assert_eq!(limiter.snapshot().tokens, 2); // one, for the call that may come
        }
        assert!(service.call(7).await.is_err()); // it was ready once, and is no more
        probe.assert_ready_contract();
        let mut other = service.clone();
        limiter.try_acquire_n(2).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(
            Service::<u32>::poll_ready(&mut other, &mut cx),
            Poll::Ready(Ok(()))
        )); // for a refusal
        tokio::time::advance(secs(9)).await; // but now there are tokens
        for _ in 0..9 {
            assert!(matches!(
                Service::<u32>::poll_ready(&mut other, &mut cx),
                Poll::Ready(Err(_))
            ));
            assert_eq!(limiter.snapshot().tokens, 3);
        }
    }
}

/// A load shedder refuses calls to a service that is not ready, instead of waiting for it; all else is as it is for others.
mod load_shed {
    use super::*;

    contract!(@every LoadShedLayer::new(LoadShed::builder("test").build()));

    #[tokio::test(start_paused = true)]
    async fn it_is_ready_when_the_inner_service_is_not_and_refuses() {
        let (mut service, probe, inner) = probed(&LoadShedLayer::new(LoadShed::builder("test").build()));
        inner.set_ready(false);
        let refused = ServiceExt::<u32>::ready(&mut service)
            .await
            .unwrap()
            .call(7)
            .await
            .unwrap_err();
        assert!(refused.rejected().is_some());
        assert_eq!(inner.calls(), 0);
        inner.set_ready(true);
        inner.allow(1);
        assert_eq!(
            ServiceExt::<u32>::ready(&mut service)
                .await
                .unwrap()
                .call(7)
                .await,
            Ok(7)
        );
        probe.assert_ready_contract();
    }
}

fn limit<L: cortex_resilience::adaptive::Limit>(algorithm: L) -> AdaptiveLimit<L> {
    AdaptiveLimit::builder("test", algorithm)
        .build()
        .expect("the settings make sense")
}

/// Makes a breaker that lets calls through: closed, or half-open with three permits, of which one may fail.
fn breaker(window: Window, probes: bool) -> Breaker {
    let probing = HalfOpen::success(2, 3).without_max_time();
    let breaker = Breaker::builder("test")
        .window(window)
        .half_open(probing)
        .build()
        .expect("the settings make sense");
    if probes {
        breaker.open_for(Duration::ZERO).expect("it may");
    }
    breaker
}

type Probed = ServiceProbe<ControlledService>;

/// Puts a service that is ready and waits with its answers behind a layer.
fn probed<L: Layer<Probed>>(layer: &L) -> (L::Service, ProbeHandle, ControlledHandle) {
    let (inner, handle) = ControlledService::new(true);
    let probe = ServiceProbe::new(inner);
    let observed = probe.handle();
    (layer.layer(probe), observed, handle)
}

/// Has one permit, which readiness takes and the call keeps; echoes requests.
#[derive(Debug, Default)]
struct Scarce {
    shared: Arc<Mutex<(bool, Vec<Waker>)>>,
    permit: Option<OnlyPermit>,
}

#[derive(Debug)]
struct OnlyPermit(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Drop for OnlyPermit {
    fn drop(&mut self) {
        let wakers = {
            let mut shared = self.0.lock().expect("nothing panics under it");
            shared.0 = false;
            std::mem::take(&mut shared.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Scarce {
    fn held(&self) -> u32 {
        self.shared.lock().expect("nothing panics under it").0.into()
    }
}

impl Clone for Scarce {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared, permit: None }
    }
}

impl Service<u32> for Scarce {
    type Response = u32;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<u32, &'static str>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.permit.is_none() {
            let mut shared = self.shared.lock().expect("nothing panics under it");
            if shared.0 {
                shared.1.push(cx.waker().clone());
                return Poll::Pending;
            }
            shared.0 = true;
            self.permit = Some(OnlyPermit(Arc::clone(&self.shared)));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let permit = self.permit.take().expect("a service is called once it was ready");
        Box::pin(async move {
            tokio::task::yield_now().await;
            drop(permit);
            Ok(request)
        })
    }
}

/// Polls a future once.
async fn once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

async fn ready_instance<S>(mut service: S)
where
    S: Service<(), Response = (), Error: Debug> + Clone,
{
    for _ in 0..2 {
        let mut clone = service.clone();
        for service in [&mut service, &mut clone] {
            let answer = service.ready().await.expect("it is ready").call(());
            answer.await.expect("the inner service succeeds");
        }
    }
}

async fn ready_instances<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug> + Clone,
{
    inner.allow(2);
    let mut clone = service.clone();
    for (request, service) in [(7, &mut service), (8, &mut clone)] {
        for _ in 0..3 {
            service.ready().await.expect("it is ready"); // as often as one likes
        }
        assert_eq!(service.call(request).await.expect("it succeeds"), request);
    }
    probe.assert_ready_contract();
    probe.assert_quiescent();
    assert_eq!((probe.snapshot().calls, probe.snapshot().completed), (2, 2));
}

async fn unready<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug> + Clone,
{
    inner.allow(1);
    service.ready().await.expect("it is ready");
    let mut clone = service.clone();
    assert!(clone.call(1).await.is_err());
    assert_eq!(inner.calls(), 0);
    assert_eq!(service.call(2).await.expect("it was ready"), 2);
    assert!(service.call(3).await.is_err()); // a readiness is for one call
    assert_eq!(inner.calls(), 1);
    probe.assert_ready_contract();
}

async fn scarce<S>(mut service: S, inner: &Scarce)
where
    S: Service<u32, Response = u32, Error: Debug> + Clone,
{
    for _ in 0..3 {
        service.ready().await.expect("the permit is there, or its own");
        assert_eq!(inner.held(), 1);
    }
    let mut clone = service.clone();
    drop(service);
    assert_eq!(inner.held(), 0); // the clone has none, and the service that was ready and is gone none either
    {
        let mut answer = pin!(clone.ready().await.expect("the permit is free").call(1));
        assert!(once(&mut answer).await.is_pending());
        assert_eq!(inner.held(), 1);
    }
    assert_eq!(inner.held(), 0);
    let others = (clone.clone(), clone.clone());
    let all = async { tokio::join!(clone.oneshot(1), others.0.oneshot(2), others.1.oneshot(3)) };
    let answers = tokio::time::timeout(secs(9), all).await.expect("they take turns");
    let answers = (answers.0.ok(), answers.1.ok(), answers.2.ok());
    assert_eq!((answers, inner.held()), ((Some(1), Some(2), Some(3)), 0));
}

async fn woken<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    inner.set_ready(false);
    {
        let mut ready = pin!(service.ready());
        assert!(once(&mut ready).await.is_pending());
        inner.set_ready(true);
        ready.await.expect("it is ready"); // or the runtime would wait for ever, and say so
    }
    inner.allow(1);
    assert_eq!(service.call(7).await.expect("it succeeds"), 7);
    assert!(probe.snapshot().readiness_pending >= 1);
    probe.assert_ready_contract();
}

async fn cancelled<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug> + Clone,
{
    for round in 0..100 {
        let mut readied = service.clone();
        readied.ready().await.expect("no call holds anything");
        drop(readied); // a readiness that nobody takes up
        let future = service.ready().await.expect("no call holds anything").call(round);
        if round % 2 == 1 {
            let mut future = pin!(future);
            assert!(once(&mut future).await.is_pending());
        }
    }
    probe.assert_quiescent();
    probe.assert_ready_contract();
    inner.allow(1);
    let answer = service.ready().await.expect("it is ready").call(7).await;
    assert_eq!(answer.expect("it succeeds"), 7);
}

async fn orphaned<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    let mut answer = pin!(service.ready().await.expect("it is ready").call(7));
    assert!(once(&mut answer).await.is_pending());
    drop(service);
    inner.allow(1);
    assert_eq!(answer.await.expect("it succeeds"), 7);
    probe.assert_quiescent();
}

async fn closed<S>(mut service: S, probe: ProbeHandle, inner: ControlledHandle)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    let mut answer = pin!(service.ready().await.expect("it is ready").call(7));
    assert!(once(&mut answer).await.is_pending());
    inner.close();
    assert!(answer.await.is_err());
    assert!(service.ready().await.is_err());
    assert!(probe.snapshot().readiness_errors >= 1);
    assert!(service.call(8).await.is_err());
    probe.assert_ready_contract(); // what fails to become ready is not called
    probe.assert_quiescent();
}

async fn failed<S>(mut service: Spawn<S>, mut handle: Handle<u32, u32>)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    handle.allow(9);
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    let mut answer = pin!(service.call(7));
    let error = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer.expect_err("the mock failed"),
            request = handle.next_request() => {
                let (_, send) = request.expect("it was called");
                send.send_error("as told");
            }
        }
    };
    assert!(format!("{error:?}").contains("as told"));
}

async fn mocked<S>(mut service: Spawn<S>, mut handle: Handle<u32, u32>)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    assert!(handle.poll_request().is_pending());
    handle.allow(1);
    assert!(service.is_woken());
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    let mut answer = pin!(service.call(7));
    assert!(once(&mut answer).await.is_pending());
    let (request, send) = handle.next_request().await.expect("it was called");
    assert_eq!(request, 7);
    send.send_response(8);
    assert_eq!(answer.await.expect("it was answered"), 8);
    assert!(service.poll_ready().is_pending()); // the mock allows no more
}

/// An open breaker holds nothing of the inner service: it neither asks nor calls it.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_leaves_the_inner_service_alone() {
    let breaker = breaker(Window::count(100), false);
    let (mut service, probe, _) = probed(&BreakerLayer::new(breaker.clone()));
    breaker.open().unwrap();
    for _ in 0..3 {
        let ready: &mut _ = ServiceExt::<u32>::ready(&mut service).await.unwrap();
        assert!(ready.call(7).await.is_err());
    }
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.readiness_polls, snapshot.calls), (0, 0));
    assert_eq!(breaker.snapshot().rejected, 3);
}
