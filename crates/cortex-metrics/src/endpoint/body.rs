use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limit::Permit;
use super::transfer::Transfer;
use crate::Counter;

/// The body of an answer: shared by all who asked at the same time, and handed out in chunks of 64 KiB or less.
///
/// A scrape is in flight until the last of its chunks is dropped, which a server does when it is written. So one that
/// reads slowly counts for as long as something is left to send. But it has a deadline, that of
/// [`ScrapeService::min_rate`](crate::ScrapeService::min_rate): then the scrape does not count any more, and the body
/// ends with an error if it was not read to its end.
///
/// For that the server has to ask, and servers do not once they have queued enough, or all that the length says. So no
/// more than two chunks are there at a time, the next one being given when one is dropped: whoever keeps those of a
/// body of more than 16 KiB, as `BodyExt::collect` and `axum::body::to_bytes` do, waits for the error. Copy them
/// instead.
///
/// # Examples
///
/// Reading a body of any length:
///
/// ```
/// use cortex_metrics::{Gauge, Registry, ScrapeService};
/// use http_body_util::BodyExt;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::default();
/// registry.register("large", &"x".repeat(1 << 20), Gauge::default())?;
/// let Ok(mut response) = ScrapeService::new(&registry).oneshot(http::Request::new(())).await;
/// let mut all = Vec::new();
/// while let Some(frame) = response.body_mut().frame().await {
///     let chunk = frame?.into_data().expect("there are no trailers");
///     all.extend_from_slice(&chunk);
/// }
/// assert!(all.ends_with(b"large 0\n"));
/// # Ok(())
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

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ScrapeBodyError>>> {
        let bytes = match &mut self.source {
            Source::Text(text) => std::mem::take(text),
            Source::Transfer { transfer, deadline } => {
                if deadline.as_mut().poll(cx).is_ready() {
                    transfer.expire(transfer.deadline());
                }
                let Some(bytes) = ready!(transfer.poll_take(cx)) else {
                    let error = ScrapeBodyError { unsent: self.left };
                    self.end();
                    return Poll::Ready(Some(Err(error)));
                };
                bytes
            }
            Source::End => return Poll::Ready(None),
        };
        self.left -= bytes.len();
        if self.left == 0 {
            self.end();
        }
        if bytes.is_empty() {
            return Poll::Ready(None);
        }
        if let (Some(sent), Ok(length)) = (&self.sent, u64::try_from(bytes.len())) {
            sent.add(length);
        }
        Poll::Ready(Some(Ok(bytes)))
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
        self.poll_next(cx).map(|chunk| Some(chunk?.map(Frame::data)))
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

/// Somebody reads an exposition more slowly than [`ScrapeService::min_rate`](crate::ScrapeService::min_rate) allows, or
/// keeps the chunks of a long one, see [`ScrapeBody`].
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
/// let says = "send the exposition in time: the reader is too slow or keeps its chunks, 68 bytes were left";
/// assert_eq!(error.to_string(), says);
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
            "send the exposition in time: the reader is too slow or keeps its chunks, {} bytes were left",
            self.unsent
        )
    }
}

impl Error for ScrapeBodyError {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    use bytes::Buf;
    use http_body_util::BodyExt;

    use super::super::limit::Limit;
    use super::super::transfer::{CHUNK, SHORT};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn body(bytes: impl Into<Bytes>, limit: &Limit) -> ScrapeBody {
        let permit = limit.admit(None).expect("there is room");
        ScrapeBody::new(bytes.into(), permit, Instant::now() + SECOND, None)
    }

