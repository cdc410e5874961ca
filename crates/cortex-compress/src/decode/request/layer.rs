use super::service::RequestDecompression;
use crate::decode::limits::{Limits, settings};
use crate::decode::shared::Shared;
use std::fmt;
use std::sync::Arc;
use tower_layer::Layer;

/// Decodes the bodies of requests that have a `Content-Encoding`, within limits.
///
/// - A coding that is not [decoded](Self::codings), or more than [`max_codings`](Self::max_codings) of them, is answered
///   with 415 and an `Accept-Encoding` that names ours, before anything is read (RFC 9110, sections 15.5.16 and 12.5.3).
/// - A `Content-Length` over [`max_encoded`](Self::max_encoded) is answered with 413 at once. The other limits, and this
///   one where there is no length, hold while the body is read: see [`RequestBody`] for what its reader gets.
/// - Where the decoders hold all the [memory](Self::memory_budget) that they may, the body ends with an error; if the
///   handler answers with one, that is 503 (section 15.6.4).
/// - The handler sees a request without `Content-Encoding`, `Content-Length` and digests, which are in
///   [`OriginalHeaders`](crate::OriginalHeaders) now.
///
/// A request without a `Content-Encoding` passes as it is; the limits are not for it. A clone, and every service made
/// from it, uses the same decoders.
///
/// [`RequestBody`]: crate::RequestBody
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "gzip", feature = "zstd"))] {
/// use axum::{Json, Router, body::Body, routing::post};
/// use cortex_compress::{Coding, RequestDecompressionLayer};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
///
/// let app = Router::new()
///     .route("/", post(async |Json(names): Json<Vec<String>>| names.concat()))
///     .layer(RequestDecompressionLayer::new().codings(&[Coding::Zstd, Coding::Gzip]).max_decoded(1 << 20));
///
/// let body = zstd::encode_all(&br#"["zstd ", "json"]"#[..], 1).unwrap();
/// let request = |coding, body| {
///     let request = Request::post("/").header("content-type", "application/json").header("content-encoding", coding);
///     request.body(Body::from(body)).unwrap()
/// };
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let response = app.clone().oneshot(request("zstd", body.clone())).await.unwrap();
/// assert_eq!(axum::body::to_bytes(response.into_body(), 99).await.unwrap(), "zstd json");
///
/// let response = app.oneshot(request("compress", body)).await.unwrap();
/// assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
/// assert_eq!(response.headers()["accept-encoding"], "zstd, gzip");
/// # });
/// # }
/// ```
#[derive(Clone)]
pub struct RequestDecompressionLayer {
    shared: Arc<Shared>,
}

impl RequestDecompressionLayer {
    /// Makes a layer that decodes every coding of this build.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new(Limits::REQUEST)),
        }
    }

    settings!("8 MiB");
}

impl Default for RequestDecompressionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RequestDecompressionLayer {
    type Service = RequestDecompression<S>;

    fn layer(&self, inner: S) -> RequestDecompression<S> {
        RequestDecompression::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for RequestDecompressionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestDecompressionLayer")
            .field(&self.shared)
            .finish()
    }
}
