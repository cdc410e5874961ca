use super::policy::{Chaos, Inner, Rates};
use super::source::{Answers, Errors, Unset, When};
use crate::build_error::BuildError;
use crate::observer::Observer;
use crate::random::Random;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Sets up a [`Chaos`]; made by [`Chaos::builder`]. Each rate is the share of the calls that are hit, 0 to 1.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::Chaos;
///
/// let error = Chaos::builder("payments").hang(5.0).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `hang` = 5: it is a rate of 0 to 1");
/// ```
#[derive(Debug)]
pub struct Builder<E = Unset, A = Unset, W = Unset, O = ()> {
    name: String,
    rates: Rates,
    errors: E,
    answers: A,
    when: W,
    random: Random,
    observer: O,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            rates: Rates::default(),
            errors: Unset,
            answers: Unset,
            when: Unset,
            random: Random::default(),
            observer: (),
        }
    }
}

impl<E, A, W, O> Builder<E, A, W, O> {
    /// Has calls begin later, by a time that chance takes from a range.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn latency(mut self, rate: f64, range: std::ops::RangeInclusive<std::time::Duration>) -> Self {
        self.rates.latency = rate;
        self.rates.late = range.into_inner();
        self
    }

    /// Has calls never end.
    #[must_use]
    pub const fn hang(mut self, rate: f64) -> Self {
        self.rates.hang = rate;
        self
    }

    /// Has calls made and their answers lost, so that they never end for the caller.
    #[must_use]
    pub const fn loss(mut self, rate: f64) -> Self {
        self.rates.loss = rate;
        self
    }

    /// Has calls fail with errors of a function.
    #[must_use]
    pub fn error<F>(mut self, rate: f64, error: F) -> Builder<Errors<F>, A, W, O> {
        self.rates.error = rate;
        self.with(|_, answers, when, observer| (Errors(error), answers, when, observer))
    }

    /// Has calls answered by a function, be it well or not.
    #[must_use]
    pub fn outcome<F>(mut self, rate: f64, answer: F) -> Builder<E, Answers<F>, W, O> {
        self.rates.outcome = rate;
        self.with(|errors, _, when, observer| (errors, Answers(answer), when, observer))
    }

    /// Hits no other calls than those for which this is true: it gets the request of a service, or what
    /// [`call_for`](Chaos::call_for) was given.
    #[must_use]
    pub fn when<R: ?Sized, F: Fn(&R) -> bool>(self, may_hit: F) -> Builder<E, A, When<F>, O> {
        self.with(|errors, answers, _, observer| (errors, answers, When(may_hit), observer))
    }

    /// Has the same random numbers in every run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<E, A, W, O2> {
        self.with(|errors, answers, when, _| (errors, answers, when, observer))
    }

    fn with<E2, A2, W2, O2>(
        self,
        change: impl FnOnce(E, A, W, O) -> (E2, A2, W2, O2),
    ) -> Builder<E2, A2, W2, O2> {
        let (errors, answers, when, observer) = change(self.errors, self.answers, self.when, self.observer);
        Builder {
            name: self.name,
            rates: self.rates,
            errors,
            answers,
            when,
            random: self.random,
            observer,
        }
    }

    /// Makes it, switched off.
    ///
    /// # Errors
    ///
    /// A rate is none, or the range of times is empty.
    pub fn build(self) -> Result<Chaos<E, A, W, O>, BuildError> {
        self.rates.check()?;
        Ok(Chaos {
            inner: Arc::new(Inner {
                enabled: AtomicBool::new(false),
                rates: self.rates,
                errors: self.errors,
                answers: self.answers,
                when: self.when,
                random: self.random,
                observer: self.observer,
                name: self.name.into_boxed_str(),
            }),
        })
    }
}
