use super::bits::Bits;
use super::code::LONGEST;
use super::code_reader::CodeReader;
use super::header::{self, COMMANDS, Content, DISTANCES, LITERALS, Length, MetaBlock, read_length};
use super::lengths::{self, IMPLICIT_DISTANCE, Range};
use super::window::Window;
use crate::decode::decoder::{Decoder, Fault};
use ::brotli::TransformDictionaryWord;
use ::brotli::dictionary::{
    kBrotliDictionary, kBrotliDictionaryOffsetsByLength, kBrotliDictionarySizeBitsByLength,
};

/// The last distances that there are at first (section 4).
const FIRST_RING: [usize; 4] = [16, 15, 11, 4];

/// How many transforms there are of each word of the dictionary (section 8).
const TRANSFORMS: usize = 121;

const TOO_LONG: Fault = Fault::Corrupt("a block has more than it says");
const NO_WORD: Fault = Fault::Corrupt("a word is not in the dictionary");

/// Brotli (RFC 7932), without the large windows that are no part of the coding.
///
/// Stops where its output is full, and after the header of a meta-block. Its window grows with what is decoded, to 16 MiB at most.
pub(in crate::decode::decoder) struct Brotli {
    bits: Bits,
    stage: Stage,
    window: Window,
    /// The meta-block is the last one.
    last: bool,
    /// How many bytes the meta-block still has.
    left: usize,
    block: MetaBlock,
    /// Reads the codes of headers.
    reader: CodeReader,
    /// The last distances, of which the next one is at `ring_at`.
    ring: [usize; 4],
    ring_at: usize,
    command: Command,
    word: Word,
}

/// What the command says that is being done (section 5).
#[derive(Clone, Copy, Default)]
struct Command {
    /// How many literals are still to be inserted.
    insert: usize,
    symbol: usize,
    /// How much is still to be copied.
    copy: usize,
    distance: usize,
}

/// A word of the dictionary, transformed, and which part of it comes next.
struct Word {
    bytes: [u8; 64],
    start: usize,
    end: usize,
}

/// What is done next.
#[derive(Clone, Copy)]
enum Stage {
    WindowSize,
    Length,
    Skipped(usize),
    Raw,
    Header,
    Command,
    CopyLength,
    Literals,
    Distance,
    Copy,
    Word,
    Ended,
}

/// Why a stage did not come to its end.
enum Stop {
    /// It needs input.
    Hungry,
    /// It needs room.
    Full,
}

type Done = Result<Result<(), Stop>, Fault>;

const HUNGRY: Done = Ok(Err(Stop::Hungry));
const FULL: Done = Ok(Err(Stop::Full));
const DONE: Done = Ok(Ok(()));

impl Brotli {
    pub(in crate::decode::decoder) fn new() -> Self {
        Self {
            bits: Bits::default(),
            stage: Stage::WindowSize,
            window: Window::default(),
            last: false,
            left: 0,
            block: MetaBlock::default(),
            reader: CodeReader::new(),
            ring: FIRST_RING,
            ring_at: 0,
            command: Command::default(),
            word: Word {
                bytes: [0; 64],
                start: 0,
                end: 0,
            },
        }
    }

    /// Does the next thing. `wanted` is what may be pending in the window.
    fn advance(&mut self, input: &mut &[u8], wanted: usize) -> Done {
        match self.stage {
            Stage::WindowSize => {
                let Some(size) = self.bits.all_or_none(7, input, read_window_size) else {
                    return HUNGRY;
                };
                self.window.start(size?);
                self.stage = Stage::Length;
                DONE
            }
            Stage::Length => self.begin(input),
            Stage::Skipped(count) => {
                let mut left = count;
                while left > 0 && self.bits.byte().is_some() {
                    left -= 1;
                }
                let skipped = left.min(input.len());
                *input = &input[skipped..];
                self.stage = Stage::Skipped(left - skipped);
                if left > skipped {
                    return HUNGRY;
                }
                self.end_block()
            }
            Stage::Raw => self.copy_raw(input, wanted),
            Stage::Header => {
                let read = self.block.read(&mut self.bits, input, &mut self.reader)?;
                if read.is_none() {
                    return HUNGRY;
                }
                self.stage = Stage::Command;
                DONE
            }
            Stage::Command => {
                self.do_whole_commands(input, wanted);
                self.read_command(input)
            }
            Stage::CopyLength => self.read_copy_length(input),
            Stage::Literals => self.insert(input, wanted),
            Stage::Distance => self.read_distance(input),
            Stage::Copy => {
                let count = self.command.copy.min(self.window.room(wanted));
                if count == 0 {
                    return FULL;
                }
                self.window.copy(self.command.distance, count);
                self.command.copy -= count;
                self.after(count, self.command.copy == 0)
            }
            Stage::Word => {
                let word = &mut self.word;
                let count = (word.end - word.start).min(self.window.room(wanted));
                if count == 0 && word.end > word.start {
                    return FULL;
                }
                let part = &word.bytes[word.start..word.start + count];
                self.window.next(count).copy_from_slice(part);
                self.window.wrote(count);
                word.start += count;
                let done = word.start == word.end;
                self.after(count, done)
            }
            Stage::Ended => HUNGRY,
        }
    }

