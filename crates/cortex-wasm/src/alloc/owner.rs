use super::frees::{CLOSED, Signals};
use super::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};
use crate::Error;
use std::fmt;
use std::sync::{Arc, Weak};

/// For whom blocks are held: a request, a session, a tenant. Dropped, it is closed.
///
/// A block that was never dropped, because its handle was forgotten or is in a cycle, is garbage once its owner is
/// closed: it is freed when the instance is next called, or looked after while idle.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Owner;
///
/// let session = Owner::new();
/// let reference = session.reference();
/// assert!(!reference.is_closed());
/// drop(session);
/// assert!(reference.is_closed());
/// ```
#[must_use = "an owner that is dropped is closed"]
pub struct Owner(OwnerRef);

/// Names an [`Owner`], and does not keep it open.
#[derive(Clone)]
pub struct OwnerRef(Arc<Life>);

struct Life {
    is_closed: AtomicBool,
    /// The instance that was noted last.
    last: AtomicU64,
    /// Whom to tell that it was closed.
    instances: Mutex<Vec<Weak<Signals>>>,
}

impl Owner {
    /// Opens one.
    #[expect(
        clippy::new_without_default,
        reason = "one that is opened by chance is closed by chance"
    )]
    pub fn new() -> Self {
        Self(OwnerRef(Arc::new(Life {
            is_closed: AtomicBool::new(false),
            last: AtomicU64::new(0),
            instances: Mutex::new(Vec::new()),
        })))
    }

    /// Returns a name for it.
    pub fn reference(&self) -> OwnerRef {
        self.0.clone()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let life = &self.0.0;
        life.is_closed.store(true, Ordering::Release);
        if Arc::strong_count(life) == 1 {
            return; // no block names it, and none can any more
        }
        let instances = std::mem::take(&mut *lock(&life.instances));
        for signals in instances.iter().filter_map(Weak::upgrade) {
            signals.raise(CLOSED);
        }
    }
}

impl OwnerRef {
    /// Says whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Notes that an instance is about to hold a block of it, and so is told when it is closed. Called by the thread of
    /// the instance.
    ///
    /// If it is closed after this look at it, the signal comes after it, too: the sweep that follows finds the block.
    pub(super) fn note(&self, instance: u64, signals: &Arc<Signals>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::OwnerClosed);
        }
        if self.0.last.load(Ordering::Relaxed) == instance {
            return Ok(()); // only that instance writes its number, after it was noted
        }
        let mut instances = lock(&self.0.instances);
        if self.is_closed() {
            return Err(Error::OwnerClosed); // they were told already
        }
        instances.retain(|known| known.strong_count() > 0);
        if !instances
            .iter()
            .any(|known| known.as_ptr() == Arc::as_ptr(signals))
        {
            instances.push(Arc::downgrade(signals));
        }
        self.0.last.store(instance, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("OwnerRef");
        debug
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::super::frees::Frees;
    use super::*;

    #[test]
    fn each_instance_is_told_once_and_the_dead_are_forgotten() {
        let owner = Owner::new();
        let name = owner.reference();
        let (first, second, third) = (Frees::default(), Frees::default(), Frees::default());
        for (instance, frees) in [(1, &first), (2, &second), (1, &first), (2, &second)] {
            name.note(instance, frees.signals()).unwrap();
        }
        assert_eq!(lock(&name.0.instances).len(), 2);
        drop(second);
        name.note(3, third.signals()).unwrap();
        assert_eq!(lock(&name.0.instances).len(), 2);
        drop(owner);
        assert_eq!((first.take(), third.take()), (CLOSED, CLOSED));
        assert!(matches!(name.note(1, first.signals()), Err(Error::OwnerClosed)));
        assert!(first.is_quiet());
    }

    #[test]
    fn an_owner_of_nothing_tells_nobody() {
        let owner = Owner::new();
        let frees = Frees::default();
        owner.reference().note(1, frees.signals()).unwrap();
        drop(owner);
        assert!(
            frees.is_quiet(),
            "each request would have its instance sweep for nothing"
        );
    }
}
