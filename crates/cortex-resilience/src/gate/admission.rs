use crate::outcome::Outcome;
use crate::rejected::Rejected;
use std::fmt;

/// A policy that lets a call through or refuses it, and hears how it ended.
///
/// See [the module](super) for an example. Who gets a ticket hands it back once, to [`finish`](Self::finish) or to
/// [`abandon`](Self::abandon); [`Permit`](super::Permit), [`Call`](super::Call) and the services do.
pub trait Gate {
    /// What is known of a call that was let through.
    type Ticket: Copy + fmt::Debug;

    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    ///
    /// The policy refuses the call.
    fn admit(&self) -> Result<Self::Ticket, Rejected>;

    /// Refuses a call, because it [turns calls away](Self::turns_away).
    fn refuse(&self) -> Rejected;

    /// Takes note of the end of a call.
    fn finish(&self, ticket: Self::Ticket, outcome: Outcome);

    /// Takes note of a call that has no result.
    fn abandon(&self, ticket: Self::Ticket, how: Abandoned);

    /// Says whether calls are refused at the moment, so that a service need not become ready for one; by default, no. It
    /// decides nothing and counts nothing.
    fn turns_away(&self) -> bool {
        false
    }

    /// Says whether calls to a service that is not ready are refused; by default no: they wait until it is.
    fn sheds_busy(&self) -> bool {
        false
    }

    /// Refuses a call because the service behind is not ready and it [does not wait](Self::sheds_busy) for that.
    fn refuse_busy(&self) -> Rejected {
        self.refuse()
    }
}

/// A gate that knows what the results of these calls mean.
pub trait Judge<T, E>: Gate {
    /// Says what the result means.
    fn judge(&self, result: Result<&T, &E>) -> Outcome;
}

/// A gate that knows what the ends of bodies mean, of answers that were successes by their heads.
///
/// See [`GateLayer::until_body_end`](super::GateLayer::until_body_end). By default a body that has ended is a success.
#[cfg(all(feature = "http", feature = "tower"))]
pub trait JudgeEnd<T, E>: Judge<T, E> {
    /// Says whether the end is to be judged by what comes after the body, of an answer with these headers; by default, yes.
    /// If not, a body that has ended is a success.
    fn needs_trailers(&self, headers: &http::HeaderMap) -> bool {
        let _ = headers;
        true
    }

    /// Judges an end by its trailers, if there were some; by default it is a success.
    fn judge_end(&self, trailers: Option<&http::HeaderMap>) -> Outcome {
        let _ = trailers;
        Outcome::Success
    }

    /// Judges a body that broke off with this error, which is the body's own; by default it is a failure.
    fn judge_broken(&self, error: &dyn std::any::Any) -> Outcome {
        let _ = error;
        Outcome::Failure
    }
}

/// Why a call that was let through has no result.
///
/// # Examples
///
/// ```
/// use cortex_resilience::gate::Abandoned;
///
/// assert_ne!(Abandoned::Dropped, Abandoned::Panicked);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abandoned {
    /// Its caller does not want it any more.
    Dropped,
    /// It panicked.
    Panicked,
}