    /// Reads the length of a meta-block.
    fn begin(&mut self, input: &mut &[u8]) -> Done {
        let Some(length) = self.bits.all_or_none(header::LENGTH_BITS, input, read_length) else {
            return HUNGRY;
        };
        let Length { last, content } = length?;
        self.last = last;
        self.left = 0;
        if matches!(content, Content::Raw(_) | Content::Skipped(_)) && !self.bits.align() {
            return Err(PADDED);
        }
        match content {
            Content::Nothing => return self.end_block(),
            Content::Skipped(count) => self.stage = Stage::Skipped(count),
            Content::Raw(count) => (self.stage, self.left) = (Stage::Raw, count),
            Content::Compressed(count) => {
                self.block.start();
                (self.stage, self.left) = (Stage::Header, count);
            }
        }
        DONE
    }

    fn end_block(&mut self) -> Done {
        self.stage = Stage::Length;
        if self.last {
            if !self.bits.align() {
                return Err(PADDED);
            }
            self.stage = Stage::Ended;
        }
        DONE
    }

    /// Counts what was written of the meta-block; the command is done, or not.
    fn after(&mut self, count: usize, done: bool) -> Done {
        self.left -= count;
        if done && self.left == 0 {
            return self.end_block();
        }
        if done {
            self.stage = Stage::Command;
        }
        DONE
    }

    fn copy_raw(&mut self, input: &mut &[u8], wanted: usize) -> Done {
        let room = self.left.min(self.window.room(wanted));
        if room == 0 {
            return FULL;
        }
        let mut count = 0;
        let places = self.window.next(room);
        while count < room
            && let Some(byte) = self.bits.byte()
        {
            places[count] = byte;
            count += 1;
        }
        let (taken, rest) = input.split_at(input.len().min(room - count));
        places[count..count + taken.len()].copy_from_slice(taken);
        *input = rest;
        count += taken.len();
        self.window.wrote(count);
        self.left -= count;
        if self.left == 0 {
            return self.end_block();
        }
        if count < room { HUNGRY } else { DONE }
    }

    /// Does commands as long as each can be done at once, with the input and the room there is.
    fn do_whole_commands(&mut self, input: &mut &[u8], wanted: usize) {
        let (mut bits, mut rest) = (self.bits, *input);
        while self.do_whole_command(&mut bits, &mut rest, wanted).is_some() {
            (self.bits, *input) = (bits, rest);
        }
    }

    /// Does a whole command, or nothing: one that is unusual in any way, or wrong, is for the stages.
    #[inline]
    fn do_whole_command(&mut self, bits: &mut Bits, input: &mut &[u8], wanted: usize) -> Option<()> {
        let [literals, commands, distances] = self.block.blocks.each_ref().map(|blocks| blocks.left);
        let commands_left = commands.checked_sub(1)?;
        bits.need(Bits::FULL, input); // enough for all but the longest
        let symbol = self.block.read_command(bits)?;
        let (insert, copy) = lengths::COMMANDS[symbol];
        let insert = insert.read(bits)?;
        let copy = copy.read(bits)?;
        if insert + copy >= self.left
            || insert + copy > self.window.room(wanted)
            || insert > literals
            || insert > input.len()
        {
            return None;
        }
        if insert > 0 {
            let last_two = self.window.last_two();
            let places = self.window.next(insert);
            if self.block.read_literals(bits, input, last_two, places) < insert {
                return None;
            }
        }
        let (symbol, far, distances_left) = if symbol < IMPLICIT_DISTANCE {
            (0, 0, distances)
        } else {
            let left = distances.checked_sub(1)?;
            bits.need(LONGEST + Range::MOST_BITS, input);
            let (symbol, far) = self.block.read_distance(copy, bits)?;
            (symbol, far, left)
        };
        let distance = self.resolve(symbol, far)?;
        self.window.wrote(insert);
        let reach = self.window.reach();
        let copied = if distance <= reach {
            self.window.copy(distance, copy);
            if symbol != 0 {
                self.remember(distance);
            }
            copy
        } else {
            let found = self.find_word(copy, distance - reach - 1);
            let word = &self.word.bytes[..self.word.end];
            if found.is_err() || word.len() >= self.left - insert || word.len() > self.window.room(wanted) {
                self.window.take_back(insert);
                return None;
            }
            self.window.next(word.len()).copy_from_slice(word);
            self.window.wrote(word.len());
            word.len()
        };
        self.left -= insert + copied;
        let blocks = &mut self.block.blocks;
        blocks[LITERALS].left = literals - insert;
        blocks[COMMANDS].left = commands_left;
        blocks[DISTANCES].left = distances_left;
        Some(())
    }

