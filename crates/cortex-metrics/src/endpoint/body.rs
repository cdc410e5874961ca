use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limit::Permit;
use super::transfer::{CHUNK, Transfer};
use crate::Counter;

/// The body of an answer: shared by all who asked at the same time, and handed out in chunks of 64 KiB.
///
/// A scrape is in flight until the last of its chunks is dropped. A server drops a chunk when it is written, so one that
/// reads slowly counts for as long as something is left to send; whoever keeps a chunk should copy it. But it has a
/// deadline, that of [`ScrapeService::min_rate`](crate::ScrapeService::min_rate): then the scrape does not count any
/// more, and the body ends with an error if it was not read to its end.
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
    left: usize,
    source: Source,
    sent: Option<Counter>,
}

enum Source {
    /// What is short and known beforehand.
    Text(Bytes),
    Transfer {
        transfer: Arc<Transfer>,
        /// Wakes the connection, even if its reader does not.
        deadline: Pin<Box<Sleep>>,
    },
    /// All was sent, or the time is over.
    End,
}

impl ScrapeBody {
    /// Makes the body of an exposition.
    pub(super) fn new(bytes: Bytes, permit: Permit, deadline: Instant, sent: Option<Counter>) -> Self {
        let left = bytes.len();
        let source = if bytes.is_empty() {
            Source::End
        } else {
            let transfer = Transfer::start(bytes, permit, deadline);
            Source::Transfer {
                deadline: Box::pin(sleep_until(transfer.deadline())),
                transfer,
            }
        };
        Self { left, source, sent }
    }

    pub(super) fn text(text: &'static str) -> Self {
        Self {
            left: text.len(),
            source: Source::Text(Bytes::from_static(text.as_bytes())),
            sent: None,
        }
    }

    pub(super) fn empty() -> Self {
        Self::text("")
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Option<Result<Bytes, ScrapeBodyError>> {
        if self.left == 0 {
            return None;
        }
        let length = self.left.min(CHUNK);
        let is_last = length == self.left;
        let bytes = match &mut self.source {
            Source::Text(text) => text.split_to(length),
            Source::Transfer { transfer, deadline } => {
                if deadline.as_mut().poll(cx).is_ready() {
                    transfer.expire(transfer.deadline());
                }
                let Some(bytes) = transfer.take(length) else {
                    let error = ScrapeBodyError { unsent: self.left };
                    self.end();
                    return Some(Err(error));
                };
                let transfer = Arc::clone(transfer);
                if is_last {
                    self.source = Source::End;
                }
                Bytes::from_owner(Chunk {
                    bytes,
                    _transfer: transfer,
                })
            }
            Source::End => return None,
        };
        self.left -= length;
        if let (Some(sent), Ok(length)) = (&self.sent, u64::try_from(length)) {
            sent.add(length);
        }
        Some(Ok(bytes))
    }

    fn end(&mut self) {
        self.source = Source::End;
        self.left = 0;
    }
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = ScrapeBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScrapeBodyError>>> {
        Poll::Ready(self.next(cx).map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for ScrapeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeBody")
            .field("rest", &self.left)
            .finish_non_exhaustive()
    }
}

/// Bytes on their way: servers queue the last chunk and drop the body long before it is written.
struct Chunk {
    bytes: Bytes,
    _transfer: Arc<Transfer>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Somebody reads an exposition more slowly than [`ScrapeService::min_rate`](crate::ScrapeService::min_rate) allows.
///
/// A server closes the connection for it, so that the reader sees that something is missing.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Registry, ScrapeService};
/// use http_body_util::BodyExt;
/// use std::time::Duration;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), cortex_metrics::RegisterError> {
/// let registry = Registry::default();
/// registry.register("jobs", "Jobs done.", Counter::default())?;
/// let service = ScrapeService::new(&registry).timeout(Duration::from_secs(5));
/// let Ok(response) = service.oneshot(http::Request::new(())).await;
/// tokio::time::advance(Duration::from_secs(10)).await;
/// let error = response.into_body().collect().await.unwrap_err();
/// assert_eq!(error.to_string(), "send the exposition in time: the reader is too slow, 68 bytes were left");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ScrapeBodyError {
    unsent: usize,
}

impl fmt::Display for ScrapeBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "send the exposition in time: the reader is too slow, {} bytes were left",
            self.unsent
        )
    }
}

