use http::{HeaderMap, Response, StatusCode};

/// Reads the heads of answers.
///
/// Clients that have a type of their own for answers are read by two functions: see
/// [`HttpClassify::answers`](super::HttpClassify::answers).
pub trait ReadHead<T> {
    /// Returns the status.
    fn status(&self, answer: &T) -> StatusCode;

    /// Returns the headers.
    fn headers<'a>(&self, answer: &'a T) -> &'a HeaderMap;
}

/// Reads those of [`Response`]s: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Responses;

impl<B> ReadHead<Response<B>> for Responses {
    #[inline]
    fn status(&self, answer: &Response<B>) -> StatusCode {
        answer.status()
    }

    #[inline]
    fn headers<'a>(&self, answer: &'a Response<B>) -> &'a HeaderMap {
        answer.headers()
    }
}

/// Reads those of another type by two functions; made by [`HttpClassify::answers`](super::HttpClassify::answers).
#[derive(Clone, Copy, Debug)]
pub struct AnswersBy<S, H> {
    pub(super) status: S,
    pub(super) headers: H,
}

impl<T, S, H> ReadHead<T> for AnswersBy<S, H>
where
    S: Fn(&T) -> StatusCode,
    H: Fn(&T) -> &HeaderMap,
{
    fn status(&self, answer: &T) -> StatusCode {
        (self.status)(answer)
    }

    fn headers<'a>(&self, answer: &'a T) -> &'a HeaderMap {
        (self.headers)(answer)
    }
}