    fn read_command(&mut self, input: &mut &[u8]) -> Done {
        if self.block.blocks[COMMANDS].left == 0
            && self.block.switch(COMMANDS, &mut self.bits, input)?.is_none()
        {
            return HUNGRY;
        }
        let block = &self.block;
        let read = self.bits.all_or_none(LONGEST + Range::MOST_BITS, input, |bits| {
            let symbol = block.read_command(bits)?;
            Some((symbol, lengths::COMMANDS[symbol].0.read(bits)?))
        });
        let Some((symbol, insert)) = read else {
            return HUNGRY;
        };
        self.block.blocks[COMMANDS].left -= 1;
        self.command = Command {
            insert,
            symbol,
            ..Command::default()
        };
        if insert > self.left {
            return Err(TOO_LONG);
        }
        self.stage = Stage::CopyLength;
        DONE
    }

    fn read_copy_length(&mut self, input: &mut &[u8]) -> Done {
        let range = lengths::COMMANDS[self.command.symbol].1;
        let read = self
            .bits
            .all_or_none(Range::MOST_BITS, input, |bits| range.read(bits));
        let Some(copy) = read else {
            return HUNGRY;
        };
        self.command.copy = copy;
        if self.command.insert > 0 {
            self.stage = Stage::Literals;
            return DONE;
        }
        self.find_distance()
    }

    /// Goes on to the distance of a command whose literals are inserted.
    fn find_distance(&mut self) -> Done {
        if self.command.symbol < IMPLICIT_DISTANCE {
            return self.found_distance(0, 0);
        }
        self.stage = Stage::Distance;
        DONE
    }

    fn insert(&mut self, input: &mut &[u8], wanted: usize) -> Done {
        if self.block.blocks[LITERALS].left == 0
            && self.block.switch(LITERALS, &mut self.bits, input)?.is_none()
        {
            return HUNGRY;
        }
        let room = self.window.room(wanted);
        if room == 0 {
            return FULL;
        }
        let count = room
            .min(self.command.insert)
            .min(self.block.blocks[LITERALS].left);
        let last_two = self.window.last_two();
        let places = self.window.next(count);
        let done = self.block.read_literals(&mut self.bits, input, last_two, places);
        self.window.wrote(done);
        self.block.blocks[LITERALS].left -= done;
        self.left -= done;
        self.command.insert -= done;
        if self.command.insert == 0 {
            if self.left == 0 {
                return self.end_block(); // nothing is copied by the last command
            }
            return self.find_distance();
        }
        if done < count { HUNGRY } else { DONE }
    }

    fn read_distance(&mut self, input: &mut &[u8]) -> Done {
        if self.block.blocks[DISTANCES].left == 0
            && self.block.switch(DISTANCES, &mut self.bits, input)?.is_none()
        {
            return HUNGRY;
        }
        let (block, copy) = (&self.block, self.command.copy);
        let read = self.bits.all_or_none(LONGEST + Range::MOST_BITS, input, |bits| {
            block.read_distance(copy, bits)
        });
        let Some((symbol, far)) = read else {
            return HUNGRY;
        };
        self.block.blocks[DISTANCES].left -= 1;
        self.found_distance(symbol, far)
    }

