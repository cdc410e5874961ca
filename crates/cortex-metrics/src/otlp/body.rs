use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a push: one chunk, whose size is known, so that it is sent with a `Content-Length`.
///
/// # Examples
///
/// A client that is given to [`OtlpExporter::client`](crate::OtlpExporter::client) takes requests with this body, as
/// those do that take any body:
///
/// ```
/// use cortex_metrics::OtlpBody;
/// use http_body::Body;
///
/// fn takes_any_body<B: Body<Data = bytes::Bytes>>(body: &B) -> Option<u64> {
///     body.size_hint().exact()
/// }
/// assert_eq!(takes_any_body(&OtlpBody::default()), Some(0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct OtlpBody {
    bytes: Bytes,
}

impl OtlpBody {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl Body for OtlpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
