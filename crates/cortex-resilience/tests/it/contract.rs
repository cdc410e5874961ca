//! What tower asks of every layer, by the probes that others publish for it. A layer is one line of `contract!`.

use cortex_resilience::circuit::{Breaker, BreakerLayer, HalfOpen, Window};
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
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
            async fn who_waits_for_readiness_is_woken() {
                let (service, probe, inner) = probed(&$layer);
                woken(service, probe, inner).await;
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

            #[tokio::test(start_paused = true)]
            async fn a_mock_is_asked_as_tower_says() {
                let (service, handle) = tower_test::mock::spawn_layer($layer);
                mocked(service, handle).await;
            }
        }
    )+};
}

contract! {
    breaker_of_time => BreakerLayer::new(breaker(Window::time(Duration::from_secs(10)), false));
    breaker_of_votes => BreakerLayer::new(breaker(Window::count(100), false));
    breaker_of_k_of_n => BreakerLayer::new(breaker(Window::k_of_n(90, 100), false));
    breaker_that_probes => BreakerLayer::new(breaker(Window::count(100), true));
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

/// Polls a future once.
async fn once<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Poll<F::Output> {
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
    probe.assert_quiescent();
}

async fn failed<S>(mut service: Spawn<S>, mut handle: Handle<u32, u32>)
where
    S: Service<u32, Response = u32, Error: Debug>,
{
    handle.allow(1);
    assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
    let mut answer = pin!(service.call(7));
    assert!(once(&mut answer).await.is_pending());
    let (_, send) = handle.next_request().await.expect("it was called");
    send.send_error("as told");
    let error = answer.await.expect_err("the mock failed");
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
