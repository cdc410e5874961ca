#[cfg(feature = "http")]
use super::body::PermitBody;

/// Until when a service holds the permit of a call that it answers: a type that stands for a rule, and has no value.
pub trait Hold<T, P> {
    /// What the service answers.
    type Answer;

    /// Does with the permit what is to be done when the service answers.
    fn hold(answer: T, permit: Option<P>) -> Self::Answer;
}

/// Holds a permit until the service answers: the default of [`BulkheadLayer`](super::BulkheadLayer).
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer, UntilAnswer};
///
/// let bulkhead = Bulkhead::builder("search").max_concurrent(20).build()?;
/// let layer: BulkheadLayer<UntilAnswer> = BulkheadLayer::new(bulkhead);
/// # drop(layer);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilAnswer;

impl<T, P> Hold<T, P> for UntilAnswer {
    type Answer = T;

    #[inline]
    fn hold(answer: T, _permit: Option<P>) -> T {
        answer
    }
}

/// Holds a permit until the body of the response has ended; see
/// [`BulkheadLayer::until_body_end`](super::BulkheadLayer::until_body_end).
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::{Bulkhead, BulkheadLayer, UntilBodyEnd};
///
/// let bulkhead = Bulkhead::builder("search").max_concurrent(20).build()?;
/// let layer: BulkheadLayer<UntilBodyEnd> = BulkheadLayer::new(bulkhead).until_body_end();
/// # drop(layer);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UntilBodyEnd;

#[cfg(feature = "http")]
impl<B: http_body::Body, P> Hold<http::Response<B>, P> for UntilBodyEnd {
    type Answer = http::Response<PermitBody<B, P>>;

    fn hold(answer: http::Response<B>, permit: Option<P>) -> Self::Answer {
        answer.map(|body| PermitBody::held(body, permit))
    }
}
