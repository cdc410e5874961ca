use super::builder::Builder;
use super::settings::Settings;
use crate::budget::Budget;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use crate::sync::{Mutex, lock};
use crate::total::Total;
use cortex_core::{Clock, Context, Deadline, TscClock};
use std::fmt;
use std::sync::Arc;

/// Makes another attempt beside one that takes long, and takes the faster.
///
/// Clones are the same policy. See [`hedge`](super) for what it does when.
///
/// # Performance
///
/// A call whose first attempt is ready at once reads no settings, makes no timer, and the clock is read only where there is a
/// deadline. Nothing is allocated but for attempts beyond the first.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::Budget;
/// use cortex_resilience::hedge::Hedge;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hedge = Hedge::builder("prices")
///     .delay(Duration::from_millis(50))
///     .budget(Budget::in_flight(0.1, 3)?)
///     .build()?;
/// let price = hedge.call(|attempt| async move {
///     if attempt.number() == 1 {
///         std::future::pending::<()>().await; // a replica that hangs
///     }
///     Ok::<_, std::fmt::Error>(attempt.number())
/// });
/// assert_eq!(price.await?, 2);
/// # Ok(())
/// # }
/// ```
pub struct Hedge<C = ErrIsFailure, O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
    pub(super) classify: C,
}

impl Hedge {
    /// Begins to set up a policy with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<C, O: Observer, K: Clock> Hedge<C, O, K> {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the budget, if there is one.
    pub fn budget(&self) -> Option<&Budget> {
        self.inner.budget.as_ref()
    }

    /// Takes over the settings of a builder: all but its name, budget, classifier, observer and clock. Calls that wait for an
    /// attempt keep theirs.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<C2, O2, K2>(&self, settings: &Builder<C2, O2, K2>) -> Result<(), BuildError> {
        *lock(&self.inner.settings) = Arc::new(settings.checked()?);
        Ok(())
    }
}

impl<C, O, K> Hedge<C, O, K> {
    /// Says whether there is another handle, or something that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<C: Clone, O, K> Clone for Hedge<C, O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            classify: self.classify.clone(),
        }
    }
}

impl<C, O, K> Hedge<C, O, K> {
    /// Changes what judges results.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only pipelines do"))]
    pub(crate) fn map_classify<D>(self, change: impl FnOnce(C) -> D) -> Hedge<D, O, K> {
        Hedge {
            inner: self.inner,
            classify: change(self.classify),
        }
    }
}

impl<C, O, K> fmt::Debug for Hedge<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("name", &self.inner.name)
            .field("settings", &*lock(&self.inner.settings))
            .field("budget", &self.inner.budget)
            .finish_non_exhaustive()
    }
}

pub(super) struct Inner<O, K> {
    name: Box<str>,
    /// Read once the first attempt has not ended at once.
    settings: Mutex<Arc<Settings>>,
    pub(super) budget: Option<Budget>,
    observer: O,
    clock: K,
}

impl<O, K> Inner<O, K> {
    pub(super) fn new(
        name: Box<str>,
        settings: Settings,
        budget: Option<Budget>,
        (observer, clock): (O, K),
    ) -> Self {
        Self {
            name,
            settings: Mutex::new(Arc::new(settings)),
            budget,
            observer,
            clock,
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Returns the deadline of the caller.
    ///
    /// # Errors
    ///
    /// It has passed.
    #[inline]
    pub(super) fn deadline(&self) -> Result<Option<Deadline>, Rejected> {
        let deadline = Context::current().deadline();
        if deadline.is_some_and(|deadline| Total::is_past(deadline, &self.clock)) {
            let rejected = Rejected::new(Reason::Deadline, None);
            self.tell(|| Event::Rejected(rejected));
            return Err(rejected);
        }
        Ok(deadline)
    }

    pub(super) fn is_late(&self, deadline: Option<Deadline>) -> bool {
        deadline.is_some_and(|deadline| deadline.is_past(self.clock.now()))
    }

    pub(super) fn tell(&self, event: impl FnOnce() -> Event) {
        self.observer.on_event(&self.name, &event());
    }
}
