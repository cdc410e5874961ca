use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Polls a future until it is ready: for one that waits for nothing outside, without the price of a runtime.
///
/// # Examples
///
/// ```
/// assert_eq!(cortex_bench::drive(async { 7 }), 7);
/// ```
pub fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_again_after_a_pause() {
        let mut pauses = 3;
        let future = std::future::poll_fn(|_| {
            if pauses == 0 {
                return Poll::Ready("done");
            }
            pauses -= 1;
            Poll::Pending
        });
        assert_eq!(drive(future), "done");
    }
}
