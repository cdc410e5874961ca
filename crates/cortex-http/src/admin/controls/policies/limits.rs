use std::hash::BuildHasher;
use std::time::Duration;

use cortex_core::Clock;
use cortex_resilience::adaptive::{AdaptiveLimit, Limit};
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::load_shed::{LoadShed, ShedPolicy};
use cortex_resilience::rate_limit::{self, KeyedRateLimiter, RateLimiter};
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_resilience::timeout::{self, Kind, Timeout};
use cortex_resilience::{BuildError, Observer, PolicyId};

use super::term::{acted, missing};
use crate::admin::controls::{Acted, ActionError, ActionInput, ControlState, Controllable, InputKind};

/// Shows how many tokens there are. `set_limit` sets another rate, for good or for a time: `count` in `period_seconds` (1) and
/// at most `burst` (`count`) at once.
impl<O: Observer + 'static, K: Clock + 'static> Controllable for RateLimiter<O, K> {
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        ControlState::new(if snapshot.tokens > 0 {
            "admitting"
        } else {
            "limiting"
        })
        .field("tokens", snapshot.tokens)
        .field("burst", snapshot.quota.tokens())
        .field("interval", snapshot.quota.interval())
        .field("max_wait", snapshot.max_wait)
        .field("rejected", snapshot.rejected)
    }

    fn policy(&self) -> Option<PolicyId> {
        Some(self.id())
    }

    fn actions(&self) -> &'static [&'static str] {
        &["set_limit"]
    }

    fn inputs(&self, _: &str) -> &'static [(&'static str, InputKind)] {
        &[
            ("count", InputKind::Count),
            ("period_seconds", InputKind::Seconds),
            ("burst", InputKind::Count),
        ]
    }

    fn act_with(&self, _: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let count = input.count("count").ok_or_else(|| missing("count"))?;
        let period = input.duration("period_seconds").unwrap_or(Duration::from_secs(1));
        let before = self.snapshot();
        let settings = RateLimiter::builder("")
            .limit(count, period)
            .max_wait(before.max_wait);
        let burst = input.count("burst").unwrap_or(count);
        self.reload(&settings.burst(burst)).map_err(refused)?;
        let set = self.snapshot().quota;
        let (still, undone) = (self.clone(), self.clone());
        let undo = move || {
            let burst = u32::try_from(before.quota.tokens()).unwrap_or(u32::MAX);
            let settings: rate_limit::Builder = RateLimiter::builder("")
                .limit(1, before.quota.interval())
                .burst(burst)
                .max_wait(undone.snapshot().max_wait);
            undo_by(undone.reload(&settings));
        };
        let is_so = move || still.snapshot().quota == set;
        Ok(acted("limit", input, is_so, undo))
    }
}

/// Shows the limit of each key, and how many calls were refused.
impl<O: Observer, K: Clock, S: BuildHasher + Send + Sync> Controllable for KeyedRateLimiter<O, K, S> {
    fn state(&self) -> ControlState {
        ControlState::new("admitting")
            .field("burst", self.quota().tokens())
            .field("interval", self.quota().interval())
            .field("rejected", self.rejected())
    }
}

/// Shows who is in it. `set_max_concurrent` lets `max_concurrent` calls run at once, for good or for a time.
impl<O: Observer + 'static, K: Clock + 'static> Controllable for Bulkhead<O, K> {
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        let is_full = snapshot.in_use >= snapshot.max_concurrent;
        ControlState::new(if is_full { "full" } else { "admitting" })
            .field("max_concurrent", snapshot.max_concurrent)
            .field("in_use", snapshot.in_use)
            .field("queue", snapshot.queue)
            .field("waiting", snapshot.waiting)
            .field("rejected", snapshot.rejected)
    }

    fn policy(&self) -> Option<PolicyId> {
        Some(self.id())
    }

    fn actions(&self) -> &'static [&'static str] {
        &["set_max_concurrent"]
    }

    fn inputs(&self, _: &str) -> &'static [(&'static str, InputKind)] {
        &[("max_concurrent", InputKind::Count)]
    }

    fn act_with(&self, _: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let max = input.count("max_concurrent");
        let max = max.ok_or_else(|| missing("max_concurrent"))?;
        let before = self.snapshot().max_concurrent;
        self.resize(max).map_err(refused)?;
        let (still, undone) = (self.clone(), self.clone());
        let is_so = move || still.snapshot().max_concurrent == max;
        let undo = move || undo_by(undone.resize(before));
        Ok(acted("max_concurrent", input, is_so, undo))
    }
}

