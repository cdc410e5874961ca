#![expect(
    unsafe_code,
    reason = "decides which bytes of a guest can be used, and what is in them"
)]

use super::file::{FileId, SealedFile};
use super::map::Map;
use rustix::io;
use rustix::mm::ProtFlags;
use std::ops::Range;
use std::ptr::NonNull;
use wasmer::{MemoryStyle, Pages};

/// What a memory takes of the address space: all that an address of 32 bits and an offset of 32 bits can reach.
///
/// Compiled code checks no bounds: whatever it computes is in here, and faults where the memory hasn't grown to.
#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits, see mod.rs")]
pub(crate) const RESERVED: usize = MOST + MemoryStyle::static_offset_guard_size() as usize;

/// The most bytes that a memory can have.
pub(super) const MOST: usize = PAGE * Pages::max_value().0 as usize;

/// The size of a page of WebAssembly.
pub(super) const PAGE: usize = wasmer::WASM_PAGE_SIZE;

/// Up to here zeros are written; above, the pages are given back, which is cheaper unless each of them is used again.
pub(super) const WRITTEN: usize = 512 << 10;

/// The addresses of one memory, one guest after another.
///
/// The first `open` bytes are in use. Beyond them, up to `stale`, there may be what an earlier guest has left, or this
/// one before it shrank; it can't be read, and is overwritten by zeros before it can. Beyond both there are zeros.
#[derive(Debug)]
pub(super) struct Slot {
    map: Map,
    open: usize,
    stale: usize,
    /// So many of the first bytes lie on a file, this one.
    laid: usize,
    file: Option<FileId>,
}

impl Slot {
    pub(super) fn reserve() -> io::Result<Self> {
        Ok(Self {
            map: Map::reserve(RESERVED)?,
            open: 0,
            stale: 0,
            laid: 0,
            file: None,
        })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.map.base()
    }

    /// Returns how many bytes can be used.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Returns how many bytes may be resident though nobody uses them.
    pub(super) fn left_over(&self) -> usize {
        self.stale.saturating_sub(self.open)
    }

    /// Makes more bytes usable, which are zeros.
    pub(super) fn grow(&mut self, to: usize) -> io::Result<()> {
        let from = self.open;
        assert!(from <= to && to <= MOST, "a memory grows, to 4 GiB at most");
        let opened = self.map.open(from..to).and_then(|()| {
            self.open = to;
            // SAFETY: nobody can have a reference to bytes that could not be used until now.
            unsafe { self.zero(from..self.stale.clamp(from, to)) }
        });
        if opened.is_err() {
            self.open = from;
            // Some of the bytes may be usable. If they can't be closed, they have nothing that is to be hidden at
            // least. SAFETY: as above.
            unsafe {
                let _ = self.map.discard(from..to);
                let _ = self.map.close(from..to);
            }
        }
        opened
    }

    /// Makes all but the first bytes unusable, and keeps the pages of so many of them for the next time.
    ///
    /// # Safety
    ///
    /// Nothing refers to the bytes beyond the first.
    pub(super) unsafe fn shrink(&mut self, to: usize, keep: usize) -> io::Result<()> {
        assert!(
            self.laid <= to && to <= self.open,
            "a memory shrinks, not into its image"
        );
        // SAFETY: as the caller promises.
        unsafe { self.map.close(to..self.open)? };
        self.stale = self.stale.max(self.open);
        self.open = to;
        self.trim(keep);
        Ok(())
    }

    /// Gives the pages of what nobody uses back, but for so many bytes.
    pub(super) fn trim(&mut self, keep: usize) {
        let kept = self.open.saturating_add(keep);
        if self.stale > kept {
            // SAFETY: nothing refers to bytes that can't be read. If it fails, they stay stale.
            if unsafe { self.map.discard(kept..self.stale) }.is_ok() {
                self.stale = kept;
            }
        }
    }

