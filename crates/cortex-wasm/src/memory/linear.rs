#![expect(unsafe_code, reason = "owns the bytes of a guest, and lends them")]

use super::file::SealedFile;
use super::home::Home;
use super::slot::{MOST, PAGE, Slot};
use super::slots::Slots;
use crate::account::Account;
use crate::error::Error;
use crate::quota::Resource;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use wasmer::sys::vm::{MaybeInstanceOwned, VMMemoryDefinition};
use wasmer::{AsStoreMut, AsStoreRef, MemoryType, Pages};

/// A linear memory: its slot, what compiled code knows of it, and who pays for it.
///
/// It is in two hands, those of the store and of a [`LinearHandle`]. Whoever uses it holds the store, so that there is
/// one at a time: wasmer does while guest code runs or a memory grows, and a handle asks for it.
pub(super) struct Linear {
    state: UnsafeCell<State>,
    definition: MaybeInstanceOwned<VMMemoryDefinition>,
    ty: MemoryType,
    account: Arc<Account>,
    slots: Arc<Slots>,
}

struct State {
    slot: ManuallyDrop<Slot>,
    high_water: usize,
    refused: u64,
}

/// How much of a memory is and was in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryUsage {
    /// So many bytes are.
    pub(crate) live: u64,
    /// So many were, at most.
    pub(crate) high_water: u64,
    /// The memory was to grow so often and could not.
    pub(crate) refused: u64,
}

// SAFETY: `state` and what `definition` points to are used by who holds the store, and by the last owner when it drops.
// Neither is tied to a thread.
unsafe impl Send for Linear {}
// SAFETY: as above; all else is `Sync`.
unsafe impl Sync for Linear {}

