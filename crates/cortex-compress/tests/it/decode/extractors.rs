//! The layer around an axum router: what clients get for what they send.

use super::support::encode;
use crate::support::{Script, Step, noise, text};
use axum::body::{Body, to_bytes};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, Form, Multipart};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use cortex_compress::{Coding, CompressionLayer, DecodeError, RequestDecompressionLayer};
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
            "/form",
            post(async |Form(body): Form<Vec<(String, u64)>>| body.len().to_string()),
        )
        .route(
            "/small",
            post(async |body: Bytes| body).layer(DefaultBodyLimit::max(1000)),
        )
        .layer(layer)
}

async fn send(app: Router, path: &str, coding: &str, body: Body) -> (StatusCode, Bytes) {
    let content_type = match path {
        "/form" => "application/x-www-form-urlencoded",
        _ => "application/json",
    };
    let request = Request::post(path)
        .header("content-encoding", coding)
        .header("content-type", content_type)
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

        let sent = encode(coding, b"a=1&b=2");
        let (status, body) = send(app(), "/form", coding.as_str(), sent.into()).await;
        assert_eq!(status, 200);
        assert_eq!(body, "2");
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
        for path in ["/bytes", "/text", "/json", "/form"] {
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

/// Reads the parts of a form, and returns the length of all.
async fn parts(mut form: Multipart) -> Result<String, MultipartError> {
    let mut length = 0;
    while let Some(field) = form.next_field().await? {
        length += field.bytes().await?.len();
    }
    Ok(length.to_string())
}

async fn parts_with_status(form: Multipart) -> Result<String, StatusCode> {
    let status = |error: MultipartError| DecodeError::status_of(&error).unwrap_or_else(|| error.status());
    parts(form).await.map_err(status)
}

fn form(content: &[u8]) -> Vec<u8> {
    [
        b"--next\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n",
        content,
        b"\r\n--next--\r\n",
    ]
    .concat()
}

#[tokio::test]
async fn multipart_says_500_where_its_errors_have_the_status() {
    let layer = RequestDecompressionLayer::new()
        .max_decoded(1 << 20)
        .max_members(3);
    let app = Router::new()
        .route("/", post(parts))
        .route("/unlimited", post(parts).layer(DefaultBodyLimit::disable()))
        .route("/status", post(parts_with_status))
        .route(
            "/small",
            post(parts_with_status).layer(DefaultBodyLimit::max(1000)),
        )
        .layer(layer);
    let send = async |path, coding: &str, body: Vec<u8>| {
        let request = Request::post(path)
            .header("content-encoding", coding)
            .header("content-type", "multipart/form-data; boundary=next")
            .body(Body::from(body));
        let response = app.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        (
            status.as_u16(),
            to_bytes(response.into_body(), 999).await.unwrap(),
        )
    };
    for &coding in Coding::ALL {
        let name = coding.as_str();
        let good = encode(coding, &form(&text(50_000)));
        for path in ["/", "/unlimited", "/status"] {
            assert_eq!(send(path, name, good.clone()).await, (200, "50000".into()));
        }
        let truncated = good[..good.len() - 30].to_vec();
        let bomb = encode(coding, &form(&vec![b' '; 2 << 20]));
        for (body, unlimited, status) in [
            (truncated, 500, 400),
            (b"This is neither.".to_vec(), 500, 400),
            (bomb, 413, 413),
        ] {
            assert_eq!(send("/", name, body.clone()).await.0, 500, "{coding}");
            assert_eq!(
                send("/unlimited", name, body.clone()).await.0,
                unlimited,
                "{coding}"
            );
            assert_eq!(send("/status", name, body).await.0, status, "{coding}");
        }
        assert_eq!(send("/small", name, good).await.0, 413, "the limit of axum");
        let malformed = encode(coding, b"--next\r\n\r\n");
        assert_eq!(send("/status", name, malformed).await.0, 400, "the error of axum");
    }
    let members = encode(Coding::Gzip, b"").repeat(4);
    assert_eq!(send("/status", "gzip", members).await.0, 413);
}

#[test]
fn an_error_that_has_nothing_to_do_with_decoding_has_no_status() {
    let other = std::io::Error::other(std::io::Error::other("the disk is full"));
    assert_eq!(DecodeError::status_of(&other), None);
}
