#[cfg(cortex_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(cortex_loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells when what threads remember of a family is void: its number goes up with each removal.
///
/// The order matters: who removes a series takes it out first and raises the number then, and who looks one up reads
/// the number first. So whatever is found under a number was there when the number was read, and a thread that knows
/// of a removal finds nothing of what it took out, neither by searching nor remembered.
#[derive(Debug)]
pub(super) struct Epoch {
    number: AtomicU64,
}

impl Epoch {
    pub(super) fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Asks a thread's memory for what it remembers of now; it gives back what it could not use. Then `search` has to
    /// look, and what it finds may be remembered as of the number that it is given.
    #[inline]
    pub(super) fn look_up<R, F>(
        &self,
        remembered: impl FnOnce(u64) -> Result<R, F>,
        search: impl FnOnce(u64, F) -> R,
    ) -> R {
        let now = self.now();
        match remembered(now) {
            Ok(result) => result,
            Err(unused) => search(now, unused),
        }
    }

    /// Runs what takes series out of where they are found and says whether there were any.
    pub(super) fn remove(&self, take_out: impl FnOnce() -> bool) -> bool {
        let any = take_out();
        if any {
            self.number.fetch_add(1, Ordering::Release);
        }
        any
    }
}
