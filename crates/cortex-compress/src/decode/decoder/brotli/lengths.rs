//! What symbols stand for: a number, and bits that are added to it.

use super::bits::Bits;
use super::code_reader::MOST_SYMBOLS;

/// The least number that a symbol stands for, and how many bits are added to it.
#[derive(Clone, Copy)]
pub(super) struct Range {
    least: u16,
    bits: u8,
}

impl Range {
    /// The most bits that are added.
    pub(super) const MOST_BITS: u32 = 24;

    #[inline]
    pub(super) fn read(self, bits: &mut Bits) -> Option<usize> {
        Some(usize::from(self.least) + bits.take(self.bits.into())?)
    }
}

/// Makes ranges of which each begins where the one before ends.
const fn ranges<const N: usize>(mut least: u16, bits: [u8; N]) -> [Range; N] {
    let mut ranges = [Range { least: 0, bits: 0 }; N];
    let mut at = 0;
    while at < N {
        ranges[at] = Range {
            least,
            bits: bits[at],
        };
        at += 1;
        if at < N {
            least += 1 << bits[at - 1];
        }
    }
    ranges
}

/// How many literals are inserted (section 5).
const INSERT: [Range; 24] = ranges(
    0,
    [
        0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 14, 24,
    ],
);

/// How many bytes are copied (section 5).
const COPY: [Range; 24] = ranges(
    2,
    [
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 24,
    ],
);

/// How many symbols a block has (section 6).
pub(super) static BLOCK: [Range; 26] = ranges(
    1,
    [
        2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 24,
    ],
);

/// Below this, a command copies from the last distance (section 5).
pub(super) const IMPLICIT_DISTANCE: usize = 128;

/// How much each command inserts, and how much it copies (section 5).
pub(super) static COMMANDS: [(Range, Range); MOST_SYMBOLS] = commands();

const fn commands() -> [(Range, Range); MOST_SYMBOLS] {
    const CELLS: [(usize, usize); 11] = [
        (0, 0),
        (0, 8),
        (0, 0),
        (0, 8),
        (8, 0),
        (8, 8),
        (0, 16),
        (16, 0),
        (8, 16),
        (16, 8),
        (16, 16),
    ];
    let mut commands = [(INSERT[0], COPY[0]); MOST_SYMBOLS];
    let mut symbol = 0;
    while symbol < MOST_SYMBOLS {
        let (insert, copy) = CELLS[symbol / 64];
        commands[symbol] = (INSERT[insert + symbol / 8 % 8], COPY[copy + symbol % 8]);
        symbol += 1;
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7932_5_6_the_last_ranges_begin_where_the_tables_say() {
        assert_eq!([INSERT[22].least, INSERT[23].least], [6210, 22594]);
        assert_eq!([COPY[22].least, COPY[23].least], [1094, 2118]);
        assert_eq!([BLOCK[24].least, BLOCK[25].least], [8433, 16625]);
        let [first, last] = [COMMANDS[0], COMMANDS[703]];
        assert_eq!([first.0.least, first.1.least], [0, 2]);
        assert_eq!([last.0.least, last.1.least], [22594, 2118]);
    }
}