impl Error for ScrapeBodyError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::super::limit::Limit;
    use super::*;

    async fn next(body: &mut ScrapeBody) -> Option<Bytes> {
        let frame = body.frame().await?.expect("it is read in time");
        frame.into_data().ok()
    }

    fn body(bytes: impl Into<Bytes>, limit: &Limit) -> ScrapeBody {
        let permit = limit.admit(None).expect("there is room");
        ScrapeBody::new(bytes.into(), permit, Instant::now() + SECOND, None)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn chunks_are_parts_of_one_allocation() {
        let whole = Bytes::from(vec![7; 2 * CHUNK + 1]);
        let sent = Counter::default();
        let permit = Limit::new(1).admit(None).unwrap();
        let deadline = Instant::now() + 60 * SECOND;
        let mut body = ScrapeBody::new(whole.clone(), permit, deadline, Some(sent.clone()));
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

    #[tokio::test(start_paused = true)]
    async fn a_chunk_that_is_kept_does_not_keep_a_long_exposition() {
        let limit = Limit::new(1);
        let whole: Vec<u8> = (0..=u8::MAX).cycle().take(9 * CHUNK).collect();
        let all = Bytes::from(whole.clone());
        let mut body = body(all.clone(), &limit);
        let first = next(&mut body).await.unwrap();
        assert_eq!(first, whole[..CHUNK]);
        tokio::time::advance(SECOND).await;
        limit.admit(None).unwrap(); // the body is not asked, but somebody is who waits
        assert!(all.is_unique());
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_permit_is_held_until_the_last_chunk_is_gone() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; CHUNK + 1], &limit);
        let first = next(&mut body).await;
        let last = next(&mut body).await;
        drop(body); // as hyper does, with the chunks still in its queue
        drop(first);
        assert!(limit.admit(None).is_none());
        drop(last);
        assert!(limit.admit(None).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_frees_the_permit() {
        let limit = Limit::new(1);
        let mut unread = body(vec![0; CHUNK + 1], &limit);
        drop(next(&mut unread).await);
        assert!(limit.admit(None).is_none());
        drop(unread);
        assert!(limit.admit(None).is_some());

        let _empty = body(Bytes::new(), &limit);
        assert!(limit.admit(None).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_a_body_that_is_read_and_frees_the_permit() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; 2 * CHUNK + 3], &limit);
        let queued = next(&mut body).await;
        tokio::time::advance(Duration::from_millis(999)).await;
        drop(next(&mut body).await.unwrap());
        assert!(limit.admit(None).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let error = body.frame().await.unwrap().unwrap_err();
        let text = "send the exposition in time: the reader is too slow, 3 bytes were left";
        assert_eq!(error.to_string(), text);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(limit.admit(None).is_some());
        drop(queued);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_frees_the_permit_of_what_is_queued() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; 10], &limit);
        let queued = next(&mut body).await.unwrap();
        drop(body);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(limit.admit(None).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let permit = limit.admit(None);
        assert!(permit.is_some());
        assert!(limit.admit(None).is_none());
        assert_eq!(queued, [0; 10][..]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_wakes_a_connection() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; CHUNK + 1], &limit);
        let (waker, woken) = waker();
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        tokio::time::advance(SECOND).await;
        tokio::task::yield_now().await;
        assert!(woken.load(std::sync::atomic::Ordering::SeqCst));
    }

    fn waker() -> (std::task::Waker, Arc<std::sync::atomic::AtomicBool>) {
        struct Woken(Arc<std::sync::atomic::AtomicBool>);
        impl std::task::Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let woken = Arc::<std::sync::atomic::AtomicBool>::default();
        (Arc::new(Woken(Arc::clone(&woken))).into(), woken)
    }
}
