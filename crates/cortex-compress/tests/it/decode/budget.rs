//! What decoders hold together.

use crate::support::drive;
use axum::routing::post;
use axum::{Router, body::Body as AxumBody};
use bytes::Bytes;
use cortex_compress::{
    Coding, DecodeErrorKind, DecompressError, MemoryBudget, RequestDecompressionLayer,
    ResponseDecompressionLayer,
};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, ServiceExt};

/// A body that begins, and goes on once nothing is left of it; or comes at once.
struct Slow(Option<Bytes>, bool);

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.1 => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// A stream with the largest window that is allowed, or of a coding whose decoder holds about as much by then.
fn wide(coding: &str) -> Bytes {
    // Nothing in it repeats within the window of deflate.
    let data = crate::support::noise(100_000);
    match coding {
        "zstd" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(23).unwrap();
            encoder.write_all(&data).unwrap();
            encoder.finish().unwrap().into()
        }
        "br" => {
            let mut all = Vec::new();
            let params = brotli::enc::BrotliEncoderParams::default();
            brotli::BrotliCompress(&mut &data[..], &mut all, &params).unwrap();
            all.into()
        }
        _ => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&data).unwrap();
            encoder.finish().unwrap().into()
        }
    }
}

fn upload(coding: &str, slow: bool) -> Request<AxumBody> {
    let data = wide(coding);
    let data = if slow { data.slice(..data.len() / 2) } else { data };
    let request = Request::post("/").header("content-encoding", coding);
    request.body(AxumBody::new(Slow(Some(data), slow))).unwrap()
}

#[test]
fn uploads_that_come_slowly_hold_what_they_may_and_the_next_one_is_refused() {
    for (coding, two) in [("zstd", 18_000_000), ("br", 250_000), ("gzip", 140_000)] {
        let budget = MemoryBudget::new(two);
        let app = Router::new()
            .route("/", post(async |body: Bytes| body.len().to_string()))
            .route(
                "/lenient",
                post(async |body: Result<Bytes, _>| {
                    let _: Result<Bytes, axum::extract::rejection::BytesRejection> = body;
                }),
            )
            .layer(RequestDecompressionLayer::new().memory_budget(budget.clone()));
        let begin = |slow| {
            let mut response = Box::pin(app.clone().oneshot(upload(coding, slow)));
            let ended = drive(|cx| response.as_mut().poll(cx)).0;
            (response, ended)
        };
        let (one, ended) = begin(true);
        assert!(ended.is_none());
        let each = budget.used();
        // Windows of brotli grow with what is decoded at a time, which is as much as the clock lets it.
        assert!((two / 3..=two / 2).contains(&each), "{coding}: {each} bytes");
        let (other, ended) = begin(true);
        assert!(ended.is_none());
        let both = budget.used();
        assert!((each + two / 3..=two).contains(&both), "{coding}: {both} bytes");

        let refused = begin(false).1.expect("it ends").unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{coding}");
        assert_eq!(budget.used(), both, "{coding}: it has given back what it had");
        let mut request = upload(coding, false);
        *request.uri_mut() = "/lenient".parse().unwrap();
        let mut answered = Box::pin(app.clone().oneshot(request));
        let answered = drive(|cx| answered.as_mut().poll(cx))
            .0
            .expect("it ends")
            .unwrap();
        assert_eq!(answered.status(), StatusCode::OK, "the handler had no need of it");

        drop((one, other));
        let taken = begin(false).1.expect("it ends").unwrap();
        assert_eq!(taken.status(), StatusCode::OK, "{coding}");
        assert_eq!(budget.used(), 0, "{coding}");
    }
}

#[test]
fn a_client_learns_that_there_is_no_memory() {
    let budget = MemoryBudget::new(1_000_000);
    let layer = ResponseDecompressionLayer::new().memory_budget(budget.clone());
    let client = layer.layer(tower::service_fn(async |_: Request<()>| {
        let response = Response::builder().header("content-encoding", "zstd");
        Ok::<_, Infallible>(response.body(Slow(Some(wide("zstd")), false)).unwrap())
    }));
    let mut response = Box::pin(client.oneshot(Request::new(())));
    let response = drive(|cx| response.as_mut().poll(cx)).0.unwrap().unwrap();
    let mut body = response.into_body();
    let error = loop {
        match drive(|cx| Pin::new(&mut body).poll_frame(cx)).0.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it was decoded"),
        }
    };
    let DecompressError::Decode(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (error.kind(), error.coding()),
        (DecodeErrorKind::MemoryBudget, Coding::Zstd)
    );
    assert_eq!(error.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error.to_string(), "decode zstd: there is no memory left for it");
    assert_eq!(budget.used(), 0);
}
