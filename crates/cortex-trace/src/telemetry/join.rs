//! Waiting for several flushes at once, on any runtime or none.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::FlushError;

/// A flush or a shutdown under way; it begins when it is first polled.
pub(super) type Flush<'a> = Pin<Box<dyn Future<Output = Result<(), FlushError>> + Send + 'a>>;

/// Waits for all of them, and returns what all together did not get done.
pub(super) async fn all(flushes: impl IntoIterator<Item = Flush<'_>>) -> Result<(), FlushError> {
    let mut flushes: Vec<_> = flushes.into_iter().map(Some).collect();
    let mut errors: Option<FlushError> = None;
    poll_fn(|cx| {
        for slot in &mut flushes {
            let Some(Poll::Ready(result)) = slot.as_mut().map(|flush| flush.as_mut().poll(cx)) else {
                continue;
            };
            *slot = None;
            if let Err(error) = result {
                match &mut errors {
                    Some(errors) => errors.extend(error),
                    None => errors = Some(error),
                }
            }
        }
        if flushes.iter().any(Option::is_some) {
            return Poll::Pending;
        }
        Poll::Ready(errors.take().map_or(Ok(()), Err))
    })
    .await
}

/// Blocks the thread until the future is done; other threads do the work, so no runtime is needed.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn late(name: &'static str) -> Flush<'static> {
        Box::pin(async move {
            Err(FlushError {
                late: vec![name],
                ..FlushError::default()
            })
        })
    }

    #[test]
    fn all_are_waited_for_and_all_errors_told() {
        let done = || -> Flush<'static> { Box::pin(async { Ok(()) }) };
        assert!(block_on(all([done(), done()])).is_ok());
        assert!(block_on(all([])).is_ok());
        let error = block_on(all([late("a"), done(), late("b")])).unwrap_err();
        assert_eq!(error.late(), ["a", "b"]);
    }

    #[test]
    fn the_thread_wakes_when_another_one_is_done() {
        let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
        let waking = thread::spawn(move || receiver.recv_timeout(Duration::from_mins(1)).unwrap().wake());
        let mut polled = 0;
        block_on(poll_fn(|cx| {
            polled += 1;
            if polled == 1 {
                sender.send(cx.waker().clone()).unwrap();
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        waking.join().unwrap();
        assert!(polled >= 2);
    }
}
