use super::code::{Code, Refusal};
use super::watching::Watching;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer of [`GrpcHealth`](super::GrpcHealth): its messages, and how the call ended.
///
/// # Examples
///
/// ```
/// use cortex_health::{GrpcHealth, Health};
/// use http_body::Body;
/// use tower_service::Service;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let mut service = GrpcHealth::new(&Health::builder().build()?);
/// let request = http::Request::get("/").body(String::new())?;
/// let response = service.call(request).await?;
/// assert_eq!(response.status(), 405);
/// assert!(response.body().is_end_stream());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct GrpcBody(State);

enum State {
    /// A message, and that all is well.
    One(Bytes),
    Watch(Box<Watching>),
    Trailers(HeaderMap),
    Ended,
}

impl GrpcBody {
    pub(super) const fn empty() -> Self {
        Self(State::Ended)
    }

    pub(super) const fn one(message: Bytes) -> Self {
        Self(State::One(message))
    }

    pub(super) fn watch(watching: Watching) -> Self {
        Self(State::Watch(Box::new(watching)))
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let state = &mut self.0;
        let frame = match std::mem::replace(state, State::Ended) {
            State::One(message) => {
                *state = State::Trailers(Code::Ok.headers());
                Frame::data(message)
            }
            State::Trailers(trailers) => Frame::trailers(trailers),
            State::Watch(mut watching) => match watching.poll_next(cx) {
                Poll::Pending => {
                    *state = State::Watch(watching);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(message)) => {
                    *state = State::Watch(watching);
                    Frame::data(message)
                }
                Poll::Ready(Err(end)) => Frame::trailers(Refusal::headers(end)),
            },
            State::Ended => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::One(message) => SizeHint::with_exact(message.len() as u64),
            State::Watch(_) => SizeHint::default(),
            State::Trailers(_) | State::Ended => SizeHint::with_exact(0),
        }
    }
}

impl fmt::Debug for GrpcBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::One(_) => "GrpcBody::One",
            State::Watch(_) => "GrpcBody::Watch",
            State::Trailers(_) => "GrpcBody::Trailers",
            State::Ended => "GrpcBody::Ended",
        })
    }
}
