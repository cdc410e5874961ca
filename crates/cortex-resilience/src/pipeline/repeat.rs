use super::policy::Policy;
use super::stages::{Attempts, Execute, Stages};
use crate::attempt::Attempt;
use crate::hedge::{self, Hedge, Race};
use crate::policy_error::Through;
use crate::retry::{Make, Retry, Run};
use std::fmt;
use std::task::{Context, Poll};

/// A retry or a hedge around what makes an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Repeat<P, Rest> {
    pub(super) policy: P,
    pub(super) rest: Rest,
}

impl<P, Rest> Repeat<P, Rest> {
    /// Returns the retry or the hedge.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns what is inside.
    pub const fn rest(&self) -> &Rest {
        &self.rest
    }
}

impl<C, O, K> Policy for Retry<C, O, K> {
    type Over<Rest: Stages> = Repeat<Retry<Rest::Through<C>, O, K>, Rest>;

    fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest> {
        Repeat {
            policy: self.map_classify(Rest::through),
            rest,
        }
    }
}

impl<C, O, K, Rest: Stages> Stages for Repeat<Retry<C, O, K>, Rest> {
    type Through<D> = Through<Rest::Through<D>>;

    fn through<D>(classify: D) -> Self::Through<D> {
        Through(Rest::through(classify))
    }
}

impl<'a, Op, C, O, K, Rest> Execute<'a, Op> for Repeat<Retry<C, O, K>, Rest>
where
    Rest: Attempts<'a, Op> + 'a,
    Rest::Future: Future,
    C: 'a,
    O: 'a,
    K: 'a,
{
    type Future = Run<'a, Again<'a, Rest, Op>, Rest::Future, C, O, K>;

    #[inline]
    fn execute(&'a self, operation: Op) -> Self::Future {
        let again = Again {
            rest: &self.rest,
            operation,
        };
        Run::borrowed(&self.policy, again)
    }
}

impl<C, O, K> Policy for Hedge<C, O, K> {
    type Over<Rest: Stages> = Repeat<Hedge<Rest::Through<C>, O, K>, Rest>;

    fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest> {
        Repeat {
            policy: self.map_classify(Rest::through),
            rest,
        }
    }
}

impl<C, O, K, Rest: Stages> Stages for Repeat<Hedge<C, O, K>, Rest> {
    type Through<D> = Through<Rest::Through<D>>;

    fn through<D>(classify: D) -> Self::Through<D> {
        Through(Rest::through(classify))
    }
}

impl<'a, Op, C, O, K, Rest> Execute<'a, Op> for Repeat<Hedge<C, O, K>, Rest>
where
    Rest: Attempts<'a, Op> + 'a,
    Rest::Future: Future,
    C: 'a,
    O: 'a,
    K: 'a,
{
    type Future = Race<'a, Again<'a, Rest, Op>, Rest::Future, C, O, K>;

    #[inline]
    fn execute(&'a self, operation: Op) -> Self::Future {
        let again = Again {
            rest: &self.rest,
            operation,
        };
        Race::borrowed(&self.policy, again)
    }
}

impl<'a, Rest, Op> hedge::Make for Again<'a, Rest, Op>
where
    Rest: Attempts<'a, Op>,
    Rest::Future: Future,
{
    type Future = Rest::Future;

    fn make(&mut self, attempt: Attempt) -> Option<Self::Future> {
        Some(self.rest.attempt(&mut self.operation, attempt))
    }
}

/// Makes attempts behind policies.
pub struct Again<'a, Rest, Op> {
    rest: &'a Rest,
    operation: Op,
}

impl<Rest, Op> fmt::Debug for Again<'_, Rest, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").finish_non_exhaustive()
    }
}

impl<'a, Rest, Op, T, E> Make for Again<'a, Rest, Op>
where
    Rest: Attempts<'a, Op>,
    Rest::Future: Future<Output = Result<T, E>>,
{
    type Future = Rest::Future;
    type Error = E;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn make(&mut self, attempt: Attempt) -> Self::Future {
        self.rest.attempt(&mut self.operation, attempt)
    }
}
