use super::inner::Inner;
use super::limit::Limit;
use super::limiter::AdaptiveLimit;
use crate::observer::Observer;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_core::Clock;

impl<L: Limit, O: Observer, K: Clock> Look for Inner<L, O, K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> Reading {
        Reading::Adaptive {
            in_flight: self.in_flight(),
            limit: self.limit(),
        }
    }
}

impl<L: Limit + 'static, C, O: Observer + 'static, K: Clock + 'static> Watch for AdaptiveLimit<L, C, O, K> {
    fn watched(&self) -> Vec<Watched> {
        vec![Watched::of(&self.inner)]
    }
}