    /// Makes these bytes zeros.
    ///
    /// # Safety
    ///
    /// They can be used, and nothing refers to them.
    pub(super) unsafe fn zero(&mut self, range: Range<usize>) -> io::Result<()> {
        assert!(range.end <= self.open, "only what can be used is written");
        let pages = if range.len() <= WRITTEN {
            range.end..range.end
        } else {
            // What lies on a file wouldn't become zeros by giving its pages back.
            let from = range.start.max(self.laid).next_multiple_of(PAGE).min(range.end);
            from..from.max(range.end / PAGE * PAGE)
        };
        for written in [range.start..pages.start, pages.end..range.end] {
            // SAFETY: the bytes are ours, can be written, and nothing refers to them, as the caller promises.
            unsafe {
                let at = self.base().as_ptr().add(written.start);
                at.write_bytes(0, written.len());
            }
        }
        // SAFETY: as above.
        unsafe { self.map.discard(pages) }
    }

    /// Lays a file over the first bytes that can be used. Where one lies already, and is longer, there are zeros now.
    ///
    /// # Safety
    ///
    /// Nothing refers to the bytes.
    pub(super) unsafe fn lay(&mut self, file: &SealedFile) -> io::Result<()> {
        let length = file.length();
        assert!(length <= self.open, "a file lies where the memory can be used");
        let before = self.laid;
        self.file = None;
        self.laid = before.max(length);
        // SAFETY: as the caller promises, and nobody can change a sealed file.
        unsafe {
            self.map.lay(file, length)?;
            if before > length {
                let access = ProtFlags::READ | ProtFlags::WRITE;
                self.map.renew(length..before, access)?;
            }
        }
        self.laid = length;
        self.file = Some(file.id());
        Ok(())
    }

    /// Tells whether this file lies below, and no other one.
    pub(super) fn lies_on(&self, file: &SealedFile) -> bool {
        self.file == Some(file.id())
    }