/// Shows the limit that it has found.
impl<L: Limit, C: Send + Sync, O: Observer, K: Clock> Controllable for AdaptiveLimit<L, C, O, K> {
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        let is_full = snapshot.in_flight >= snapshot.limit;
        ControlState::new(if is_full { "full" } else { "admitting" })
            .field("limit", snapshot.limit)
            .field("in_flight", snapshot.in_flight)
            .field("rejected", snapshot.rejected)
    }
}

/// Shows which share of the calls it refuses, and why.
impl<C: Send + Sync, O: Observer, K: Clock> Controllable for AdaptiveThrottle<C, O, K> {
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        let is_throttling = snapshot.rejection_rate > 0.0;
        ControlState::new(if is_throttling { "throttling" } else { "admitting" })
            .field("rejection_rate", snapshot.rejection_rate)
            .field("ok", snapshot.ok)
            .field("failed", snapshot.failed)
            .field("rejected", snapshot.rejected)
    }
}

/// Shows whether it sheds.
impl<P: ShedPolicy, O: Observer> Controllable for LoadShed<P, O> {
    fn state(&self) -> ControlState {
        let is_shedding = self.is_overloaded();
        ControlState::new(if is_shedding { "shedding" } else { "admitting" })
            .field("rejected", self.rejected())
    }
}

/// Shows how long calls may take. `set_time` sets `time_seconds`, for good or for a time; what it is the time of stays.
impl<O: Observer + 'static, K: Clock + 'static> Controllable for Timeout<O, K> {
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        let (state, of) = match snapshot.limit {
            Some((kind, _)) => ("limiting", kind.as_str()),
            None => ("unlimited", "deadline"),
        };
        let state = ControlState::new(state).field("of", of);
        let state = match snapshot.limit {
            Some((_, time)) => state.field("time", time),
            None => state,
        };
        state.field("timed_out", snapshot.timed_out)
    }

    fn policy(&self) -> Option<PolicyId> {
        Some(self.id())
    }

    fn actions(&self) -> &'static [&'static str] {
        &["set_time"]
    }

    fn inputs(&self, _: &str) -> &'static [(&'static str, InputKind)] {
        &[("time_seconds", InputKind::Seconds)]
    }

    fn act_with(&self, _: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let time = input.duration("time_seconds");
        let time = time.ok_or_else(|| missing("time_seconds"))?;
        let before = self.snapshot().limit;
        let kind = before.map_or(Kind::Attempt, |(kind, _)| kind);
        self.reload(&of(Some((kind, time)))).map_err(refused)?;
        let set = self.snapshot().limit;
        let (still, undone) = (self.clone(), self.clone());
        let is_so = move || still.snapshot().limit == set;
        let undo = move || undo_by(undone.reload(&of(before)));
        Ok(acted("time", input, is_so, undo))
    }
}

fn of(limit: Option<(Kind, Duration)>) -> timeout::Builder {
    let builder = Timeout::builder("");
    match limit {
        Some((Kind::Total, time)) => builder.total(time),
        Some((_, time)) => builder.attempt(time),
        None => builder,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: BuildError) -> ActionError {
    ActionError::invalid(error.to_string())
}

/// Takes the result of setting what was set before, which made sense then.
fn undo_by(result: Result<(), BuildError>) {
    if let Err(error) = result {
        tracing::error!(%error, "what an action changed for a time cannot be undone");
    }
}
