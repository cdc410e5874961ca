#[cfg(feature = "tokio")]
pub(super) use tokio::time::{Sleep as Delay, sleep};

/// Without a timer nothing is late.
#[cfg(not(feature = "tokio"))]
pub(super) type Delay = std::future::Pending<()>;

#[cfg(not(feature = "tokio"))]
pub(super) fn sleep(_: std::time::Duration) -> Delay {
    std::future::pending()
}
