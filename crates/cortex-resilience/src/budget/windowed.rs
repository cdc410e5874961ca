use super::budget::Budget;
use super::payments::{Payments, index};
use crate::build_error::BuildError;
use crate::sync::{Mutex, lock};
use crate::time::nanos;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::time::Duration;

/// Sets up a budget that first attempts pay into; made by [`Budget::windowed`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::Budget;
/// use std::time::Duration;
///
/// let budget = Budget::windowed(0.1).min_per_sec(2).ttl(Duration::from_secs(5)).build()?;
/// assert_eq!(budget.level(), 10.0); // what is there before anybody has paid in
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct WindowedBuilder {
    ratio: f64,
    min_per_sec: u32,
    ttl: Duration,
    clock: Box<dyn Clock>,
}

impl WindowedBuilder {
    pub(super) fn new(ratio: f64) -> Self {
        Self {
            ratio,
            min_per_sec: 10,
            ttl: Duration::from_secs(10),
            clock: Box::new(TscClock),
        }
    }

    /// Sets how many attempts beyond the first may be made each second whatever was paid in; by default 10.
    #[must_use]
    pub const fn min_per_sec(mut self, attempts: u32) -> Self {
        self.min_per_sec = attempts;
        self
    }

    /// Sets how long what was paid in or taken out counts, to a tenth of this: 10 ms to an hour; by default 10 s.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the clock; by default the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Makes the budget.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Budget, BuildError> {
        let ratio = (self.ratio * 1e6).round();
        if !(0.0..=1e9).contains(&ratio) {
            return Err(BuildError::new("ratio", self.ratio.to_string(), "0 to 1000"));
        }
        if !(Duration::from_millis(10)..=Duration::from_hours(1)).contains(&self.ttl) {
            return Err(BuildError::new(
                "ttl",
                format!("{:?}", self.ttl),
                "10 ms to an hour",
            ));
        }
        let millis = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        let origin = self.clock.nanos();
        Ok(Budget::of_window(Windowed {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number of at most a billion"
            )]
            deposit: ratio as u64,
            reserve: u64::from(self.min_per_sec) * millis * (UNIT / 1000),
            payments: Payments::new(origin, nanos(self.ttl) / SLOTS as u64),
            taken: Mutex::new([Taken::default(); SLOTS]),
            clock: self.clock,
        }))
    }
}

impl fmt::Debug for WindowedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowedBuilder")
            .field("ratio", &self.ratio)
            .field("min_per_sec", &self.min_per_sec)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// How many slots there are in a window.
pub(super) const SLOTS: usize = 10;
/// What one attempt costs: budgets count in millionths of it.
pub(super) const UNIT: u64 = 1_000_000;

/// First attempts pay for those beyond the first.
///
/// Payments come with every call. They only add, so that a balance under the lock of what was taken is never too high.
pub(super) struct Windowed {
    deposit: u64,
    reserve: u64,
    payments: Payments,
    taken: Mutex<[Taken; SLOTS]>,
    clock: Box<dyn Clock>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    time: u64,
    attempts: u64,
}

impl Windowed {
    fn time(&self) -> u64 {
        self.payments.time(self.clock.nanos())
    }

    #[inline]
    pub(super) fn pay_in(&self) {
        if self.deposit != 0 {
            self.payments.add(self.clock.nanos());
        }
    }

    /// Takes an attempt out, and says in which slot.
    pub(super) fn take(&self) -> Option<u64> {
        let mut taken = lock(&self.taken);
        let time = self.time(); // under the lock: later than of those who came before
        if self.balance(&taken, time) < UNIT {
            return None;
        }
        let slot = &mut taken[index(time)];
        if slot.time < time {
            *slot = Taken { time, attempts: 0 };
        }
        slot.attempts += 1;
        Some(slot.time)
    }

    pub(super) fn put_back(&self, time: u64) {
        let slot = &mut lock(&self.taken)[index(time)];
        if slot.time == time {
            slot.attempts = slot.attempts.saturating_sub(1);
        }
    }

    /// Returns what is there, in millionths of an attempt.
    pub(super) fn level(&self) -> u64 {
        let taken = lock(&self.taken);
        self.balance(&taken, self.time())
    }

    fn balance(&self, taken: &[Taken; SLOTS], now: u64) -> u64 {
        let counts = |time: u64| time + SLOTS as u64 > now;
        let paid_in = self.payments.sum(counts, self.deposit);
        let taken: u64 = taken
            .iter()
            .filter(|slot| counts(slot.time))
            .map(|slot| slot.attempts.saturating_mul(UNIT))
            .sum();
        self.reserve.saturating_add(paid_in).saturating_sub(taken)
    }
}

impl fmt::Debug for Windowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windowed")
            .field("deposit", &self.deposit)
            .field("reserve", &self.reserve)
            .field("slot", &self.payments.slot())
            .finish_non_exhaustive()
    }
}
