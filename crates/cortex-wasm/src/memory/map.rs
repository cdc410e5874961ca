#![expect(unsafe_code, reason = "maps and unmaps address space")]

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io;
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};
use std::ops::Range;
use std::ptr::{self, NonNull};

/// A part of the address space that is ours.
#[derive(Debug)]
pub(super) struct Map {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: it is the owner of its addresses, on whatever thread; nothing in it is tied to the one that made it.
unsafe impl Send for Map {}
// SAFETY: all that changes something takes `&mut self`.
unsafe impl Sync for Map {}

impl Map {
    /// Reserves addresses behind which there is nothing yet: whoever uses them faults.
    pub(super) fn reserve(length: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping, at addresses that the kernel chooses, takes nothing from anybody.
        let base = unsafe { mm::mmap_anonymous(ptr::null_mut(), length, ProtFlags::empty(), flags)? };
        Ok(Self::new(base.cast(), length))
    }

    /// Maps a file to be read. Nobody may shorten or write it while it is mapped.
    pub(super) fn of_file(file: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        // SAFETY: as above.
        let base = unsafe {
            mm::mmap(
                ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file,
                0,
            )?
        };
        Ok(Self::new(base.cast(), length))
    }

    fn new(base: *mut u8, length: usize) -> Self {
        let base = NonNull::new(base).expect("invariant: the kernel maps nothing at null");
        Self { base, length }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Lets these bytes be read and written.
    pub(super) fn open(&mut self, range: Range<usize>) -> io::Result<()> {
        let Some((at, length)) = self.part(range) else {
            return Ok(());
        };
        // SAFETY: the bytes are ours, and gain permissions only.
        unsafe { mm::mprotect(at, length, MprotectFlags::READ | MprotectFlags::WRITE) }
    }

    /// Makes whoever uses these bytes fault; what is in them stays.
    ///
    /// # Safety
    ///
    /// Nothing refers to them.
    pub(super) unsafe fn close(&mut self, range: Range<usize>) -> io::Result<()> {
        let Some((at, length)) = self.part(range) else {
            return Ok(());
        };
        // SAFETY: the bytes are ours, and nobody is left that would read them.
        unsafe { mm::mprotect(at, length, MprotectFlags::empty()) }
    }

    /// Gives the pages of these bytes back: they read as zeros again, or as the file that was laid there.
    ///
    /// # Safety
    ///
    /// Nothing refers to them.
    pub(super) unsafe fn discard(&mut self, range: Range<usize>) -> io::Result<()> {
        let Some((at, length)) = self.part(range) else {
            return Ok(());
        };
        // SAFETY: the bytes are ours, and nobody is left who counts on what is in them.
        unsafe { mm::madvise(at, length, Advice::LinuxDontNeed) }
    }

    /// Lays a file over the first bytes, to be read and written; what is written doesn't reach the file.
    ///
    /// The kernel looks for all that it can refuse, such as too many mappings, before it touches what is there.
    ///
    /// # Safety
    ///
    /// Nothing refers to the bytes, and nobody shortens or writes the file while it lies here.
    pub(super) unsafe fn lay(&mut self, file: impl AsFd, length: usize) -> io::Result<()> {
        let Some((at, length)) = self.part(0..length) else {
            return Ok(());
        };
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: what is replaced is ours, and nothing refers to it.
        unsafe { mm::mmap(at, length, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0)? };
        Ok(())
    }

    /// Makes these bytes zeros, of no pages, that can be used as `access` says.
    ///
    /// # Safety
    ///
    /// Nothing refers to them.
    pub(super) unsafe fn renew(&mut self, range: Range<usize>, access: ProtFlags) -> io::Result<()> {
        let Some((at, length)) = self.part(range) else {
            return Ok(());
        };
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: what is replaced is ours, and nothing refers to it.
        unsafe { mm::mmap_anonymous(at, length, access, flags)? };
        Ok(())
    }

    /// Returns where these bytes are, unless there are none of them.
    fn part(&self, range: Range<usize>) -> Option<(*mut core::ffi::c_void, usize)> {
        if range.is_empty() {
            return None;
        }
        assert!(range.end <= self.length, "only what is ours is changed");
        Some((self.base.as_ptr().wrapping_add(range.start).cast(), range.len()))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours, and the borrow checker knows of no reference that outlives the map's owner.
        let unmapped = unsafe { mm::munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
