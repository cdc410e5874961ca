use super::counters::Count;
use super::inner::Inner;
use super::state_word::{Phase, Word};
use super::time::NEVER;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::sync::{Ordering, lock};
use cortex_core::Clock;
use std::time::Duration;

/// What a call that was let through has to tell when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// What let it through: half-open, it is a probe, disabled, nobody counts it, and else it votes.
    word: Word,
    /// After when it is slow, by the threshold at its beginning; `NEVER` if nobody asks.
    slow_after: u64,
}

impl Ticket {
    /// That of a call that was not let through yet.
    pub(super) const NONE: Self = Self {
        word: Word::NONE,
        slow_after: NEVER,
    };

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.word.generation()
    }

    #[inline]
    pub(super) const fn phase(self) -> Phase {
        self.word.phase()
    }

    /// Returns one whose time ends here: it is slow already, or never.
    #[cfg(feature = "tower")]
    pub(super) const fn stopped(self, now: u64) -> Self {
        let slow_after = if self.is_slow(now) { 0 } else { NEVER };
        Self {
            word: self.word,
            slow_after,
        }
    }

    /// Says whether somebody asks how long the call takes.
    #[cfg(feature = "tower")]
    pub(super) const fn is_timed(self) -> bool {
        self.slow_after != NEVER
    }

    /// Slow is strictly longer than the threshold.
    #[inline]
    pub(super) const fn is_slow(self, now: u64) -> bool {
        now > self.slow_after
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Lets a call through, or not.
    #[inline]
    pub(super) fn admit(&self) -> Result<Ticket, Rejected> {
        let word = self.word.load();
        match word.phase() {
            Phase::Closed | Phase::MetricsOnly => Ok(self.ticket(word)),
            _ => self.admit_otherwise(word),
        }
    }

    #[inline]
    fn ticket(&self, word: Word) -> Ticket {
        let slow = self.slow.load(Ordering::Relaxed);
        let slow_after = if slow == NEVER {
            NEVER
        } else {
            self.now().saturating_add(slow)
        };
        Ticket { word, slow_after }
    }

    pub(super) fn probe(&self, word: Word, now: u64) -> Ticket {
        let slow_after = now.saturating_add(self.slow.load(Ordering::Relaxed));
        Ticket { word, slow_after }
    }

    /// Each turn that does not end it has moved the state on, or seen another do so.
    fn admit_otherwise(&self, mut word: Word) -> Result<Ticket, Rejected> {
        loop {
            match word.phase() {
                Phase::Closed | Phase::MetricsOnly => {
                    return Ok(self.ticket(word));
                }
                Phase::Disabled => {
                    let slow_after = NEVER;
                    return Ok(Ticket { word, slow_after });
                }
                Phase::Forced => return Err(self.reject(Reason::Forced, None)),
                Phase::Opening => {
                    if let Some(hint) = self.hint(word) {
                        return Err(self.reject_until(Reason::Open, word, hint, self.now()));
                    }
                }
                Phase::Open => {
                    let now = self.now();
                    match self.until(word) {
                        Some(until) if now < until => {
                            return Err(self.reject_until(Reason::Open, word, until, now));
                        }
                        Some(_) => {
                            if let Some(ticket) = self.begin_probing(word, now) {
                                return Ok(ticket);
                            }
                        }
                        None => {}
                    }
                }
                Phase::HalfOpen => {
                    let now = self.now();
                    if self.until(word).is_some_and(|until| now >= until) {
                        self.end_probing(word.generation(), now);
                    } else if self.word.take(word.generation()) {
                        return Ok(self.probe(word, now));
                    } else if let Some(hint) = self.hint(word) {
                        return Err(self.reject_until(Reason::HalfOpen, word, hint, now));
                    }
                }
                Phase::Ramp => match self.admit_by_share(word) {
                    Some(true) => return Ok(self.ticket(word)),
                    Some(false) => return Err(self.reject(Reason::Ramp, None)),
                    None => {}
                },
            }
            word = self.word.load();
        }
    }

    /// Says whether a breaker that has closed of late lets this call through; `None` if the state has changed.
    fn admit_by_share(&self, word: Word) -> Option<bool> {
        let now = self.now();
        let mut core = lock(&self.core);
        if self.word.load() != word {
            return None;
        }
        let elapsed = now.saturating_sub(core.since);
        if elapsed >= core.ramp.length {
            self.word.set(Word::new(word.generation(), Phase::Closed, 0));
            return Some(true);
        }
        Some(core.ramp.admits(elapsed))
    }

    /// Says whether a call that came now would be turned away; nothing changes.
    #[cfg(feature = "tower")]
    pub(super) fn turns_away(&self) -> bool {
        let word = self.word.load();
        match word.phase() {
            Phase::Closed | Phase::MetricsOnly | Phase::Disabled | Phase::Ramp => false,
            Phase::Forced | Phase::Opening => true,
            Phase::Open => self.goes_on(word),
            Phase::HalfOpen => word.permits() == 0 && self.goes_on(word),
        }
    }

    #[cfg(feature = "tower")]
    fn goes_on(&self, word: Word) -> bool {
        let now = self.now();
        self.until(word).is_some_and(|until| now < until)
    }

    /// Refuses a call that was told so before, whatever has become of the state.
    #[cfg(feature = "tower")]
    pub(super) fn refuse(&self) -> Rejected {
        let word = self.word.load();
        let reason = match word.phase() {
            Phase::Forced => return self.reject(Reason::Forced, None),
            Phase::HalfOpen => Reason::HalfOpen,
            _ => Reason::Open,
        };
        let rejects = match word.phase() {
            Phase::HalfOpen => word.permits() == 0,
            phase => matches!(phase, Phase::Open | Phase::Opening),
        };
        match self.hint(word) {
            Some(hint) if rejects => self.reject_until(reason, word, hint, self.now()),
            _ => self.reject(reason, Some(Duration::ZERO)), // the next call may get through
        }
    }

    fn reject_until(&self, reason: Reason, word: Word, then: u64, now: u64) -> Rejected {
        self.reject(reason, Some(self.left(word, then, now)))
    }

    #[inline]
    fn reject(&self, reason: Reason, retry_after: Option<Duration>) -> Rejected {
        let rejected = Rejected::new(reason, retry_after);
        self.shards
            .count(self.cycle.load(Ordering::Relaxed), Count::Rejected);
        self.tell(&Event::Rejected(rejected));
        rejected
    }

    /// Returns whether a call that ends now was slow, and the time, which is read only if somebody asks.
    #[inline]
    pub(super) fn end(&self, ticket: Ticket, asks: bool) -> (bool, u64) {
        if ticket.slow_after == NEVER && !asks {
            return (false, NEVER);
        }
        let now = self.now();
        (ticket.is_slow(now), now)
    }
}
