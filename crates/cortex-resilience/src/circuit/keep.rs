use super::breaker::Breaker;
use super::state_word::Phase;
use super::time::NEVER;
use crate::observer::Observer;
use crate::registry::Keep;
use crate::shared::is_shared;
use cortex_core::Clock;

/// One stays that is in use, whose break or probing is not over, or that somebody controls by hand.
impl<C, O: Observer, K: Clock> Keep for Breaker<C, O, K> {
    fn keep(&self) -> bool {
        if is_shared(&self.inner) {
            return true;
        }
        // Nothing is settled here: nobody is to hear of anything while a registry is locked.
        let word = self.inner.word.load();
        match word.phase() {
            Phase::Closed | Phase::Ramp => false,
            // What comes when its time is over is not known here, and it may be a long break. One whose time never is would stay
            // for good, though nobody probes.
            Phase::HalfOpen => self.inner.until(word) != Some(NEVER),
            Phase::Open => self
                .inner
                .until(word)
                .is_none_or(|until| self.inner.now() < until),
            Phase::Opening | Phase::Forced | Phase::Disabled | Phase::MetricsOnly => true,
        }
    }

    /// Ends probing that is overdue, so that a break that nobody has asked for is known, and will be over.
    fn settle(&self) {
        let word = self.inner.word.load();
        if word.phase() == Phase::HalfOpen {
            let _settled = self.state();
        }
    }
}
