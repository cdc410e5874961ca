use super::breaker::Breaker;
use super::state_word::Phase;
use crate::observer::Observer;
use crate::registry::Keep;
use crate::shared::is_shared;
use cortex_core::Clock;

/// One stays that is in use, whose break is not over, or that somebody controls by hand.
impl<C, O: Observer, K: Clock> Keep for Breaker<C, O, K> {
    fn keep(&self) -> bool {
        if is_shared(&self.inner) {
            return true;
        }
        // Nothing is settled here: nobody is to hear of anything while a registry is locked.
        let word = self.inner.word.load();
        match word.phase() {
            Phase::Closed | Phase::Ramp | Phase::HalfOpen => false,
            Phase::Open => self
                .inner
                .until(word)
                .is_none_or(|until| self.inner.now() < until),
            Phase::Opening | Phase::Forced | Phase::Disabled | Phase::MetricsOnly => true,
        }
    }
}
