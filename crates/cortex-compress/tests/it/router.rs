//! The layer around an axum router.

use crate::support::{decode, text};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use cortex_compress::{Coding, CompressionLayer, NoCompress};
use http::{Method, Request};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use tower::ServiceExt;

fn app() -> Router {
    Router::new()
        .route(
            "/text",
            get(async || ([("content-type", "text/html")], text(10_000))),
        )
        .route(
            "/json",
            get(async || Json(String::from_utf8(text(20_000).to_vec()).unwrap())),
        )
        .route("/small", get(async || "Hello"))
        .route(
            "/secret",
            get(async || {
                (
                    Extension(NoCompress),
                    ([("content-type", "text/html")], text(10_000)),
                )
            }),
        )
        .route("/stream", get(stream))
        .layer(CompressionLayer::new())
}

async fn stream() -> Response {
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        for _ in 0..50 {
            sender.send_data(text(3000)).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    ([("content-type", "text/csv")], Body::new(body)).into_response()
}

async fn send(method: Method, path: &str, accept: &str) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept-encoding", accept);
    app().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn get_is_compressed_with_an_exact_length() {
    for &coding in Coding::ALL {
        let response = send(Method::GET, "/text", coding.as_str()).await;
        assert_eq!(response.headers()["content-encoding"], coding.as_str());
        let length: usize = response.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let body = bytes(response).await;
        assert_eq!(body.len(), length);
        assert_eq!(decode(coding, &body), (text(10_000).to_vec(), true));
    }
    let response = send(Method::GET, "/json", "gzip, deflate, br, zstd").await;
    assert_eq!(response.headers()["content-encoding"], "zstd");
}

#[tokio::test]
async fn head_tells_what_get_would_without_a_false_length() {
    let get = send(Method::GET, "/text", "gzip").await;
    let head = send(Method::HEAD, "/text", "gzip").await;
    for name in ["content-encoding", "vary", "content-type"] {
        assert_eq!(head.headers().get(name), get.headers().get(name), "{name}");
    }
    assert_eq!(head.headers().get("content-length"), None);
    assert!(bytes(head).await.is_empty());

    let plain = send(Method::HEAD, "/text", "identity").await;
    assert_eq!(plain.headers()["content-length"], "10000");
    assert_eq!(plain.headers()["vary"], "accept-encoding");
}

#[tokio::test]
async fn small_and_secret_responses_stay() {
    for path in ["/small", "/secret"] {
        let response = send(Method::GET, path, "gzip").await;
        assert_eq!(response.headers().get("content-encoding"), None, "{path}");
        assert_eq!(response.headers().get("vary"), None, "{path}");
        assert!(response.headers().contains_key("content-length"), "{path}");
    }
}

#[tokio::test]
async fn a_channel_streams_through_a_task() {
    for &coding in Coding::ALL {
        let response = send(Method::GET, "/stream", coding.as_str()).await;
        assert_eq!(response.headers().get("content-length"), None);
        let (decoded, complete) = decode(coding, &bytes(response).await);
        assert!(complete);
        assert_eq!(decoded, text(3000).repeat(50), "{coding}");
    }
}

#[tokio::test]
async fn the_error_of_the_inner_service_comes_through() {
    let service = tower::ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .service_fn(async |_: Request<()>| Err::<http::Response<Body>, _>("no"));
    assert_eq!(service.oneshot(Request::new(())).await.unwrap_err(), "no");
}
