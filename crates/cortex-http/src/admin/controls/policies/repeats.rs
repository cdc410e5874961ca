use std::hash::Hash;

use cortex_core::Clock;
use cortex_resilience::Observer;
use cortex_resilience::budget::Budget;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::registry::Registry;
use cortex_resilience::retry::Retry;

use super::term::FORCED;
use crate::admin::controls::{Acted, ActionError, ActionInput, ControlState, Controllable};

/// Shows how full it is.
impl Controllable for Budget {
    fn state(&self) -> ControlState {
        of_budget(Some(self))
    }
}

/// Shows how full its budget is, if it has one.
impl<C: Send + Sync, O: Observer, K: Clock> Controllable for Retry<C, O, K> {
    fn state(&self) -> ControlState {
        of_budget(self.budget())
    }
}

/// Shows how full its budget is, if it has one.
impl<C: Send + Sync, O: Observer, K: Clock> Controllable for Hedge<C, O, K> {
    fn state(&self) -> ControlState {
        of_budget(self.budget())
    }
}

fn of_budget(budget: Option<&Budget>) -> ControlState {
    match budget {
        None => ControlState::new("unlimited"),
        Some(budget) => ControlState::new(if budget.allows() { "allowing" } else { "exhausted" })
            .field("budget_level", budget.level()),
    }
}

/// Shows that it is there.
impl<H: Send + Sync, C: Send + Sync, O: Observer> Controllable for Fallback<H, C, O> {
    fn state(&self) -> ControlState {
        ControlState::new("ready")
    }
}

/// Switches it on, for ten minutes unless `for_seconds` says otherwise, and off.
impl<E, A, W, O> Controllable for Chaos<E, A, W, O>
where
    E: Send + Sync + 'static,
    A: Send + Sync + 'static,
    W: Send + Sync + 'static,
    O: Observer + 'static,
{
    fn state(&self) -> ControlState {
        ControlState::new(if self.is_enabled() { "on" } else { "off" })
    }

    fn actions(&self) -> &'static [&'static str] {
        &["on", "off"]
    }

    fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        if action == "off" {
            self.disable();
            return Ok(Acted::done());
        }
        self.enable();
        let (still, undone) = (self.clone(), self.clone());
        let term = input.expires_after().unwrap_or(FORCED);
        let is_so = move || still.is_enabled();
        Ok(Acted::for_a_time(term, is_so, move || undone.disable()))
    }
}

/// Shows how many policies there are. Those that operators are to act on are registered one by one.
impl<K, P, O, C> Controllable for Registry<K, P, O, C>
where
    K: Eq + Hash + Send + Sync,
    P: Send + Sync,
    O: Observer,
    C: Clock,
{
    fn state(&self) -> ControlState {
        let is_full = self.len() >= self.capacity();
        ControlState::new(if is_full { "full" } else { "open" })
            .field("policies", self.len())
            .field("capacity", self.capacity())
    }
}
