use super::error::{Error, GaveUp};
use super::policy::Retry;
use super::settings::Settings;
use crate::attempt::Attempt;
use crate::budget::{Budget, Cost, Running, Withdrawal};
use crate::classify::Classify;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use crate::total::Total;
use cortex_core::{Clock, Deadline};
use std::sync::Arc;
use std::time::Duration;

/// How far a call is.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    pub(super) attempts: u32,
    pub(super) deadline: Option<Deadline>,
    /// Whether the deadline is of the policy, so that attempts don't see it by themselves.
    pub(super) is_own_deadline: bool,
    /// Whether the request can be sent again.
    pub(super) is_repeatable: bool,
    /// Whether there was to be one attempt when the call began, and so nothing was kept for another.
    pub(super) is_alone: bool,
    pub(super) running: Option<Running<'a>>,
    /// Most calls never have any, and so there is one thing to make and to drop.
    pub(super) retries: Option<Retries<'a>>,
}

/// What a call has that failed once.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    pub(super) settings: Arc<Settings>,
    /// Retries since the backoff began.
    pub(super) retry: u32,
    /// The delay before the last of them.
    pub(super) previous: Option<Duration>,
    /// What was taken for the attempt that waits.
    withdrawal: Option<Withdrawal<'a>>,
    /// What a policy inside said to the attempt before it, as it stands once the delay is over.
    pub(super) refusal: Option<Rejected>,
}

impl Retries<'_> {
    pub(super) const fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            retry: 0,
            previous: None,
            withdrawal: None,
            refusal: None,
        }
    }

    /// Has the backoff begin anew.
    pub(super) fn restart(&mut self) {
        self.retry = 0;
        self.previous = None;
    }
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Why, and what a policy inside said to the attempt.
    GiveUp(GaveUp, Option<Rejected>),
    Retry {
        delay: Duration,
        cost: Cost,
    },
}

impl Progress<'_> {
    #[inline]
    pub(super) const fn new() -> Self {
        Self {
            attempts: 0,
            deadline: None,
            is_own_deadline: false,
            is_repeatable: true,
            is_alone: false,
            running: None,
            retries: None,
        }
    }

    /// Runs a part of an attempt, which sees the deadline.
    #[inline]
    pub(super) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(deadline) = self.deadline.filter(|_| self.is_own_deadline) else {
            return work();
        };
        let _inside = Total::tell(deadline);
        work()
    }

    #[inline]
    fn attempt(&mut self) -> Attempt {
        self.attempts = self.attempts.saturating_add(1);
        Attempt {
            number: self.attempts,
            deadline: self.deadline,
            is_last: (self.retries.as_ref())
                .is_some_and(|retries| self.attempts >= retries.settings.max_attempts),
        }
    }

    /// Says whether all attempts were made.
    pub(super) const fn is_used_up(&self, settings: &Settings) -> bool {
        self.is_alone || self.attempts >= settings.max_attempts
    }

    /// Returns what a policy inside said to the last attempt, of a call that has waited for another in vain.
    pub(super) fn refusal(&self) -> Option<Rejected> {
        self.retries.as_ref().and_then(|retries| retries.refusal)
    }

    /// Takes note of a success.
    #[inline]
    pub(super) fn succeeded(&mut self) {
        if let Some(running) = self.running.take() {
            running.succeeded();
        }
    }

    /// Makes the answer of a call that gives up: what was an answer stays one.
    #[inline]
    pub(super) fn gave_up<T, E>(
        &self,
        (reason, refusal): (GaveUp, Option<Rejected>),
        last: Result<T, E>,
    ) -> Result<T, Error<E>> {
        let attempts = self.attempts;
        last.map_err(|error| Error::GaveUp {
            reason,
            attempts,
            error,
            refusal,
        })
    }
}

pub(super) type Link<'a, C, O, K> = crate::link::Link<'a, Retry<C, O, K>>;

