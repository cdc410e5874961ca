use super::bits::Bits;
use super::code::{Codes, LONGEST};
use super::code_reader::{CodeReader, MOST_SYMBOLS};
use super::context::{self, ContextMode, DISTANCE_CONTEXTS, LITERAL_CONTEXTS};
use super::lengths::{BLOCK, Range};
use crate::decode::decoder::Fault;

/// The kinds of symbols, each of which comes in blocks (section 6).
pub(super) const LITERALS: usize = 0;
pub(super) const COMMANDS: usize = 1;
pub(super) const DISTANCES: usize = 2;

/// What a block has that is never switched.
const ENDLESS: usize = 1 << 24;

/// As many entries of codes are kept for the next body.
const KEPT_ENTRIES: usize = 16 << 10;

/// What the header of a meta-block says (section 9.2), and where its blocks stand.
#[derive(Default)]
pub(super) struct MetaBlock {
    part: Part,
    pub(super) blocks: [Blocks; 3],
    /// How blocks are switched: of each kind that has several types, a code for types and one for lengths.
    switches: Codes,
    /// The bits of a distance that are told apart from the others, and how many distances have a symbol of their own
    /// (section 4).
    postfix_bits: u32,
    direct: usize,
    /// Of each type of blocks of literals; nothing where all contexts have the same code.
    modes: Vec<Option<ContextMode>>,
    literal_codes: ContextMap,
    distance_codes: ContextMap,
    /// How many maps are read, the code of the next one, and the longest run of zeros it has, as a power of two.
    maps: usize,
    map_code: Codes,
    run_bits: usize,
    literals: Codes,
    commands: Codes,
    distances: Codes,
}

/// The blocks of a kind: the types they have, and the one that there is now.
#[derive(Clone, Copy, Default)]
pub(super) struct Blocks {
    types: usize,
    pub(super) current: usize,
    previous: usize,
    /// How many symbols the block still has.
    pub(super) left: usize,
    /// Which of the codes for switches is that for types; the next one is for lengths.
    code: usize,
}

/// Which code a context has (section 7.3), for all types of blocks one after the other.
#[derive(Default)]
struct ContextMap {
    entries: Vec<u8>,
    codes: usize,
}

/// What comes after the length of a meta-block.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Nothing,
    /// So many bytes that are to be skipped.
    Skipped(usize),
    /// So many bytes as they are.
    Raw(usize),
    /// Commands for so many bytes.
    Compressed(usize),
}

/// How long a meta-block is, and whether it is the last one.
#[derive(Clone, Copy)]
pub(super) struct Length {
    pub(super) last: bool,
    pub(super) content: Content,
}

/// What of the header of compressed data is read next.
#[derive(Clone, Copy, Default)]
enum Part {
    #[default]
    Types,
    TypeCode,
    LengthCode,
    FirstLength,
    Distances,
    Modes,
    MapCodes,
    MapRuns,
    MapCode,
    MapEntries,
    MapTransform,
    Codes,
}

impl MetaBlock {
    /// Returns how many bytes its tables take.
    pub(super) fn memory(&self) -> usize {
        let codes = [
            &self.switches,
            &self.map_code,
            &self.literals,
            &self.commands,
            &self.distances,
        ];
        let maps = self.literal_codes.entries.capacity() + self.distance_codes.entries.capacity();
        let modes = self.modes.capacity() * size_of::<Option<ContextMode>>();
        codes.map(Codes::memory).iter().sum::<usize>() + maps + modes
    }

    /// Begins the header of compressed data.
    pub(super) fn start(&mut self) {
        (self.part, self.maps) = (Part::Types, 0);
        self.blocks = [Blocks::default(); 3];
        self.modes.clear();
        for codes in self.all_codes() {
            codes.clear();
        }
        for map in [&mut self.literal_codes, &mut self.distance_codes] {
            map.entries.clear();
            map.codes = 0;
        }
    }

    /// Frees what is seldom needed.
    pub(super) fn reset(&mut self) {
        self.start();
        for codes in self.all_codes() {
            codes.shrink_to(KEPT_ENTRIES);
        }
    }

    fn all_codes(&mut self) -> [&mut Codes; 5] {
        [
            &mut self.switches,
            &mut self.map_code,
            &mut self.literals,
            &mut self.commands,
            &mut self.distances,
        ]
    }

