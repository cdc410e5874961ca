use std::time::Duration;

/// What becomes of a call when the queue is full.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Overflow, Pool};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let builder = Pool::<Closures>::builder("mail").threads(1).queue(100);
/// let pool = builder.overflow(Overflow::Timeout(Duration::from_secs(1))).build().await.unwrap();
/// assert_eq!(pool.run(|_, _| "sent").await.unwrap(), "sent");
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// It waits for a place, in the order of the calls, until its deadline.
    #[default]
    Wait,
    /// It waits for so long.
    Timeout(Duration),
    /// It is refused at once.
    Reject,
    /// The oldest task of the lowest priority is discarded in its favour; it is refused if all that wait are above it.
    DropOldest,
    /// It is discarded itself ([`Discard::Overflow`](crate::Discard::Overflow)): for what is done as well later, or not at all.
    DropNewest,
    /// It runs on the thread of the caller: closures of a pool of [`Closures`](crate::Closures) only. The thread of an
    /// async caller is not its own: with the feature `tokio`, on a thread of tokio's multi-thread runtime, the other
    /// tasks of that are handed to another thread meanwhile (`block_in_place`); anywhere else it waits.
    CallerRuns,
}
