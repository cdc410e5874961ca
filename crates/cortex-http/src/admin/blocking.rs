use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// Runs what may block or panic beside the thread that answers probes, on so many threads at most.
///
/// Those that don't come back keep their thread: with all of them taken no more such calls are made, while all else is
/// answered as ever.
#[derive(Clone, Debug)]
pub(super) struct Blocking(Arc<Semaphore>);

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Earlier calls have not come back.
    Busy,
    /// It takes too long, and goes on.
    TimedOut,
    Panicked,
    /// Others have used up the time.
    NotAsked,
}

impl Blocking {
    pub(super) fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads)))
    }

    /// Returns what `call` does, unless it takes too long. Of what has the same `turn`, one call runs at a time.
    ///
    /// # Errors
    ///
    /// There is no result within `patience`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not stop a call that has begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: &Arc<Semaphore>,
        patience: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let deadline = Instant::now() + patience;
        let turn = permit(turn, deadline).await?;
        let thread = permit(&self.0, deadline).await?;
        let call = tokio::task::spawn_blocking(move || {
            let _held = (turn, thread);
            call()
        });
        match timeout_at(deadline, call).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) if error.is_panic() => Err(Unanswered::Panicked),
            Ok(Err(_)) => Err(Unanswered::Busy), // the port closes
            Err(_) => Err(Unanswered::TimedOut),
        }
    }
}

async fn permit(of: &Arc<Semaphore>, deadline: Instant) -> Result<OwnedSemaphorePermit, Unanswered> {
    match timeout_at(deadline, Arc::clone(of).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Unanswered::Busy),
    }
}

impl Unanswered {
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "earlier calls have not come back",
            Self::TimedOut => "it takes too long, and goes on",
            Self::Panicked => "it panicked; the log says where",
            Self::NotAsked => "it was not asked: the others took all the time",
        }
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        let status = match unanswered {
            Unanswered::Busy | Unanswered::NotAsked => StatusCode::SERVICE_UNAVAILABLE,
            Unanswered::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Unanswered::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let busy = status == StatusCode::SERVICE_UNAVAILABLE;
        let refusal = Self::new(status, unanswered.reason());
        if busy { refusal.retry_after(5) } else { refusal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SECOND: Duration = Duration::from_secs(1);
    const THREADS: usize = 4;

    #[tokio::test]
    async fn what_hangs_keeps_its_turn_and_its_thread_and_no_other() {
        let (short, long) = (Duration::from_millis(20), 60 * SECOND);
        let blocking = Blocking::new(THREADS);
        let turns: Vec<_> = (0..=THREADS).map(|_| Arc::new(Semaphore::new(1))).collect();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        for turn in &turns[..THREADS] {
            assert_eq!(blocking.run(turn, long, || 1).await, Ok(1));
            let released = Arc::clone(&released);
            let hangs = blocking.run(turn, short, move || {
                let _ = released.lock().map(|released| released.recv());
            });
            assert_eq!(hangs.await, Err(Unanswered::TimedOut));
        }
        let free = &turns[THREADS];
        assert_eq!(blocking.run(&turns[0], short, || 1).await, Err(Unanswered::Busy));
        assert_eq!(blocking.run(free, short, || 1).await, Err(Unanswered::Busy));
        drop(release);
        assert_eq!(blocking.run(free, long, || 1).await, Ok(1));
        assert_eq!(blocking.run(&turns[0], long, || 1).await, Ok(1));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_gives_its_turn_back() {
        let (blocking, turn) = (Blocking::new(THREADS), Arc::new(Semaphore::new(1)));
        for _ in 0..2 * THREADS {
            let panicked = blocking.run(&turn, 60 * SECOND, || panic!("seeded")).await;
            assert_eq!(panicked, Err::<(), _>(Unanswered::Panicked));
        }
    }
}
