use super::state::State;
use crate::sync::{AtomicU64, Ordering};

/// What a breaker is in, finer than its [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed = 0,
    MetricsOnly = 1,
    /// Closed, and letting a share of the calls through.
    Ramp = 2,
    Disabled = 3,
    HalfOpen = 4,
    Open = 5,
    /// Open, and the length of the break is being computed.
    Opening = 6,
    Forced = 7,
}

impl Phase {
    pub(super) const fn state(self) -> State {
        match self {
            Self::Closed | Self::Ramp => State::Closed,
            Self::MetricsOnly => State::MetricsOnly,
            Self::Disabled => State::Disabled,
            Self::HalfOpen => State::HalfOpen,
            Self::Open | Self::Opening => State::Open,
            Self::Forced => State::ForcedOpen,
        }
    }

    /// Whether the calls that it lets through vote, and are no probes.
    #[inline]
    pub(super) const fn takes_votes(self) -> bool {
        matches!(self, Self::Closed | Self::MetricsOnly | Self::Ramp)
    }

    /// Whether it rejects, and shows the counters of the phase that led there.
    pub(super) const fn keeps_counters(self) -> bool {
        matches!(self, Self::Open | Self::Opening | Self::Forced)
    }
}

/// Generation (45 bits), half-open permits that are left (16), phase (3).
///
/// At a million transitions a second, generations last a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

const PERMIT: u64 = 1 << 3;
const GENERATION: u32 = 19;

impl Word {
    /// That of no generation.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(generation: u64, phase: Phase, permits: u16) -> Self {
        Self(generation << GENERATION | u64::from(permits) << 3 | phase as u64)
    }

    #[inline]
    pub(super) const fn generation(self) -> u64 {
        self.0 >> GENERATION
    }

    #[inline]
    pub(super) const fn phase(self) -> Phase {
        match self.0 & 7 {
            0 => Phase::Closed,
            1 => Phase::MetricsOnly,
            2 => Phase::Ramp,
            3 => Phase::Disabled,
            4 => Phase::HalfOpen,
            5 => Phase::Open,
            6 => Phase::Opening,
            _ => Phase::Forced,
        }
    }

    pub(super) const fn permits(self) -> u64 {
        self.0 >> 3 & 0xffff
    }
}

/// The word that admits: whoever holds the breaker's lock sets it, and anybody takes and gives half-open permits.
///
/// A permit is taken and given in one exchange with the generation, so that none crosses into another cycle.
#[derive(Debug)]
pub(super) struct StateWord(AtomicU64);

impl StateWord {
    pub(super) fn new(word: Word) -> Self {
        Self(AtomicU64::new(word.0))
    }

    #[inline]
    pub(super) fn load(&self) -> Word {
        Word(self.0.load(Ordering::Acquire))
    }

    /// Starts another phase; what readers of the word have to find is written before.
    pub(super) fn set(&self, word: Word) {
        self.0.store(word.0, Ordering::Release);
    }

    /// Takes a half-open permit of the generation that was seen; `false` if it is over or none is left.
    pub(super) fn take(&self, generation: u64) -> bool {
        self.exchange(generation, |word| {
            (word.permits() > 0).then(|| Word(word.0 - PERMIT))
        })
    }

    /// Gives a permit back; `false` if its generation is over.
    pub(super) fn give(&self, generation: u64) -> bool {
        self.exchange(generation, |word| Some(Word(word.0 + PERMIT)))
    }

    /// Takes charge of a permit that was taken: it is given back unless it was used or its generation ends.
    pub(super) const fn held(&self, generation: u64) -> Held<'_> {
        Held {
            word: self,
            generation,
            used: false,
        }
    }

    fn exchange(&self, generation: u64, change: impl Fn(Word) -> Option<Word>) -> bool {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let word = Word(seen);
            if word.generation() != generation || word.phase() != Phase::HalfOpen {
                return false;
            }
            let Some(next) = change(word) else {
                return false;
            };
            match self
                .0
                .compare_exchange_weak(seen, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }
}

/// A half-open permit while code of others runs, which may panic.
#[derive(Debug)]
pub(super) struct Held<'a> {
    word: &'a StateWord,
    generation: u64,
    used: bool,
}

impl Held<'_> {
    /// Leaves the permit to somebody else, or uses it up.
    pub(super) fn used(mut self) {
        self.used = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.word.give(self.generation);
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_touch_each_other() {
        let phases = [
            Phase::Closed,
            Phase::MetricsOnly,
            Phase::Disabled,
            Phase::Ramp,
            Phase::HalfOpen,
            Phase::Open,
            Phase::Opening,
            Phase::Forced,
        ];
        for phase in phases {
            for (generation, permits) in [(1, 0), (1 << 44, u16::MAX), ((1 << 45) - 1, 1)] {
                let word = Word::new(generation, phase, permits);
                assert_eq!(
                    (word.generation(), word.phase(), word.permits()),
                    (generation, phase, u64::from(permits))
                );
            }
        }
    }

    #[test]
    fn permits_belong_to_their_generation() {
        let word = StateWord::new(Word::new(7, Phase::HalfOpen, 1));
        assert!(!word.take(6) && word.take(7) && !word.take(7));
        assert!(!word.give(6) && word.give(7));
        word.set(Word::new(8, Phase::HalfOpen, 1));
        assert!(!word.give(7));
        assert_eq!(word.load().permits(), 1);
        word.set(Word::new(8, Phase::Open, 1));
        assert!(!word.take(8) && !word.give(8));
    }
}
