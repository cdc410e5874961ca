use super::builder::Builder;
use super::call::Call;
use super::error::IllegalTransition;
use super::guarded::judge;
use super::inner::Inner;
use super::permit::Permit;
use super::running::Running;
use super::saved::{RestoreError, SavedState};
use super::snapshot::Snapshot;
use super::state::State;
use super::state_word::Phase;
use super::time::nanos;
use super::transition::Wait;
use crate::build_error::BuildError;
use crate::classify::{Classify, ErrIsFailure};
use crate::error::Error;
use crate::event::Event;
use crate::link::Link;
use crate::observer::Observer;
use crate::policy_id::PolicyId;
use crate::rejected::Rejected;
use cortex_core::{Clock, Deadline, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A circuit breaker: stops calls to a dependency that fails or is slow, and finds out when it is well again.
///
/// Clones are the same breaker. See [`circuit`](super) for what it does when.
///
/// # Performance
///
/// A closed breaker lets a call through after one load, and counts its end in memory of the thread. It reads the clock twice a
/// call if slow calls count, and once with a window of time: give it a [`CoarseClock`](cortex_core::CoarseClock) unless
/// milliseconds matter. Nothing is allocated for a call.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Error, Window};
/// use std::time::Duration;
///
/// # async fn charge() -> Result<u32, std::io::Error> { Ok(7) }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = Breaker::builder("payments")
///     .window(Window::time(Duration::from_secs(10)))
///     .slow_call(Duration::from_millis(800), 0.5)
///     .min_calls(20)
///     .build()?;
/// match breaker.call(charge()).await {
///     Ok(receipt) => assert_eq!(receipt, 7),
///     Err(Error::Rejected(rejected)) => println!("try again in {:?}", rejected.retry_after()),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// # let mut run = Box::pin(run());
/// # assert!(run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
/// ```
pub struct Breaker<C = ErrIsFailure, O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
    pub(super) classify: C,
}

