use crate::func::Named;
use crate::memory::{Costs, Image};
use std::any::TypeId;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the instances of a module have in common.
pub(crate) struct Common {
    module: u64,
    named: Mutex<Vec<Arc<Named>>>,
    /// What the memories of its instances are at first, if they begin alike.
    images: Mutex<Option<Arc<[Arc<Image>]>>>,
    costs: Mutex<Costs>,
}

impl Common {
    /// Names a function: the same one has one index. There are only so many exports, and signatures in a program.
    pub(crate) fn named(&self, export: &str, kind: TypeId) -> Arc<Named> {
        let mut named = hold(&self.named);
        if let Some(known) = named.iter().find(|known| known.is(export, kind)) {
            return Arc::clone(known);
        }
        let new = Arc::new(Named::new(export, named.len(), self.module, kind));
        named.push(Arc::clone(&new));
        new
    }

    /// Returns the number of the module, which no other one has.
    pub(crate) const fn module(&self) -> u64 {
        self.module
    }

    /// Returns the images that an instance kept first.
    pub(crate) fn images(&self) -> Option<Arc<[Arc<Image>]>> {
        hold(&self.images).clone()
    }

    /// Keeps the images of an instance for others to have, unless there are some.
    pub(crate) fn keep(&self, images: &Arc<[Arc<Image>]>) {
        hold(&self.images).get_or_insert_with(|| Arc::clone(images));
    }

    /// Returns what the ways to a new instance cost.
    pub(crate) fn costs(&self) -> MutexGuard<'_, Costs> {
        hold(&self.costs)
    }
}

impl Default for Common {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            module: NEXT.fetch_add(1, Ordering::Relaxed),
            named: Mutex::default(),
            images: Mutex::default(),
            costs: Mutex::default(),
        }
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
