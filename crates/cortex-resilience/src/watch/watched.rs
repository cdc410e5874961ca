use super::reading::Look;
use std::fmt;
use std::sync::{Arc, Weak};

/// A policy whose state can be looked at, or several around one another.
///
/// Breakers, bulkheads, rate limiters, adaptive limits and throttles have a state to show; of the other policies there is nothing to
/// see, and a pipeline has what its policies have.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Watch;
/// use cortex_resilience::circuit::Breaker;
///
/// let breaker = Breaker::builder("payments").build()?;
/// assert_eq!(breaker.watched()[0].name().as_deref(), Some("payments"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub trait Watch {
    /// Returns the policies that there are to look at, the outermost first.
    fn watched(&self) -> Vec<Watched>;
}

/// A policy that is looked at. It is not kept alive by that.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Watch;
/// use cortex_resilience::circuit::Breaker;
///
/// let breaker = Breaker::builder("payments").build()?;
/// let watched = breaker.watched();
/// drop(breaker);
/// assert_eq!(watched[0].name(), None);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Watched(Weak<dyn Look>);

impl Watched {
    pub(crate) fn of<L: Look + 'static>(policy: &Arc<L>) -> Self {
        let policy: Weak<L> = Arc::downgrade(policy);
        Self(policy)
    }

    /// Returns the name of the policy; `None` if it is gone.
    pub fn name(&self) -> Option<String> {
        self.get().map(|policy| policy.name().to_owned())
    }

    pub(crate) fn get(&self) -> Option<Arc<dyn Look>> {
        self.0.upgrade()
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.name()).finish()
    }
}
