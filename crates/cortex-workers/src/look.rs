use crate::snapshot::Snapshot;

/// A pool, whatever its workers are, for those that look at it now and then.
pub(crate) trait Look: Send + Sync {
    #[cfg(feature = "metrics")]
    fn name(&self) -> &str;

    fn look(&self) -> Snapshot;

    /// Reads the clock of the pool, in nanoseconds.
    #[cfg(feature = "health")]
    fn now(&self) -> u64;
}
