use crate::account::Account;
use crate::alloc::Tags;
use crate::deadline::{Checks, Deadline, Watch};
use crate::imports::Imports;
use crate::memory::Slots;
use crate::module::Compiler;
use crate::quota::Quota;
use crate::reset::Reset;
use crate::tally::Tally;
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the handles of a host and its instances share.
pub(crate) struct Shared {
    pub(crate) quota: Quota,
    pub(crate) deadline: Deadline,
    pub(crate) reset: Reset,
    pub(crate) imports: Imports,
    /// How long the arena of an instance is, and its region.
    pub(crate) arena: u32,
    pub(crate) region: u32,
    pub(crate) account: Arc<Account>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) watch: Watch,
    pub(crate) compiler: Compiler,
    pub(crate) tags: Arc<Tags>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When idle memories last gave pages back.
    pub(crate) decayed: AtomicU64,
}

/// So many nanoseconds pass before idle memories give half of their pages back.
const DECAY: u64 = 10_000_000_000;

impl Shared {
    /// Returns what code has to look at: whether it was told to stop, always, for whoever waits may go away.
    pub(crate) const fn checks(&self) -> Checks {
        Checks {
            fuel: matches!(self.deadline, Deadline::Fuel(_)),
            stop: true,
        }
    }

    /// Has idle memories give pages back, if that was long ago.
    pub(crate) fn decay(&self) {
        let (now, before) = (self.clock.nanos(), self.decayed.load(Ordering::Relaxed));
        let is_due = now.saturating_sub(before) >= DECAY;
        let order = Ordering::Relaxed;
        if is_due && self.decayed.compare_exchange(before, now, order, order).is_ok() {
            self.slots.decay();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("quota", &self.quota)
            .field("deadline", &self.deadline)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}
