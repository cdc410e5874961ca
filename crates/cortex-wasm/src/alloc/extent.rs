/// A stretch of a guest's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) pointer: u32,
    pub(crate) length: u32,
}

impl Extent {
    pub(crate) const fn new(pointer: u32, length: u32) -> Self {
        Self { pointer, length }
    }

    /// Returns where it ends: that may be past the last pointer there is.
    pub(crate) const fn end(self) -> u64 {
        self.pointer as u64 + self.length as u64
    }

    /// Says whether they share a byte; one that is empty counts as the byte that it points to.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        let end = |it: Self| it.end().max(u64::from(it.pointer) + 1);
        u64::from(self.pointer) < end(other) && u64::from(other.pointer) < end(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_overlap() {
        let it = Extent::new(16, 16);
        for (pointer, length, expected) in [
            (0, 16, false),
            (0, 17, true),
            (31, 1, true),
            (32, 8, false),
            (20, 0, true),
            (16, 0, true),
            (32, 0, false),
            (0, u32::MAX, true),
        ] {
            let other = Extent::new(pointer, length);
            assert_eq!(it.overlaps(other), expected, "{other:?}");
            assert_eq!(other.overlaps(it), expected, "{other:?}");
        }
        assert_eq!(Extent::new(u32::MAX, 2).end(), (1 << 32) + 1);
    }
}
