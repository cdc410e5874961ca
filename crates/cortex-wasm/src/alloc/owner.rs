use super::frees::Signals;
use super::sync::{AtomicBool, AtomicU32, Mutex, Ordering, lock};
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
    /// Where the instance that asked last has it, which any other one has to look at before it believes it.
    hint: AtomicU32,
    /// Whom to tell that it was closed.
    instances: Mutex<Vec<Instance>>,
}

struct Instance {
    signals: Weak<Signals>,
    /// Where it has the owner.
    place: u32,
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
            hint: AtomicU32::new(0),
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
        let instances = std::mem::take(&mut *lock(&life.instances));
        for Instance { signals, place } in instances {
            if let Some(signals) = signals.upgrade() {
                signals.close(place);
            }
        }
    }
}

impl OwnerRef {
    /// Says whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Counts who has a name of it, the owner among them.
    #[cfg(test)]
    pub(super) fn names(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Returns where an instance may have it.
    pub(super) fn hint(&self) -> u32 {
        self.0.hint.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Notes where an instance has it, so that the instance is told when it is closed. `place` is asked with the place
    /// that was noted before, if there is one.
    ///
    /// If it is closed after it was looked at, the signal comes after that, too: the sweep that follows finds the
    /// block.
    pub(super) fn note(
        &self,
        signals: &Arc<Signals>,
        place: impl FnOnce(Option<u32>) -> u32,
    ) -> Result<u32, Error> {
        let mut instances = lock(&self.0.instances);
        if self.is_closed() {
            return Err(Error::OwnerClosed); // they were told already
        }
        instances.retain(|known| known.signals.strong_count() > 0);
        let known = instances
            .iter_mut()
            .find(|known| known.signals.as_ptr() == Arc::as_ptr(signals));
        let place = place(known.as_ref().map(|known| known.place));
        if let Some(known) = known {
            known.place = place;
        } else {
            let signals = Arc::downgrade(signals);
            instances.push(Instance { signals, place });
        }
        self.0.hint.store(place, Ordering::Relaxed);
        Ok(place)
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
