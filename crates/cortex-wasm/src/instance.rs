use crate::account::Account;
use crate::alloc::{
    Align, AllocStats, BlockId, GuestAbi, GuestBox, Heap, Holder, Leak, Owner, OwnerRef, Tag,
};
use crate::cancel::Service;
use crate::error::Error;
use crate::func::{Func, Params, Results};
use crate::guest::Guest;
use crate::imports::HostUsage;
use crate::memory::{LinearHandle, MemoryUsage, Pod, Way};
use crate::module::Module;
use crate::reset::{Reset, Snapshot};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::tenant::Tenant;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What arenas and regions are aligned to.
const ALIGN: Align = Align::SIXTEEN;

/// A page of WebAssembly.
const PAGE: u32 = 1 << 16;

/// A guest: its code can be called, its memory read and written.
///
/// It stays on the thread where it was made. Whoever calls it has it alone (`&mut`), and what is lent of its memory
/// borrows it: so no bytes are held while they could change or vanish.
///
/// After a call that broke off ([`Error::Trap`], [`Error::Timeout`], [`Error::Cancelled`], [`Error::HostPanic`]) none
/// of its code runs, not even to free, until [`reset`](Self::reset).
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Error, WasmHost};
///
/// let host = WasmHost::builder().build()?;
/// let wasm = wat::parse_str(
///     r#"(module (memory (export "memory") 1)
///         (func (export "first") (result i32) (i32.load8_u (i32.const 0))))"#,
/// ).unwrap();
/// let module = host.compile("first", &wasm)?;
/// let first = module.func::<(), u32>("first")?;
///
/// let mut guest = host.instantiate(&module)?;
/// guest.write(0, 7_u8)?;
/// assert_eq!(guest.call(&first, ())?, 7);
/// assert!(matches!(guest.write(65_536, 7_u8), Err(Error::OutOfBounds { .. })));
///
/// guest.reset()?;
/// assert_eq!(guest.call(&first, ())?, 0);
/// # Ok::<(), Error>(())
/// ```
pub struct Instance {
    heap: Heap,
    /// For whom blocks are held, unless told: until the reset.
    owner: Owner,
    reference: OwnerRef,
    snapshot: Option<Snapshot>,
    /// None if it could not be made anew.
    guest: Option<Guest>,
    account: Arc<Account>,
    /// For whom it works, and whatever takes its place.
    service: Service,
    module: Module,
    shared: Arc<Shared>,
}

