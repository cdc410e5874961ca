use std::time::Duration;

use cortex_core::Clock;
use cortex_resilience::circuit::{Breaker, State};
use cortex_resilience::{Observer, PolicyId};

use super::term::FORCED;
use crate::admin::controls::{Acted, ActionError, ActionInput, ControlState, Controllable};

/// Opens, closes and forces it. What is forced, disabled or only measured ends after ten minutes unless `for_seconds` says otherwise,
/// and the breaker is as it was then: one that was open lets probes through.
impl<C, O, K> Controllable for Breaker<C, O, K>
where
    C: Clone + Send + Sync + 'static,
    O: Observer + 'static,
    K: Clock + 'static,
{
    fn state(&self) -> ControlState {
        let snapshot = self.snapshot();
        let mut state = ControlState::new(snapshot.state.as_str())
            .field("total", snapshot.total)
            .field("ok", snapshot.ok)
            .field("failed", snapshot.failed)
            .field("slow_ok", snapshot.slow_ok)
            .field("slow_failed", snapshot.slow_failed)
            .field("failure_ratio", snapshot.failure_ratio)
            .field("slow_ratio", snapshot.slow_ratio)
            .field("ignored", snapshot.ignored)
            .field("rejected", snapshot.rejected)
            .field("late", snapshot.late)
            .field("consecutive_ok", snapshot.consecutive_ok)
            .field("consecutive_failed", snapshot.consecutive_failed)
            .field("half_open_attempts", snapshot.half_open_attempts)
            .field("generation", snapshot.generation);
        for (name, rate) in [
            ("failure_rate", snapshot.failure_rate),
            ("slow_rate", snapshot.slow_rate),
        ] {
            if let Some(rate) = rate {
                state = state.field(name, rate);
            }
        }
        match self.remaining() {
            Duration::ZERO => state,
            left => state.field("opens_for", left),
        }
    }

    fn policy(&self) -> Option<PolicyId> {
        Some(self.id())
    }

    fn actions(&self) -> &'static [&'static str] {
        &[
            "open",
            "close",
            "half_open",
            "force_open",
            "disable",
            "metrics_only",
            "reset",
        ]
    }

    fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let force: fn(&Self) = match action {
            "force_open" => Self::force_open,
            "disable" => Self::disable,
            "metrics_only" => Self::metrics_only,
            _ => {
                self.go(action, input.expires_after())?;
                return Ok(Acted::for_good(STATE));
            }
        };
        let before = self.state();
        force(self);
        let forced = self.snapshot();
        let (still, undone) = (self.clone(), self.clone());
        let is_so = move || {
            let now = still.snapshot();
            (now.state, now.since) == (forced.state, forced.since)
        };
        let undo = move || match before {
            State::Disabled => undone.disable(),
            State::MetricsOnly => undone.metrics_only(),
            State::ForcedOpen => undone.force_open(),
            State::Closed => undone.close(),
            State::Open | State::HalfOpen => {
                if undone.half_open().is_err() {
                    undone.close(); // from where nothing was refused
                }
            }
        };
        let term = input.expires_after().unwrap_or(FORCED);
        Ok(Acted::for_a_time(STATE, term, is_so, undo))
    }
}

/// What is forced: the state, which every action sets.
const STATE: &str = "state";

/// What is not forced.
trait Go {
    fn go(&self, action: &str, term: Option<Duration>) -> Result<(), ActionError>;
}

impl<C, O: Observer, K: Clock> Go for Breaker<C, O, K> {
    fn go(&self, action: &str, term: Option<Duration>) -> Result<(), ActionError> {
        let gone = match (action, term) {
            ("open", Some(term)) => self.open_for(term),
            ("open", None) => self.open(),
            (_, Some(_)) => {
                return Err(ActionError::invalid(
                    "it does not end by itself: leave `for_seconds` out",
                ));
            }
            ("half_open", None) => self.half_open(),
            ("close", None) => {
                self.close();
                Ok(())
            }
            _ => {
                self.reset();
                Ok(())
            }
        };
        gone.map_err(|error| ActionError::not_applicable(error.to_string()))
    }
}