    /// Returns the next chunk, which is there.
    fn next(body: &mut ScrapeBody) -> Option<Bytes> {
        let waker = Waker::noop();
        match body.poll_next(&mut Context::from_waker(waker)) {
            Poll::Ready(chunk) => Some(chunk?.expect("it is read in time")),
            Poll::Pending => panic!("the body waits"),
        }
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Woken {
        fn new() -> (Arc<Self>, Waker) {
            let woken = Arc::new(Self(AtomicBool::new(false)));
            let waker = Arc::clone(&woken).into();
            (woken, waker)
        }

        fn take(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_are_parts_of_one_allocation() {
        let whole = Bytes::from(vec![7; 2 * CHUNK]);
        let sent = Counter::default();
        let permit = Limit::new(1).admit(None).unwrap();
        let deadline = Instant::now() + 60 * SECOND;
        let mut body = ScrapeBody::new(whole.clone(), permit, deadline, Some(sent.clone()));
        let mut at = 0;
        for length in [CHUNK, CHUNK - SHORT, SHORT / 2, SHORT / 2] {
            assert!(!body.is_end_stream());
            let chunk = next(&mut body).unwrap();
            assert_eq!(chunk.len(), length);
            assert_eq!(chunk.as_ptr(), whole[at..].as_ptr());
            at += length;
            assert_eq!(body.size_hint().exact(), Some((2 * CHUNK - at) as u64));
            assert_eq!(sent.get(), at as u64);
        }
        assert!(body.is_end_stream());
        assert!(next(&mut body).is_none());
        assert!(next(&mut body).is_none());
        assert_eq!(format!("{body:?}"), "ScrapeBody { rest: 0, .. }");
    }

    #[tokio::test(start_paused = true)]
    async fn two_chunks_are_unwritten_at_most_and_a_short_end_last() {
        let whole: Vec<u8> = (0..=u8::MAX).cycle().take(2 * CHUNK + SHORT).collect();
        let mut body = body(whole.clone(), &Limit::new(1));
        let (woken, waker) = Woken::new();
        let mut cx = Context::from_waker(&waker);
        let mut is_pending = |body: &mut ScrapeBody| body.poll_next(&mut cx).is_pending();
        let (first, second) = (next(&mut body).unwrap(), next(&mut body).unwrap());
        assert_eq!([&first[..], &second].concat(), whole[..2 * CHUNK]);
        assert!(is_pending(&mut body) && !woken.take());
        let part = second.slice(1..2); // a part counts, too
        drop(second);
        assert!(!woken.take() && is_pending(&mut body));
        drop(first);
        assert!(woken.take());
        let third = next(&mut body).unwrap();
        assert!(is_pending(&mut body));
        drop(part);
        assert!(woken.take());
        let fourth = next(&mut body).unwrap();
        assert_eq!([&third[..], &fourth].concat(), whole[2 * CHUNK..]);
        assert_eq!(third.len(), fourth.len());
        assert!(body.is_end_stream() && !woken.take());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_exposition_is_given_at_once() {
        for (length, chunks) in [
            (1, &[1][..]),
            (SHORT, &[SHORT]),
            (SHORT + 1, &[1, SHORT / 2, SHORT / 2]),
        ] {
            let mut body = body(vec![0; length], &Limit::new(1));
            let lengths = std::iter::from_fn(|| Some(next(&mut body)?.len()));
            assert_eq!(lengths.collect::<Vec<_>>(), chunks);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_the_chunk_before_gets_the_next() {
        let mut body = body(vec![0; 3 * CHUNK], &Limit::new(1));
        let mut held = Bytes::new();
        let mut length = 0;
        while let Some(chunk) = next(&mut body) {
            held = chunk;
            length += held.len();
            held.advance(held.len());
        }
        assert_eq!((length, held.len()), (3 * CHUNK, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_that_is_kept_does_not_keep_a_long_exposition() {
        let limit = Limit::new(1);
        let whole: Vec<u8> = (0..=u8::MAX).cycle().take(9 * CHUNK).collect();
        let all = Bytes::from(whole.clone());
        let mut body = body(all.clone(), &limit);
        let first = next(&mut body).unwrap();
        assert_eq!(first, whole[..CHUNK]);
        tokio::time::advance(SECOND).await;
        limit.admit(None).unwrap(); // the body is not asked, but somebody is who waits
        assert!(all.is_unique());
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_permit_is_held_until_the_last_chunk_is_gone() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; SHORT + 1], &limit);
        drop(next(&mut body));
        let (first, last) = (next(&mut body), next(&mut body));
        assert!(body.is_end_stream());
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
        drop(next(&mut unread));
        assert!(limit.admit(None).is_none());
        drop(unread);
        assert!(limit.admit(None).is_some());

        let _empty = body(Bytes::new(), &limit);
        assert!(limit.admit(None).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_a_body_that_is_read_and_frees_the_permit() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; 2 * CHUNK + SHORT + 3], &limit);
        let queued = next(&mut body);
        tokio::time::advance(Duration::from_millis(999)).await;
        drop(next(&mut body).unwrap());
        assert!(limit.admit(None).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let error = body.frame().await.unwrap().unwrap_err();
        let text =
            "send the exposition in time: the reader is too slow or keeps its chunks, 16387 bytes were left";
        assert_eq!(error.to_string(), text);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert!(limit.admit(None).is_some());
        drop(queued);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_frees_the_permit_of_what_is_queued() {
        let limit = Limit::new(1);
        let mut body = body(vec![0; 10], &limit);
        let queued = next(&mut body).unwrap();
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
    async fn the_deadline_wakes_a_connection_and_ends_a_body_that_waits() {
        for length in [SHORT + 1, 3 * CHUNK] {
            let mut body = body(vec![0; length], &Limit::new(1));
            let (woken, waker) = Woken::new();
            let mut cx = Context::from_waker(&waker);
            let mut queued = Vec::new();
            while let Poll::Ready(chunk) = body.poll_next(&mut cx) {
                queued.push(chunk.unwrap().unwrap());
            }
            assert_eq!(queued.len(), 2);
            tokio::time::advance(SECOND).await;
            tokio::task::yield_now().await;
            assert!(woken.take());
            assert!(matches!(body.poll_next(&mut cx), Poll::Ready(Some(Err(_)))));
            assert!(matches!(body.poll_next(&mut cx), Poll::Ready(None)));
        }
    }
}
