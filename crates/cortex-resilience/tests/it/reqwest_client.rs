//! A client that is not ours, and types of its own, behind the policies: real requests to a real server.

use crate::support::secs;
use cortex_resilience::circuit::{Breaker, BreakerLayer, Error as BreakerError, State};
use cortex_resilience::hedge::{Hedge, HedgeLayer};
use cortex_resilience::http::{ErrorKind, GrpcClassify, HttpClassify, HttpRequests, KindOf, ReadHead};
use cortex_resilience::pipeline::{Error, Pipeline};
use cortex_resilience::retry::{Backoff, GaveUp, Retry, RetryLayer};
use cortex_resilience::{Classify, Outcome};
use http_body_util::{BodyExt, Full};
use reqwest::{Body, Client, Method, Request, Response, Url};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};

fn kind(error: &reqwest::Error) -> ErrorKind {
    if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::Request
    } else if error.is_redirect() {
        ErrorKind::Permanent
    } else {
        ErrorKind::Transport
    }
}

fn classify()
-> HttpClassify<cortex_core::TscClock, impl ReadHead<Response> + Clone, impl KindOf<reqwest::Error> + Clone> {
    HttpClassify::new()
        .answers(Response::status, Response::headers)
        .errors(kind)
}

fn client() -> Client {
    Client::builder().no_proxy().build().expect("it needs nothing")
}

/// A client that counts what it is asked.
fn counted() -> (
    Arc<AtomicUsize>,
    impl Service<Request, Response = Response, Error = reqwest::Error, Future: Send> + Clone,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let counted = client().map_request(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        request
    });
    (calls, counted)
}

/// Answers one request after the other, each on a connection of its own, and says what they were.
fn server(answers: &'static [&'static str]) -> (Url, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let url = format!("http://{address}/orders").parse().expect("it is a URL");
    let serve = move || answers.iter().map(|answer| serve(&listener, answer)).collect();
    (url, std::thread::spawn(serve))
}

/// Returns method and body.
fn serve(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().expect("somebody connects");
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let (mut method, mut length, mut is_chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().expect("a number");
        } else if line == "transfer-encoding: chunked" {
            is_chunked = true;
        } else if method.is_empty() {
            method.extend(line.split(' ').next());
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    while is_chunked {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a chunk");
        is_chunked = line != "0\r\n";
    }
    write!(stream, "HTTP/1.1 {answer}").expect("it is read");
    format!("{method} {}", String::from_utf8_lossy(&body))
}

const OK: &str = "200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BUSY: &str =
    "503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const CUT: &str = "200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf";

const ROUND: &str = "302 Found\r\nlocation: /orders\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

const AVAILABLE: &str = "200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\nconnection: close\r\n\r\n\
                         4\r\nhalf\r\n0\r\ngrpc-status: 0\r\n\r\n";
const UNAVAILABLE: &str = "200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status\r\nconnection: close\r\n\r\n\
                           4\r\nhalf\r\n0\r\ngrpc-status: 14\r\n\r\n";

fn request(method: Method, url: &Url, body: &'static str) -> Request {
    let mut request = Request::new(method, url.clone());
    *request.body_mut() = Some(body.into());
    request
}

async fn call<S: Service<Request>>(service: &mut S, request: Request) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request).await
}

#[tokio::test]
async fn a_busy_answer_is_asked_again_when_it_says() {
    let (url, server) = server(&[BUSY, OK, BUSY, OK]);
    let orders = Pipeline::standard("test").classify(classify()).build().unwrap();
    let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    let mut service = orders.layer_for(requests).layer(client());
    let answer = call(&mut service, request(Method::PUT, &url, "a book"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap()),
        (200, "ok".into())
    );
    let mut keyed = request(Method::POST, &url, "one more");
    keyed
        .headers_mut()
        .insert("idempotency-key", "7".parse().unwrap());
    assert_eq!(call(&mut service, keyed).await.unwrap().status(), 200);
    let seen = server.join().unwrap();
    assert_eq!(
        seen,
        ["put a book", "put a book", "post one more", "post one more"]
    );
}

#[tokio::test]
async fn what_is_not_idempotent_or_cannot_be_copied_is_sent_once() {
    let (url, server) = server(&[BUSY, BUSY, OK]);
    let retry = Retry::builder("test").classify(classify()).build().unwrap();
    let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    let mut service = RetryLayer::new(retry).requests(requests).layer(client());
    let answer = call(&mut service, request(Method::POST, &url, "a book"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    let mut stream = request(Method::PUT, &url, "");
    *stream.body_mut() = Some(Body::wrap(Full::<bytes::Bytes>::from("a stream")));
    let answer = call(&mut service, stream).await.unwrap();
    assert_eq!(answer.status(), 503);

    // Nor is it hedged, although the delay is none.
    let hedge = Hedge::builder("test")
        .delay(Duration::ZERO)
        .classify(classify())
        .build()
        .unwrap();
    let (calls, counted) = counted();
    let mut service = HedgeLayer::new(hedge).requests(requests).layer(counted);
    let answer = call(&mut service, request(Method::POST, &url, "a pen"))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), calls.load(Ordering::Relaxed)),
        (200, 1)
    );
    let seen = server.join().unwrap();
    assert_eq!(
        (seen[0].as_str(), seen[2].as_str(), seen.len()),
        ("post a book", "post a pen", 3)
    );
}