    /// Makes the bytes what lies on a file, and zeros where none does.
    ///
    /// # Safety
    ///
    /// Nothing refers to the bytes.
    pub(super) unsafe fn discard(&mut self) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.map.discard(0..self.open) }
    }

    /// Makes it fit for another memory, and keeps the pages of so many bytes.
    ///
    /// # Safety
    ///
    /// Nothing refers to any byte.
    pub(super) unsafe fn clear(&mut self, keep: usize) -> io::Result<()> {
        if self.laid > 0 {
            let all = 0..self.stale.max(self.open);
            // SAFETY: as the caller promises.
            unsafe { self.map.renew(all, ProtFlags::empty())? };
            (self.open, self.stale, self.laid, self.file) = (0, 0, 0, None);
            return Ok(());
        }
        // SAFETY: as the caller promises.
        unsafe { self.shrink(0, keep) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads what can be used, as nobody else does in these tests.
    fn bytes(slot: &mut Slot) -> &mut [u8] {
        // SAFETY: so many bytes can be used, and the slot is borrowed for as long as they are.
        unsafe { std::slice::from_raw_parts_mut(slot.base().as_ptr(), slot.open()) }
    }

    fn shrink(slot: &mut Slot, to: usize, keep: usize) {
        // SAFETY: the slot is borrowed, so that nothing refers to its bytes.
        unsafe { slot.shrink(to, keep) }.unwrap();
    }

    fn clear(slot: &mut Slot, keep: usize) {
        // SAFETY: as above.
        unsafe { slot.clear(keep) }.unwrap();
    }

    #[test]
    fn what_shrank_away_comes_back_as_zeros_whether_its_pages_were_kept_or_not() {
        for keep in [0, PAGE, 3 * PAGE, 100 * PAGE] {
            let mut slot = Slot::reserve().unwrap();
            slot.grow(40 * PAGE).unwrap();
            bytes(&mut slot).fill(7);
            shrink(&mut slot, PAGE, keep);
            assert_eq!(slot.left_over(), keep.min(39 * PAGE));
            assert!(bytes(&mut slot).iter().all(|&byte| byte == 7));
            slot.grow(2 * PAGE).unwrap();
            slot.grow(41 * PAGE).unwrap();
            assert!(bytes(&mut slot)[..PAGE].iter().all(|&byte| byte == 7));
            assert!(
                bytes(&mut slot)[PAGE..].iter().all(|&byte| byte == 0),
                "keep {keep}"
            );
        }
    }

    #[test]
    fn the_next_guest_finds_zeros() {
        for (pages, keep) in [(1, 0), (1, PAGE), (20, 4 * PAGE), (20, 20 * PAGE)] {
            let mut slot = Slot::reserve().unwrap();
            slot.grow(pages * PAGE).unwrap();
            bytes(&mut slot).fill(0xff);
            clear(&mut slot, keep);
            assert_eq!((slot.open(), slot.left_over()), (0, keep));
            slot.grow(pages * PAGE).unwrap();
            assert!(bytes(&mut slot).iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn it_grows_to_all_that_32_bits_reach_and_no_further() {
        let mut slot = Slot::reserve().unwrap();
        assert_eq!(RESERVED, (8 << 30) + PAGE);
        slot.grow(MOST).unwrap();
        bytes(&mut slot)[MOST - 1] = 1;
        assert_eq!(bytes(&mut slot).len(), 4 << 30);
        clear(&mut slot, 0);
        assert_eq!(slot.left_over(), 0);
    }

    #[test]
    fn a_file_is_overwritten_by_zeros_and_comes_back_when_they_are_discarded() {
        let mut slot = Slot::reserve().unwrap();
        slot.grow(32 * PAGE).unwrap();
        let file = SealedFile::new(&vec![8; 3 * PAGE]).unwrap();
        // SAFETY: the slot is borrowed, so that nothing refers to its bytes, here and below.
        unsafe { slot.lay(&file) }.unwrap();
        drop(file);
        assert!(bytes(&mut slot)[..3 * PAGE].iter().all(|&byte| byte == 8));
        for from in [0, 5, PAGE, 3 * PAGE] {
            // SAFETY: as above.
            unsafe { slot.zero(from..32 * PAGE) }.unwrap();
            assert!(bytes(&mut slot)[..from].iter().all(|&byte| byte == 8));
            assert!(bytes(&mut slot)[from..].iter().all(|&byte| byte == 0));
            bytes(&mut slot)[3 * PAGE..].fill(1);
            // SAFETY: as above.
            unsafe { slot.discard() }.unwrap();
            assert!(bytes(&mut slot)[..3 * PAGE].iter().all(|&byte| byte == 8));
            assert!(bytes(&mut slot)[3 * PAGE..].iter().all(|&byte| byte == 0));
        }
        clear(&mut slot, 100 * PAGE);
        assert_eq!(slot.left_over(), 0, "nothing is kept of a file");
        assert!(slot.file.is_none());
        slot.grow(4 * PAGE).unwrap();
        assert!(bytes(&mut slot).iter().all(|&byte| byte == 0));
    }

    #[test]
    fn nothing_of_a_file_is_left_below_a_shorter_one() {
        let mut slot = Slot::reserve().unwrap();
        slot.grow(8 * PAGE).unwrap();
        let long = SealedFile::new(&vec![8; 6 * PAGE]).unwrap();
        let short = SealedFile::new(&vec![9; 2 * PAGE]).unwrap();
        for file in [&long, &short] {
            // SAFETY: the slot is borrowed, so that nothing refers to its bytes.
            unsafe { slot.lay(file) }.unwrap();
            assert_eq!(
                (slot.lies_on(&long), slot.lies_on(&short)),
                (file.length() > 2 * PAGE, file.length() == 2 * PAGE)
            );
        }
        let is_right = |slot: &mut Slot| {
            let (low, high) = bytes(slot).split_at(2 * PAGE);
            low.iter().all(|&byte| byte == 9) && high.iter().all(|&byte| byte == 0)
        };
        assert!(is_right(&mut slot));
        bytes(&mut slot).fill(1);
        // SAFETY: as above.
        unsafe { slot.discard() }.unwrap();
        assert!(is_right(&mut slot));
    }

    #[test]
    fn zeros_come_from_writing_what_is_small_and_from_giving_back_what_is_large() {
        let mut slot = Slot::reserve().unwrap();
        slot.grow(32 * PAGE).unwrap();
        for range in [
            0..1,
            10..WRITTEN + 10,
            5..31 * PAGE + 5,
            4096..32 * PAGE,
            PAGE..20 * PAGE,
        ] {
            bytes(&mut slot).fill(9);
            // SAFETY: the slot is borrowed, so that nothing refers to its bytes.
            unsafe { slot.zero(range.clone()) }.unwrap();
            let wrong = bytes(&mut slot)
                .iter()
                .enumerate()
                .position(|(at, &byte)| byte != if range.contains(&at) { 0 } else { 9 });
            assert_eq!(wrong, None, "{range:?}");
        }
    }
}
