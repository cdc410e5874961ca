use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest pause after an accept that failed for want of file descriptors.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is logged that connections cannot be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What an accept loop does when it gets no connections: it waits for longer and longer, and tells so now and then.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    pause: Duration,
    warned: Option<Instant>,
}

impl Trouble {
    /// Takes note of a connection.
    pub(crate) const fn is_over(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// Takes note of an accept that failed, and not for one connection alone, and waits before the next one. `what` says what
    /// cannot be accepted. Returns early when the loop is to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the pause.
    pub(crate) async fn wait(&mut self, error: io::Error, what: &str, closing: &CancellationToken) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(%error, "{what} cannot be accepted; trying again");
        }
        self.pause = (self.pause * 2).clamp(Duration::from_millis(10), LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            () = closing.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_second_until_a_connection_comes_or_it_ends() {
        let (mut trouble, closing) = (Trouble::default(), CancellationToken::new());
        let mut pauses = Vec::new();
        for round in 0..10 {
            if round == 9 {
                trouble.is_over();
            }
            let start = Instant::now();
            let error = io::Error::from_raw_os_error(24);
            trouble.wait(error, "connections", &closing).await;
            pauses.push(start.elapsed().as_millis());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 10]);
        closing.cancel();
        let start = Instant::now();
        let error = io::Error::from_raw_os_error(24);
        trouble.wait(error, "connections", &closing).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
