use super::builder::Builder;
use super::inner::Inner;
use crate::observer::Observer;
use crate::rejected::Rejected;
use cortex_core::{Clock, TscClock};
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Policies by key, bounded in number; clones are the same one.
///
/// See [`registry`](super) for what it does when. Hashes are seeded by chance, so that nobody can choose keys that collide.
///
/// # Performance
///
/// To get a policy that is there takes a lock that a sixteenth of the keys share, a hash or two, and a clone. When the registry is
/// full, the search for one that may go looks at each policy once in its idle time, or in a sixteenth of that if it has to stay.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Window};
/// use cortex_resilience::registry::Registry;
/// use std::time::Duration;
///
/// let hosts: Registry<String, Breaker> = Registry::builder("hosts")
///     .capacity(10_000)
///     .idle(Duration::from_mins(10))
///     .build(|host: &String| {
///         let builder = Breaker::builder(host.as_str()).window(Window::count(100)).shards(0);
///         builder.build().expect("the settings make sense")
///     })?;
/// let breaker = hosts.get("api.example.com")?;
/// breaker.force_open();
/// assert!(hosts.get("api.example.com")?.try_acquire().is_err());
/// assert!(hosts.get("www.example.com")?.try_acquire().is_ok());
/// assert_eq!(hosts.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registry<K, P, O = (), C = TscClock> {
    pub(super) inner: Arc<Inner<K, P, O, C>>,
}

impl<K, P> Registry<K, P> {
    /// Begins to set up a registry with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder<K, P> {
        Builder::new(name.into())
    }
}

impl<K: Eq + Hash, P, O: Observer, C: Clock> Registry<K, P, O, C> {
    /// Returns the policy of a key, and makes it first if there is none.
    ///
    /// Where it has to be made, others who want the same key wait for that, and nobody else does. If making it panics, so does this,
    /// and the next who asks tries again.
    ///
    /// # Errors
    ///
    /// The registry is full, and further keys share no policy.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Result<P, Rejected>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        self.inner.get(key)
    }

    /// Returns the policy of a key if there is one. It does not count as being asked for.
    pub fn peek<Q>(&self, key: &Q) -> Option<P>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.inner.peek(key)
    }

    /// Lets the policy of a key go, and returns it. Who has it already goes on with it.
    pub fn remove<Q>(&self, key: &Q) -> Option<P>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.inner.remove(key)
    }

    /// Returns all keys and policies, in no order.
    pub fn list(&self) -> Vec<(K, P)>
    where
        K: Clone,
        P: Clone,
    {
        self.inner.list()
    }

    /// Lets all policies go that nobody asked for in the idle time and that need not stay, and returns how many. A registry that
    /// is full does this by itself, as far as it has to; call it now and then to have the memory back before.
    pub fn sweep(&self) -> usize {
        self.inner.sweep()
    }

    /// Returns how many policies there are, those included that could go.
    pub fn len(&self) -> usize {
        self.inner.len.load(Ordering::Relaxed)
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, P, O, C> Registry<K, P, O, C> {
    /// Returns the name.
    pub fn name(&self) -> &str {
        self.inner.name()
    }

    /// Returns how many policies there may be.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Returns the policy that keys share which found no place.
    pub fn shared(&self) -> Option<&P> {
        self.inner.shared.as_ref()
    }
}

impl<K, P, O, C> Clone for Registry<K, P, O, C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, P, O, C> fmt::Debug for Registry<K, P, O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.inner.name())
            .field("len", &self.inner.len)
            .field("capacity", &self.inner.capacity)
            .finish_non_exhaustive()
    }
}
