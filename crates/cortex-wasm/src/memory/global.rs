#![expect(unsafe_code, reason = "reads and writes globals that no export leads to")]

use super::home::Home;
use std::fmt;
use std::ptr::NonNull;
use wasmer::sys::vm::VMGlobalDefinition;
use wasmer::{AsStoreMut, AsStoreRef, GlobalType, Mutability, Type};

/// Where compiled code has a global.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    pub(super) definition: NonNull<VMGlobalDefinition>,
    pub(super) ty: GlobalType,
}

// SAFETY: it is an address; who follows it says why it may.
unsafe impl Send for Location {}
// SAFETY: as above.
unsafe impl Sync for Location {}

/// A global of an instance, exported or not.
#[derive(Clone)]
pub(crate) struct GlobalHandle {
    location: Location,
    home: Home,
}

impl GlobalHandle {
    /// Makes a handle for a global of this store.
    ///
    /// # Safety
    ///
    /// The location is valid for as long as the store is.
    pub(super) unsafe fn new(location: Location, home: Home) -> Self {
        Self { location, home }
    }

    /// Returns its type.
    pub(crate) fn ty(&self) -> GlobalType {
        self.location.ty
    }

    /// Returns where compiled code has it. It is there while the store lives.
    pub(crate) fn address(&self) -> NonNull<VMGlobalDefinition> {
        self.location.definition
    }

    /// Returns its value, if it is an `i64`.
    ///
    /// # Panics
    ///
    /// If it is another store.
    pub(crate) fn value(&self, store: &impl AsStoreRef) -> Option<i64> {
        self.home.check(store);
        let is_i64 = self.location.ty.ty == Type::I64;
        // SAFETY: the store lives, and compiled code doesn't run while it is borrowed.
        is_i64.then(|| unsafe { self.address().as_ref().val.i64 })
    }

    /// Sets its value, if it is an `i64` and can change, and tells whether it did.
    ///
    /// # Panics
    ///
    /// If it is another store.
    pub(crate) fn set_value(&self, store: &mut impl AsStoreMut, value: i64) -> bool {
        self.home.check(store);
        let fits = self.location.ty == GlobalType::new(Type::I64, Mutability::Var);
        if fits {
            // SAFETY: as above, and nobody else has the store.
            unsafe { self.address().as_mut().val.i64 = value };
        }
        fits
    }
}

impl fmt::Debug for GlobalHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GlobalHandle").field(&self.location.ty).finish()
    }
}

/// What globals of an instance were, so that they can be so again.
pub(crate) struct GlobalImage {
    saved: Box<[(GlobalHandle, u128)]>,
}

impl GlobalImage {
    /// Takes the values that these globals have now, of those that can change.
    ///
    /// # Panics
    ///
    /// If it is another store.
    pub(crate) fn capture(globals: &[GlobalHandle], store: &impl AsStoreRef) -> Self {
        let save = |global: &GlobalHandle| {
            global.home.check(store);
            // SAFETY: the store lives, compiled code doesn't run while it is borrowed, and all 16 bytes were written
            // when the global was made.
            let value = unsafe { global.address().as_ref().val.u128 };
            (global.clone(), value)
        };
        let changing = globals.iter().filter(|it| it.ty().mutability == Mutability::Var);
        Self {
            saved: changing.map(save).collect(),
        }
    }

    /// Makes the globals what they were.
    ///
    /// # Panics
    ///
    /// If it is another store.
    pub(crate) fn restore(&self, store: &mut impl AsStoreMut) {
        for (global, value) in &self.saved {
            global.home.check(store);
            // SAFETY: as above, nobody else has the store, and the value was one of this very global: what it refers to
            // lives as long as the store.
            unsafe { global.address().as_mut().val.u128 = *value };
        }
    }
}

impl fmt::Debug for GlobalImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalImage")
            .field("globals", &self.saved.len())
            .finish()
    }
}
