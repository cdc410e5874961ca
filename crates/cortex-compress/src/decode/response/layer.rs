use super::service::ResponseDecompression;
use crate::decode::limits::{Limits, settings};
use crate::decode::shared::Shared;
use std::fmt;
use std::sync::Arc;
use tower_layer::Layer;

/// Asks for encoded responses, and decodes them within limits: for the clients of other servers.
///
/// - A request gets an `Accept-Encoding` that names what is [decoded](Self::codings), unless it has one. With a
///   `Range` that is `identity`, as a part of an encoded body could not be decoded, and for CONNECT, too.
/// - A response with a `Content-Encoding` of these is decoded while it is read. It has no `Content-Encoding`,
///   `Content-Length` and digests, which are in [`OriginalHeaders`](crate::OriginalHeaders) now.
/// - A response that cannot be decoded passes as it is, `Content-Encoding` and all: one of an unknown coding, or of more
///   than [`max_codings`](Self::max_codings), a part (206, `Content-Range`), and one without a body (`HEAD`, 204, 304).
/// - A body that is damaged, or more than is allowed, breaks off with a [`DecompressError`](crate::DecompressError) that
///   says what was wrong and which limit it was.
///
/// The limits are not for responses without a coding. A clone, and every service made from it, uses the same decoders.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use bytes::Bytes;
/// use cortex_compress::{Coding, DecompressError, Limit, ResponseDecompressionLayer};
/// use flate2::{Compression, read::GzEncoder};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use std::{convert::Infallible, io::Read};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// // In place of a connection: what a server sends.
/// async fn send(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
///     assert_eq!(request.headers()["accept-encoding"], "gzip");
///     let mut body = Vec::new();
///     GzEncoder::new(std::io::repeat(b'!').take(9000), Compression::fast()).read_to_end(&mut body).unwrap();
///     Ok(Response::builder().header("content-encoding", "gzip").body(Full::from(body)).unwrap())
/// }
///
/// let layer = ResponseDecompressionLayer::new().codings(&[Coding::Gzip]);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let client = ServiceBuilder::new().layer(layer.clone()).service_fn(send);
/// let response = client.oneshot(Request::new(())).await.unwrap();
/// assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "!".repeat(9000));
///
/// let client = ServiceBuilder::new().layer(layer.max_decoded(8000)).service_fn(send);
/// let response = client.oneshot(Request::new(())).await.unwrap();
/// let Err(DecompressError::Decode(error)) = response.into_body().collect().await else { panic!() };
/// assert_eq!(error.exceeded(), Some(Limit::DecodedSize(8000)));
/// # });
/// # }
/// ```
#[derive(Clone)]
pub struct ResponseDecompressionLayer {
    shared: Arc<Shared>,
}

impl ResponseDecompressionLayer {
    /// Makes a layer that decodes every coding of this build.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new(Limits::RESPONSE)),
        }
    }

    settings!("64 MiB");
}

impl Default for ResponseDecompressionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ResponseDecompressionLayer {
    type Service = ResponseDecompression<S>;

    fn layer(&self, inner: S) -> ResponseDecompression<S> {
        ResponseDecompression::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for ResponseDecompressionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseDecompressionLayer")
            .field(&self.shared)
            .finish()
    }
}
