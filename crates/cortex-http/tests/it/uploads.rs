//! What clients do with the bodies of their requests is told from what the service does with them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use cortex_http::{ConcurrencyLimit, Observed, Routes, Server};
use cortex_testkit::ManualClock;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::Notify;
use tower_service::Service;

/// A service that reads a body to its end and then does something else, both as long as the clock says.
struct Slow {
    service: Observed,
    clock: ManualClock,
    reads: Arc<Notify>,
    work: Arc<Notify>,
    works: Arc<Notify>,
}

impl Slow {
    fn new(change: impl FnOnce(Server) -> Server) -> Self {
        let (reads, work, works) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
        );
        let (told, allowed, working) = (Arc::clone(&reads), Arc::clone(&work), Arc::clone(&works));
        let handler = async move |mut body: Body| {
            let mut length = 0;
            loop {
                told.notify_one(); // seen when this waits
                let Some(frame) = body.frame().await else { break };
                let Ok(frame) = frame else {
                    return (StatusCode::BAD_REQUEST, "broken".to_owned());
                };
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            working.notify_one();
            allowed.notified().await;
            (StatusCode::OK, length.to_string())
        };
        let routes = Routes::new().route("/", post(handler));
        let clock = ManualClock::new();
        let server = change(Server::new(routes).clock(clock.clone()));
        Self {
            service: server.service().expect("it can be made"),
            clock,
            reads,
            work,
            works,
        }
    }

    /// Sends the head of a request.
    fn begin(&mut self) -> (Sender<Bytes>, tokio::task::JoinHandle<String>) {
        let (sender, body) = Channel::new(8);
        let request = Request::post("/").body(body).expect("a request");
        let response = self.service.call(request);
        let answer = tokio::spawn(async move {
            let Ok(response) = response.await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a whole body");
            format!("{status} {}", String::from_utf8_lossy(&body.to_bytes()))
        });
        (sender, answer)
    }
}

async fn bounded<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_mins(1), future)
        .await
        .expect("it happens in bounded time")
}

#[tokio::test]
async fn a_client_that_sends_slowly_lowers_no_adaptive_limit() {
    let (target, long) = (Duration::from_secs(1), Duration::from_secs(10));
    let limit = Arc::new(ConcurrencyLimit::adaptive(1..=64, target));
    let mut slow = Slow::new(|server| server.admission(Arc::clone(&limit)));
    let upload = async |slow: &mut Slow, sends: Duration, works: Duration| {
        let (mut sender, answer) = slow.begin();
        for _ in 0..2 {
            bounded(slow.reads.notified()).await;
            slow.clock.advance(sends);
            sender
                .send_data(Bytes::from_static(b"part"))
                .await
                .expect("somebody reads");
        }
        bounded(slow.reads.notified()).await;
        drop(sender);
        bounded(slow.works.notified()).await;
        slow.clock.advance(works);
        slow.work.notify_one();
        assert_eq!(bounded(answer).await.expect("no panic"), "200 8");
    };
    for after in [2, 3, 4] {
        upload(&mut slow, Duration::ZERO, Duration::ZERO).await;
        // One at a time fills half of the limit while that is 1 or 2.
        assert_eq!(limit.limit(), after.min(3));
    }
    upload(&mut slow, long, Duration::ZERO).await;
    upload(&mut slow, long, target).await;
    assert_eq!((limit.limit(), limit.in_flight()), (3, 0));
    // Clients that leave say nothing, either.
    let (sender, answer) = slow.begin();
    bounded(slow.reads.notified()).await;
    slow.clock.advance(long);
    answer.abort();
    assert!(bounded(answer).await.is_err());
    drop(sender);
    assert_eq!((limit.limit(), limit.in_flight()), (3, 0));
    // The service itself is too slow.
    upload(&mut slow, long, target * 2).await;
    assert_eq!(limit.limit(), 2);
}