    /// Reads on in the header of compressed data; tells whether that was all of it.
    pub(super) fn read(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        reader: &mut CodeReader,
    ) -> Result<Option<()>, Fault> {
        // The kind whose blocks are being read, and the map.
        let kind = |this: &Self| this.blocks.iter().position(|blocks| blocks.left == 0);
        loop {
            let done = match self.part {
                Part::Types => match kind(self) {
                    None => {
                        self.part = Part::Distances;
                        continue;
                    }
                    Some(kind) => bits.all_or_none(11, input, read_count).map(|types| {
                        let code = self.switches.count();
                        self.blocks[kind] = Blocks {
                            types,
                            current: 0,
                            previous: 1,
                            left: if types == 1 { ENDLESS } else { 0 },
                            code,
                        };
                        if types > 1 {
                            self.part = Part::TypeCode;
                        }
                    }),
                },
                Part::TypeCode => {
                    let kind = kind(self).expect("invariant: its length is read later");
                    let symbols = self.blocks[kind].types + 2;
                    let read = reader.read(symbols, bits, input, &mut self.switches)?;
                    read.map(|()| self.part = Part::LengthCode)
                }
                Part::LengthCode => reader
                    .read(BLOCK.len(), bits, input, &mut self.switches)?
                    .map(|()| self.part = Part::FirstLength),
                Part::FirstLength => {
                    let kind = kind(self).expect("invariant: its length is read now");
                    let code = self.blocks[kind].code + 1;
                    let read = bits.all_or_none(LONGEST + Range::MOST_BITS, input, |bits| {
                        BLOCK[self.switches.read(code, bits)?].read(bits)
                    });
                    read.map(|length| {
                        self.blocks[kind].left = length;
                        self.part = Part::Types;
                    })
                }
                Part::Distances => bits
                    .all_or_none(6, input, |bits| Some((bits.take(2)?, bits.take(4)?)))
                    .map(|(postfix_bits, direct)| {
                        self.direct = direct << postfix_bits;
                        self.postfix_bits = u32::from(postfix_bits.to_le_bytes()[0]);
                        self.part = Part::Modes;
                    }),
                Part::Modes if self.modes.len() == self.blocks[LITERALS].types => {
                    self.part = Part::MapCodes;
                    continue;
                }
                Part::Modes => bits
                    .all_or_none(2, input, |bits| bits.take(2))
                    .map(|mode| self.modes.push(Some(ContextMode::new(mode)))),
                Part::Codes => return self.read_codes(bits, input, reader),
                _ => self.read_map(bits, input, reader)?,
            };
            if done.is_none() {
                return Ok(None);
            }
        }
    }

    /// Reads on in the maps of contexts.
    fn read_map(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        reader: &mut CodeReader,
    ) -> Result<Option<()>, Fault> {
        let (map, length) = match self.maps {
            0 => (
                &mut self.literal_codes,
                LITERAL_CONTEXTS * self.blocks[LITERALS].types,
            ),
            _ => (
                &mut self.distance_codes,
                DISTANCE_CONTEXTS * self.blocks[DISTANCES].types,
            ),
        };
        Ok(match self.part {
            Part::MapCodes if self.maps == 2 => {
                let contexts = self.literal_codes.entries.chunks_exact(LITERAL_CONTEXTS);
                for (mode, codes) in self.modes.iter_mut().zip(contexts) {
                    if codes.iter().all(|&code| code == codes[0]) {
                        *mode = None;
                    }
                }
                self.part = Part::Codes;
                Some(())
            }
            Part::MapCodes => bits.all_or_none(11, input, read_count).map(|codes| {
                map.codes = codes;
                if codes == 1 {
                    map.entries.resize(length, 0);
                    self.maps += 1;
                } else {
                    self.part = Part::MapRuns;
                }
            }),
            Part::MapRuns => {
                let runs = |bits: &mut Bits| match bits.take(1)? {
                    0 => Some(0),
                    _ => Some(bits.take(4)? + 1),
                };
                bits.all_or_none(5, input, runs).map(|run_bits| {
                    self.run_bits = run_bits;
                    self.map_code.clear();
                    self.part = Part::MapCode;
                })
            }
            Part::MapCode => reader
                .read(map.codes + self.run_bits, bits, input, &mut self.map_code)?
                .map(|()| self.part = Part::MapEntries),
            Part::MapEntries => {
                let (code, run_bits) = (&self.map_code, self.run_bits);
                while map.entries.len() < length {
                    let rest = length - map.entries.len();
                    let read = bits.all_or_none(LONGEST + 16, input, |bits| {
                        let symbol = code.read(0, bits)?;
                        if symbol > run_bits || symbol == 0 {
                            let count = if code.is_only(0) { rest } else { 1 };
                            return Some((symbol.saturating_sub(run_bits), count));
                        }
                        let more = bits.take(u32::from(symbol.to_le_bytes()[0]))?;
                        Some((0, (1 << symbol) + more))
                    });
                    let Some((value, count)) = read else {
                        return Ok(None);
                    };
                    if count > rest {
                        return Err(Fault::Corrupt("a context map is too long"));
                    }
                    let value = value.to_le_bytes()[0]; // there are 256 codes at most
                    map.entries.resize(map.entries.len() + count, value);
                }
                self.part = Part::MapTransform;
                Some(())
            }
            _ => bits
                .all_or_none(1, input, |bits| bits.take(1))
                .map(|transformed| {
                    if transformed == 1 {
                        move_to_front(&mut map.entries);
                    }
                    self.maps += 1;
                    self.part = Part::MapCodes;
                }),
        })
    }

