//! A pipeline shows what its policies do.

use super::around::Around;
use super::composed::Pipeline;
use super::operation::Operation;
use super::repeat::Repeat;
use crate::chaos::Chaos;
use crate::fallback::Fallback;
use crate::load_shed::LoadShed;
use crate::timeout::Timeout;
use crate::watch::{Watch, Watched};

impl<S: Watch> Watch for Pipeline<S> {
    fn watched(&self) -> Vec<Watched> {
        self.stages.watched()
    }
}

impl<P: Watch, Rest: Watch> Watch for Around<P, Rest> {
    fn watched(&self) -> Vec<Watched> {
        let mut all = self.policy.watched();
        all.extend(self.rest.watched());
        all
    }
}

impl<P, Rest: Watch> Watch for Repeat<P, Rest> {
    fn watched(&self) -> Vec<Watched> {
        self.rest.watched() // a retry or a hedge has no state
    }
}

/// Those without a state.
macro_rules! nothing {
    ($(<$($generic:ident),*> $policy:ty;)*) => {$(
        impl<$($generic),*> Watch for $policy {
            fn watched(&self) -> Vec<Watched> {
                Vec::new()
            }
        }
    )*};
}

nothing! {
    <> Operation;
    <O, K> Timeout<O, K>;
    <P, O> LoadShed<P, O>;
    <H, C, O> Fallback<H, C, O>;
    <E, A, W, O> Chaos<E, A, W, O>;
}
