use std::hash::Hash;

use cortex_core::Clock;
use cortex_resilience::budget::Budget;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::registry::Registry;
use cortex_resilience::retry::Retry;
use cortex_resilience::{Observer, PolicyId};

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

/// What is forced of chaos.
const ON: &str = "on";

/// Switches it on, for ten minutes unless `for_seconds` says otherwise, and off, for good or for a time. Then it is as it was before.
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

    fn policy(&self) -> Option<PolicyId> {
        Some(self.id())
    }

    fn actions(&self) -> &'static [&'static str] {
        &["on", "off"]
    }

    fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let (before, on) = (self.is_enabled(), action == "on");
        let switch = |chaos: &Self, on| if on { chaos.enable() } else { chaos.disable() };
        switch(self, on);
        let (still, undone) = (self.clone(), self.clone());
        let is_so = move || still.is_enabled() == on;
        let undo = move || switch(&undone, before);
        let term = input.expires_after().or(on.then_some(FORCED));
        Ok(match term {
            Some(term) => Acted::for_a_time(ON, term, is_so, undo),
            None => Acted::for_good(ON),
        })
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