impl<'a, C, O: Observer, K: Clock> Link<'a, C, O, K> {
    /// Begins the first attempt.
    ///
    /// # Errors
    ///
    /// Nobody waits for the call any more.
    #[inline]
    pub(super) fn first(&self, progress: &mut Progress<'a>) -> Result<Attempt, Rejected> {
        self.inner.begin(progress)?;
        if self.inner.budget.is_some() {
            self.pay_in(progress);
        }
        Ok(progress.attempt())
    }

    #[inline(never)] // or it would keep what is around it from being inlined
    fn pay_in(&self, progress: &mut Progress<'a>) {
        progress.running = match self {
            Self::Borrowed(retry) => retry.inner.budget.as_ref().map(Budget::begin),
            Self::Owned(retry) => retry.inner.budget.as_ref().map(Budget::begin_owned),
        };
    }

    /// Takes note of an attempt that was no success, and says what comes.
    #[cold]
    pub(super) fn failed<T, E>(
        &self,
        progress: &mut Progress<'a>,
        outcome: Outcome,
        result: Result<&T, &E>,
    ) -> Verdict
    where
        C: Classify<T, E>,
    {
        match self.decide(progress, outcome, result) {
            Verdict::GiveUp(reason, _) => Verdict::GiveUp(reason, self.classify.rejected(result)),
            Verdict::Retry { delay, cost } => {
                if let Some(retries) = &mut progress.retries {
                    retries.refusal = self
                        .classify
                        .rejected(result)
                        .map(|refusal| refusal.later_by(delay));
                }
                Verdict::Retry { delay, cost }
            }
        }
    }

    fn decide<T, E>(&self, progress: &mut Progress<'a>, outcome: Outcome, result: Result<&T, &E>) -> Verdict
    where
        C: Classify<T, E>,
    {
        let verdict = self.inner.judge(&self.classify, progress, outcome, result);
        let Verdict::Retry { delay, cost } = verdict else {
            return verdict;
        };
        let withdrawal = match self {
            Self::Borrowed(retry) => retry.budget().map(|budget| budget.try_withdraw(cost)),
            Self::Owned(retry) => retry.budget().map(|budget| budget.try_withdraw_owned(cost)),
        };
        if let Some(withdrawal) = withdrawal {
            if withdrawal.is_none() {
                return self.inner.give_up(progress, GaveUp::Budget);
            }
            if let Some(retries) = &mut progress.retries {
                retries.withdrawal = withdrawal;
            }
        }
        self.inner.scheduled(progress, delay);
        verdict
    }

    /// Returns the result that a call ends with if it ends now: a refusal of a policy inside does not replace what the call itself
    /// ended with before.
    pub(super) fn last<T, E>(&self, kept: Option<Result<T, E>>, result: Result<T, E>) -> Result<T, E>
    where
        C: Classify<T, E>,
    {
        match kept {
            Some(kept) if self.classify.rejected(result.as_ref()).is_some() => kept,
            _ => result,
        }
    }

    /// Returns what of a result is kept while another attempt runs: an error of the call itself. An answer may hold on to much.
    pub(super) fn keep<T, E>(&self, result: Result<T, E>) -> Option<Result<T, E>>
    where
        C: Classify<T, E>,
    {
        let view = result.as_ref();
        let is_kept = view.is_err() && self.classify.is_own(view) && self.classify.rejected(view).is_none();
        is_kept.then_some(result)
    }

    /// Begins another attempt, unless it is too late or the budget has nothing left by now.
    pub(super) fn again(&self, progress: &mut Progress<'a>) -> Result<Attempt, GaveUp> {
        let refuse = |progress: &Progress<'_>, reason| {
            self.inner.give_up(progress, reason);
            Err(reason)
        };
        if self.inner.is_late(progress) {
            return refuse(progress, GaveUp::Deadline);
        }
        let retries = progress.retries.as_mut();
        if let Some(withdrawal) = retries.and_then(|retries| retries.withdrawal.take()) {
            let running = withdrawal.start();
            if running.is_none() {
                return refuse(progress, GaveUp::Budget);
            }
            progress.running = running;
        }
        Ok(progress.attempt())
    }
}
