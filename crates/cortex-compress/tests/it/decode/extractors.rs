//! The layer around an axum router: what clients get for what they send.

use super::support::encode;
use crate::support::{Script, Step, noise, text};
use axum::body::{Body, to_bytes};
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use cortex_compress::{Coding, CompressionLayer, RequestDecompressionLayer};
use http::{Request, StatusCode};
use http_body_util::Limited;
use tower::ServiceExt;

fn app() -> Router {
    let layer = RequestDecompressionLayer::new()
        .max_decoded(1 << 20)
        .max_encoded(100_000)
        .max_members(3);
    Router::new()
        .route("/bytes", post(async |body: Bytes| body))
        .route("/text", post(async |body: String| body))
        .route(
            "/json",
            post(async |Json(body): Json<Vec<u64>>| body.len().to_string()),
        )
        .route(
            "/small",
            post(async |body: Bytes| body).layer(DefaultBodyLimit::max(1000)),
        )
        .layer(layer)
}

async fn send(app: Router, path: &str, coding: &str, body: Body) -> (StatusCode, Bytes) {
    let request = Request::post(path)
        .header("content-encoding", coding)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap())
}

#[tokio::test]
async fn handlers_get_what_was_encoded() {
    for &coding in Coding::ALL {
        let sent = encode(coding, &text(20_000));
        let (status, body) = send(app(), "/bytes", coding.as_str(), sent.into()).await;
        assert_eq!(status, 200);
        assert_eq!(body, text(20_000));

        let sent = encode(coding, b"[1, 2, 3]");
        let (status, body) = send(app(), "/json", coding.as_str(), sent.into()).await;
        assert_eq!(status, 200);
        assert_eq!(body, "3");
    }
}

#[tokio::test]
async fn each_defect_has_its_status() {
    for &coding in Coding::ALL {
        let good = encode(coding, &text(20_000));
        let truncated = good[..good.len() - 1].to_vec();
        let trailing = [&good[..], b"."].concat();
        let garbage = b"[1, 2, 3]".to_vec();
        let bomb = encode(coding, &vec![b' '; 2 << 20]);
        let unknown_length = |body: Vec<u8>| {
            let pieces = body.chunks(1000).map(Bytes::copy_from_slice).map(Step::Data);
            Body::new(Script::new(pieces))
        };
        for path in ["/bytes", "/text", "/json"] {
            for (body, status) in [(&truncated, 400), (&trailing, 400), (&garbage, 400), (&bomb, 413)] {
                let (got, text) = send(app(), path, coding.as_str(), body.clone().into()).await;
                assert_eq!(got, status, "{coding} {path}: {text:?}");
                let (got, text) = send(app(), path, coding.as_str(), unknown_length(body.clone())).await;
                assert_eq!(got, status, "{coding} {path}: {text:?}");
            }
            let (got, _) = send(app(), path, "gzip, snappy", good.clone().into()).await;
            assert_eq!(got, 415);
        }
        // What decodes to more than the handler takes.
        let (got, _) = send(app(), "/small", coding.as_str(), good.into()).await;
        assert_eq!(got, 413);
    }
    let members = encode(Coding::Gzip, b"").repeat(4);
    assert_eq!(send(app(), "/bytes", "gzip", members.into()).await.0, 413);
    let long = noise(120_000);
    let (got, body) = send(app(), "/bytes", "gzip", long.clone().into()).await;
    assert_eq!(got, 413);
    assert_eq!(
        body,
        "The encoded content is too large: at most 100000 bytes are read.\n"
    );
}

#[tokio::test]
async fn a_limit_outside_stays_413_and_another_error_400() {
    for coding in ["gzip", "identity"] {
        let sent = encode(Coding::Gzip, &noise(50_000));
        let limited = Body::new(Limited::new(Body::from(sent), 10_000));
        assert_eq!(send(app(), "/bytes", coding, limited).await.0, 413, "{coding}");
    }
    let failing = Script::new([Step::Fail]);
    assert_eq!(send(app(), "/bytes", "gzip", Body::new(failing)).await.0, 400);
}

#[tokio::test]
async fn both_layers_go_together() {
    let app = app().layer(CompressionLayer::new());
    let request = Request::post("/text")
        .header("content-encoding", "br")
        .header("accept-encoding", "zstd")
        .body(Body::from(encode(Coding::Br, &text(20_000))))
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "zstd");
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(
        crate::support::decode(Coding::Zstd, &body),
        (text(20_000).to_vec(), true)
    );
}