#[tokio::test]
async fn what_is_idempotent_is_hedged() {
    let (url, server) = server(&[OK]);
    let hedge = Hedge::builder("test").delay(Duration::ZERO).classify(classify());
    let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    let (calls, counted) = counted();
    let layer = HedgeLayer::new(hedge.build().unwrap()).requests(requests);
    let put = request(Method::PUT, &url, "a pen");
    let answer = call(&mut layer.layer(counted), put).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), calls.load(Ordering::Relaxed)),
        (200, 2)
    );
    assert_eq!(server.join().unwrap(), ["put a pen"]);
}

#[tokio::test]
async fn a_refused_connection_opens_the_breaker() {
    // Bound, so that nobody else is there, and not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url: Url = format!("http://{}/", socket.local_addr().unwrap())
        .parse()
        .unwrap();
    let breaker = Breaker::builder("test")
        .min_calls(2)
        .classify(classify())
        .build()
        .unwrap();
    let mut service = BreakerLayer::new(breaker.clone()).layer(client());
    for state in [State::Closed, State::Open] {
        let error = call(&mut service, Request::new(Method::GET, url.clone()))
            .await
            .unwrap_err();
        let BreakerError::Inner(error) = error else {
            panic!("{error:?}")
        };
        assert!(error.is_connect() && kind(&error) == ErrorKind::Transport);
        assert_eq!(breaker.state(), state);
    }
    let error = call(&mut service, Request::new(Method::GET, url.clone()))
        .await
        .unwrap_err();
    assert!(error.rejected().is_some());

    // Behind a pipeline too, which says when to try again.
    let pipeline = Pipeline::standard("test")
        .classify(classify())
        .breaker(|breaker| breaker.min_calls(1))
        .retry(|retry| retry.backoff(Backoff::constant(Duration::ZERO)))
        .build()
        .unwrap();
    let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    let mut service = pipeline.layer_for(requests).layer(client());
    let error = call(&mut service, Request::new(Method::GET, url))
        .await
        .unwrap_err();
    let Error::GaveUp { reason, attempts, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*reason, *attempts), (GaveUp::CircuitOpen, 2));
    assert!(error.retry_after() > Some(secs(30)));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure_of_who_sent_it() {
    let (url, server) = server(&[OK, CUT]);
    let classify = HttpClassify::new().errors(kind);
    let breaker = Breaker::builder("test").classify(classify).build().unwrap();
    let client = client().map_response(http::Response::<Body>::from);
    let mut service = BreakerLayer::new(breaker.clone()).until_body_end().layer(client);
    for (is_whole, ok, failed) in [(true, 1, 0), (false, 1, 1)] {
        let get = Request::new(Method::GET, url.clone());
        let answer = service.ready().await.unwrap().call(get).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), breaker.snapshot().total),
            (200, ok + failed - 1)
        );
        assert_eq!(answer.into_body().collect().await.is_ok(), is_whole);
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.ok, snapshot.failed), (ok, failed));
    }
    server.join().unwrap();
}

#[tokio::test]
async fn trailers_that_came_over_a_connection_open_the_breaker() {
    let (url, server) = server(&[AVAILABLE, UNAVAILABLE, UNAVAILABLE]);
    let breaker = Breaker::builder("test")
        .min_calls(3)
        .classify(GrpcClassify::new())
        .build()
        .unwrap();
    let client = client().map_response(http::Response::<Body>::from);
    let mut service = BreakerLayer::new(breaker.clone()).until_body_end().layer(client);
    for (ok, failed) in [(1, 0), (1, 1), (1, 2)] {
        assert_eq!(breaker.state(), State::Closed);
        let get = Request::new(Method::GET, url.clone());
        let answer = service.ready().await.unwrap().call(get).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap();
        assert!(body.trailers().is_some() && body.to_bytes() == "half");
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.ok, snapshot.failed), (ok, failed));
    }
    assert_eq!(breaker.state(), State::Open);
    server.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn errors_are_what_they_are_said_to_be() {
    let classify = classify();
    let judge = |result: Result<Response, reqwest::Error>| {
        let result = result.as_ref();
        (
            classify.outcome(result),
            classify.is_retryable(result),
            classify.is_timeout(result),
        )
    };
    // Nobody answers, and time passes while nobody does anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let mut late = Request::new(Method::GET, url);
    *late.timeout_mut() = Some(secs(3));
    assert_eq!(
        judge(client().execute(late).await),
        (Outcome::Failure, true, true)
    );
    let wrong = Request::new(Method::GET, "unknown:scheme".parse().unwrap());
    assert_eq!(
        judge(client().execute(wrong).await),
        (Outcome::Ignore, false, false)
    );
}

#[tokio::test]
async fn redirects_without_an_end_are_a_failure_and_not_tried_again() {
    let (url, server) = server(&[ROUND, ROUND, ROUND]);
    let client = Client::builder().no_proxy();
    let client = client
        .redirect(reqwest::redirect::Policy::limited(2))
        .build()
        .unwrap();
    let retry = Retry::builder("test").classify(classify()).build().unwrap();
    let requests = HttpRequests::of(Request::method, Request::headers, Request::try_clone);
    let mut service = RetryLayer::new(retry).requests(requests).layer(client);
    let error = call(&mut service, Request::new(Method::GET, url))
        .await
        .unwrap_err();
    assert_eq!(
        (error.gave_up(), error.attempts()),
        (Some(GaveUp::NotRetryable), 1)
    );
    let error = error.into_inner().unwrap();
    assert_eq!(kind(&error), ErrorKind::Permanent);
    let result: Result<&Response, _> = Err(&error);
    assert_eq!(classify().outcome(result), Outcome::Failure);
    assert_eq!(server.join().unwrap().len(), 3);
}
