use std::collections::HashMap;

use super::slab::{CHUNKS, size};

/// Where the cells of a metric are, the same in every slab: a chunk, the first cell in it, and how many there are.
///
/// There is at least one. It is small, so that a metric can have it at hand beside a pointer to all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    chunk: u16,
    offset: u16,
    len: u16,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "by value, a place is put together from its parts, and taken to pieces again"
)]
impl At {
    /// Returns the place of one cell.
    pub(super) fn one(chunk: usize, offset: usize) -> Self {
        Self::new(chunk, offset, 1)
    }

    fn new(chunk: usize, offset: usize, len: usize) -> Self {
        assert!(
            chunk < CHUNKS && len > 0 && offset + len <= size(chunk),
            "invariant: inside the chunk"
        );
        let narrow = "invariant: chunks and blocks are small";
        Self {
            chunk: u16::try_from(chunk).expect(narrow),
            offset: u16::try_from(offset).expect(narrow),
            len: u16::try_from(len).expect(narrow),
        }
    }

    #[inline]
    pub(super) fn chunk(&self) -> usize {
        usize::from(self.chunk)
    }

    #[inline]
    pub(super) fn offset(&self) -> usize {
        usize::from(self.offset)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

/// How many cells a metric needs: whole numbers first, then floats, which are kept as their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) integers: u16,
    pub(crate) floats: u16,
}

impl Shape {
    /// One whole number.
    pub(crate) const INTEGER: Self = Self {
        integers: 1,
        floats: 0,
    };

    /// One float.
    pub(crate) const FLOAT: Self = Self {
        integers: 0,
        floats: 1,
    };

    /// Whole numbers only.
    pub(crate) fn integers(count: usize) -> Self {
        Self {
            floats: 0,
            ..Self::sum_and(count)
        }
    }

    /// Whole numbers and a float.
    pub(crate) fn sum_and(count: usize) -> Self {
        Self {
            integers: u16::try_from(count).expect("invariant: histograms have few buckets"),
            floats: 1,
        }
    }

    fn len(self) -> usize {
        usize::from(self.integers) + usize::from(self.floats)
    }
}

/// Gives out places, and takes them back.
///
/// A place is reused for the same shape only: a process makes few shapes, and what it makes of one it makes again.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Where the next new place would be.
    chunk: usize,
    offset: usize,
    free: HashMap<Shape, Vec<At>>,
    /// Given back, but not zero yet in every slab.
    pub(super) returned: Vec<(Shape, At)>,
    /// A bit for each cell of each chunk: whether it is a float.
    floats: Vec<Vec<u64>>,
}

impl Arena {
    /// Returns a place whose cells are zero in every slab.
    ///
    /// # Panics
    ///
    /// There are 67 million cells, which is half a gigabyte for each thread, and all are taken.
    pub(super) fn take(&mut self, shape: Shape) -> At {
        if let Some(at) = self.free.get_mut(&shape).and_then(Vec::pop) {
            return at;
        }
        // The rest of a chunk that is too small is lost: at most one block's size in each chunk.
        if self.offset + shape.len() > size(self.chunk) {
            self.chunk += 1;
            self.offset = 0;
        }
        let at = At::new(self.chunk, self.offset, shape.len());
        self.offset += shape.len();
        self.mark(at, shape);
        at
    }

    /// Takes back a place whose cells are zero in every slab.
    pub(super) fn give(&mut self, shape: Shape, at: At) {
        self.free.entry(shape).or_default().push(at);
    }

    pub(super) fn is_float(&self, chunk: usize, offset: usize) -> bool {
        let bits = self.floats.get(chunk).and_then(|chunk| chunk.get(offset / 64));
        bits.is_some_and(|bits| bits >> (offset % 64) & 1 == 1)
    }

    fn mark(&mut self, at: At, shape: Shape) {
        self.floats.resize_with(self.chunk + 1, Vec::new);
        let bits = &mut self.floats[at.chunk()];
        bits.resize(size(at.chunk()).div_ceil(64), 0);
        for offset in at.offset() + usize::from(shape.integers)..at.offset() + at.len() {
            bits[offset / 64] |= 1 << (offset % 64);
        }
    }
}