impl Instance {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        module: &Module,
        parent: &Arc<Account>,
        service: Service,
    ) -> Result<Self, Error> {
        let owner = Owner::new();
        let quota = &shared.quota;
        let tags = Arc::clone(&shared.tags);
        let mut instance = Self {
            heap: Heap::new(module.adapter(), quota.max_live_allocs, tags),
            reference: owner.reference(),
            owner,
            snapshot: None,
            guest: None,
            account: parent.child(quota.max_bytes),
            service,
            module: module.clone(),
            shared: Arc::clone(shared),
        };
        instance.begin()?;
        Ok(instance)
    }

    /// Makes the guest, and whatever is to be there before it is first called.
    fn begin(&mut self) -> Result<(), Error> {
        let begun = self.shared.clock.now();
        let mut guest = Guest::new(&self.shared, &self.module, &self.account, &self.service)?;
        self.reserve(&mut guest)?;
        if self.shared.reset == Reset::Adaptive {
            self.snapshot = Snapshot::capture(&mut guest, &self.module)?;
        }
        let took = self.shared.clock.now().saturating_duration_since(begun);
        self.module.common().costs().note(Way::Reinstantiate, took);
        self.guest = Some(guest);
        Ok(())
    }

    /// Takes the arena and the region: from the guest's allocator, or if it has none, and a region is wanted, from
    /// pages that are added to its memory.
    fn reserve(&mut self, guest: &mut Guest) -> Result<(), Error> {
        let (arena, region) = (self.shared.arena, self.shared.region);
        if self.module.adapter().is_some() {
            if arena > 0 {
                let place = self.heap.reserve(guest, arena, ALIGN)?;
                self.heap.place_arena(place);
            }
            if region > 0 {
                let place = self.heap.reserve(guest, region, ALIGN)?;
                self.heap.place_region(place);
            }
            return Ok(());
        }
        let Some(memory) = guest.memories.first().filter(|_| region > 0) else {
            return Ok(());
        };
        let arena = arena.next_multiple_of(ALIGN.bytes());
        let pages = arena.saturating_add(region).div_ceil(PAGE);
        let before = memory.grow(guest.runner.store_mut(), pages)?;
        let start = before * PAGE;
        self.heap.place_arena((start, arena));
        self.heap.place_region((start + arena, region));
        Ok(())
    }

    /// Returns its module.
    pub const fn module(&self) -> &Module {
        &self.module
    }

    /// Calls a function of the guest, under the deadline of the host. What was dropped meanwhile is freed first.
    ///
    /// # Errors
    ///
    /// [`Error::WrongModule`] if the function is of another module, [`Error::Poisoned`] if a call before broke off, and
    /// those of this one: [`Error::Trap`], [`Error::Timeout`], [`Error::Cancelled`], [`Error::HostPanic`].
    pub fn call<P: Params, R: Results>(&mut self, func: &Func<P, R>, arguments: P) -> Result<R, Error> {
        if func.named().module != self.module.common().module() {
            return Err(Error::WrongModule);
        }
        let guest = sound(&mut self.guest)?;
        self.heap.free_dropped(guest)?;
        guest.call(func, arguments)
    }

    /// Puts arguments into the memory of the guest for as long as a closure runs, and frees them then, however it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{Error, WasmHost};
    ///
    /// let host = WasmHost::builder().region(1 << 16).build()?; // for guests without an allocator
    /// let wasm = wat::parse_str(
    ///     r#"(module (memory (export "memory") 1)
    ///         (func (export "last") (param i32 i32) (result i32)
    ///             (i32.load8_u (i32.sub (i32.add (local.get 0) (local.get 1)) (i32.const 1)))))"#,
    /// ).unwrap();
    /// let module = host.compile("last", &wasm)?;
    /// let last = module.func::<(u32, u32), u32>("last")?;
    /// let mut guest = host.instantiate(&module)?;
    /// let byte = guest.scope(|scope| {
    ///     let text = scope.put_bytes(b"amber")?;
    ///     scope.call(&last, (text.ptr(), text.len()))
    /// })?;
    /// assert_eq!(byte, u32::from(b'r'));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn scope<R>(&mut self, run: impl for<'s> FnOnce(&mut Scope<'s>) -> R) -> R {
        run(&mut Scope::new(self))
    }

    /// Takes a block of the guest's memory, aligned to 8, that stays until it is dropped, or this instance is reset:
    /// from the region, or from the guest's allocator.
    ///
    /// # Errors
    ///
    /// [`Error::NoAllocator`] if there is neither, [`Error::NoFree`] if the guest takes no blocks back,
    /// [`Error::Quota`] if there are as many as there may be, [`Error::GuestOutOfMemory`], and as
    /// [`call`](Self::call).
    pub fn alloc_owned(&mut self, length: u32, tag: Tag) -> Result<GuestBox, Error> {
        let owner = self.reference.clone();
        self.alloc_for(&owner, length, Align::EIGHT, tag)
    }

    /// As [`alloc_owned`](Self::alloc_owned), for an owner: a block that nobody dropped is freed once that is closed.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::OwnerClosed`].
    pub fn alloc_for(
        &mut self,
        owner: &OwnerRef,
        length: u32,
        align: Align,
        tag: Tag,
    ) -> Result<GuestBox, Error> {
        let now = self.shared.clock.nanos();
        let guest = sound(&mut self.guest)?;
        self.heap.free_dropped(guest)?;
        self.heap.own(guest, length, align, Holder { tag, owner, now })
    }

    /// Takes over a block that the guest returned, to be freed as if the host had taken it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], [`Error::NullPointer`] and [`Error::AlreadyHeld`] for pointers that cannot be,
    /// [`Error::NoFree`] if the guest takes no blocks back.
    pub fn adopt(&mut self, pointer: u32, length: u32, tag: Tag) -> Result<GuestBox, Error> {
        let holder = Holder {
            tag,
            owner: &self.reference,
            now: self.shared.clock.nanos(),
        };
        let guest = sound(&mut self.guest)?;
        self.heap.adopt(guest, (pointer, length), Align::BYTE, holder)
    }

    /// Makes a block the guest's, which frees it as it likes; returns where it is and how long.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`], [`Error::WrongInstance`] and [`Error::UseAfterFree`] if there is no such block,
    /// [`Error::NoAllocator`] if the guest could not know of it.
    pub fn into_guest(&mut self, block: GuestBox) -> Result<(u32, u32), Error> {
        let guest = sound(&mut self.guest)?;
        let length = block.len();
        self.heap.give(guest, block, |guest, from, to| {
            let Guest { memories, runner, .. } = guest;
            let memory = memories.first().ok_or(nowhere(from, length.into()))?;
            let bytes = memory.bytes(runner.store(), from, length)?.to_vec();
            memory.copy_in(runner.store_mut(), to, &bytes)
        })
    }

    /// Frees a block now.
    ///
    /// # Errors
    ///
    /// [`Error::DoubleFree`], [`Error::Stale`] and [`Error::WrongInstance`] if there is no such block, and as
    /// [`call`](Self::call).
    pub fn free(&mut self, block: BlockId) -> Result<(), Error> {
        let guest = sound(&mut self.guest)?;
        self.heap.free(guest, block)
    }

    /// Returns the handle of a block whose ownership was given up by [`GuestBox::into_id`].
    ///
    /// # Errors
    ///
    /// [`Error::UseAfterFree`], [`Error::Stale`] and [`Error::WrongInstance`] if there is no such block.
    pub fn claim(&mut self, block: BlockId) -> Result<GuestBox, Error> {
        self.heap.claim(block)
    }

    /// Lends the bytes of a block.
    ///
    /// # Errors
    ///
    /// [`Error::UseAfterFree`], [`Error::Stale`] and [`Error::WrongInstance`] if there is no such block.
    pub fn block(&self, block: BlockId) -> Result<&[u8], Error> {
        let (pointer, length) = self.heap.find(block)?;
        self.bytes(pointer, length)
    }

    /// Lends the bytes of a block to be written.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block).
    pub fn block_mut(&mut self, block: BlockId) -> Result<&mut [u8], Error> {
        let (pointer, length) = self.heap.find(block)?;
        self.bytes_mut(pointer, length)
    }

    /// Frees what was dropped and what has no owner any more, and has the guest collect its own garbage if it can.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn collect(&mut self) -> Result<(), Error> {
        let now = self.shared.clock.nanos();
        let guest = sound(&mut self.guest)?;
        let before = guest.runner.together();
        let collected = self.heap.collect(guest, now);
        guest.runner.apart(before);
        collected
    }

    /// Reports blocks that are held for so long, by their tags, for an owner that is open.
    pub fn leaks(&self, older_than: Duration) -> Vec<Leak> {
        self.heap.leaks(self.shared.clock.nanos(), older_than)
    }

    /// Returns how the blocks stand that the host holds here.
    pub fn alloc_stats(&self) -> AllocStats {
        self.heap.totals().stats()
    }

    /// Counts what was dropped and not yet freed.
    pub fn frees_pending(&self) -> usize {
        self.heap.pending()
    }

    /// Returns the length of the memory in bytes.
    pub fn memory_len(&self) -> u64 {
        self.usage().map_or(0, |usage| usage.live)
    }

    /// Returns how long the memory was at most, since it was instantiated.
    pub fn memory_high_water(&self) -> u64 {
        self.usage().map_or(0, |usage| usage.high_water)
    }

    /// Counts how often the memory was to grow and could not.
    pub fn grow_refused(&self) -> u64 {
        self.usage().map_or(0, |usage| usage.refused)
    }

    fn usage(&self) -> Option<MemoryUsage> {
        let guest = self.guest.as_ref()?;
        Some(guest.memory()?.usage(guest.runner.store()))
    }

    /// Lends bytes of the memory.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if not all of them are in it, as in all that read or write; a module without a memory has
    /// one of no bytes.
    pub fn bytes(&self, pointer: u32, length: u32) -> Result<&[u8], Error> {
        let (guest, memory) = self.memory(pointer, length.into())?;
        memory.bytes(guest.runner.store(), pointer, length)
    }

    /// Lends bytes of the memory to be written.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Error> {
        let (guest, memory) = self.memory_mut(pointer, length.into())?;
        memory.bytes_mut(guest.store_mut(), pointer, length)
    }

    /// Lends text of the memory.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`Error::NotText`] if it isn't UTF-8.
    pub fn text(&self, pointer: u32, length: u32) -> Result<&str, Error> {
        let (guest, memory) = self.memory(pointer, length.into())?;
        memory.text(guest.runner.store(), pointer, length)
    }

    /// Reads a value, which need not be aligned.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn read<T: Pod>(&self, pointer: u32) -> Result<T, Error> {
        let (guest, memory) = self.memory(pointer, size_of::<T>() as u64)?;
        memory.read(guest.runner.store(), pointer)
    }

    /// Writes a value, which need not be aligned.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn write<T: Pod>(&mut self, pointer: u32, value: T) -> Result<(), Error> {
        let (guest, memory) = self.memory_mut(pointer, size_of::<T>() as u64)?;
        memory.write(guest.store_mut(), pointer, value)
    }

    /// Reads so many values, one behind the other.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes); nothing is allocated then.
    pub fn values<T: Pod>(&self, pointer: u32, count: u32) -> Result<Vec<T>, Error> {
        let (guest, memory) = self.memory(pointer, count.into())?;
        memory.values(guest.runner.store(), pointer, count)
    }

    /// Copies values of the host into the memory.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn copy_in<T: Pod>(&mut self, pointer: u32, values: &[T]) -> Result<(), Error> {
        let (guest, memory) = self.memory_mut(pointer, size_of_val(values) as u64)?;
        memory.copy_in(guest.store_mut(), pointer, values)
    }

    /// Copies values out of the memory.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes).
    pub fn copy_out<T: Pod>(&self, pointer: u32, values: &mut [T]) -> Result<(), Error> {
        let (guest, memory) = self.memory(pointer, size_of_val(values) as u64)?;
        memory.copy_out(guest.runner.store(), pointer, values)
    }

    fn memory(&self, pointer: u32, length: u64) -> Result<(&Guest, &LinearHandle), Error> {
        let guest = self.guest.as_ref().ok_or(Error::Poisoned)?;
        let memory = guest.memory().ok_or(nowhere(pointer, length))?;
        Ok((guest, memory))
    }

    fn memory_mut(
        &mut self,
        pointer: u32,
        length: u64,
    ) -> Result<(&mut crate::runner::Runner, &LinearHandle), Error> {
        let Guest { memories, runner, .. } = self.guest.as_mut().ok_or(Error::Poisoned)?;
        let memory = memories.first().ok_or(nowhere(pointer, length))?;
        Ok((runner, memory))
    }

    /// Lends what the host keeps for it: see [`Imports::data`](crate::Imports::data). A module that imports nothing has
    /// none.
    pub fn data_mut<T: 'static>(&mut self) -> Option<&mut T> {
        let (linkage, store) = self.guest.as_mut()?.runner.linkage()?;
        linkage.data(store)
    }

    /// Returns what its guest had host functions do, since it was made or another one took its place.
    pub fn host_usage(&self) -> HostUsage {
        self.guest
            .as_ref()
            .map_or_else(HostUsage::default, |guest| guest.runner.host_usage())
    }

    /// Says whether a call broke off, so that none is made before a reset.
    pub fn is_poisoned(&self) -> bool {
        self.guest.as_ref().is_none_or(|guest| guest.runner.is_poisoned())
    }

    /// Makes it as new: its memory, its globals and whatever else its code could change. Blocks that were held are
    /// gone, and their handles stale.
    ///
    /// # Errors
    ///
    /// Those of making an instance, if another one has to take its place. There is none then, and each use says
    /// [`Error::Poisoned`], until a reset succeeds.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.heap.reset();
        self.close();
        if self.restore() {
            return Ok(());
        }
        // The memory is given back before the next one is asked for.
        self.snapshot = None;
        self.guest = None;
        self.shared.tally.replaced.add();
        self.begin()
    }

    /// Sets it back in place, if that can be done and is likely cheaper.
    fn restore(&mut self) -> bool {
        let (Some(guest), Some(snapshot)) = (&mut self.guest, &self.snapshot) else {
            return false;
        };
        if !guest.runner.is_restorable() {
            return false;
        }
        let way = self.module.common().costs().choose(snapshot.ways());
        if way == Way::Reinstantiate {
            return false;
        }
        let begun = self.shared.clock.now();
        if snapshot.restore(guest, way).is_err() {
            return false; // it is thrown away
        }
        guest.runner.heal();
        let took = self.shared.clock.now().saturating_duration_since(begun);
        self.module.common().costs().note(way, took);
        self.shared.tally.restored.add();
        true
    }

    /// Is charged to a tenant from now on, and works for somebody.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if that is too much for the tenant; all is as it was then.
    pub(crate) fn serve(&mut self, tenant: &Tenant, service: Service) -> Result<(), Error> {
        self.account.move_to(&tenant.account)?;
        self.work_for(service);
        Ok(())
    }

    /// Works for nobody, and is charged to the host.
    pub(crate) fn rest(&mut self) -> Result<(), Error> {
        self.work_for(Service::default());
        self.account.move_to(&self.shared.account)
    }

    fn work_for(&mut self, service: Service) {
        self.service = service.clone();
        if let Some(guest) = &mut self.guest {
            guest.runner.serve(service);
        }
    }

    /// Frees what was held for whoever had it, who found it as it was and leaves it so.
    pub(crate) fn tidy(&mut self) -> Result<(), Error> {
        self.close();
        self.collect()
    }

    /// Closes the owner of the blocks that have no other one.
    fn close(&mut self) {
        self.owner = Owner::new();
        self.reference = self.owner.reference();
    }

    pub(crate) fn parts(&mut self) -> Result<(&mut Heap, &mut Guest, &OwnerRef, u64), Error> {
        let now = self.shared.clock.nanos();
        let guest = sound(&mut self.guest)?;
        Ok((&mut self.heap, guest, &self.reference, now))
    }

    pub(crate) fn put_in_arena(&mut self, length: u32, align: Align) -> Result<Option<u32>, Error> {
        sound(&mut self.guest)?;
        Ok(self.heap.put_in_arena(length, align))
    }

    pub(crate) fn heap(&mut self) -> &mut Heap {
        &mut self.heap
    }

    pub(crate) fn abi(&self) -> Option<Arc<dyn GuestAbi>> {
        self.module.adapter()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("module", &self.module)
            .field("is_poisoned", &self.is_poisoned())
            .field("memory_len", &self.memory_len())
            .finish_non_exhaustive()
    }
}

impl Heap {
    /// Frees what was dropped, all of it within the deadline of one call.
    #[inline]
    fn free_dropped(&mut self, guest: &mut Guest) -> Result<(), Error> {
        if self.is_quiet() {
            return Ok(());
        }
        let before = guest.runner.together();
        let freed = self.boundary(guest);
        guest.runner.apart(before);
        freed
    }
}

/// Returns the guest, if its code may run.
fn sound(guest: &mut Option<Guest>) -> Result<&mut Guest, Error> {
    match guest {
        Some(guest) if !guest.runner.is_poisoned() => Ok(guest),
        _ => Err(Error::Poisoned),
    }
}

/// A module without a memory has one of no bytes.
fn nowhere(pointer: u32, length: u64) -> Error {
    Error::OutOfBounds {
        pointer,
        length,
        memory: 0,
    }
}
