#[cfg(feature = "http")]
use super::body::PermitBody;
use crate::hold::UntilAnswer;
#[cfg(feature = "http")]
use crate::hold::UntilBodyEnd;

/// Until when a service holds the permit of a call that it answers: a type that stands for a rule, and has no value.
pub trait Hold<T, P> {
    /// What the service answers.
    type Answer;

    /// Does with the permit what is to be done when the service answers.
    fn hold(answer: T, permit: Option<P>) -> Self::Answer;
}

impl<T, P> Hold<T, P> for UntilAnswer {
    type Answer = T;

    #[inline]
    fn hold(answer: T, _permit: Option<P>) -> T {
        answer
    }
}

#[cfg(feature = "http")]
impl<B: http_body::Body, P> Hold<http::Response<B>, P> for UntilBodyEnd {
    type Answer = http::Response<PermitBody<B, P>>;

    fn hold(answer: http::Response<B>, permit: Option<P>) -> Self::Answer {
        answer.map(|body| PermitBody::held(body, permit))
    }
}
