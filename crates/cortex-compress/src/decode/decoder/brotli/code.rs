use super::bits::Bits;

/// The bits by which the first look into a table is taken.
const ROOT_BITS: u32 = 8;
const ROOT: usize = 1 << ROOT_BITS;

/// The longest code of a symbol (section 3.1).
pub(super) const LONGEST: u32 = 15;

/// As many lengths as there are, and 0.
const LENGTHS: usize = LONGEST as usize + 1;

/// The prefix codes of an alphabet (section 3), which are read by tables.
///
/// A table has an entry for each next eight bits: a symbol and the length of its code; or, where that is longer, the
/// place of a second table, and by how many bits it is to be read.
#[derive(Default)]
pub(super) struct Codes {
    entries: Vec<Entry>,
    starts: Vec<usize>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Entry {
    value: u16,
    bits: u8,
}

impl Codes {
    /// Forgets all codes.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.starts.clear();
    }

    /// Keeps memory for so many entries only.
    pub(super) fn shrink_to(&mut self, entries: usize) {
        self.entries.shrink_to(entries);
    }

    pub(super) const fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.starts.capacity() * size_of::<usize>()
    }

    pub(super) const fn count(&self) -> usize {
        self.starts.len()
    }

    /// Adds the code of an alphabet of one symbol, which takes no bits.
    pub(super) fn add_only(&mut self, symbol: u16) {
        let start = self.entries.len();
        self.starts.push(start);
        self.entries.resize(
            start + ROOT,
            Entry {
                value: symbol,
                bits: 0,
            },
        );
    }

    /// Adds the code that has these lengths, one for each symbol and 0 for those that it has not (section 3.2).
    ///
    /// They have to be complete: every sequence of bits begins with the code of a symbol.
    pub(super) fn add(&mut self, lengths: &[u8]) {
        let mut left = [0_usize; LENGTHS];
        for &length in lengths {
            left[usize::from(length)] += 1;
        }
        left[0] = 0;
        let mut sorted = [0_u16; super::code_reader::MOST_SYMBOLS];
        let mut at = [0; LENGTHS];
        for length in 1..LENGTHS {
            at[length] = at[length - 1] + left[length - 1];
        }
        for (symbol, &length) in (0..).zip(lengths) {
            if length > 0 {
                let at = &mut at[usize::from(length)];
                sorted[*at] = symbol;
                *at += 1;
            }
        }

        let start = self.entries.len();
        self.starts.push(start);
        self.entries.resize(start + ROOT, Entry::default());
        let mut symbols = sorted.iter();
        let mut code = 0_u16;
        let mut second = None;
        for (length, bits) in (1..LENGTHS).zip(1_u8..) {
            while left[length] > 0 {
                let Some(&value) = symbols.next() else { return };
                let reversed = usize::from(code.reverse_bits() >> (16 - u32::from(bits)));
                if u32::from(bits) <= ROOT_BITS {
                    for slot in (reversed..ROOT).step_by(1 << bits) {
                        self.entries[start + slot] = Entry { value, bits };
                    }
                } else {
                    let root = reversed % ROOT;
                    let (table, table_bits) = match second {
                        Some((of, table, table_bits)) if of == root => (table, table_bits),
                        _ => {
                            let table_bits = second_bits(&left, length);
                            let table = self.entries.len();
                            self.entries.resize(table + (1 << table_bits), Entry::default());
                            let place = u16::try_from(table - start).expect("invariant: tables are small");
                            self.entries[start + root] = Entry {
                                value: place,
                                bits: 8 + table_bits,
                            };
                            second = Some((root, table, table_bits));
                            (table, table_bits)
                        }
                    };
                    let rest = bits - 8;
                    for slot in (reversed >> ROOT_BITS..1 << table_bits).step_by(1 << rest) {
                        self.entries[table + slot] = Entry { value, bits: rest };
                    }
                }
                left[length] -= 1;
                code = code.wrapping_add(1); // after the last one
            }
            code <<= 1;
        }
    }

    /// Tells whether the code that was added as this one has one symbol.
    pub(super) fn is_only(&self, code: usize) -> bool {
        self.entries[self.starts[code]].bits == 0
    }

    /// Reads a symbol by the code that was added as this one, or nothing if its bits are not there as a whole.
    #[inline]
    pub(super) fn read(&self, code: usize, bits: &mut Bits) -> Option<usize> {
        let start = self.starts[code];
        let root = self.entries[start + bits.peek(ROOT_BITS)];
        if u32::from(root.bits) <= ROOT_BITS {
            bits.skip(root.bits.into())?;
            return Some(root.value.into());
        }
        let rest = bits.peek(root.bits.into()) >> ROOT_BITS;
        let entry = self.entries[start + usize::from(root.value) + rest];
        bits.skip(ROOT_BITS + u32::from(entry.bits))?;
        Some(entry.value.into())
    }
}

/// Finds by how many bits a second table is read whose first code has this length, where so many codes are left of
/// each: it is full once its codes are all that can begin with its root.
fn second_bits(left: &[usize; LENGTHS], first: usize) -> u8 {
    let mut free = 1_usize << (first - 8);
    let mut bits = 0_u8;
    for (length, table_bits) in (first..LENGTHS).zip(1..) {
        bits = table_bits;
        match free.checked_sub(left[length]) {
            None | Some(0) => break,
            Some(after) => free = 2 * after,
        }
    }
    bits + u8::try_from(first - 9).expect("invariant: at most 15")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the code whose bits are these, the first one in front.
    fn read(codes: &Codes, code: usize, bits: &str) -> Option<usize> {
        let number = bits
            .bytes()
            .rev()
            .fold(0_u64, |all, bit| all << 1 | u64::from(bit - b'0'));
        let mut reader = Bits::of(number, u32::try_from(bits.len()).unwrap());
        codes.read(code, &mut reader)
    }

    #[test]
    fn rfc7932_3_2_codes_are_in_the_order_of_their_lengths_and_symbols() {
        let mut codes = Codes::default();
        codes.add_only(7);
        codes.add(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let expected = ["010", "011", "100", "101", "110", "00", "1110", "1111"];
        for (symbol, bits) in expected.into_iter().enumerate() {
            assert_eq!(read(&codes, 1, bits), Some(symbol));
            assert_eq!(
                read(&codes, 1, &bits[..bits.len() - 1]),
                None,
                "not all of {bits}"
            );
        }
        assert_eq!(read(&codes, 0, ""), Some(7));
        assert_eq!(codes.count(), 2);
    }

    #[test]
    fn codes_that_are_longer_than_a_look_are_found_in_second_tables() {
        // 0, 10, 110 ... up to 14 ones and a zero, and 15 ones: the lengths of a long tail.
        let mut lengths: Vec<u8> = (1..=15).collect();
        lengths.push(15);
        let mut codes = Codes::default();
        codes.add(&lengths);
        for symbol in 0..15 {
            let bits = ["1".repeat(symbol), "0".into()].concat();
            assert_eq!(read(&codes, 0, &bits), Some(symbol));
        }
        assert_eq!(read(&codes, 0, &"1".repeat(15)), Some(15));
        assert_eq!(codes.entries.len(), 256 + 128);

        // All of nine bits: a second table of one bit for each of the 256 roots.
        let mut codes = Codes::default();
        codes.add(&[9; 512]);
        for symbol in [0, 1, 2, 255, 256, 511] {
            assert_eq!(read(&codes, 0, &format!("{symbol:09b}")), Some(symbol));
        }
        assert_eq!(codes.entries.len(), 256 + 512);
    }
}
