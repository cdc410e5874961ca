use super::limiter::{Inner, RateLimiter};
use crate::observer::Observer;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_core::Clock;

impl<O: Observer, K: Clock> Look for Inner<O, K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> Reading {
        let snapshot = self.snapshot();
        Reading::RateLimit {
            tokens: snapshot.tokens,
            burst: snapshot.quota.tokens(),
        }
    }
}

impl<O: Observer + 'static, K: Clock + 'static> Watch for RateLimiter<O, K> {
    fn watched(&self) -> Vec<Watched> {
        vec![Watched::of(&self.inner)]
    }
}
