use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::limit::Permit;
use crate::Counter;

/// Small enough that a slow reader holds the connection back, not the memory.
const CHUNK: usize = 64 << 10;

/// The body of an answer: one allocation, shared by all who asked at the same time, and handed out in chunks of 64 KiB.
///
/// A scrape is in flight until the last of its chunks is dropped. A server drops a chunk when it is written, so one that
/// reads slowly counts for as long as something is left to send; whoever keeps a chunk should copy it.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, ScrapeService};
/// use http_body::Body;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let service = ScrapeService::new(&Registry::default());
/// let Ok(response) = service.oneshot(http::Request::new(())).await;
/// assert!(response.body().is_end_stream()); // nothing is registered
/// # }
/// ```
pub struct ScrapeBody {
    rest: Bytes,
    permit: Option<Arc<Permit>>,
    sent: Option<Counter>,
}

impl ScrapeBody {
    pub(super) fn new(bytes: Bytes, permit: Option<Permit>, sent: Option<Counter>) -> Self {
        let permit = permit.filter(|_| !bytes.is_empty()).map(Arc::new);
        Self {
            rest: bytes,
            permit,
            sent,
        }
    }

    pub(super) fn empty() -> Self {
        Self::new(Bytes::new(), None, None)
    }
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(CHUNK);
        let bytes = self.rest.split_to(length);
        if let (Some(sent), Ok(length)) = (&self.sent, u64::try_from(length)) {
            sent.add(length);
        }
        let permit = if self.rest.is_empty() {
            self.permit.take()
        } else {
            self.permit.clone()
        };
        let bytes = match permit {
            Some(permit) => Bytes::from_owner(Chunk {
                bytes,
                _permit: permit,
            }),
            None => bytes,
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for ScrapeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeBody")
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}

/// Bytes on their way: servers queue the last chunk and drop the body long before it is written.
struct Chunk {
    bytes: Bytes,
    _permit: Arc<Permit>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::super::limit::Limit;
    use super::*;

    async fn next(body: &mut ScrapeBody) -> Option<Bytes> {
        body.frame()
            .await
            .map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn chunks_are_parts_of_one_allocation() {
        let whole = Bytes::from(vec![7; 2 * CHUNK + 1]);
        let sent = Counter::default();
        let mut body = ScrapeBody::new(whole.clone(), None, Some(sent.clone()));
        let mut at = 0;
        for (length, left, sum) in [
            (CHUNK, CHUNK + 1, CHUNK),
            (CHUNK, 1, 2 * CHUNK),
            (1, 0, 2 * CHUNK + 1),
        ] {
            let chunk = next(&mut body).await.unwrap();
            assert_eq!(chunk.len(), length);
            assert_eq!(chunk.as_ptr(), whole[at..].as_ptr());
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            assert_eq!(sent.get(), sum as u64);
            at += length;
        }
        assert!(body.is_end_stream());
        assert!(next(&mut body).await.is_none());
        assert!(next(&mut body).await.is_none());
        assert_eq!(format!("{body:?}"), "ScrapeBody { rest: 0, .. }");
    }

    #[tokio::test]
    async fn the_permit_is_held_until_the_last_chunk_is_gone() {
        let limit = Limit::new(1);
        let mut body = ScrapeBody::new(vec![0; CHUNK + 1].into(), limit.admit(None), None);
        let first = next(&mut body).await;
        let last = next(&mut body).await;
        drop(body); // as hyper does, with the chunks still in its queue
        drop(first);
        assert!(limit.admit(None).is_none());
        drop(last);
        assert!(limit.admit(None).is_some());
    }

    #[tokio::test]
    async fn an_unread_body_frees_the_permit() {
        let limit = Limit::new(1);
        let mut body = ScrapeBody::new(vec![0; CHUNK + 1].into(), limit.admit(None), None);
        drop(next(&mut body).await);
        assert!(limit.admit(None).is_none());
        drop(body);
        assert!(limit.admit(None).is_some());

        let _empty = ScrapeBody::new(Bytes::new(), limit.admit(None), None);
        assert!(limit.admit(None).is_some());
    }
}
