use super::adaptive::{AdaptiveThrottle, Inner};
use crate::observer::Observer;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_core::Clock;

impl<O: Observer, K: Clock> Look for Inner<O, K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> Reading {
        Reading::Throttle(self.rejection_rate())
    }
}

impl<C, O: Observer + 'static, K: Clock + 'static> Watch for AdaptiveThrottle<C, O, K> {
    fn watched(&self) -> Vec<Watched> {
        vec![Watched::of(&self.inner)]
    }
}
