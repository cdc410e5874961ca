//! Ends of bodies as they come over HTTP/2, from a server that can do what HTTP/1 can not.

use bytes::Bytes;
use cortex_resilience::circuit::{Breaker, BreakerLayer, State};
use cortex_resilience::http::{ClassifyEnd, GrpcClassify, HttpClassify};
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceExt, service_fn};

fn status(status: u32) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status.into())])
}

/// Answers as the path says. What breaks off waits until it was read so far: a reset overtakes what was sent before.
async fn answer(path: String, mut respond: SendResponse<Bytes>, go_on: Arc<Notify>) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    let is_over = path.starts_with("/only");
    match path.as_str() {
        "/only-fine" => *head.headers_mut() = status(0),
        "/only-unavailable" => *head.headers_mut() = status(14),
        "/exact" => drop(head.headers_mut().insert("content-length", 4.into())),
        "/stopped" => drop(head.headers_mut().insert("content-length", 8.into())),
        _ => {}
    }
    let mut body = respond.send_response(head, is_over)?;
    if is_over {
        return Ok(());
    }
    body.send_data(Bytes::from_static(b"half"), false)?;
    match path.as_str() {
        "/fine" => body.send_trailers(status(0))?,
        "/unavailable" => body.send_trailers(status(14))?,
        _ => {
            go_on.notified().await;
            let is_broken = path == "/reset";
            body.send_reset(if is_broken {
                Reason::INTERNAL_ERROR
            } else {
                Reason::NO_ERROR
            });
        }
    }
    Ok(())
}

/// Connects to a server, and returns a service and what has it go on.
async fn connect() -> (
    impl Service<Request<Empty<Bytes>>, Response = Response<Incoming>, Error = hyper::Error> + Clone,
    Arc<Notify>,
) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.expect("it speaks HTTP/2");
        while let Some(Ok((request, respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            tokio::spawn(answer(path, respond, Arc::clone(&wait)));
        }
    });
    let connected = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await;
    let (client, connection) = connected.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let service = service_fn(move |request| {
        let mut client = client.clone();
        async move { client.send_request(request).await }
    });
    (service, go_on)
}

async fn ask<B>(
    service: &mut impl Service<Request<Empty<Bytes>>, Response = Response<B>, Error: fmt::Debug>,
    path: &str,
) -> B {
    let request = Request::get(format!("http://prices{path}")).body(Empty::new());
    let service = service.ready().await.expect("it is ready");
    let answer = service.call(request.expect("it is a URI")).await;
    let answer = answer.expect("it is answered");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

fn breaker<C: ClassifyEnd<Response<Incoming>, hyper::Error>>(classify: C) -> Breaker<C> {
    let breaker = Breaker::builder("test").min_calls(5).classify(classify);
    breaker.build().expect("the settings make sense")
}

#[tokio::test]
async fn statuses_of_grpc_open_the_breaker_wherever_they_are() {
    let breaker = breaker(GrpcClassify::new());
    let (client, go_on) = connect().await;
    let mut service = BreakerLayer::new(breaker.clone()).until_body_end().layer(client);
    for (path, ok, failed) in [
        ("/fine", 1, 0),
        ("/only-fine", 2, 0),
        ("/unavailable", 2, 1),
        ("/only-unavailable", 2, 2),
        ("/reset", 2, 3),
    ] {
        assert_eq!(breaker.state(), State::Closed, "{path}");
        let mut body = ask(&mut service, path).await;
        let is_only = path.starts_with("/only");
        assert_ne!(body.is_waiting(), is_only, "{path}"); // there is nothing to wait for
        if !is_only {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
            if path == "/reset" {
                go_on.notify_one();
            }
            let end = body.frame().await.unwrap();
            assert_eq!(end.is_ok(), path != "/reset");
        }
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.ok, snapshot.failed), (ok, failed), "{path}");
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn the_length_says_when_a_body_has_ended_and_when_it_was_cut() {
    let breaker = breaker(HttpClassify::new());
    let layer = BreakerLayer::new(breaker.clone()).until_body_end();
    // Read to the last byte, while the stream is open.
    let (client, _go_on) = connect().await;
    let mut body = ask(&mut layer.layer(client), "/exact").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert!(!body.is_end_stream() && !body.is_waiting());
    drop(body);
    assert_eq!((breaker.snapshot().ok, breaker.snapshot().failed), (1, 0));

    // A server that stops says that there is no error.
    let (client, go_on) = connect().await;
    let mut body = ask(&mut layer.layer(client), "/stopped").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    assert!(body.is_waiting());
    go_on.notify_one();
    assert!(body.frame().await.is_none());
    assert_eq!((breaker.snapshot().ok, breaker.snapshot().failed), (1, 1));
}
