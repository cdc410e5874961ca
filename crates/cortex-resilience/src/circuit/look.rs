use super::breaker::Breaker;
use super::inner::Inner;
use crate::observer::Observer;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_core::Clock;

impl<O: Observer, K: Clock> Look for Inner<O, K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> Reading {
        Reading::Breaker {
            snapshot: self.snapshot(),
            left: self.remaining(),
        }
    }
}

impl<C, O: Observer + 'static, K: Clock + 'static> Watch for Breaker<C, O, K> {
    fn watched(&self) -> Vec<Watched> {
        vec![Watched::of(&self.inner)]
    }
}
