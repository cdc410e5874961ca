/// Votes, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) total: u64,
    pub(super) failed: u64,
    pub(super) slow_ok: u64,
    pub(super) slow_failed: u64,
}

impl Tally {
    pub(super) fn add(&mut self, failed: bool, slow: bool) {
        self.total += 1;
        self.failed += u64::from(failed);
        self.slow_ok += u64::from(slow && !failed);
        self.slow_failed += u64::from(slow && failed);
    }

    pub(super) fn remove(&mut self, failed: bool, slow: bool) {
        self.total -= 1;
        self.failed -= u64::from(failed);
        self.slow_ok -= u64::from(slow && !failed);
        self.slow_failed -= u64::from(slow && failed);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.total += other.total;
        self.failed += other.failed;
        self.slow_ok += other.slow_ok;
        self.slow_failed += other.slow_failed;
    }

    pub(super) const fn slow(self) -> u64 {
        self.slow_ok + self.slow_failed
    }

    /// Whether there is anything that could open the breaker.
    pub(super) const fn is_clean(self) -> bool {
        self.failed + self.slow_ok == 0
    }

    /// Failed votes over all votes; zero if there are none.
    pub(super) fn failure_ratio(self) -> f64 {
        ratio(self.failed, self.total)
    }

    /// Slow votes over all votes; zero if there are none.
    pub(super) fn slow_ratio(self) -> f64 {
        ratio(self.slow(), self.total)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts above 2^53 would take a century of votes"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
