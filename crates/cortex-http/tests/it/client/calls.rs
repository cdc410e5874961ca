use axum::response::Redirect;
use axum::routing::{any, get};
use cortex_compress::{OriginalHeaders, ResponseDecompressionLayer};
use cortex_http::client::{Error, ErrorKind};
use cortex_http::{Client, Limits, Routes, Server};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tower::{Layer, ServiceExt};

use super::support::{measured, url};
use crate::support::Shop;

#[tokio::test]
async fn answers_come_whole_and_are_counted_over_either_protocol() {
    for http2 in [false, true] {
        let shop = Shop::open(Limits::new()).await;
        let addr = shop.running.local_addr();
        let calls = measured(|client| {
            if http2 {
                client.http2_prior_knowledge()
            } else {
                client
            }
        });
        let response = calls.client.get(url(addr, "/users/7")).await.unwrap();
        let version = if http2 {
            http::Version::HTTP_2
        } else {
            http::Version::HTTP_11
        };
        assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
        assert_eq!(response.into_body().text().await.unwrap(), "7");
        assert_eq!(calls.ended(addr, "200", ""), 1);

        // A status of failure is an answer, and an error only in the metrics.
        let response = calls.client.get(url(addr, "/nowhere")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        drop(response);
        assert_eq!(calls.ended(addr, "404", "404"), 1);
        assert_eq!(calls.sum("http_client_active_requests"), 0);
        drop(calls);
        shop.close().await;
    }
}

#[tokio::test]
async fn a_body_is_streamed_and_may_have_any_type() {
    let shop = Shop::open(Limits::new()).await;
    let calls = measured(|client| client);
    let pieces =
        ["one ", "two ", "three"].map(|piece| Ok::<_, std::io::Error>(Frame::data(Bytes::from(piece))));
    let body = StreamBody::new(Pieces(pieces.into_iter().collect()));
    let request = Request::post(url(shop.running.local_addr(), "/echo"));
    let response = calls.client.send(request.body(body).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "one two three");

    let big = "again and ".repeat(1000);
    let response = calls
        .client
        .get(url(shop.running.local_addr(), "/big"))
        .await
        .unwrap();
    assert_eq!(response.into_body().bytes().await.unwrap(), big);
    drop(calls);
    shop.close().await;
}

struct Pieces(std::collections::VecDeque<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let routes = Routes::new()
        .route("/old", get(|| async { Redirect::permanent("/new") }))
        .route("/new", get(|| async { "new" }));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let client = Client::builder().build().unwrap();
    let response = client.get(url(running.local_addr(), "/old")).await.unwrap();
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
    assert_eq!(response.headers()["location"], "/new");
}

#[tokio::test]
async fn other_layers_fit_around_it() {
    let shop = Shop::open(Limits::new()).await;
    let client = Client::builder().build().unwrap();
    let request = || Request::get(url(shop.running.local_addr(), "/")).body(String::new());
    let by_reference = (&client).oneshot(request().unwrap()).await.unwrap();
    assert_eq!(by_reference.into_body().text().await.unwrap(), "hello");
    let layered = ServiceExt::<Request<String>>::map_err(client, |error: Error| std::io::Error::other(error));
    let response = layered.oneshot(request().unwrap()).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "hello");
    shop.close().await;
}

#[tokio::test]
async fn encoded_answers_are_decoded_by_a_layer_around_it() {
    let routes = Routes::new().route("/", get(async || "again and ".repeat(1000)));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let client = Client::builder().build().unwrap();
    let client = ResponseDecompressionLayer::new().layer(client);
    let request = Request::get(url(running.local_addr(), "/")).body(String::new());
    let response = client.oneshot(request.unwrap()).await.unwrap();
    let original = response.extensions().get::<OriginalHeaders>().unwrap();
    assert_eq!(original.headers()["content-encoding"], "zstd");
    assert!(!response.headers().contains_key("content-encoding"));
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "again and ".repeat(1000));
}

#[tokio::test]
async fn a_request_that_came_over_another_version_is_passed_on() {
    let routes = Routes::new().route(
        "/",
        any(|version: http::Version| async move { format!("{version:?}") }),
    );
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let client = Client::builder().build().unwrap();
    for version in [
        http::Version::HTTP_10,
        http::Version::HTTP_2,
        http::Version::HTTP_3,
    ] {
        let request = Request::get(url(running.local_addr(), "/")).version(version);
        let response = client.send(request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(response.into_body().text().await.unwrap(), "HTTP/1.1");
    }
}

#[tokio::test]
async fn addresses_that_lead_nowhere_are_refused() {
    let client = Client::builder().build().unwrap();
    for address in [
        "/only/a/path",
        "*",
        "ftp://host.example/",
        "host.example:80",
        "no address",
    ] {
        let error = client.get(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{address}");
        assert!(
            error.is_unsent() && error.to_string().contains("http or https"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_no_text_is_still_bytes() {
    let routes = Routes::new().route("/", get(|| async { vec![b'a', 0xff] }));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let client = Client::builder().build().unwrap();
    let get = || client.get(url(running.local_addr(), "/"));
    let error = get().await.unwrap().into_body().text().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotText);
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(
        get().await.unwrap().into_body().bytes().await.unwrap(),
        vec![b'a', 0xff]
    );
}

#[tokio::test]
async fn a_head_without_a_body_ends_the_call() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(|client| client.body_bytes(10));
    // It declares more than may come, but nothing comes.
    let request = Request::head(url(addr, "/big")).body(String::new()).unwrap();
    let response = calls.client.send(request).await.unwrap();
    assert_eq!(calls.sum("http_client_active_requests"), 0);
    assert_eq!(response.into_body().bytes().await.unwrap(), "");
    drop(calls);
    shop.close().await;
}