impl Linear {
    /// Makes a memory of the least length, of zeros, and charges the account for it.
    ///
    /// # Safety
    ///
    /// If a `definition` is given, it is valid while the memory can grow or shrink, and nobody else writes it.
    pub(super) unsafe fn new(
        ty: MemoryType,
        definition: Option<NonNull<VMMemoryDefinition>>,
        account: &Arc<Account>,
        slots: &Arc<Slots>,
    ) -> Result<Arc<Self>, Error> {
        let most = ty.maximum.unwrap_or(Pages::max_value()).min(Pages::max_value());
        if ty.minimum > most {
            return Err(too_long(most, u64::from(ty.minimum.0)));
        }
        let length = ty.minimum.bytes().0;
        account.charge(length as u64)?;
        let made = slots.take().and_then(|mut slot| match slot.grow(length) {
            Ok(()) => Ok(slot),
            Err(error) => {
                slots.give_back(None);
                Err(Error::paging(error))
            }
        });
        let slot = made.inspect_err(|_| account.give_back(length as u64))?;
        let empty = VMMemoryDefinition {
            base: slot.base().as_ptr(),
            current_length: 0,
        };
        let linear = Self {
            state: UnsafeCell::new(State {
                slot: ManuallyDrop::new(slot),
                high_water: length,
                refused: 0,
            }),
            definition: match definition {
                Some(definition) => MaybeInstanceOwned::Instance(definition),
                None => MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(empty))),
            },
            ty,
            account: Arc::clone(account),
            slots: Arc::clone(slots),
        };
        // SAFETY: nobody else has the memory yet.
        unsafe { linear.publish() };
        Ok(Arc::new(linear))
    }

    /// Returns where compiled code finds it.
    pub(super) fn definition(&self) -> NonNull<VMMemoryDefinition> {
        self.definition.as_ptr()
    }

    /// Returns what it was declared as.
    pub(super) fn declared(&self) -> MemoryType {
        self.ty
    }

    /// Returns how many bytes it has.
    ///
    /// # Safety
    ///
    /// The caller holds the store.
    pub(super) unsafe fn length(&self) -> usize {
        // SAFETY: as the caller promises, nobody changes it meanwhile.
        unsafe { (*self.state.get()).slot.open() }
    }

    /// Lends all bytes.
    ///
    /// # Safety
    ///
    /// The caller holds the store for as long as they are lent, and lends them to nobody else to be written.
    unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: so many bytes can be used, and are initialised: the kernel gives out zeros. They are where they are
        // while the store lives, which holds this memory, and nobody writes them while the store is borrowed.
        unsafe {
            let slot = &(*self.state.get()).slot;
            slice::from_raw_parts(slot.base().as_ptr(), slot.open())
        }
    }

    /// Lends all bytes to be written.
    ///
    /// # Safety
    ///
    /// The caller holds the store for as long as they are lent, and lends them to nobody else.
    unsafe fn bytes_mut<'a>(&self) -> &'a mut [u8] {
        // SAFETY: as in `bytes`, and nobody else uses them.
        unsafe {
            let slot = &(*self.state.get()).slot;
            slice::from_raw_parts_mut(slot.base().as_ptr(), slot.open())
        }
    }

    /// Adds pages, if the type, 32 bits and the account allow it, and returns how many there were.
    ///
    /// # Safety
    ///
    /// The caller holds the store alone.
    pub(super) unsafe fn grow(&self, delta: Pages) -> Result<Pages, Error> {
        // SAFETY: as the caller promises; nobody else uses the state.
        unsafe {
            self.try_grow(delta)
                .inspect_err(|_| (*self.state.get()).refused += 1)
        }
    }

    /// As [`grow`](Self::grow), without counting the refusal.
    unsafe fn try_grow(&self, delta: Pages) -> Result<Pages, Error> {
        // SAFETY: as the caller promises.
        let before = unsafe { self.pages() };
        let most = self.ty.maximum.unwrap_or(Pages::max_value());
        let asked = u64::from(before.0) + u64::from(delta.0);
        let Some(after) = before.checked_add(delta).filter(|after| *after <= most) else {
            return Err(too_long(most, asked));
        };
        let bytes = delta.bytes().0 as u64;
        self.account.charge(bytes)?;
        // SAFETY: as above; the reference ends before anybody else uses the state.
        let state = unsafe { &mut *self.state.get() };
        if let Err(error) = state.slot.grow(after.bytes().0) {
            self.account.give_back(bytes);
            return Err(Error::paging(error));
        }
        state.high_water = state.high_water.max(after.bytes().0);
        // SAFETY: as above.
        unsafe { self.publish() };
        Ok(before)
    }

    /// Makes the memory shorter; what is beyond is gone, and faults.
    ///
    /// # Safety
    ///
    /// The caller holds the store alone, and has lent no bytes.
    unsafe fn shrink(&self, to: usize) -> Result<(), Error> {
        // SAFETY: as the caller promises; the reference ends before anybody else uses the state.
        unsafe {
            let state = &mut *self.state.get();
            let before = state.slot.open();
            state
                .slot
                .shrink(to, self.slots.kept_bytes())
                .map_err(Error::paging)?;
            self.publish();
            self.account.give_back((before - to) as u64);
        }
        Ok(())
    }

    /// Makes the memory as if it were new and of no length, for wasmer's own reset.
    ///
    /// # Safety
    ///
    /// As for [`shrink`](Self::shrink).
    pub(super) unsafe fn clear(&self) -> Result<(), Error> {
        // SAFETY: as the caller promises; the reference ends before anybody else uses the state.
        unsafe {
            let state = &mut *self.state.get();
            let before = state.slot.open();
            state.slot.clear(self.slots.kept_bytes()).map_err(Error::paging)?;
            self.publish();
            self.account.give_back(before as u64);
        }
        Ok(())
    }

    /// Returns how many pages it has.
    ///
    /// # Safety
    ///
    /// The caller holds the store.
    pub(super) unsafe fn pages(&self) -> Pages {
        // SAFETY: as the caller promises.
        let pages = unsafe { self.length() } / PAGE;
        Pages(u32::try_from(pages).expect("invariant: a memory has 65,536 pages at most"))
    }

    /// Tells compiled code where the memory is and how long.
    unsafe fn publish(&self) {
        // SAFETY: the definition is valid, see `new`, and compiled code doesn't run while we hold the store.
        unsafe {
            let slot = &(*self.state.get()).slot;
            self.definition().write(VMMemoryDefinition {
                base: slot.base().as_ptr(),
                current_length: slot.open(),
            });
        }
    }
}

