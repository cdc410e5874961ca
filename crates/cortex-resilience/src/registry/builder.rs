use super::inner::{Asks, Inner, Parts, Tells};
use super::keep::Keep;
use super::keyed::Registry;
use crate::build_error::BuildError;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`Registry`]; made by [`Registry::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::LoadShed;
/// use cortex_resilience::registry::Registry;
///
/// let make = |tenant: &u32| LoadShed::builder(tenant.to_string()).build();
/// let tenants = Registry::builder("tenants").capacity(2).share(make(&0)).build(make)?;
/// let _held = (tenants.get(&1)?, tenants.get(&2)?);
/// assert_eq!(tenants.get(&3)?.name(), "0");
///
/// let error = Registry::builder("tenants").capacity(0).build(make).unwrap_err();
/// assert_eq!(error.field(), "capacity");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder<K, P, O = (), C = TscClock> {
    keys: PhantomData<fn(&K)>,
    name: String,
    capacity: usize,
    idle: Duration,
    keep: Option<Asks<P>>,
    shared: Option<P>,
    observer: O,
    clock: C,
}

impl<K, P> Builder<K, P> {
    pub(super) const fn new(name: String) -> Self {
        Self {
            keys: PhantomData,
            name,
            capacity: 10_000,
            idle: Duration::from_mins(10),
            keep: None,
            shared: None,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<K, P, O, C> Builder<K, P, O, C> {
    /// Sets how many policies there may be at once, at least 1; by default 10,000.
    #[must_use]
    pub const fn capacity(mut self, policies: usize) -> Self {
        self.capacity = policies;
        self
    }

    /// Sets after what time a policy may go that nobody asks for; by default ten minutes.
    #[must_use]
    pub const fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets which policies have to stay though they are idle; by default, those that say so by [`Keep`]. See there for what the
    /// function must not do.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(&P) -> bool + Send + Sync + 'static) -> Self {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Has keys share this policy that find no place; by default they are refused.
    #[must_use]
    pub fn share(mut self, policy: P) -> Self {
        self.shared = Some(policy);
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<K, P, O2, C> {
        Builder {
            keys: PhantomData,
            name: self.name,
            capacity: self.capacity,
            idle: self.idle,
            keep: self.keep,
            shared: self.shared,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock; by default the operating system's. A coarse one is as good here.
    #[must_use]
    pub fn clock<C2: Clock>(self, clock: C2) -> Builder<K, P, O, C2> {
        Builder {
            keys: PhantomData,
            name: self.name,
            capacity: self.capacity,
            idle: self.idle,
            keep: self.keep,
            shared: self.shared,
            observer: self.observer,
            clock,
        }
    }
}

impl<K: Eq + Hash, P: 'static, O: Observer, C: Clock> Builder<K, P, O, C> {
    /// Makes the registry; the function makes the policy of a key, and must not ask for the same key.
    ///
    /// # Errors
    ///
    /// The capacity or the idle time is zero.
    pub fn build(
        self,
        make: impl Fn(&K) -> P + Send + Sync + 'static,
    ) -> Result<Registry<K, P, O, C>, BuildError>
    where
        P: Keep,
    {
        self.finish(make, Box::new(P::keep), Box::new(P::settle))
    }

    /// Makes a registry of policies that know nothing of [`Keep`]. Set [`keep`](Self::keep), or idle ones go whoever uses them.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_any(
        self,
        make: impl Fn(&K) -> P + Send + Sync + 'static,
    ) -> Result<Registry<K, P, O, C>, BuildError> {
        self.finish(make, Box::new(|_| false), Box::new(|_| ()))
    }

    fn finish(
        self,
        make: impl Fn(&K) -> P + Send + Sync + 'static,
        keep: Asks<P>,
        settle: Tells<P>,
    ) -> Result<Registry<K, P, O, C>, BuildError> {
        if self.capacity == 0 {
            return Err(BuildError::new("capacity", "0", "at least 1"));
        }
        if self.idle.is_zero() {
            return Err(BuildError::new("idle", "0ns", "longer than zero"));
        }
        let parts = Parts {
            name: self.name.into_boxed_str(),
            capacity: self.capacity,
            idle: self.idle,
            make: Box::new(make),
            keep: self.keep.unwrap_or(keep),
            settle,
            shared: self.shared,
        };
        Ok(Registry {
            inner: Arc::new(Inner::new(parts, self.observer, self.clock)),
        })
    }
}

impl<K, P, O, C> fmt::Debug for Builder<K, P, O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("idle", &self.idle)
            .field("shares", &self.shared.is_some())
            .finish_non_exhaustive()
    }
}
