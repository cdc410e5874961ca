use crate::decode::body::DecompressBody;
use crate::decode::error::{DecodeErrorKind, DecompressError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Full, LengthLimitError, Limited};
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request behind [`RequestDecompression`](crate::RequestDecompression): a [`DecompressBody`] whose errors
/// get the right status.
///
/// The extractors of axum that read a whole body (`Bytes`, `String`, `Json`, `Form`) answer with 413 where an error
/// is a [`LengthLimitError`], and with 400 else. Therefore:
///
/// - If a limit is exceeded, the error is a [`LengthLimitError`].
/// - If there is no memory to decode it, the error is a [`DecodeError`], and an error that the handler answers with
///   becomes 503.
/// - If the data is wrong, the error is a [`DecodeError`].
/// - If the encoded body fails, the error is its own, or a [`LengthLimitError`] if that is what it came from.
///
/// Its `Multipart` answers with 500 to all that it does not know, and looks for a [`LengthLimitError`] less deep than
/// its own limit puts it: with [`DecodeError::status_of`] a handler finds the status in a `MultipartError`.
///
/// [`DecodeError`]: crate::DecodeError
/// [`DecodeError::status_of`]: crate::DecodeError::status_of
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use axum::{Router, body::Body, routing::post};
/// use cortex_compress::RequestDecompressionLayer;
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
///
/// let app = Router::new()
///     .route("/", post(async |text: String| text))
///     .layer(RequestDecompressionLayer::new());
/// let request = Request::post("/").header("content-encoding", "gzip").body(Body::from("This is not gzip.")).unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let response = app.oneshot(request).await.unwrap();
/// assert_eq!(response.status(), StatusCode::BAD_REQUEST);
/// # });
/// # }
/// ```
#[derive(Debug)]
pub struct RequestBody<B> {
    body: DecompressBody<B>,
    /// Takes note that there was no memory to decode it.
    starved: Option<Arc<AtomicBool>>,
}

impl<B> RequestBody<B> {
    pub(super) const fn identity(body: DecompressBody<B>) -> Self {
        Self { body, starved: None }
    }

    pub(super) const fn decoded(body: DecompressBody<B>, starved: Arc<AtomicBool>) -> Self {
        Self {
            body,
            starved: Some(starved),
        }
    }

    /// Returns the same body, with errors that tell which limit was exceeded.
    pub fn into_inner(self) -> DecompressBody<B> {
        self.body
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(DecompressError::Decode(error)))) = &next
            && error.kind() == DecodeErrorKind::MemoryBudget
            && let Some(starved) = &self.starved
        {
            starved.store(true, Ordering::Relaxed);
        }
        next.map(|next| next.map(|frame| frame.map_err(translate)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn translate<E: Into<BoxError>>(error: DecompressError<E>) -> BoxError {
    match error {
        DecompressError::Decode(error) if error.exceeded().is_some() => length_limit(),
        DecompressError::Decode(error) => error.into(),
        DecompressError::Inner(error) => {
            let error = error.into();
            // axum finds it under two wrappers of its own at most, and passing through here adds one.
            if comes_from_a_limit(&*error) {
                length_limit()
            } else {
                error
            }
        }
    }
}

fn comes_from_a_limit(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Makes the error that nobody but [`Limited`] can make.
fn length_limit() -> BoxError {
    let exceeding = pin!(Limited::new(Full::new(&[0_u8][..]), 0));
    match exceeding.poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Err(error))) => error,
        _ => unreachable!("one byte is more than none"),
    }
}
