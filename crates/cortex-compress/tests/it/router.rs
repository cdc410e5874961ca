//! The layer around an axum router.

use crate::support::{decode, text};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use cortex_compress::{Coding, CompressWith, CompressionLayer, EtagPolicy, NoCompress, NotAcceptable};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
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

/// Compares tags as handlers do that know nothing of codings.
async fn tagged(method: Method, headers: HeaderMap) -> Response {
    let held = |name| {
        headers
            .get(name)
            .is_some_and(|held: &HeaderValue| held == "\"v1\"")
    };
    let tag = [("etag", "\"v1\"")];
    if method == Method::PUT {
        let done = held("if-match");
        let status = if done {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::PRECONDITION_FAILED
        };
        return (status, tag).into_response();
    }
    if held("if-none-match") {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    (tag, [("content-type", "text/html")], text(10_000)).into_response()
}

async fn send_with(app: &Router, method: Method, lines: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri("/");
    for line in lines {
        request = request.header(line.0, line.1);
    }
    let request = request.body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_handler_that_compares_tags_need_not_know_of_codings() {
    let app = Router::new()
        .route("/", get(tagged).put(tagged))
        .layer(CompressionLayer::new().etag(EtagPolicy::Suffix));
    for &coding in Coding::ALL {
        let accept = ("accept-encoding", coding.as_str());
        let full = send_with(&app, Method::GET, &[accept]).await;
        let tag = full.headers()["etag"].to_str().unwrap();
        assert!(tag.starts_with(&format!("\"v1~cortex-{coding}-")), "{tag}");
        let same = send_with(&app, Method::GET, &[accept, ("if-none-match", tag)]).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(same.headers()["etag"], tag);
        assert_eq!(same.headers()["vary"], "accept-encoding");
        assert_eq!(same.headers().get("content-length"), None); // 8.6: not that of nothing
        assert!(bytes(same).await.is_empty());
        let put = send_with(&app, Method::PUT, &[("if-match", tag)]).await;
        assert_eq!(put.status(), StatusCode::NO_CONTENT);
    }
    let head = send_with(&app, Method::HEAD, &[("accept-encoding", "gzip")]).await;
    let get = send_with(&app, Method::GET, &[("accept-encoding", "gzip")]).await;
    assert_eq!(head.headers()["etag"], get.headers()["etag"]);
    let stale = send_with(&app, Method::PUT, &[("if-match", "\"v0~cortex-gzip-4.1\"")]).await;
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn the_handler_is_not_called_for_what_is_not_acceptable() {
    let app = Router::new()
        .route("/", get(async || -> &'static str { unreachable!("called") }))
        .layer(CompressionLayer::new().not_acceptable(NotAcceptable::Status406BeforeHandler));
    for method in [Method::GET, Method::HEAD] {
        let response = send_with(&app, method.clone(), &[("accept-encoding", "*;q=0")]).await;
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
        assert_eq!(response.headers()["vary"], "accept-encoding");
        let length = response.headers()["content-length"].to_str().unwrap().to_owned();
        let body = bytes(response).await;
        assert_eq!(body.is_empty(), method == Method::HEAD);
        assert!(body.is_empty() || body.len().to_string() == length);
    }
}

#[tokio::test]
async fn events_come_out_one_by_one() {
    let (mut sender, events) = Channel::<Bytes>::new(1);
    let response = ([("content-type", "text/event-stream")], Body::new(events));
    let mut response = Some(response.into_response());
    let service = tower::ServiceBuilder::new()
        .layer(CompressionLayer::new().sse(true))
        .service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
        });
    let request = Request::builder()
        .header("accept-encoding", "zstd")
        .body(())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let mut body = response.into_body();
    let (mut received, mut expected) = (Vec::new(), Vec::new());
    for number in 0..5 {
        let event = format!("id: {number}\ndata: a price\n\n");
        expected.extend_from_slice(event.as_bytes());
        sender.send_data(event.into()).await.unwrap();
        received.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
        assert_eq!(
            decode(Coding::Zstd, &received),
            (expected.clone(), false),
            "{number}"
        );
    }
    drop(sender);
    received.extend_from_slice(&body.collect().await.unwrap().to_bytes());
    assert_eq!(decode(Coding::Zstd, &received), (expected, true));
}

/// Two layers, as those of a router inside of a server that compresses.
#[tokio::test]
async fn nothing_is_encoded_twice_and_who_opts_out_does_so_for_all() {
    async fn answer(request: Request<Body>) -> Result<Response, std::convert::Infallible> {
        let lines = [("content-type", "text/html"), ("etag", "\"v1\"")];
        let response = (lines, text(10_000)).into_response();
        Ok(match request.uri().path() {
            "/file" => ([("content-encoding", "br")], response).into_response(),
            "/out" => ([("content-encoding", "identity")], response).into_response(),
            "/secret" => (Extension(NoCompress), response).into_response(),
            "/wish" => (Extension(CompressWith::new(Coding::Deflate)), response).into_response(),
            _ => response,
        })
    }
    let layer = CompressionLayer::new().etag(EtagPolicy::Suffix);
    let outer = CompressionLayer::new().etag(EtagPolicy::Suffix).min_size(1);
    let deflated = if cfg!(feature = "libdeflate") {
        "\"v1~cortex-deflate-4.1\""
    } else {
        "\"v1~cortex-deflate-4.2\""
    };
    for (path, coding, tag, length) in [
        ("/", Some("zstd"), "\"v1~cortex-zstd-1.1\"", None),
        ("/file", Some("br"), "\"v1\"", Some(10_000)),
        ("/out", None, "\"v1\"", Some(10_000)),
        ("/secret", None, "\"v1\"", Some(10_000)),
        ("/wish", Some("deflate"), deflated, None),
    ] {
        let service = tower::ServiceBuilder::new()
            .layer(outer.clone())
            .map_response(|response: http::Response<_>| response.map(Body::new))
            .layer(layer.clone())
            .service_fn(answer);
        let request = Request::builder()
            .uri(path)
            .header("accept-encoding", "gzip, deflate, br, zstd");
        let response = service
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let header = |name: &'static str| response.headers().get(HeaderName::from_static(name));
        assert_eq!(
            header("content-encoding").map(HeaderValue::as_bytes),
            coding.map(str::as_bytes),
            "{path}"
        );
        assert_eq!(header("etag").unwrap(), tag, "{path}");
        assert!(response.headers().get_all("vary").iter().count() <= 1, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        match length {
            Some(length) => assert_eq!(body.len(), length, "{path}"),
            None => assert!(body.len() < 10_000, "{path}"),
        }
    }
}
