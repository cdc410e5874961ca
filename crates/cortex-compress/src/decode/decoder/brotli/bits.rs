/// Bits that were taken from the input and wait to be read, the lowest of each byte first (section 1.5.1).
///
/// What was taken from the input is not given back: several things are read together or not at all, by
/// [`all_or_none`](Self::all_or_none).
#[derive(Clone, Copy, Default)]
pub(super) struct Bits {
    /// Those above `count` are 0.
    bits: u64,
    count: u32,
}

impl Bits {
    /// The most that can be read at a time when there is input.
    pub(super) const FULL: u32 = 56;

    /// Takes as many bytes of the input as fit: [`FULL`](Self::FULL) bits are there afterwards, or the input is used
    /// up.
    #[inline]
    pub(super) fn fill(&mut self, input: &mut &[u8]) {
        let Some(next) = input.first_chunk() else {
            self.fill_from_the_last(input);
            return;
        };
        let bytes = (63 - self.count) / 8;
        self.bits |= u64::from_le_bytes(*next) << self.count;
        self.count += 8 * bytes;
        self.bits &= u64::MAX >> (64 - self.count);
        *input = &input[bytes as usize..];
    }

    #[cold]
    fn fill_from_the_last(&mut self, input: &mut &[u8]) {
        while self.count < Self::FULL {
            let Some((&next, rest)) = input.split_first() else {
                return;
            };
            self.bits |= u64::from(next) << self.count;
            self.count += 8;
            *input = rest;
        }
    }

    /// Sees to it that so many bits are there, if the input has them. There may be [`FULL`](Self::FULL).
    #[inline]
    pub(super) fn need(&mut self, count: u32, input: &mut &[u8]) {
        if self.count < count {
            self.fill(input);
        }
    }

    pub(super) const fn count(self) -> u32 {
        self.count
    }

    /// Returns the next bits, at most 32 and 0 where there are none, and leaves them there.
    #[inline]
    pub(super) fn peek(self, count: u32) -> usize {
        let [first, second, third, fourth, ..] = (self.bits & ((1 << count) - 1)).to_le_bytes();
        u32::from_le_bytes([first, second, third, fourth]) as usize
    }

    #[inline]
    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        self.count = self.count.checked_sub(count)?;
        self.bits >>= count;
        Some(())
    }

    /// Reads a number of at most 32 bits.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Option<usize> {
        let value = self.peek(count);
        self.skip(count)?;
        Some(value)
    }

    /// Reads with this function, or nothing if that runs out of bits.
    ///
    /// Together it reads at most `most` bits, which is at most [`FULL`](Self::FULL), or it would never come to an end.
    #[inline]
    pub(super) fn all_or_none<T>(
        &mut self,
        most: u32,
        input: &mut &[u8],
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        self.need(most, input);
        let mut ahead = *self;
        let Some(value) = read(&mut ahead) else {
            debug_assert!(input.is_empty(), "it reads more than it says");
            return None;
        };
        *self = ahead;
        Some(value)
    }

    /// Skips to the end of the byte, and tells whether the bits up to there were 0, as they have to be.
    pub(super) fn align(&mut self) -> bool {
        self.take(self.count % 8) == Some(0)
    }

    /// Takes the next byte from here or from the input; for when it is [aligned](Self::align).
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(8).map(|byte| byte.to_le_bytes()[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bits {
        /// Makes these bits.
        pub(in super::super) fn of(bits: u64, count: u32) -> Self {
            Self { bits, count }
        }
    }

    #[test]
    fn bits_come_in_order_however_the_input_is_cut() {
        let data: Vec<u8> = (0..200_u8).map(|byte| byte.wrapping_mul(89)).collect();
        let mut expected = data.iter().flat_map(|&byte| (0..8).map(move |at| byte >> at & 1));
        for piece in [1, 2, 7, 8, 9, 200] {
            let mut bits = Bits::default();
            let mut sizes = (1..=24).cycle();
            let mut size = 24;
            let mut read = Vec::new();
            for mut input in data.chunks(piece) {
                while let Some(value) = bits.all_or_none(size, &mut input, |bits| bits.take(size)) {
                    read.extend((0..size).map(|at| (value >> at & 1).to_le_bytes()[0]));
                    size = sizes.next().unwrap();
                }
                assert!(input.is_empty());
            }
            while let Some(bit) = bits.take(1) {
                read.push(bit.to_le_bytes()[0]);
            }
            assert!(read.iter().copied().eq(expected.clone()), "{piece}");
        }
        assert!(expected.next().is_some());
    }
}
