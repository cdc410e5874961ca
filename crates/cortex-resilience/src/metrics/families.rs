use super::series::{One, Series, TRANSITIONS, Two};
use cortex_metrics::{Counter, DynamicFamily, RegisterError, Registry};

/// The counters of all policies.
#[derive(Debug)]
pub(super) struct Families {
    one: [DynamicFamily<Counter, 1>; One::ALL.len()],
    two: [DynamicFamily<Counter, 2>; Two::ALL.len()],
    transitions: DynamicFamily<Counter, 3>,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let this = Self {
            one: One::ALL.map(|_| DynamicFamily::new(["policy"], Counter::default)),
            two: Two::ALL.map(|(.., label)| DynamicFamily::new(["policy", label], Counter::default)),
            transitions: DynamicFamily::new(["policy", "from", "to"], Counter::default),
        };
        for (family, (name, help)) in this.one.iter().zip(One::ALL) {
            registry.register(name, help, family.clone())?;
        }
        for (family, (name, help, _)) in this.two.iter().zip(Two::ALL) {
            registry.register(name, help, family.clone())?;
        }
        let (name, help) = TRANSITIONS;
        registry.register(name, help, this.transitions.clone())?;
        Ok(this)
    }

    /// Runs `f` on the counter of a series.
    #[inline]
    pub(super) fn with<R>(&self, policy: &str, series: Series, f: impl FnOnce(&Counter) -> R) -> R {
        match series {
            Series::One(family) => self.one[family as usize].with([policy], f),
            Series::Two(family, label) => self.two[family as usize].with([policy, label], f),
            Series::Transition(from, to) => self.transitions.with([policy, from.as_str(), to.as_str()], f),
        }
    }
}
