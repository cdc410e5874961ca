//! What the policies of `cortex_resilience` say, as answers.

use std::error::Error as StdError;

use cortex_core::Context;
use cortex_resilience::timeout::{self, TimedOut};
use cortex_resilience::{Error, Reason, Rejected, pipeline, retry};
use http::StatusCode;

use crate::guard::problem;
use crate::problem::Problem;

type BoxError = Box<dyn StdError + Send + Sync>;

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let (status, detail) = match rejected.reason() {
            Reason::Deadline => return too_late(),
            Reason::RateLimit => (
                StatusCode::TOO_MANY_REQUESTS,
                "There were too many requests of this kind. Send fewer.",
            ),
            Reason::ExceedsBurst => (
                StatusCode::TOO_MANY_REQUESTS,
                "The request takes more at once than there ever is. Ask for less.",
            ),
            _ => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This cannot be served right now. Try again later.",
            ),
        };
        let problem = problem(status, Context::current()).detail(detail);
        match rejected.retry_after() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl From<TimedOut> for Problem {
    fn from(_: TimedOut) -> Self {
        too_late()
    }
}

impl<E: Into<BoxError>> From<Error<E>> for Problem {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Rejected(rejected) => rejected.into(),
            Error::Inner(error) => failed(&*error.into()),
            _ => misused(),
        }
    }
}

impl<E: Into<BoxError>> From<timeout::Error<E>> for Problem {
    fn from(error: timeout::Error<E>) -> Self {
        match error {
            timeout::Error::TimedOut(timed_out) => timed_out.into(),
            timeout::Error::Inner(error) => failed(&*error.into()),
            _ => misused(),
        }
    }
}

impl<E: Into<BoxError>> From<retry::Error<E>> for Problem {
    fn from(error: retry::Error<E>) -> Self {
        match error {
            retry::Error::Rejected(rejected) => rejected.into(),
            retry::Error::GaveUp { error, refusal, .. } => gave_up(&*error.into(), refusal),
            retry::Error::Inner(error) => failed(&*error.into()),
            _ => misused(),
        }
    }
}

impl<E: Into<BoxError>> From<pipeline::Error<E>> for Problem {
    fn from(error: pipeline::Error<E>) -> Self {
        match error {
            pipeline::Error::Rejected(rejected) => rejected.into(),
            pipeline::Error::TimedOut(timed_out) => timed_out.into(),
            pipeline::Error::GaveUp { error, refusal, .. } => gave_up(&*error.into(), refusal),
            pipeline::Error::Inner(error) => failed(&*error.into()),
            _ => misused(),
        }
    }
}

#[cfg(feature = "client")]
impl From<crate::client::Error> for Problem {
    fn from(error: crate::client::Error) -> Self {
        failed(&error)
    }
}

/// Causes deeper down are not looked at: somebody's chain may be endless.
const DEEPEST: usize = 32;