impl Drop for Linear {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        // SAFETY: this is the only time, and nobody uses the state afterwards.
        let mut slot = unsafe { ManuallyDrop::take(&mut state.slot) };
        self.account.give_back(slot.open() as u64);
        // SAFETY: bytes are lent with the store, which owned this memory, and is gone.
        let cleared = unsafe { slot.clear(self.slots.kept_bytes()) };
        self.slots.give_back(cleared.is_ok().then_some(slot));
    }
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linear")
            .field("ty", &self.ty)
            .finish_non_exhaustive()
    }
}

/// The host's access to a linear memory.
///
/// Guest code runs, and memories grow, with a store that is borrowed mutably. What is lent here borrows the store too:
/// so no bytes are held while they could change, move or vanish.
#[derive(Clone)]
pub(crate) struct LinearHandle {
    linear: Arc<Linear>,
    home: Home,
}

impl LinearHandle {
    /// Makes a handle for a memory of this store.
    ///
    /// # Safety
    ///
    /// The memory is in this store, and its definition is valid for as long as the store is.
    pub(super) unsafe fn new(linear: Arc<Linear>, home: Home) -> Self {
        Self { linear, home }
    }

    /// Lends all bytes of the memory.
    ///
    /// # Panics
    ///
    /// If it is another store. So do all methods, as wasmer's handles do.
    pub(crate) fn all<'a>(&self, store: &'a impl AsStoreRef) -> &'a [u8] {
        self.home.check(store);
        // SAFETY: the store is borrowed for as long as the bytes are.
        unsafe { self.linear.bytes() }
    }

    /// Lends all bytes of the memory to be written.
    pub(crate) fn all_mut<'a>(&self, store: &'a mut impl AsStoreMut) -> &'a mut [u8] {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably for as long as the bytes are.
        unsafe { self.linear.bytes_mut() }
    }

    /// Returns how much of the memory is in use.
    pub(crate) fn usage(&self, store: &impl AsStoreRef) -> MemoryUsage {
        self.home.check(store);
        // SAFETY: the store is borrowed.
        let state = unsafe { &*self.linear.state.get() };
        MemoryUsage {
            live: state.slot.open() as u64,
            high_water: state.high_water as u64,
            refused: state.refused,
        }
    }

    /// Adds pages, and returns how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if the memory may not have as many, [`Error::Paging`] if the kernel refuses.
    pub(crate) fn grow(&self, store: &mut impl AsStoreMut, pages: u32) -> Result<u32, Error> {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably.
        unsafe { self.linear.grow(Pages(pages)).map(|before| before.0) }
    }

    /// Makes the memory have this length again, which it had before.
    pub(super) fn shrink(&self, store: &mut impl AsStoreMut, to: usize) -> Result<(), Error> {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably.
        unsafe { self.linear.shrink(to) }
    }

    /// Makes these bytes zeros, which are in the memory.
    pub(super) fn zero(&self, store: &mut impl AsStoreMut, range: Range<usize>) -> Result<(), Error> {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably.
        unsafe { (*self.linear.state.get()).slot.zero(range).map_err(Error::paging) }
    }

    /// Lays a file over the first bytes, which has what is in them.
    pub(super) fn lay(&self, store: &mut impl AsStoreMut, file: &SealedFile) -> Result<(), Error> {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably, and a sealed file doesn't change.
        let laid = unsafe { (*self.linear.state.get()).slot.lay(file) };
        laid.map_err(Error::paging)
    }

    /// Makes the bytes those of the file, if it lies below, and zeros where it doesn't reach. Tells whether it does.
    pub(super) fn discard(&self, store: &mut impl AsStoreMut, file: &SealedFile) -> Result<bool, Error> {
        self.home.check(store);
        // SAFETY: the store is borrowed mutably; the reference ends with it.
        let slot = unsafe { &mut (*self.linear.state.get()).slot };
        let lies = slot.lies_on(file);
        if lies {
            // SAFETY: the store is borrowed mutably, so that no bytes are lent.
            unsafe { slot.discard().map_err(Error::paging)? };
        }
        Ok(lies)
    }
}

impl fmt::Debug for LinearHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.linear.fmt(f)
    }
}

/// A memory would have more pages than it may.
fn too_long(most: Pages, pages: u64) -> Error {
    Error::Quota {
        what: Resource::Bytes,
        limit: u64::from(most.0) * PAGE as u64,
        asked: pages * PAGE as u64,
    }
}

const _: () = assert!(MOST as u64 == 1 << 32);
