use std::time::Duration;

use axum::extract::Path;
use axum::routing::get;
use cortex_core::{Clock, Context, Deadline, FutureExt, SystemClock};
use cortex_http::client::{ErrorKind, Timeout};
use cortex_http::{Client, Routes, Running, Server};
use http::{HeaderMap, HeaderName, Request};

use super::support::{LATER, SOON, answering, measured, url};
use crate::support::within;

async fn telling() -> Running {
    let tell = async |headers: HeaderMap| {
        let value = headers
            .get("x-request-timeout-ms")
            .map(|value| value.to_str().map(ToOwned::to_owned));
        value.map_or("none".to_owned(), Result::unwrap_or_default)
    };
    let routes = Routes::new().route("/", get(tell));
    Server::new(routes)
        .start("127.0.0.1:0")
        .await
        .expect("a port is free")
}

fn deadline_in(limit: Duration) -> Context {
    Context::new().with_deadline(Deadline::after(SystemClock.now(), limit))
}

fn client(limit: Duration) -> Client {
    Client::builder().timeout(limit).build().expect("a limit")
}

async fn told(client: &Client, running: &Running, change: impl FnOnce(&mut Request<String>)) -> String {
    let mut request = Request::new(String::new());
    *request.uri_mut() = url(running.local_addr(), "/").parse().expect("an address");
    change(&mut request);
    let response = client.send(request).await.expect("an answer");
    response.into_body().text().await.expect("all of it")
}

#[tokio::test]
async fn whoever_is_called_hears_how_long_is_left() {
    let running = telling().await;
    let client = client(Duration::from_secs(40));
    assert_eq!(told(&client, &running, |_| ()).await, "40000");

    // The sooner of the two counts, and it shrinks on the way.
    let call = async { told(&client, &running, |_| ()).await };
    let left: u64 = call
        .with_context(deadline_in(Duration::from_secs(30)))
        .await
        .parse()
        .unwrap();
    assert!((10_000..30_000).contains(&left), "{left}");
    let call = async { told(&client, &running, |_| ()).await };
    assert_eq!(
        call.with_context(deadline_in(Duration::from_secs(100))).await,
        "40000"
    );

    // A call has its own limit, and what a request says already was true elsewhere.
    let own = told(&client, &running, |request| {
        request.extensions_mut().insert(Timeout(Duration::from_secs(7)));
        request.headers_mut().insert("x-request-timeout-ms", 5.into());
    });
    assert_eq!(own.await, "7000");
    let endless = told(&client, &running, |request| {
        request.extensions_mut().insert(Timeout(Duration::MAX));
        request.headers_mut().insert("x-request-timeout-ms", 5.into());
    });
    assert_eq!(endless.await, "none");
}

#[tokio::test]
async fn strangers_hear_nothing() {
    let running = telling().await;
    let says = |request: &mut Request<String>| {
        request.headers_mut().insert("x-request-timeout-ms", 5.into());
    };
    let wary = Client::builder()
        .propagate_to(|host| host != "127.0.0.1")
        .build()
        .unwrap();
    assert_eq!(told(&wary, &running, says).await, "none");
    let open = Client::builder()
        .propagate_to(|host| host == "127.0.0.1")
        .build()
        .unwrap();
    assert_eq!(told(&open, &running, says).await, "30000");
    let silent = Client::builder().deadline_header(None).build().unwrap();
    assert_eq!(told(&silent, &running, |_| ()).await, "none");
    let other = HeaderName::from_static("x-budget");
    let named = Client::builder().deadline_header(other).build().unwrap();
    assert_eq!(told(&named, &running, |_| ()).await, "none");
}

#[tokio::test]
async fn past_the_deadline_nothing_is_sent() {
    let running = telling().await;
    let addr = running.local_addr();
    let calls = measured(|client| client);
    for left in [Duration::ZERO, Duration::from_micros(900)] {
        let call = async { calls.client.get(url(addr, "/")).await };
        let error = call.with_context(deadline_in(left)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(error.is_unsent() && error.is_timeout(), "{error}");
        assert!(error.to_string().contains("deadline"), "{error}");
    }
    assert_eq!(calls.ended(addr, "", "deadline"), 2);
    running.shutdown();
    assert!(within(running.join()).await.to_string().contains(" 0 requests"));
}

#[tokio::test]
async fn the_deadline_ends_a_call_and_its_body() {
    let silent = answering("").await;
    let stuck = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let calls = measured(|client| client);
    let call = async { calls.client.get(url(silent, "/")).await };
    let error = call.with_context(deadline_in(SOON)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (ErrorKind::Deadline, false));
    assert_eq!(calls.ended(silent, "", "deadline"), 1);

    // The body knows it, also where the context is no longer current.
    let call = async { calls.client.get(url(stuck, "/")).await };
    let response = call.with_context(deadline_in(LATER)).await.unwrap();
    let error = response.into_body().bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(calls.ended(stuck, "200", "deadline"), 1);
    calls.until_quiet().await;
}

#[tokio::test]
async fn a_deadline_goes_from_service_to_service() {
    let left = async || {
        let left = Context::current()
            .deadline()
            .map(|at| at.remaining(SystemClock.now()));
        left.map_or(0, |left| left.as_millis()).to_string()
    };
    let hang = async || std::future::pending::<()>().await;
    let stock = Routes::new().route("/left", get(left)).route("/hang", get(hang));
    let stock = Server::new(stock).start("127.0.0.1:0").await.unwrap();
    let addr = stock.local_addr();
    let shop = measured(|client| client);
    let inner = shop.client.clone();
    let pass = async move |Path(what): Path<String>| {
        let answer = inner.get(url(addr, &format!("/{what}"))).await;
        let answer = answer.map(|answer| answer.map(axum::body::Body::new));
        answer.map_err(|_| http::StatusCode::GATEWAY_TIMEOUT)
    };
    let front = Server::new(Routes::new().route("/{what}", get(pass)))
        .start("127.0.0.1:0")
        .await
        .unwrap();

    // Who waits for five seconds outside waits for less inside, not for as long as the clients in between would.
    let outside = client(Duration::from_secs(5));
    let response = outside.get(url(front.local_addr(), "/left")).await.unwrap();
    let left: u64 = response.into_body().text().await.unwrap().parse().unwrap();
    assert!((1..=5_000).contains(&left), "{left}");

    // The whole chain ends when nobody waits any more, whoever of it notices first.
    let error = client(SOON).get(url(front.local_addr(), "/hang")).await;
    match error {
        Ok(response) => assert!(response.status() == 504, "{response:?}"),
        // Or the body that is passed on comes too late, and the connection ends before the head has left.
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Closed),
            "{error:?}"
        ),
    }
    for running in [front, stock] {
        running.shutdown();
        assert_eq!(within(running.join()).await.code(), 0);
    }
    shop.until_quiet().await;
}
