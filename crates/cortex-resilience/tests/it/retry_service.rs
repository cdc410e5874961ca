//! Retries as a layer.

use crate::support::{Log, TokioClock, millis, secs};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::budget::Budget;
use cortex_resilience::retry::{Backoff, Builder, Error, GaveUp, Retry, RetryLayer};
use cortex_resilience::{ErrIsFailure, Event, Reason, Rejected, circuit};
use std::collections::VecDeque;
use std::future::{Future, Ready, poll_fn, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use tower::{Layer, Service, ServiceExt};

/// What an upstream was asked, and how it behaves.
#[derive(Debug, Default)]
struct Shared {
    looks: AtomicUsize,
    clones: AtomicUsize,
    calls: Mutex<Vec<u32>>,
    /// How many calls fail.
    failures: usize,
    /// From which look on it is not ready, and whether it says that it never will be.
    stuck_from: Option<(usize, bool)>,
    /// How many readinesses are held.
    held: AtomicUsize,
}

/// Panics if it is called before it was ready; only the instance that was is.
#[derive(Debug)]
struct Upstream {
    shared: Arc<Shared>,
    is_ready: bool,
}

impl Upstream {
    fn new(shared: Shared) -> (Self, Arc<Shared>) {
        let shared = Arc::new(shared);
        let upstream = Self {
            shared: shared.clone(),
            is_ready: false,
        };
        (upstream, shared)
    }

    fn failing(failures: usize) -> (Self, Arc<Shared>) {
        Self::new(Shared {
            failures,
            ..Shared::default()
        })
    }

    fn release(&mut self) -> bool {
        let was_ready = std::mem::take(&mut self.is_ready);
        self.shared
            .held
            .fetch_sub(usize::from(was_ready), Ordering::Relaxed);
        was_ready
    }
}

impl Clone for Upstream {
    fn clone(&self) -> Self {
        self.shared.clones.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: self.shared.clone(),
            is_ready: false,
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.release();
    }
}

impl Service<u32> for Upstream {
    type Response = usize;
    type Error = &'static str;
    type Future = Ready<Result<usize, &'static str>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), &'static str>> {
        let look = self.shared.looks.fetch_add(1, Ordering::Relaxed) + 1;
        match self.shared.stuck_from {
            Some((from, false)) if look >= from => return Poll::Pending,
            Some((from, true)) if look >= from => return Poll::Ready(Err("broken")),
            _ => {}
        }
        if !self.is_ready {
            self.is_ready = true;
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(self.release(), "it was called before it was ready");
        let mut calls = self.shared.calls.lock().expect("nothing panics under it");
        calls.push(request);
        ready(if calls.len() > self.shared.failures {
            Ok(calls.len())
        } else {
            Err("failed")
        })
    }
}

type Setup = Builder<ErrIsFailure, Log, TokioClock>;

fn retry(set: impl FnOnce(Setup) -> Setup) -> (Retry<ErrIsFailure, Log, TokioClock>, Log) {
    let log = Log::new();
    let builder = Retry::builder("test")
        .backoff(Backoff::constant(secs(1)))
        .observe(log.clone())
        .clock(TokioClock);
    (set(builder).build().expect("the settings make sense"), log)
}

fn looks(shared: &Shared) -> usize {
    shared.looks.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn every_attempt_has_a_readiness_and_none_is_held_in_between() {
    let (upstream, shared) = Upstream::failing(2);
    let (retry, log) = retry(|builder| builder);
    let mut service = RetryLayer::new(retry).layer(upstream);
    let start = tokio::time::Instant::now();
    let mut answer = Box::pin(service.ready().await.unwrap().call(7));
    tokio::time::timeout(millis(500), &mut answer).await.unwrap_err();
    assert_eq!(shared.held.load(Ordering::Relaxed), 0);
    assert_eq!(answer.await, Ok(3));
    assert_eq!(start.elapsed(), secs(2));
    assert_eq!((looks(&shared), shared.clones.load(Ordering::Relaxed)), (3, 1));
    assert_eq!(*shared.calls.lock().unwrap(), [7, 7, 7]);
    assert_eq!(log.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_copied_gets_one_attempt() {
    let (upstream, shared) = Upstream::failing(9);
    let (retry, log) = retry(|builder| builder);
    let layer = RetryLayer::new(retry).requests(|request: &u32| (*request > 5).then_some(*request));
    let mut service = layer.layer(upstream);
    let error = service.ready().await.unwrap().call(5).await.unwrap_err();
    assert_eq!(
        (error.gave_up(), error.attempts()),
        (Some(GaveUp::NotRetryable), 1)
    );
    assert_eq!(shared.clones.load(Ordering::Relaxed), 0);
    assert!(matches!(log.all()[..], [Event::GaveUp { .. }]));
    let error = service.ready().await.unwrap().call(6).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Attempts), 3));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_copied_once_for_each_attempt_that_may_follow() {
    for (attempts, copies) in [(1, 0), (2, 1), (4, 3)] {
        let copied = AtomicUsize::new(0);
        let (upstream, shared) = Upstream::failing(9);
        let (retry, _) = retry(|builder| builder.max_attempts(attempts));
        let copy = |request: &u32| {
            copied.fetch_add(1, Ordering::Relaxed);
            Some(request + 1)
        };
        let mut service = RetryLayer::new(retry).requests(&copy).layer(upstream);
        let error = service.ready().await.unwrap().call(0).await.unwrap_err();
        assert_eq!(
            (error.gave_up(), error.attempts()),
            (Some(GaveUp::Attempts), attempts)
        );
        assert_eq!(copied.load(Ordering::Relaxed), copies);
        assert_eq!(shared.calls.lock().unwrap().len(), copies + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_copy_can_not_be_copied_is_sent_as_often_as_there_are_copies() {
    let (upstream, shared) = Upstream::failing(9);
    let (retry, _) = retry(|builder| builder.max_attempts(9));
    let layer = RetryLayer::new(retry).requests(|request: &u32| request.checked_sub(1));
    let error = layer.layer(upstream).oneshot(1).await.unwrap_err();
    assert_eq!(
        (error.gave_up(), error.attempts()),
        (Some(GaveUp::NotRetryable), 2)
    );
    assert_eq!(*shared.calls.lock().unwrap(), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_not_ready_is_answered() {
    let (upstream, shared) = Upstream::failing(0);
    let (retry, _) = retry(|builder| builder);
    let mut service = RetryLayer::new(retry).layer(upstream);
    service.ready().await.unwrap();
    let mut clone = service.clone();
    assert_eq!(clone.call(1).await, Err(Error::NotReady));
    assert_eq!(service.call(2).await, Ok(1));
    assert_eq!(service.call(3).await, Err(Error::NotReady)); // a readiness is for one call
    assert_eq!(*shared.calls.lock().unwrap(), [2]);
    assert!(format!("{service:?}").contains("Upstream"));
}

#[tokio::test(start_paused = true)]
async fn that_a_service_breaks_is_told_as_it_is() {
    let (upstream, _) = Upstream::new(Shared {
        stuck_from: Some((1, true)),
        ..Shared::default()
    });
    let (policy, log) = retry(|builder| builder);
    let mut service = RetryLayer::new(policy.clone()).layer(upstream);
    assert_eq!(service.ready().await.err(), Some(Error::Inner("broken")));
    let (upstream, shared) = Upstream::new(Shared {
        failures: 9,
        stuck_from: Some((2, true)),
        ..Shared::default()
    });
    let service = RetryLayer::new(policy).layer(upstream);
    // What it is after the first attempt is for those who wait for it: this call ends with the error that it had.
    let error = service.oneshot(1).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::NotReady), 1));
    assert_eq!(error.into_inner(), Some("failed"));
    assert_eq!(shared.calls.lock().unwrap().len(), 1);
    assert!(matches!(
        log.all().last(),
        Some(Event::GaveUp {
            reason: GaveUp::NotReady,
            attempts: 1,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_to_have_one_attempt_has_one_whatever_comes_meanwhile() {
    let (upstream, shared) = Upstream::failing(9);
    let (policy, log) = retry(|builder| builder.max_attempts(1));
    let mut service = RetryLayer::new(policy.clone()).layer(upstream);
    let call = service.ready().await.unwrap().call(1);
    policy.reload(&Retry::builder("test").max_attempts(3)).unwrap();
    let error = call.await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Attempts), 1));
    assert_eq!((shared.calls.lock().unwrap().len(), log.all().len()), (1, 1));
    let error = service.ready().await.unwrap().call(1).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Attempts), 3));
}

#[tokio::test(start_paused = true)]
async fn to_wait_for_readiness_is_over_at_the_deadline() {
    let (upstream, shared) = Upstream::new(Shared {
        failures: 9,
        stuck_from: Some((2, false)),
        ..Shared::default()
    });
    let (retry, log) = retry(|builder| builder.within(millis(4500)));
    let start = tokio::time::Instant::now();
    let error = RetryLayer::new(retry)
        .layer(upstream)
        .oneshot(1)
        .await
        .unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Deadline), 1));
    assert_eq!(
        (error.into_inner(), start.elapsed()),
        (Some("failed"), millis(4500))
    );
    assert_eq!(shared.calls.lock().unwrap().len(), 1);
    assert!(matches!(
        log.all().last(),
        Some(Event::GaveUp {
            reason: GaveUp::Deadline,
            ..
        })
    ));
}

/// One that fails, is refused by a breaker for a second, and then is never ready again.
#[derive(Clone)]
struct Refused(Arc<Mutex<VecDeque<circuit::Error<&'static str>>>>);

impl Service<()> for Refused {
    type Response = ();
    type Error = circuit::Error<&'static str>;
    type Future = Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Self::Error>> {
        if self.0.lock().expect("nobody panics").is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let next = self.0.lock().expect("nobody panics").pop_front();
        ready(Err(next.expect("it was ready")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_waited_for_in_vain_is_told() {
    let rejected = |wait| Rejected::new(Reason::Open, Some(wait));
    let refused = circuit::Error::Rejected(rejected(secs(1)));
    for (before, last) in [
        (vec![], refused),
        (
            vec![circuit::Error::Inner("no route")],
            circuit::Error::Inner("no route"),
        ),
    ] {
        let answers = before.into_iter().chain([refused]).collect();
        let service = Refused(Arc::new(Mutex::new(answers)));
        let retry = Retry::builder("test")
            .within(secs(9))
            .backoff(Backoff::constant(secs(0)))
            .wait_out_rejections()
            .through()
            .build()
            .unwrap();
        let error = RetryLayer::new(retry)
            .layer(service)
            .oneshot(())
            .await
            .unwrap_err();
        let Error::GaveUp {
            reason,
            error,
            refusal,
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((reason, error), (GaveUp::Deadline, last));
        assert_eq!(refusal, Some(rejected(secs(0)))); // the second has been waited for
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_for_which_nobody_waits_leaves_the_service_ready() {
    let (upstream, shared) = Upstream::failing(0);
    let (retry, _) = retry(|builder| builder);
    let mut service = RetryLayer::new(retry).layer(upstream);
    service.ready().await.unwrap();
    let past = Context::new().with_deadline(Deadline::at(TokioClock.now()));
    let answer = {
        let _guard = past.attach();
        service.call(1)
    };
    let rejected = answer.await.unwrap_err().rejected().unwrap();
    assert_eq!(rejected.reason(), Reason::Deadline);
    assert_eq!(service.call(2).await, Ok(1));
    assert_eq!(*shared.calls.lock().unwrap(), [2]);
    // A deadline of the caller's counts for what comes later too.
    let (upstream, _) = Upstream::failing(9);
    let (retry, _) = self::retry(|builder| builder);
    let soon = Context::new().with_deadline(Deadline::after(TokioClock.now(), millis(1500)));
    let answer = RetryLayer::new(retry).layer(upstream).oneshot(1);
    let error = answer.with_context(soon).await.unwrap_err();
    assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Deadline), 2));
}

/// An answer that is dropped before it is polled, while it waits, and while it becomes ready.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_leaves_nothing_behind() {
    let budget = Budget::in_flight(0.0, 1).unwrap();
    for (after, stuck_from) in [
        (None, None),
        (Some(millis(500)), None),
        (Some(secs(5)), Some((2, false))),
    ] {
        let (upstream, shared) = Upstream::new(Shared {
            failures: 9,
            stuck_from,
            ..Shared::default()
        });
        let (retry, _) = retry(|builder| builder.budget(budget.clone()));
        let mut service = RetryLayer::new(retry).layer(upstream);
        service.ready().await.unwrap();
        let mut answer = Box::pin(service.call(1));
        if let Some(after) = after {
            tokio::time::timeout(after, &mut answer).await.unwrap_err();
        }
        assert!(format!("{answer:?}").contains("attempts: 1"));
        drop(answer);
        assert_eq!(shared.held.load(Ordering::Relaxed), 0);
        assert!(budget.allows() && budget.level().abs() < 1e-9);
        assert_eq!(Arc::strong_count(&shared), 2); // ours and that of the service
    }
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_sent_to_other_threads() {
    fn sent<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let (upstream, _) = Upstream::failing(1);
    let (retry, _) = retry(|builder| builder);
    let mut service = RetryLayer::new(retry).layer(upstream);
    poll_fn(|cx| Service::<u32>::poll_ready(&mut service, cx))
        .await
        .unwrap();
    assert_eq!(sent(service.call(1)).await, Ok(2));
}

#[cfg(feature = "http")]
mod http {
    use super::{RetryLayer, TokioClock, secs};
    use ::http::{Request, Response, StatusCode};
    use cortex_resilience::http::{GrpcClassify, HttpClassify, HttpRequests};
    use cortex_resilience::retry::Retry;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tower::{Layer, ServiceExt, service_fn};

    #[derive(Clone, Default)]
    struct Server {
        seen: Arc<Mutex<Vec<Request<&'static str>>>>,
    }

    impl Server {
        /// Answers in turn, and with 200 in the end.
        fn answer(
            &self,
            request: Request<&'static str>,
            busy: &[(u16, &'static str, &'static str)],
        ) -> Response<()> {
            let mut seen = self.seen.lock().expect("nothing panics under it");
            seen.push(request);
            let answer = match busy.get(seen.len() - 1) {
                Some((status, name, value)) => Response::builder().status(*status).header(*name, *value),
                None => Response::builder(),
            };
            answer.body(()).expect("it is one")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_say_when_to_come_back() {
        let server = Server::default();
        let policy = Retry::builder("test")
            .max_attempts(9)
            .classify(HttpClassify::new().clock(TokioClock))
            .clock(TokioClock)
            .build()
            .unwrap();
        let busy = [
            (503, "retry-after", "2"),
            (429, "retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"),
            (503, "retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"),
            (502, "x-amz-retry-after", "2500"),
            (500, "retry-after", "1"), // not worth another attempt
        ];
        let service = service_fn({
            let server = server.clone();
            move |request| std::future::ready(Ok::<_, Infallible>(server.answer(request, &busy)))
        });
        let layer = RetryLayer::new(policy).requests(HttpRequests::new());
        let start = tokio::time::Instant::now();
        let answer = layer
            .layer(service.clone())
            .oneshot(Request::get("/").body("a").unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(start.elapsed(), secs(2 + 10) + Duration::from_millis(2500));
        assert_eq!(server.seen.lock().unwrap().len(), 5);
        server.seen.lock().unwrap().clear();
        let post = Request::post("/").body("a").unwrap();
        let answer = layer.layer(service).oneshot(post).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(server.seen.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn grpc_is_told_of_attempts_before_and_says_when_to_stop() {
        for (last, attempts) in [("7", 4), ("-1", 3)] {
            let server = Server::default();
            let policy = Retry::grpc("test", secs(1), secs(9), 2.0)
                .seed(1)
                .classify(GrpcClassify::new())
                .clock(TokioClock)
                .build()
                .unwrap();
            let service = service_fn({
                let server = server.clone();
                move |request| {
                    let busy = [
                        (503, "grpc-retry-pushback-ms", "0"),
                        (503, "grpc-retry-pushback-ms", "1500"),
                        (503, "grpc-retry-pushback-ms", last),
                    ];
                    std::future::ready(Ok::<_, Infallible>(server.answer(request, &busy)))
                }
            });
            let layer = RetryLayer::new(policy).requests(HttpRequests::grpc());
            let request = Request::post("/shop.Orders/Place").body("a book").unwrap();
            layer.layer(service).oneshot(request).await.unwrap();
            let seen = server.seen.lock().unwrap();
            assert_eq!(seen.len(), attempts);
            for (index, request) in seen.iter().enumerate() {
                let header = request.headers().get("grpc-previous-rpc-attempts");
                let told = header.map(|value| value.to_str().unwrap().to_owned());
                assert_eq!(told, (index > 0).then(|| index.to_string()));
                assert_eq!(
                    (*request.body(), request.uri().path()),
                    ("a book", "/shop.Orders/Place")
                );
            }
        }
    }
}
