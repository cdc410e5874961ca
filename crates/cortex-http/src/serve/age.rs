use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Wakes the task of a connection once, when the connection is old enough to end.
#[derive(Debug)]
pub(super) struct Age(Option<Pin<Box<Sleep>>>);

impl Age {
    /// Counts from when the connection was accepted; without a limit it costs nothing.
    pub(super) fn new(limit: Option<Duration>, since: Instant, random: impl FnOnce() -> u64) -> Self {
        let end = |limit| since + spread(limit, random());
        Self(limit.map(|limit| Box::pin(tokio::time::sleep_until(end(limit).into()))))
    }

    /// Ready once, when the time has come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.0 else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(())
    }
}

/// Returns a time within 10 % of the limit: connections that were opened together, as after a restart, are not to end
/// together.
fn spread(limit: Duration, random: u64) -> Duration {
    let tenth = limit / 10;
    let span = u64::try_from((tenth * 2).as_nanos()).unwrap_or(u64::MAX);
    // The high bits of the product: evenly from nothing to the whole span.
    let part = (u128::from(random) * u128::from(span)) >> 64;
    limit.saturating_sub(tenth) + Duration::from_nanos(u64::try_from(part).unwrap_or(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_spread_over_a_tenth_in_both_directions() {
        let hour = Duration::from_hours(1);
        assert_eq!(spread(hour, 0), Duration::from_mins(54));
        assert_eq!(spread(hour, u64::MAX / 2 + 1), hour);
        let latest = spread(hour, u64::MAX);
        assert!(latest > Duration::from_secs(3959) && latest <= Duration::from_mins(66));
        assert_eq!(spread(Duration::from_nanos(5), 7), Duration::from_nanos(5));
        let years = Duration::from_hours(10 * 365 * 24);
        assert!(spread(years, u64::MAX) >= years);
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_once_and_not_before_its_time() {
        let start = tokio::time::Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await; // of a handshake
        let mut age = Age::new(Some(Duration::from_secs(10)), start.into_std(), || 0);
        std::future::poll_fn(|cx| age.poll(cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        let mut never = Age::new(None, start.into_std(), || unreachable!("nobody asks"));
        std::future::poll_fn(|cx| {
            assert!(age.poll(cx).is_pending() && never.poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
}
