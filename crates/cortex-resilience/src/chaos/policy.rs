use super::builder::Builder;
use super::call::Call;
use super::fault::Fault;
use super::source::{Target, Unset};
use crate::build_error::BuildError;
use crate::event::Event;
use crate::link::Link;
use crate::observer::Observer;
use crate::policy_id::PolicyId;
use crate::random::Random;
use crate::shared::is_shared;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Does faults to calls on purpose, once it is switched on; clones are the same one.
///
/// See [`chaos`](super) for which.
///
/// # Performance
///
/// Switched off, it costs a load.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::Chaos;
///
/// # async fn charge() -> Result<u32, std::io::Error> { Ok(7) }
/// # let done = async {
/// let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
/// let chaos = Chaos::builder("payments").error(1.0, timed_out).build().unwrap();
/// assert_eq!(chaos.call(charge()).await.unwrap(), 7);
/// chaos.enable();
/// assert!(chaos.call(charge()).await.is_err());
/// chaos.disable();
/// assert!(chaos.call(charge()).await.is_ok());
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(Box::pin(done).as_mut().poll(&mut cx).is_ready());
/// ```
pub struct Chaos<E = Unset, A = Unset, W = Unset, O = ()> {
    pub(super) inner: Arc<Inner<E, A, W, O>>,
}

pub(super) struct Inner<E, A, W, O> {
    pub(super) enabled: AtomicBool,
    pub(super) rates: Rates,
    pub(super) errors: E,
    pub(super) answers: A,
    pub(super) when: W,
    pub(super) random: Random,
    pub(super) observer: O,
    pub(super) name: Box<str>,
}

/// Which share of the calls each fault hits, and by how much those are late that are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub(super) latency: f64,
    pub(super) late: (Duration, Duration),
    pub(super) hang: f64,
    pub(super) error: f64,
    pub(super) outcome: f64,
    pub(super) loss: f64,
}

impl Rates {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        for (field, rate) in [
            ("latency", self.latency),
            ("hang", self.hang),
            ("error", self.error),
            ("outcome", self.outcome),
            ("loss", self.loss),
        ] {
            if !(0.0..=1.0).contains(&rate) {
                return Err(BuildError::new(field, rate.to_string(), "a rate of 0 to 1"));
            }
        }
        let (least, most) = self.late;
        if least > most {
            let range = format!("{least:?}..={most:?}");
            return Err(BuildError::new("latency", range, "a range that is not empty"));
        }
        Ok(())
    }
}

/// What will be done to a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    pub(super) late: Option<Duration>,
    pub(super) then: Option<Fault>,
}

impl Chaos {
    /// Begins to set one up with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<E, A, W, O> Chaos<E, A, W, O> {
    /// Exposes a future to faults.
    ///
    /// # Errors
    ///
    /// Those of the future, and those that are made instead.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call<F>(&self, future: F) -> Call<'_, F, Self>
    where
        W: Target<()>,
    {
        self.call_for(&(), future)
    }

    /// Exposes a future to faults if those may hit what it is about.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    pub fn call_for<R: ?Sized, F>(&self, request: &R, future: F) -> Call<'_, F, Self>
    where
        W: Target<R>,
    {
        Call::new(Link::Borrowed(self), self.plan(request), future)
    }

    /// Switches it on.
    pub fn enable(&self) {
        self.inner.enabled.store(true, Ordering::Relaxed);
    }

    /// Switches it off. Calls that were hit already go on as they are.
    pub fn disable(&self) {
        self.inner.enabled.store(false, Ordering::Relaxed);
    }

    /// Says whether it is on.
    pub fn is_enabled(&self) -> bool {
        self.inner.enabled.load(Ordering::Relaxed)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns what tells it from others; clones have the same.
    pub fn id(&self) -> PolicyId {
        PolicyId::of(&self.inner)
    }

    #[inline]
    pub(super) fn plan<R: ?Sized>(&self, request: &R) -> Plan
    where
        W: Target<R>,
    {
        if !self.is_enabled() || !self.inner.when.may_hit(request) {
            return Plan::default();
        }
        self.inner.draw()
    }
}

impl<E, A, W, O> Inner<E, A, W, O> {
    #[cold]
    fn draw(&self) -> Plan {
        let rates = &self.rates;
        let hits = |rate: f64| rate > 0.0 && self.random.unit() < rate;
        let late = hits(rates.latency).then(|| {
            let (least, most) = rates.late;
            let range = most.saturating_sub(least);
            let more = Duration::try_from_secs_f64(range.as_secs_f64() * self.random.unit());
            least.saturating_add(more.unwrap_or(range)).min(most) // the product may be rounded up
        });
        let faults = [
            (rates.hang, Fault::Hang),
            (rates.error, Fault::Error),
            (rates.outcome, Fault::Outcome),
            (rates.loss, Fault::Loss),
        ];
        let then = faults
            .into_iter()
            .find(|(rate, _)| hits(*rate))
            .map(|(_, fault)| fault);
        Plan { late, then }
    }
}

impl<E, A, W, O: Observer> Chaos<E, A, W, O> {
    pub(super) fn tell(&self, fault: Fault) {
        self.inner
            .observer
            .on_event(&self.inner.name, &Event::Chaos(fault));
    }
}

impl<E, A, W, O> Chaos<E, A, W, O> {
    /// Says whether there is another handle.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<E, A, W, O> Clone for Chaos<E, A, W, O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<E, A, W, O> fmt::Debug for Chaos<E, A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("name", &self.inner.name)
            .field("enabled", &self.inner.enabled)
            .field("rates", &self.inner.rates)
            .finish_non_exhaustive()
    }
}
