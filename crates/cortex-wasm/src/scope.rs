use crate::alloc::{Align, GuestBox, Holder, Mark, Tag};
use crate::error::Error;
use crate::func::{Func, Params, Results};
use crate::instance::Instance;
use crate::memory::Pod;
use std::marker::PhantomData;
use std::ops::Deref;
use zerocopy::IntoBytes;

/// Lends the memory of a guest for the arguments of calls; made by [`Instance::scope`].
///
/// What is put there is copied to the instance's arena, which takes no call of the guest, or to a block of its
/// allocator if the arena is full. Both end with the scope, whether it returns, fails or panics: the arena at once, a
/// block before the guest is next called.
///
/// All that an [`Instance`] can be asked a scope can be asked, too.
#[derive(Debug)]
pub struct Scope<'s> {
    instance: &'s mut Instance,
    mark: Mark,
}

/// Bytes that were put into the memory of a guest, for as long as their scope.
#[derive(Clone, Copy, Debug)]
pub struct GuestSlice<'s> {
    pointer: u32,
    length: u32,
    scope: PhantomData<&'s ()>,
}

impl GuestSlice<'_> {
    /// Returns where they begin.
    pub const fn ptr(&self) -> u32 {
        self.pointer
    }

    /// Returns how many there are.
    pub const fn len(&self) -> u32 {
        self.length
    }

    /// Says whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<'s> Scope<'s> {
    pub(crate) fn new(instance: &'s mut Instance) -> Self {
        let mark = instance.heap().scope();
        Self { instance, mark }
    }

    /// Copies bytes there, for exports that only read their arguments.
    ///
    /// # Errors
    ///
    /// [`Error::NoAllocator`] if there is no arena with room and no allocator, [`Error::GuestOutOfMemory`] if that has
    /// no room, and as [`Instance::call`].
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<GuestSlice<'s>, Error> {
        self.put_aligned(bytes, Align::BYTE)
    }

    /// Copies a value there.
    ///
    /// # Errors
    ///
    /// As [`put_bytes`](Self::put_bytes).
    pub fn put<T: Pod>(&mut self, value: T) -> Result<GuestSlice<'s>, Error> {
        self.put_aligned(value.as_bytes(), Align::of::<T>())
    }

    /// Copies values there, one behind the other.
    ///
    /// # Errors
    ///
    /// As [`put_bytes`](Self::put_bytes).
    pub fn put_values<T: Pod>(&mut self, values: &[T]) -> Result<GuestSlice<'s>, Error> {
        self.put_aligned(values.as_bytes(), Align::of::<T>())
    }

    /// Makes room there, for what a function is to write; what is in it is what was there before.
    ///
    /// # Errors
    ///
    /// As [`put_bytes`](Self::put_bytes).
    pub fn room(&mut self, length: u32) -> Result<GuestSlice<'s>, Error> {
        self.room_aligned(length, Align::SIXTEEN)
    }

    /// Copies bytes to a block of the guest's allocator, for exports that take their arguments through its ABI: those
    /// of the canonical ABI free them, and those of `AssemblyScript` take objects. It is freed with the scope if it
    /// stays ours.
    ///
    /// # Errors
    ///
    /// As [`put_bytes`](Self::put_bytes).
    pub fn pass_bytes(&mut self, bytes: &[u8], align: Align) -> Result<GuestSlice<'s>, Error> {
        let length = length(bytes)?;
        let (heap, guest, owner, now) = self.instance.parts()?;
        let tag = Tag::SCOPE;
        let pointer = heap.pass(guest, length, align, Holder { tag, owner, now })?;
        self.fill(pointer, bytes)
    }

    fn put_aligned(&mut self, bytes: &[u8], align: Align) -> Result<GuestSlice<'s>, Error> {
        let room = self.room_aligned(length(bytes)?, align)?;
        self.fill(room.pointer, bytes)
    }

    fn room_aligned(&mut self, length: u32, align: Align) -> Result<GuestSlice<'s>, Error> {
        if let Some(pointer) = self.instance.put_in_arena(length, align)? {
            return Ok(GuestSlice {
                pointer,
                length,
                scope: PhantomData,
            });
        }
        let (heap, guest, owner, now) = self.instance.parts()?;
        let tag = Tag::SCOPE;
        let pointer = heap.put(guest, length, align, Holder { tag, owner, now })?;
        Ok(GuestSlice {
            pointer,
            length,
            scope: PhantomData,
        })
    }

    fn fill(&mut self, pointer: u32, bytes: &[u8]) -> Result<GuestSlice<'s>, Error> {
        let length = length(bytes)?;
        self.instance.bytes_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(GuestSlice {
            pointer,
            length,
            scope: PhantomData,
        })
    }

    /// Calls a function of the guest.
    ///
    /// # Errors
    ///
    /// As [`Instance::call`].
    pub fn call<P: Params, R: Results>(&mut self, func: &Func<P, R>, arguments: P) -> Result<R, Error> {
        self.instance.call(func, arguments)
    }

    /// Tells the guest that what a function returned was read, and can be freed: `cabi_post_<function>` of the
    /// canonical ABI. Does nothing if there is none.
    ///
    /// # Errors
    ///
    /// As [`Instance::call`].
    pub fn post_return<P: Params>(&mut self, func: &Func<P, u32>, result: u32) -> Result<(), Error> {
        let abi = self.instance.abi();
        let Some(export) = abi.and_then(|abi| abi.post_return(func.name())) else {
            return Ok(());
        };
        let (_, guest, ..) = self.instance.parts()?;
        if guest.has(&export) {
            guest.call_export(&export, &[result.cast_signed()])?;
        }
        Ok(())
    }

    /// Begins a scope in this one.
    pub fn scope<R>(&mut self, run: impl for<'t> FnOnce(&mut Scope<'t>) -> R) -> R {
        self.instance.scope(run)
    }

    /// Lends bytes of the memory to be written.
    ///
    /// # Errors
    ///
    /// As [`Instance::bytes_mut`].
    pub fn bytes_mut(&mut self, pointer: u32, length: u32) -> Result<&mut [u8], Error> {
        self.instance.bytes_mut(pointer, length)
    }

    /// Writes a value, which need not be aligned.
    ///
    /// # Errors
    ///
    /// As [`Instance::write`].
    pub fn write<T: Pod>(&mut self, pointer: u32, value: T) -> Result<(), Error> {
        self.instance.write(pointer, value)
    }

    /// Takes a block that outlives the scope.
    ///
    /// # Errors
    ///
    /// As [`Instance::alloc_owned`].
    pub fn alloc_owned(&mut self, length: u32, tag: Tag) -> Result<GuestBox, Error> {
        self.instance.alloc_owned(length, tag)
    }

    /// Takes over a block that the guest returned; it outlives the scope.
    ///
    /// # Errors
    ///
    /// As [`Instance::adopt`].
    pub fn adopt(&mut self, pointer: u32, length: u32, tag: Tag) -> Result<GuestBox, Error> {
        self.instance.adopt(pointer, length, tag)
    }
}

impl Deref for Scope<'_> {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        self.instance
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let mark = self.mark;
        self.instance.heap().end(mark);
    }
}

/// Returns the length of bytes, if a guest can have as many.
fn length(bytes: &[u8]) -> Result<u32, Error> {
    u32::try_from(bytes.len()).map_err(|_| Error::GuestOutOfMemory {
        asked: bytes.len() as u64,
    })
}