    /// Copies from this distance, or from the dictionary if that is further than anything decoded.
    fn found_distance(&mut self, symbol: usize, far: usize) -> Done {
        let distance = self
            .resolve(symbol, far)
            .ok_or(Fault::Corrupt("a distance is not positive"))?;
        let reach = self.window.reach();
        if distance > reach {
            self.find_word(self.command.copy, distance - reach - 1)?;
            if self.word.end > self.left {
                return Err(TOO_LONG);
            }
            self.stage = Stage::Word;
            return DONE;
        }
        if self.command.copy > self.left {
            return Err(TOO_LONG);
        }
        if symbol != 0 {
            self.remember(distance);
        }
        self.command.distance = distance;
        self.stage = Stage::Copy;
        DONE
    }

    /// Finds the distance that a symbol stands for (section 4): one of the last four, one near the last two, or that
    /// which it says. None is not positive.
    #[inline]
    fn resolve(&self, symbol: usize, far: usize) -> Option<usize> {
        const AWAY: [isize; 6] = [-1, 1, -2, 2, -3, 3];
        let recent = |ago: usize| self.ring[self.ring_at.wrapping_sub(ago) % 4];
        let distance = match symbol {
            0..=3 => recent(symbol + 1),
            4..=9 => recent(1).checked_add_signed(AWAY[symbol - 4])?,
            10..=15 => recent(2).checked_add_signed(AWAY[symbol - 10])?,
            _ => far,
        };
        (distance > 0).then_some(distance)
    }

    #[inline]
    fn remember(&mut self, distance: usize) {
        self.ring[self.ring_at % 4] = distance;
        self.ring_at = (self.ring_at + 1) % 4;
    }

    /// Finds a word of the dictionary (section 8), of the length that would be copied.
    fn find_word(&mut self, length: usize, number: usize) -> Result<(), Fault> {
        let word_bits = match kBrotliDictionarySizeBitsByLength.get(length) {
            Some(&bits) if bits > 0 => bits,
            _ => return Err(NO_WORD),
        };
        let transform = number >> word_bits;
        if transform >= TRANSFORMS {
            return Err(NO_WORD);
        }
        let index = number & ((1 << word_bits) - 1);
        let start = kBrotliDictionaryOffsetsByLength[length] as usize + index * length;
        let word = &kBrotliDictionary[start..start + length];
        let signed = |number| i32::try_from(number).map_err(|_| NO_WORD);
        let written =
            TransformDictionaryWord(&mut self.word.bytes, word, signed(length)?, signed(transform)?);
        self.word.start = 0;
        self.word.end = usize::try_from(written).map_err(|_| NO_WORD)?;
        Ok(())
    }
}

const PADDED: Fault = Fault::Corrupt("a byte is padded with other bits than zeros");

/// Reads the size of the window (section 9.1).
fn read_window_size(bits: &mut Bits) -> Option<Result<usize, Fault>> {
    let log = if bits.take(1)? == 0 {
        16
    } else {
        match bits.take(3)? {
            0 => match bits.take(3)? {
                0 => 17,
                1 => return Some(Err(Fault::Corrupt("a large window is no part of the coding"))),
                more => 8 + more,
            },
            more => 17 + more,
        }
    };
    Some(Ok(1 << log))
}

impl Decoder for Brotli {
    fn start(&mut self, _: u32) -> Result<(), Fault> {
        Ok(()) // where the last one was reset
    }

    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let mut written = 0;
        loop {
            let in_header = matches!(self.stage, Stage::Header);
            let stop = match self.advance(input, out.len() - written)? {
                // One that was made for that takes long. Where there is no input, nobody would call again for bits.
                Ok(()) if in_header && !input.is_empty() => Stop::Hungry,
                Ok(()) => continue,
                Err(stop) => stop,
            };
            written += self.window.hand_out(&mut out[written..]);
            if written == out.len() || matches!(stop, Stop::Hungry) {
                break;
            }
        }
        if matches!(self.stage, Stage::Ended) && (!input.is_empty() || self.bits.count() > 0) {
            return Err(Fault::Trailing);
        }
        Ok(written)
    }

    fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Ended) && self.window.pending() == 0
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.window.memory() + self.block.memory()
    }

    fn reset(&mut self) -> bool {
        self.bits = Bits::default();
        self.stage = Stage::WindowSize;
        self.window.reset();
        self.block.reset();
        self.reader.reset();
        (self.ring, self.ring_at) = (FIRST_RING, 0);
        true
    }
}
