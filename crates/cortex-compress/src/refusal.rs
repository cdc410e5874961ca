use crate::coding::Coding;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, VARY};
use http::{Response, StatusCode};

/// What a client gets that accepts neither the identity nor any coding on offer, as by `Accept-Encoding: *;q=0` (RFC
/// 9110, section 12.5.3).
///
/// # Examples
///
/// ```
/// use cortex_compress::{CompressionLayer, NotAcceptable};
/// use http::{Request, Response, StatusCode};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(CompressionLayer::new().not_acceptable(NotAcceptable::Status406BeforeHandler))
///     .service_fn(async |_: Request<()>| -> Result<Response<Full<&[u8]>>, std::convert::Infallible> {
///         unreachable!("nothing is done that could not be answered")
///     });
/// let request = Request::builder().header("accept-encoding", "identity;q=0").body(()).unwrap();
/// let response = service.oneshot(request).await.unwrap();
/// assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
/// assert_eq!(response.headers()["vary"], "accept-encoding");
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotAcceptable {
    /// The response as it is: most of those clients can read it, whatever they say.
    #[default]
    Identity,
    /// 406 with a line that lists the codings (15.5.7), without a call of the inner service.
    ///
    /// It is not known by then whether the handler would have sent a coding of its own, such as that of a file that was
    /// compressed beforehand.
    Status406BeforeHandler,
}

/// Makes the answer to a request that accepts nothing that could be sent.
#[cold]
pub(crate) fn refuse(codings: &[Coding]) -> Response<Bytes> {
    let mut text = String::from("Accept-Encoding allows nothing that can be sent. There is: ");
    for coding in codings {
        text.push_str(coding.as_str());
        text.push_str(", ");
    }
    text.push_str("identity.\n");
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}
