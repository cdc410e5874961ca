//! Until when a service waits with what it has to tell a policy.

#[cfg(feature = "http")]
use crate::http::{EndVote, VoteBody};

/// When a policy is told how a call ended that a service answered: a type that stands for a rule, and has no value.
///
/// What is no success is told at once.
pub trait VoteWhen<T, V> {
    /// What the service answers.
    type Answer;

    /// Whether the policy hears of a success later.
    const WAITS: bool;

    /// Whether the call takes until then, for who asks whether it was slow.
    const TIMED: bool = false;

    /// Makes the answer; `None` says that the policy was told already.
    fn answer(answer: T, vote: Option<V>) -> Self::Answer;
}

/// Holds a permit, or a vote, until the service answers: the default of layers.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, BreakerLayer, UntilAnswer};
///
/// let breaker = Breaker::builder("search").build()?;
/// let layer: BreakerLayer<_, _, _, UntilAnswer> = BreakerLayer::new(breaker);
/// # drop(layer);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilAnswer;

impl<T, V> VoteWhen<T, V> for UntilAnswer {
    type Answer = T;

    const WAITS: bool = false;

    #[inline]
    fn answer(answer: T, _: Option<V>) -> T {
        answer
    }
}

/// Holds a permit, or a vote, until the body of the response has ended; see `until_body_end` of the layers of breakers,
/// [gates](crate::gate::GateLayer::until_body_end) and bulkheads.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, BreakerLayer, UntilBodyEnd};
///
/// let breaker = Breaker::builder("search").build()?;
/// let layer: BreakerLayer<_, _, _, UntilBodyEnd> = BreakerLayer::new(breaker).until_body_end();
/// # drop(layer);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilBodyEnd;

#[cfg(feature = "http")]
impl<B: http_body::Body, V: EndVote> VoteWhen<http::Response<B>, V> for UntilBodyEnd {
    type Answer = http::Response<VoteBody<B, V>>;

    const WAITS: bool = true;

    fn answer(answer: http::Response<B>, vote: Option<V>) -> Self::Answer {
        VoteBody::of(answer, vote)
    }
}

/// As [`UntilBodyEnd`], and the call takes until then; see
/// [`slow_until_body_end`](crate::circuit::BreakerLayer::slow_until_body_end).
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, BreakerLayer, TimedUntilBodyEnd};
/// use std::time::Duration;
///
/// let breaker = Breaker::builder("search").slow_call(Duration::from_secs(1), 0.5).build()?;
/// let layer: BreakerLayer<_, _, _, TimedUntilBodyEnd> = BreakerLayer::new(breaker).slow_until_body_end();
/// # drop(layer);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimedUntilBodyEnd;

#[cfg(feature = "http")]
impl<B: http_body::Body, V: EndVote> VoteWhen<http::Response<B>, V> for TimedUntilBodyEnd {
    type Answer = http::Response<VoteBody<B, V>>;

    const WAITS: bool = true;
    const TIMED: bool = true;

    fn answer(answer: http::Response<B>, vote: Option<V>) -> Self::Answer {
        VoteBody::of(answer, vote)
    }
}