impl Breaker {
    /// Begins to set up a breaker with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<C, O: Observer, K: Clock> Breaker<C, O, K> {
    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    ///
    /// The breaker is open, or half-open with every permit in use, or lets only a share of the calls through.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_, O, K>, Rejected> {
        let ticket = self.inner.admit()?;
        Ok(Permit::new(Link::Borrowed(&self.inner), ticket))
    }

    /// Lets a call through that outlives this handle, or refuses it.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<Permit<'static, O, K>, Rejected> {
        let ticket = self.inner.admit()?;
        Ok(Permit::new(Link::Owned(Arc::clone(&self.inner)), ticket))
    }

    /// Puts a future behind the breaker.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::Rejected`]: then it was not polled.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub const fn call<F>(&self, future: F) -> Call<'_, F, C, O, K> {
        Call::new(self, future)
    }

    /// Puts a closure behind the breaker, for code that waits for its calls. A panic of it is a failure.
    ///
    /// # Errors
    ///
    /// The closure's error, or [`Error::Rejected`]: then it was not called.
    ///
    /// ```
    /// use cortex_resilience::circuit::{Breaker, Error};
    ///
    /// let breaker = Breaker::builder("numbers").build()?;
    /// assert_eq!(breaker.run(|| "7".parse::<u32>()), Ok(7));
    /// assert!(matches!(breaker.run(|| "seven".parse::<u32>()), Err(Error::Inner(_))));
    /// assert_eq!(breaker.snapshot().failed, 1);
    /// # Ok::<(), cortex_resilience::BuildError>(())
    /// ```
    #[inline]
    pub fn run<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
    {
        let ticket = self.inner.admit().map_err(Error::Rejected)?;
        let running = Running::new(&self.inner, ticket);
        let result = call();
        running.returned();
        let permit = Permit::new(Link::Borrowed(&self.inner), ticket); // if the judge panics, nobody knows
        let (outcome, retry_after) = judge(&self.classify, result.as_ref());
        permit.record_with(outcome, retry_after);
        result.map_err(Error::Inner)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns what tells it from others; clones have the same.
    pub fn id(&self) -> PolicyId {
        PolicyId::of(&self.inner)
    }

    /// Returns the state; half-open as soon as a break is over, although nothing changes before the next call.
    pub fn state(&self) -> State {
        self.inner.state()
    }

    /// Returns all there is to know.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Returns how long the break goes on; zero if there is none.
    pub fn remaining(&self) -> Duration {
        self.inner.remaining()
    }

    /// Does what is due although nobody calls, and returns when there is something to do next: a break that is over becomes
    /// half-open, with all of its permits, and probing without a verdict in time ends.
    ///
    /// A breaker needs none of this to be right, for the next call does the same. It is for those who want to be told of a
    /// transition when it is due: wait until then in a task of your own, and again after the next transition if there is nothing
    /// to do. What was due has no effect if the state has changed before.
    ///
    /// ```
    /// use cortex_resilience::circuit::{Breaker, State};
    /// use std::time::Duration;
    ///
    /// let breaker = Breaker::builder("payments").build()?;
    /// assert_eq!(breaker.advance(), None);
    /// breaker.open_for(Duration::ZERO)?;
    /// let next = breaker.advance(); // when the probes have to have a verdict
    /// assert_eq!((breaker.state(), next), (State::HalfOpen, breaker.snapshot().until));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&self) -> Option<Instant> {
        self.inner.advance()
    }

    /// Opens it for a break as set; one that is open starts anew.
    ///
    /// # Errors
    ///
    /// It only counts ([`State::MetricsOnly`]).
    pub fn open(&self) -> Result<(), IllegalTransition> {
        self.inner.open_by_hand(|_| Wait::Break { retry_after: None })
    }

    /// Opens it for this long.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_for(&self, wait: Duration) -> Result<(), IllegalTransition> {
        self.inner
            .open_by_hand(|now| Wait::Until(now.saturating_add(nanos(wait))))
    }

    /// Opens it until then, by its clock.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_until(&self, then: Instant) -> Result<(), IllegalTransition> {
        let then = Deadline::at(then).nanos();
        self.inner.open_by_hand(|_| Wait::Until(then))
    }

    /// Starts to probe.
    ///
    /// # Errors
    ///
    /// It is closed, or only counts: there is nothing to find out.
    pub fn half_open(&self) -> Result<(), IllegalTransition> {
        self.inner.half_open_by_hand()
    }

    /// Closes it, with an empty window.
    pub fn close(&self) {
        self.inner.set(Phase::Closed, |from| Event::Closed { from });
    }

    /// Closes it with an empty window, and says that this was a reset.
    pub fn reset(&self) {
        self.inner.reset();
    }

    /// Rejects all calls until further notice.
    pub fn force_open(&self) {
        self.inner.set(Phase::Forced, |from| Event::ForcedOpen { from });
    }

    /// Lets all calls through and counts nothing.
    pub fn disable(&self) {
        self.inner.set(Phase::Disabled, |from| Event::Disabled { from });
    }

    /// Lets all calls through and counts, but never opens.
    pub fn metrics_only(&self) {
        self.inner
            .set(Phase::MetricsOnly, |from| Event::MetricsOnly { from });
    }

    /// Takes over the settings of a builder: all but its name, initial state, classifier, observer, clock, sink and shards.
    ///
    /// The state stays, and so does the window unless it has another shape; then it starts empty, and what runs now ends late.
    /// Calls that run now are slow by the threshold that they began with, and probing goes on as it began.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<C2, O2, K2>(&self, settings: &Builder<C2, O2, K2>) -> Result<(), BuildError> {
        let settings = settings.checked()?;
        self.inner.reload(settings);
        Ok(())
    }

    /// Returns the state, to be kept or given to others.
    pub fn save(&self) -> SavedState {
        self.inner.save()
    }

    /// Takes over a state that was saved at most `max_age` ago, here or elsewhere. The window starts empty, unless both are closed.
    ///
    /// A breaker that was half-open is restored as one whose break is over: the next calls are its probes. One that was forced open,
    /// disabled or only measured changes nothing: that was somebody's decision, which says nothing of the dependency, and nobody
    /// would end it here. Force what is to be forced here, too, or have it begin so with [`initial`](super::Builder::initial).
    ///
    /// In the same way nothing ends what was decided here: who shares states with peers may ignore that error.
    ///
    /// # Errors
    ///
    /// It is too old, or this breaker is [`ForcedOpen`](State::ForcedOpen), [`Disabled`](State::Disabled) or
    /// [`MetricsOnly`](State::MetricsOnly) itself; nothing has changed.
    pub fn restore(&self, saved: &SavedState, max_age: Duration) -> Result<(), RestoreError> {
        self.inner.restore(saved, max_age)
    }
}

impl<C: Clone, O, K> Clone for Breaker<C, O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            classify: self.classify.clone(),
        }
    }
}

impl<C, O, K> Breaker<C, O, K> {
    /// Changes what judges results.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only pipelines do"))]
    pub(crate) fn map_classify<D>(self, change: impl FnOnce(C) -> D) -> Breaker<D, O, K> {
        Breaker {
            inner: self.inner,
            classify: change(self.classify),
        }
    }
}

impl<C, O, K> fmt::Debug for Breaker<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
