use crate::headers::remove_digests;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName};
use http_body::Body;

/// An extension of a request or response that was decoded: the fields that were true of the encoded body only.
///
/// These are `Content-Encoding`, `Content-Length`, `Content-Digest`, `Repr-Digest`, `Digest` and `Content-MD5`, as far
/// as they were there. A signature or a digest can be checked against them by whoever kept the encoded bytes.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use axum::{Extension, Router, body::Body, routing::post};
/// use cortex_compress::{OriginalHeaders, RequestDecompressionLayer};
/// use http::Request;
/// use tower::ServiceExt;
///
/// async fn coding(original: Option<Extension<OriginalHeaders>>) -> String {
///     let original = original.expect("the request was encoded");
///     original.headers()["content-encoding"].to_str().unwrap().to_owned()
/// }
///
/// let app = Router::new().route("/", post(coding)).layer(RequestDecompressionLayer::new());
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = Request::post("/").header("content-encoding", "gzip").body(Body::from("unread")).unwrap();
/// let response = app.oneshot(request).await.unwrap();
/// assert_eq!(axum::body::to_bytes(response.into_body(), 99).await.unwrap(), "gzip");
/// # });
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginalHeaders(HeaderMap);

impl OriginalHeaders {
    /// Returns the fields, with the values they had.
    pub const fn headers(&self) -> &HeaderMap {
        &self.0
    }

    /// Takes the fields out of a header.
    pub(super) fn take_from(headers: &mut HeaderMap) -> Self {
        let mut taken = HeaderMap::new();
        let names = [
            CONTENT_ENCODING,
            CONTENT_LENGTH,
            HeaderName::from_static("content-digest"),
            HeaderName::from_static("repr-digest"),
            HeaderName::from_static("digest"),
            HeaderName::from_static("content-md5"),
        ];
        for name in names {
            if let http::header::Entry::Occupied(entry) = headers.entry(&name) {
                for value in entry.remove_entry_mult().1 {
                    taken.append(&name, value);
                }
            }
        }
        Self(taken)
    }
}

/// How long the body says it is, or 0.
pub(super) fn announced<B: Body>(headers: &HeaderMap, body: &B) -> u64 {
    let header = headers.get(CONTENT_LENGTH);
    let length = header.and_then(|value| value.to_str().ok()?.parse().ok());
    body.size_hint().lower().max(length.unwrap_or(0))
}

/// Removes what is true of the encoded body only from its trailers.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_digests(trailers);
}
