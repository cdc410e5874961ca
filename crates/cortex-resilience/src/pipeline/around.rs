use super::policy::Wrap;
use super::stages::{Attempts, Execute, Stages};
use crate::attempt::Attempt;
use crate::policy_error::Through;

/// A policy around others, or around the operation.
#[derive(Clone, Copy, Debug)]
pub struct Around<P, Rest> {
    pub(super) policy: P,
    pub(super) rest: Rest,
}

impl<P, Rest> Around<P, Rest> {
    /// Returns the policy.
    pub const fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns what is inside.
    pub const fn rest(&self) -> &Rest {
        &self.rest
    }
}

impl<P, Rest: Stages> Stages for Around<P, Rest> {
    type Through<C> = Through<Rest::Through<C>>;

    fn through<C>(classify: C) -> Self::Through<C> {
        Through(Rest::through(classify))
    }
}

impl<'a, Op, P, Rest> Execute<'a, Op> for Around<P, Rest>
where
    Rest: Execute<'a, Op>,
    P: Wrap<Rest::Future> + 'a,
{
    type Future = P::Call<'a>;

    #[inline]
    fn execute(&'a self, operation: Op) -> Self::Future {
        self.policy.wrap(self.rest.execute(operation))
    }
}

impl<'a, Op, P, Rest> Attempts<'a, Op> for Around<P, Rest>
where
    Rest: Attempts<'a, Op>,
    P: Wrap<Rest::Future> + 'a,
{
    type Future = P::Call<'a>;

    #[inline]
    fn attempt(&'a self, operation: &mut Op, attempt: Attempt) -> Self::Future {
        self.policy.wrap(self.rest.attempt(operation, attempt))
    }
}