/// Answers for a call of ours that failed, as the cause says that knows: a policy, however many are around it, or the client. What it
/// says is for the log alone. A service that was called before it was ready is a failure like others here: only the outermost policy
/// is known to have been misused by this service itself.
#[cold]
fn failed(error: &(dyn StdError + Send + Sync + 'static)) -> Problem {
    let causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| {
        (*cause).source()
    });
    for cause in causes.take(DEEPEST) {
        if let Some(rejected) = Rejected::at_end(cause) {
            return rejected.into();
        }
        if let Some(timed_out) = TimedOut::at_end(cause) {
            return timed_out.into();
        }
        #[cfg(feature = "client")]
        if let Some(call) = cause.downcast_ref::<crate::client::Error>() {
            if call.is_timeout() {
                tracing::warn!(error = error as &(dyn StdError + 'static), "a call failed");
                return too_late();
            }
            if call.kind() == crate::client::ErrorKind::RequestBody {
                break; // what is below is about whatever the body was made of, another call perhaps
            }
        }
    }
    tracing::warn!(error = error as &(dyn StdError + 'static), "a call failed");
    let problem = problem(StatusCode::BAD_GATEWAY, Context::current());
    problem.detail("Something that this service asks has failed.")
}

/// Does the same, and says when to try again where the policy knows that refused the last attempt.
fn gave_up(error: &(dyn StdError + Send + Sync + 'static), refusal: Option<Rejected>) -> Problem {
    let problem = failed(error);
    match refusal.and_then(|refusal| refusal.retry_after()) {
        Some(wait) => problem.retry_after(wait),
        None => problem,
    }
}

fn too_late() -> Problem {
    let problem = problem(StatusCode::GATEWAY_TIMEOUT, Context::current());
    problem.detail("What this service asks did not answer in time.")
}

#[cold]
fn misused() -> Problem {
    tracing::error!("a service behind a policy was called before it was ready");
    problem(StatusCode::INTERNAL_SERVER_ERROR, Context::current())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_resilience::circuit::Breaker;
    use cortex_resilience::retry::Retry;
    use cortex_resilience::timeout::Kind;
    use std::io;
    use std::time::Duration;

    type Io = pipeline::Error<io::Error>;
    /// Of four layers around a call.
    type Deep = Error<retry::Error<timeout::Error<Io>>>;

    #[test]
    fn refusals_and_times_have_their_status() {
        let wait = Duration::from_millis(1500);
        let of = |reason| Rejected::new(reason, Some(wait));
        for (reason, status) in [
            (Reason::RateLimit, 429),
            (Reason::ExceedsBurst, 429),
            (Reason::Deadline, 504),
            (Reason::Open, 503),
            (Reason::Full, 503),
            (Reason::QueueTimeout, 503),
            (Reason::Overloaded, 503),
            (Reason::Throttled, 503),
            (Reason::TooManyKeys, 503),
        ] {
            let problem = Problem::from(of(reason));
            assert_eq!(problem.status(), status, "{reason}");
            let response: http::Response<bytes::Bytes> = problem.respond();
            let header = response.headers().get("retry-after");
            assert_eq!(
                header.is_some_and(|value| value == "2"),
                status != 504,
                "{reason}"
            );
            // Whichever policy says so.
            assert_eq!(Problem::from(Io::Rejected(of(reason))).status(), status);
            assert_eq!(
                Problem::from(Error::<io::Error>::Rejected(of(reason))).status(),
                status
            );
            let retry = retry::Error::<io::Error>::Rejected(of(reason));
            assert_eq!(Problem::from(retry).status(), status);
        }
        let forced = Problem::from(Rejected::new(Reason::Forced, None));
        let response: http::Response<bytes::Bytes> = forced.respond();
        assert!(!response.headers().contains_key("retry-after"));
        for kind in [Kind::Attempt, Kind::Total, Kind::Deadline] {
            let timed_out = TimedOut::new(kind, wait);
            assert_eq!(Problem::from(Io::TimedOut(timed_out)).status(), 504);
            let timeout = timeout::Error::<io::Error>::TimedOut(timed_out);
            assert_eq!(Problem::from(timeout).status(), 504);
        }
    }

    #[test]
    fn the_policy_that_refused_tells_however_many_are_around_it() {
        let wait = Some(Duration::from_secs(7));
        let said = |of: pipeline::Error<io::Error>| {
            let deep: Deep = Error::Inner(retry::Error::Inner(timeout::Error::Inner(of)));
            let response: http::Response<bytes::Bytes> = Problem::from(deep).respond();
            let after = response.headers().get("retry-after").cloned();
            (
                response.status().as_u16(),
                after.map(|after| after.to_str().unwrap().to_owned()),
            )
        };
        let after = Some("7".to_owned());
        assert_eq!(
            said(Io::Rejected(Rejected::new(Reason::RateLimit, wait))),
            (429, after.clone())
        );
        assert_eq!(
            said(Io::Rejected(Rejected::new(Reason::Open, wait))),
            (503, after)
        );
        assert_eq!(
            said(Io::TimedOut(TimedOut::new(Kind::Total, Duration::ZERO))),
            (504, None)
        );
        assert_eq!(said(Io::Inner(io::Error::other("no route"))), (502, None));
        // In any order, and below an error of somebody's own.
        let timed_out = timeout::Error::<io::Error>::TimedOut(TimedOut::new(Kind::Attempt, Duration::ZERO));
        let error: Error<retry::Error<timeout::Error<io::Error>>> =
            Error::Inner(retry::Error::Inner(timed_out));
        assert_eq!(Problem::from(error).status(), 504);
        let full = || Error::<io::Error>::Rejected(Rejected::new(Reason::Full, None));
        let error: timeout::Error<retry::Error<Error<io::Error>>> =
            timeout::Error::Inner(retry::Error::Inner(full()));
        assert_eq!(Problem::from(error).status(), 503);
        let error: timeout::Error<io::Error> = timeout::Error::Inner(io::Error::other(full()));
        assert_eq!(Problem::from(error).status(), 503);
    }

    #[test]
    fn a_call_that_a_breaker_ended_says_when_to_try_again() {
        let breaker = Breaker::builder("stock")
            .min_calls(1)
            .break_for(Duration::from_mins(1));
        let breaker = breaker.build().unwrap();
        let retry = Retry::builder("stock").through().build().unwrap();
        let ask = || breaker.run(|| Err::<(), _>(io::Error::other("no route")));
        let error = retry.call_blocking(|_| ask(), &|_: Duration| ()).unwrap_err();
        assert_eq!(error.attempts(), 2); // "no route", and then the breaker was open
        let response: http::Response<bytes::Bytes> = Problem::from(error).respond();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (502, &60.into())
        );
        // And none where nobody knows.
        let retry = Retry::builder("stock").max_attempts(1).build().unwrap();
        let error = retry.call_blocking(|_| Err::<(), _>(io::Error::other("no route")), &|_: Duration| ());
        let response: http::Response<bytes::Bytes> = Problem::from(error.unwrap_err()).respond();
        assert_eq!(response.status(), 502);
        assert!(!response.headers().contains_key("retry-after"));
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        let inner = || io::Error::other("password of the database");
        for problem in [
            Problem::from(Io::Inner(inner())),
            Problem::from(Error::Inner(inner())),
            Problem::from(timeout::Error::Inner(inner())),
            Problem::from(retry::Error::Inner(inner())),
        ] {
            assert_eq!(problem.status(), 502);
            assert!(!problem.to_json().contains("password"), "{problem:?}");
        }
        assert_eq!(Problem::from(Io::NotReady).status(), 500);
        assert_eq!(Problem::from(Error::<io::Error>::NotReady).status(), 500);
        assert_eq!(Problem::from(timeout::Error::<io::Error>::NotReady).status(), 500);
        assert_eq!(Problem::from(retry::Error::<io::Error>::NotReady).status(), 500);
    }
}
