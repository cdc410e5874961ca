use super::inner::{Inner, Snapshot};
use super::policy::Bulkhead;
use crate::observer::Observer;
use crate::watch::{Look, Reading, Watch, Watched};
use cortex_core::Clock;

impl<O: Observer, K: Clock> Look for Inner<O, K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn look(&self) -> Reading {
        let Snapshot {
            max_concurrent,
            in_use,
            queue,
            waiting,
            ..
        } = self.snapshot();
        Reading::Bulkhead {
            in_use,
            max_concurrent,
            waiting,
            queue,
        }
    }
}

impl<O: Observer + 'static, K: Clock + 'static> Watch for Bulkhead<O, K> {
    fn watched(&self) -> Vec<Watched> {
        vec![Watched::of(&self.inner)]
    }
}
