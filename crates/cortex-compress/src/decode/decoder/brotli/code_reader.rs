use super::bits::Bits;
use super::code::{Codes, LONGEST};
use crate::decode::decoder::Fault;

/// The most symbols an alphabet has: that of commands (section 5).
pub(super) const MOST_SYMBOLS: usize = 704;

/// The symbols of the code in which lengths are written, in the order in which its own lengths are (section 3.5).
const ORDER: [u8; 18] = [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The longest of its codes.
const LENGTH_BITS: u32 = 5;

/// The most bits that a simple code takes: two numbers, four symbols, and a choice (section 3.4).
const SIMPLE_BITS: u32 = 2 + 2 + 4 * 10 + 1;

/// What codes have together when they are complete: one of `n` bits has a share of this shifted to the right by `n`.
const COMPLETE: usize = 1 << LONGEST;

const OVERFULL: Fault = Fault::Corrupt("a prefix code has too many symbols");
const INCOMPLETE: Fault = Fault::Corrupt("a prefix code is incomplete");
const UNKNOWN: Fault = Fault::Corrupt("a symbol is not of its alphabet");

/// Reads a prefix code (sections 3.4 and 3.5) in pieces of any length.
pub(super) struct CodeReader {
    symbols: usize,
    part: Part,
    lengths: [u8; MOST_SYMBOLS],
    /// The code in which lengths are written: its lengths, then a table of symbols and the lengths of their codes.
    length_lengths: [u8; ORDER.len()],
    length_table: [(u8, u8); 1 << LENGTH_BITS],
}

enum Part {
    Kind,
    /// The next length of the code in which lengths are written, and what is left of its share.
    LengthLengths {
        at: usize,
        left: usize,
        found: usize,
    },
    Lengths {
        at: usize,
        left: usize,
        /// The last length that was not 0.
        last: u8,
        /// What has been repeated until now, and how often.
        repeated: Option<(u8, usize)>,
    },
}

impl CodeReader {
    pub(super) const fn new() -> Self {
        Self {
            symbols: 0,
            part: Part::Kind,
            lengths: [0; MOST_SYMBOLS],
            length_lengths: [0; ORDER.len()],
            length_table: [(0, 0); 1 << LENGTH_BITS],
        }
    }

    /// Forgets a code of which not all was read.
    pub(super) fn reset(&mut self) {
        self.part = Part::Kind;
    }

    /// Reads on, and adds the code once it is whole. It is of an alphabet of so many symbols, of which there is more
    /// than one.
    pub(super) fn read(
        &mut self,
        symbols: usize,
        bits: &mut Bits,
        input: &mut &[u8],
        codes: &mut Codes,
    ) -> Result<Option<()>, Fault> {
        loop {
            match self.part {
                Part::Kind => {
                    self.symbols = symbols;
                    let simple = |bits: &mut Bits| match bits.take(2)? {
                        1 => Some(Err(self.read_simple(bits)?)),
                        skipped => Some(Ok(skipped)),
                    };
                    match bits.all_or_none(SIMPLE_BITS, input, simple) {
                        None => return Ok(None),
                        Some(Ok(skipped)) => {
                            self.length_lengths = [0; ORDER.len()];
                            self.part = Part::LengthLengths {
                                at: skipped,
                                left: 1 << LENGTH_BITS,
                                found: 0,
                            };
                        }
                        Some(Err(simple)) => {
                            self.add_simple(&simple, codes)?;
                            return Ok(Some(()));
                        }
                    }
                }
                Part::LengthLengths { at, left, found } => {
                    if at < ORDER.len() && left > 0 {
                        let Some(length) = bits.all_or_none(4, input, read_length_length) else {
                            return Ok(None);
                        };
                        self.length_lengths[usize::from(ORDER[at])] = length;
                        let share = if length == 0 { 0 } else { 32 >> length };
                        self.part = Part::LengthLengths {
                            at: at + 1,
                            left: left.checked_sub(share).ok_or(OVERFULL)?,
                            found: found + usize::from(length > 0),
                        };
                        continue;
                    }
                    if found != 1 && left != 0 {
                        return Err(INCOMPLETE);
                    }
                    self.make_length_table(found == 1);
                    self.lengths = [0; MOST_SYMBOLS];
                    self.part = Part::Lengths {
                        at: 0,
                        left: COMPLETE,
                        last: 8,
                        repeated: None,
                    };
                }
                Part::Lengths { at, left, .. } => {
                    if at < self.symbols && left > 0 {
                        if self.read_length(bits, input)?.is_none() {
                            return Ok(None);
                        }
                        continue;
                    }
                    if left != 0 {
                        return Err(INCOMPLETE);
                    }
                    self.part = Part::Kind;
                    codes.add(&self.lengths[..at]); // the others have none
                    return Ok(Some(()));
                }
            }
        }
    }

    /// Reads the symbols of a code that has no more than four, and whether the four have different lengths (section
    /// 3.4).
    fn read_simple(&self, bits: &mut Bits) -> Option<Simple> {
        let count = bits.take(2)? + 1;
        let symbol_bits = usize::BITS - (self.symbols - 1).leading_zeros();
        let mut symbols = [0; 4];
        for symbol in &mut symbols[..count] {
            *symbol = bits.take(symbol_bits)?;
        }
        let lengths = match count {
            1 => [0; 4],
            2 => [1, 1, 0, 0],
            3 => [1, 2, 2, 0],
            _ if bits.take(1)? == 1 => [1, 2, 3, 3],
            _ => [2; 4],
        };
        Some(Simple {
            count,
            symbols,
            lengths,
        })
    }

    fn add_simple(&mut self, simple: &Simple, codes: &mut Codes) -> Result<(), Fault> {
        let symbols = &simple.symbols[..simple.count];
        if symbols.iter().any(|&symbol| symbol >= self.symbols) {
            return Err(UNKNOWN);
        }
        if let [only] = *symbols {
            codes.add_only(u16::try_from(only).map_err(|_| UNKNOWN)?);
            return Ok(());
        }
        let lengths = &mut self.lengths[..self.symbols];
        lengths.fill(0);
        for (&symbol, length) in symbols.iter().zip(simple.lengths) {
            if std::mem::replace(&mut lengths[symbol], length) != 0 {
                return Err(Fault::Corrupt("a prefix code has a symbol twice"));
            }
        }
        codes.add(lengths);
        Ok(())
    }

    fn make_length_table(&mut self, only: bool) {
        let mut code = 0_u8;
        for length in 1..=LENGTH_BITS {
            for (symbol, &its_length) in (0_u8..).zip(&self.length_lengths) {
                if u32::from(its_length) != length {
                    continue;
                }
                if only {
                    self.length_table.fill((symbol, 0));
                    return;
                }
                let reversed = usize::from(code.reverse_bits() >> (8 - length));
                for slot in (reversed..1 << LENGTH_BITS).step_by(1 << length) {
                    self.length_table[slot] = (symbol, its_length);
                }
                code += 1;
            }
            code <<= 1;
        }
    }

    /// Reads the length of the next symbol, or how often one is repeated.
    fn read_length(&mut self, bits: &mut Bits, input: &mut &[u8]) -> Result<Option<()>, Fault> {
        let Part::Lengths {
            at,
            left,
            last,
            repeated,
        } = &mut self.part
        else {
            return Ok(Some(()));
        };
        let table = &self.length_table;
        let read = bits.all_or_none(LENGTH_BITS + 3, input, |bits| {
            let (symbol, length) = table[bits.peek(LENGTH_BITS)];
            bits.skip(length.into())?;
            let more = match symbol {
                16 => bits.take(2)?,
                17 => bits.take(3)?,
                _ => 0,
            };
            Some((symbol, more))
        });
        let Some((symbol, more)) = read else {
            return Ok(None);
        };
        let (length, count) = match symbol {
            16 | 17 => {
                let length = if symbol == 16 { *last } else { 0 };
                // One after the other multiply (section 3.5).
                let before = match *repeated {
                    Some((same, before)) if same == length => before,
                    _ => 0,
                };
                let now = match before {
                    0 => more + 3,
                    _ => ((before - 2) << (symbol - 14)) + more + 3,
                };
                *repeated = Some((length, now));
                (length, now - before)
            }
            length => {
                *repeated = None;
                if length > 0 {
                    *last = length;
                }
                (length, 1)
            }
        };
        let until = *at + count;
        if until > self.symbols {
            return Err(OVERFULL);
        }
        self.lengths[*at..until].fill(length);
        *at = until;
        if length > 0 {
            *left = left.checked_sub(count * (COMPLETE >> length)).ok_or(OVERFULL)?;
        }
        Ok(Some(()))
    }
}

/// A code of at most four symbols.
struct Simple {
    count: usize,
    symbols: [usize; 4],
    lengths: [u8; 4],
}

/// Reads a length of the code in which lengths are written, by a code that is always the same (section 3.5).
fn read_length_length(bits: &mut Bits) -> Option<u8> {
    let (length, taken) = match bits.peek(4) {
        0b0111 => (1, 4),
        0b1111 => (5, 4),
        ahead => match ahead & 0b111 {
            0b011 => (2, 3),
            _ => match ahead & 0b11 {
                0b00 => (0, 2),
                0b01 => (4, 2),
                _ => (3, 2),
            },
        },
    };
    bits.skip(taken)?;
    Some(length)
}