    fn read_codes(
        &mut self,
        bits: &mut Bits,
        input: &mut &[u8],
        reader: &mut CodeReader,
    ) -> Result<Option<()>, Fault> {
        let distance_symbols = 16 + self.direct + (48 << self.postfix_bits);
        for (codes, wanted, symbols) in [
            (&mut self.literals, self.literal_codes.codes, 256),
            (&mut self.commands, self.blocks[COMMANDS].types, MOST_SYMBOLS),
            (&mut self.distances, self.distance_codes.codes, distance_symbols),
        ] {
            while codes.count() < wanted {
                if reader.read(symbols, bits, input, codes)?.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(()))
    }

    /// Reads the symbol of a command.
    #[inline]
    pub(super) fn read_command(&self, bits: &mut Bits) -> Option<usize> {
        self.commands.read(self.blocks[COMMANDS].current, bits)
    }

    /// Reads literals by their contexts, of which the first comes after these two bytes, and returns how many there
    /// were.
    ///
    /// They are of the block that there is now.
    #[inline]
    pub(super) fn read_literals(
        &self,
        bits: &mut Bits,
        input: &mut &[u8],
        (mut last, mut before): (u8, u8),
        places: &mut [u8],
    ) -> usize {
        let block = self.blocks[LITERALS].current;
        let first = block * LITERAL_CONTEXTS;
        let map = &self.literal_codes.entries[first..first + LITERAL_CONTEXTS];
        let mode = self.modes[block];
        let mut code = usize::from(map[0]);
        let mut done = 0;
        let (mut ahead, mut rest) = (*bits, *input); // in registers
        for place in places {
            if let Some(mode) = mode {
                code = map[mode.of(last, before) % LITERAL_CONTEXTS].into();
            }
            ahead.need(LONGEST, &mut rest);
            let Some(symbol) = self.literals.read(code, &mut ahead) else {
                break;
            };
            *place = symbol.to_le_bytes()[0];
            (last, before) = (*place, last);
            done += 1;
        }
        (*bits, *input) = (ahead, rest);
        done
    }

    /// Reads a distance for a copy of this length: its symbol, and the distance if the symbol says so by itself
    /// (section 4).
    #[inline]
    pub(super) fn read_distance(&self, copy: usize, bits: &mut Bits) -> Option<(usize, usize)> {
        let at = self.blocks[DISTANCES].current * DISTANCE_CONTEXTS + context::of_distance(copy);
        let code = self.distance_codes.entries[at];
        let symbol = self.distances.read(code.into(), bits)?;
        let Some(far) = symbol.checked_sub(16 + self.direct) else {
            return Some((symbol, symbol.saturating_sub(15)));
        };
        let more_bits = 1 + (far >> (self.postfix_bits + 1));
        let more = bits.take(u32::from(more_bits.to_le_bytes()[0]))?;
        let least = ((2 + (far >> self.postfix_bits & 1)) << more_bits) - 4;
        let postfix = far & ((1 << self.postfix_bits) - 1);
        Some((
            symbol,
            ((least + more) << self.postfix_bits) + postfix + self.direct + 1,
        ))
    }

    /// Reads which type the next block of this kind has, and how long it is (section 6).
    pub(super) fn switch(
        &mut self,
        kind: usize,
        bits: &mut Bits,
        input: &mut &[u8],
    ) -> Result<Option<()>, Fault> {
        let blocks = &mut self.blocks[kind];
        if blocks.types == 1 {
            return Err(Fault::Corrupt("there is no other block to switch to"));
        }
        let (switches, code) = (&self.switches, blocks.code);
        let read = bits.all_or_none(2 * LONGEST + Range::MOST_BITS, input, |bits| {
            let symbol = switches.read(code, bits)?;
            let length = BLOCK[switches.read(code + 1, bits)?].read(bits)?;
            Some((symbol, length))
        });
        let Some((symbol, length)) = read else {
            return Ok(None);
        };
        let next = match symbol {
            0 => blocks.previous,
            1 => (blocks.current + 1) % blocks.types,
            symbol => symbol - 2,
        };
        blocks.previous = std::mem::replace(&mut blocks.current, next);
        blocks.left = length;
        Ok(Some(()))
    }
}

/// The most bits that the length of a meta-block takes: that of one to be skipped.
pub(super) const LENGTH_BITS: u32 = 1 + 1 + 2 + 1 + 2 + 24;

/// Reads how long the next meta-block is, and what it has.
pub(super) fn read_length(bits: &mut Bits) -> Option<Result<Length, Fault>> {
    const TOO_LONG: Result<Length, Fault> = Err(Fault::Corrupt("a length has zeros in front"));
    let last = bits.take(1)? == 1;
    let length = |content| Some(Ok(Length { last, content }));
    if last && bits.take(1)? == 1 {
        return length(Content::Nothing);
    }
    let nibbles = match bits.take(2)? {
        0 => 4,
        1 => 5,
        2 => 6,
        _ => {
            if bits.take(1)? == 1 {
                return Some(Err(Fault::Corrupt("a reserved bit is set")));
            }
            return match bits.take(2)? {
                0 => length(Content::Skipped(0)),
                1 => length(Content::Skipped(bits.take(8)? + 1)),
                bytes => {
                    let all = bits.take(if bytes == 2 { 16 } else { 24 })?;
                    if all >> (8 * (bytes - 1)) == 0 {
                        return Some(TOO_LONG);
                    }
                    length(Content::Skipped(all + 1))
                }
            };
        }
    };
    let all = bits.take(4 * nibbles)?;
    if nibbles > 4 && all >> (4 * (nibbles - 1)) == 0 {
        return Some(TOO_LONG);
    }
    if !last && bits.take(1)? == 1 {
        return length(Content::Raw(all + 1));
    }
    length(Content::Compressed(all + 1))
}

/// Reads a number from 1 to 256, as those of types and of codes are.
fn read_count(bits: &mut Bits) -> Option<usize> {
    if bits.take(1)? == 0 {
        return Some(1);
    }
    let more = bits.take(3)?;
    Some(1 + (1 << more) + bits.take(u32::from(more.to_le_bytes()[0]))?)
}

/// Undoes that each value was written as its place in a list from which it then moves to the front (section 7.3).
fn move_to_front(values: &mut [u8]) {
    // A map of thousands of entries can be written without a bit for each, if they are all the same.
    if let Some(&place) = values.first()
        && values.iter().all(|&value| value == place)
    {
        for (value, moved) in values.iter_mut().zip((0..=place).rev().cycle()) {
            *value = moved;
        }
        return;
    }
    let mut list: [u8; 256] = std::array::from_fn(|at| at.to_le_bytes()[0]);
    for value in values {
        let place = usize::from(*value);
        *value = list[place];
        match place {
            0 => {}
            1 => list.swap(0, 1),
            _ => {
                list.copy_within(..place, 1);
                list[0] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As section 7.3 says it.
    fn moved(places: &[u8]) -> Vec<u8> {
        let mut list: Vec<u8> = (0..=255).collect();
        let places = places.iter().map(|&place| {
            let value = list.remove(place.into());
            list.insert(0, value);
            value
        });
        places.collect()
    }

    #[test]
    fn rfc7932_7_3_values_move_to_the_front() {
        let mut all: Vec<Vec<u8>> = [0, 1, 2, 100, 255].map(|place| vec![place; 1000]).into();
        all.push(Vec::new());
        all.push((0..1000_u32).map(|at| (at * at % 251).to_le_bytes()[0]).collect());
        all.push(
            (0..1000_u32)
                .map(|at| (at * at % 5 % 3).to_le_bytes()[0])
                .collect(),
        );
        for places in all {
            let mut values = places.clone();
            move_to_front(&mut values);
            assert!(values == moved(&places), "{:?}", places.first());
        }
    }
}
