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
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the meter writes its globals while the guest runs")
    )]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::testing::{Bench, Guest};

    const GUEST: &str = r#"(module
        (global $small (mut i32) (i32.const 1))
        (global $large (mut i64) (i64.const 2))
        (global $fixed i64 (i64.const 3))
        (global $vector (mut v128) (v128.const i64x2 4 5))
        (global $function (mut funcref) (ref.func $six))
        (global $last (mut i64) (i64.const 7))
        (table $table 1 funcref)
        (func $six (result i32) (i32.const 6))
        (func $nine (result i32) (i32.const 9))
        (elem declare func $six $nine)
        (func (export "change")
            (global.set $small (i32.const -1))
            (global.set $large (i64.const -2))
            (global.set $vector (v128.const i64x2 -4 -5))
            (global.set $function (ref.func $nine))
            (global.set $last (i64.const -7)))
        (func (export "sum") (result i32)
            (table.set $table (i32.const 0) (global.get $function))
            (i32.wrap_i64 (i64.add (i64.add (global.get $large) (global.get $fixed)) (i64.add (global.get $last)
                (i64.add (i64x2.extract_lane 1 (global.get $vector)) (i64.extend_i32_s (i32.add (global.get $small)
                    (call_indirect $table (result i32) (i32.const 0)))))))))
    )"#;

    fn value(guest: &Guest, at: usize) -> Option<i64> {
        guest.made.globals[at].value(&guest.store)
    }

    #[test]
    fn all_that_can_change_is_restored_of_those_that_were_captured() {
        let mut guest = Bench::new().guest(GUEST);
        // The last one stands for what a middleware adds.
        let image = GlobalImage::capture(&guest.made.globals[..5], &guest.store);
        assert_eq!(image.saved.len(), 4);
        assert_eq!(guest.call("sum", &[]).unwrap(), 1 + 2 + 3 + 5 + 6 + 7);
        for _ in 0..2 {
            guest.call("change", &[]).unwrap();
            assert_eq!(guest.call("sum", &[]).unwrap(), -1 - 2 + 3 - 5 + 9 - 7);
            image.restore(&mut guest.store);
            assert_eq!(guest.call("sum", &[]).unwrap(), 1 + 2 + 3 + 5 + 6 - 7);
        }
    }

    #[test]
    fn a_value_is_read_and_set_if_it_is_of_64_bits_and_can_change() {
        let mut guest = Bench::new().guest(GUEST);
        let values: Vec<_> = (0..6).map(|at| value(&guest, at)).collect();
        assert_eq!(values, [None, Some(2), Some(3), None, None, Some(7)]);
        for (at, sets) in [false, true, false, false, false, true].into_iter().enumerate() {
            assert_eq!(
                guest.made.globals[at].set_value(&mut guest.store, 50),
                sets,
                "{at}"
            );
        }
        assert_eq!(guest.call("sum", &[]).unwrap(), 1 + 50 + 3 + 5 + 6 + 50);
    }
}
