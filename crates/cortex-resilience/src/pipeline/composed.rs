use super::call::Call;
use super::presets::{OuterBreakerBuilder, StandardBuilder};
use super::stages::{Execute, Stages};
use super::tuples::{All, Policies};
use crate::attempt::Attempt;
use std::fmt;

/// Policies around one another.
///
/// Its clones share the policies. See [`pipeline`](super) for which order is good for what.
///
/// # Performance
///
/// A call whose operation is ready at once costs what its policies cost, and nothing is allocated for it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::pipeline::{Error, Pipeline};
/// use cortex_resilience::retry::Retry;
/// use cortex_resilience::timeout::Timeout;
/// use std::time::Duration;
///
/// async fn charge(attempt: u32) -> Result<u32, std::io::Error> {
///     if attempt < 2 { Err(std::io::ErrorKind::ConnectionReset.into()) } else { Ok(7) }
/// }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let payments = Pipeline::new((
///     Timeout::builder("payments").total(Duration::from_secs(3)).build()?,
///     Retry::builder("payments").max_attempts(3).build()?,
///     Breaker::builder("payments").build()?,
///     Timeout::builder("payments").attempt(Duration::from_secs(1)).build()?,
/// ));
/// match payments.call(|attempt| charge(attempt.number())).await {
///     Ok(receipt) => assert_eq!(receipt, 7),
///     Err(error @ Error::Rejected(_)) => println!("{error}: try again in {:?}", error.retry_after()),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pipeline<S> {
    pub(super) stages: S,
}

impl Pipeline<()> {
    /// Puts policies around one another, the outermost first: a tuple of one to eight. At most one of them may be a retry.
    pub fn new<P: Policies>(policies: P) -> Pipeline<All<P>> {
        Pipeline {
            stages: policies.over(super::operation::Operation),
        }
    }

    /// Begins to set up the [usual order](super): rate limit, total timeout, retry, breaker, attempt timeout.
    pub fn standard(name: impl Into<String>) -> StandardBuilder {
        StandardBuilder::new(name.into())
    }

    /// Begins to set up the order in which the breaker is [outside](super): breaker, retry, bulkhead, attempt timeout.
    pub fn outer_breaker(name: impl Into<String>) -> OuterBreakerBuilder {
        OuterBreakerBuilder::new(name.into())
    }
}

impl<S: Stages> Pipeline<S> {
    /// Makes a call through the policies. A clone of the operation is called for each attempt, once all policies have let that
    /// through: an open breaker keeps it from being called, and a panic in it is one of the attempt. A function that is not
    /// `Clone` can be borrowed: `call(&function)`.
    ///
    /// # Errors
    ///
    /// As [`Error`](super::Error) says.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub fn call<'a, Op, F, T, E>(&'a self, operation: Op) -> Call<S::Future, S>
    where
        Op: Fn(Attempt) -> F + Clone,
        F: Future<Output = Result<T, E>>,
        S: Execute<'a, Op>,
    {
        Call::new(self.stages.execute(operation))
    }
}

impl<S> Pipeline<S> {
    /// Returns the outermost policy with what is inside: an [`Around`](super::parts::Around) or a
    /// [`Repeat`](super::parts::Repeat). Who has to look at one policy, such as the breaker of a preset, gets there by their
    /// `policy` and `rest`.
    ///
    /// ```
    /// use cortex_resilience::{circuit::State, pipeline::Pipeline};
    ///
    /// let payments = Pipeline::outer_breaker("payments").build()?;
    /// let breaker = payments.stages().policy();
    /// assert_eq!(breaker.state(), State::Closed);
    /// # Ok::<(), cortex_resilience::BuildError>(())
    /// ```
    pub const fn stages(&self) -> &S {
        &self.stages
    }
}

impl<S> fmt::Debug for Pipeline<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}
