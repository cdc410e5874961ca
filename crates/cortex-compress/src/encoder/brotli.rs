use super::encode::{Drained, Encoder, Size, log};
use super::recycler::Recycler;
use crate::error::EncodeError;
use brotli::enc::Allocator;
use brotli::enc::command::Command;
use brotli::enc::encode::{BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderStateStruct};

/// The largest window: it is a ring buffer in memory.
const MAX_WINDOW_LOG: u32 = 18;

/// How much input is searched for matches at a time: a power of two.
pub(super) const BLOCK: usize = 8 << 10;

/// Whole bodies that are no longer are not worth to be divided: level 4 takes less than a quarter of a millisecond.
const AT_ONCE: usize = 10 << 10;

/// Longer pieces would take a stream over 1 MB of memory, and save next to nothing.
pub(super) const MAX_CUT: usize = 40 << 10;

/// A state cannot be reset: each stream has a new one, in the memory of the one before.
pub(super) struct Brotli {
    state: Option<BrotliEncoderStateStruct<Recycler>>,
    /// While there is no state.
    memory: Recycler,
    level: u8,
    footprint: usize,
}

impl Brotli {
    pub(super) fn new(level: u8) -> Self {
        Self {
            state: None,
            memory: Recycler::default(),
            level,
            footprint: 0,
        }
    }

    fn state(&mut self) -> Result<&mut BrotliEncoderStateStruct<Recycler>, EncodeError> {
        self.state
            .as_mut()
            .ok_or(EncodeError::new("br", "the stream was not started"))
    }

    fn run(
        &mut self,
        operation: BrotliEncoderOperation,
        input: &mut &[u8],
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written) = (out.len(), 0);
        let done = self.state()?.compress_stream(
            operation,
            &mut left,
            input,
            &mut read,
            &mut room,
            out,
            &mut written,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !done {
            return Err(EncodeError::new("br", "the state of the stream is inconsistent"));
        }
        *input = &input[read..];
        Ok(written)
    }
}

impl Encoder for Brotli {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.reset();
        let mut state = BrotliEncoderStateStruct::new(std::mem::take(&mut self.memory));
        state.params.quality = quality(self.level, size).into();
        state.params.lgwin = window_log(self.level, size).cast_signed();
        if let Size::Whole(length) = size {
            state.params.size_hint = length;
        }
        state.input_block_size(); // settles the parameters
        if self.level > 1 && !is_at_once(size) {
            state.params.lgblock = BLOCK.ilog2().cast_signed();
            // Bit by bit it would be moved each time.
            let commands = commands(size);
            state.commands_ = Allocator::<Command>::alloc_cell(&mut state.m8, commands);
            state.cmd_alloc_size_ = commands;
        }
        self.state = Some(state);
        self.footprint = footprint(self.level, size);
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        self.run(BrotliEncoderOperation::BROTLI_OPERATION_PROCESS, input, out)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let operation = BrotliEncoderOperation::BROTLI_OPERATION_FLUSH;
        let written = self.run(operation, &mut &[][..], out)?;
        let done = !self.state()?.has_more_output();
        Ok(Drained { written, done })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let operation = BrotliEncoderOperation::BROTLI_OPERATION_FINISH;
        let written = self.run(operation, &mut &[][..], out)?;
        let done = self.state()?.is_finished();
        Ok(Drained { written, done })
    }

    fn reset(&mut self) -> bool {
        if let Some(mut state) = self.state.take() {
            BrotliEncoderDestroyInstance(&mut state); // which gives its memory to its allocator
            self.memory = std::mem::take(&mut state.m8);
            self.memory.settle();
        }
        true
    }

    fn memory(&self) -> usize {
        // A state takes its memory bit by bit.
        let state = self.state.as_ref();
        state.map_or(self.memory.bytes(), |state| state.m8.bytes().max(self.footprint))
    }
}

/// Returns for how many commands, of inserted and copied bytes, there is room before the encoder has to make more: one for
/// eight bytes of a piece, and what it wants to have for the next block, which is one for two.
fn commands(size: Size) -> usize {
    let length = match size {
        Size::Whole(length) => length,
        Size::Stream(_) => MAX_CUT,
    };
    length.min(MAX_CUT) / 8 + length.min(BLOCK) / 2 + 1
}

/// The smallest window that spans the input and serves the encoder well; for streams a small one, as they may have to
/// wait.
///
/// Below 17, the levels from 5 on change to hash tables of 32 MB.
pub(super) fn window_log(level: u8, size: Size) -> u32 {
    const RESERVED: u64 = 16; // the format keeps some bytes of a window to itself
    let (length, most) = match size {
        Size::Whole(length) => (Some(length as u64), MAX_WINDOW_LOG),
        Size::Stream(length) if level >= 5 => (length, 17),
        Size::Stream(length) if level >= 2 => (length, 16),
        Size::Stream(length) => (length, MAX_WINDOW_LOG),
    };
    let least = if level >= 5 { 17 } else { 16 };
    length.map_or(most, |length| {
        log(length.saturating_add(RESERVED + 1), least, most)
    })
}

/// The level that an input is encoded at: a stream may have to wait for its reader, and from level 7 on the hash tables
/// double from 8 MB to 32, whatever the window. Those of level 6 have 2 MB.
pub(super) const fn quality(level: u8, size: Size) -> u8 {
    match (level, size) {
        (7..=9, Size::Stream(_)) => 6,
        _ => level,
    }
}

/// What the state grows to, from measurements.
pub(super) fn footprint(level: u8, size: Size) -> usize {
    let window = 3 << window_log(level, size);
    // And what each byte of a whole body takes: of one that is encoded in blocks, and of one that is not.
    let (tables, each, at_once) = match quality(level, size) {
        0 => return (130 << 10) + 2 * whole_length(size),
        1 => return (150 << 10) + 9 * whole_length(size),
        2 | 3 => (450 << 10, 1, 1),
        4 => (720 << 10, 1, 4),
        5 => (1340 << 10, 1, 4),
        6 => (2400 << 10, 1, 4),
        7 => (8600 << 10, 1, 4),
        8 => (17 << 20, 1, 4),
        9 => (34 << 20, 1, 4),
        10 => (2150 << 10, 9, 40),
        _ => (2440 << 10, 9, 75),
    };
    let each = if is_at_once(size) { at_once } else { each };
    tables + window + each * whole_length(size)
}

/// Says whether the encoder may make one block of it.
const fn is_at_once(size: Size) -> bool {
    matches!(size, Size::Whole(length) if length <= AT_ONCE)
}

const fn whole_length(size: Size) -> usize {
    match size {
        Size::Whole(length) => length,
        Size::Stream(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a body, and does not end the stream if it is given up.
    fn encode(brotli: &mut Brotli, size: Size, input: &[u8], given_up: bool) -> Vec<u8> {
        brotli.start(size).unwrap();
        let (mut all, mut left, mut out) = (Vec::new(), input, [0; 4096]);
        let mut ended = given_up;
        while !left.is_empty() {
            let written = brotli.encode(&mut left, &mut out).unwrap();
            all.extend_from_slice(&out[..written]);
        }
        while !ended {
            let Drained { written, done } = brotli.finish(&mut out).unwrap();
            all.extend_from_slice(&out[..written]);
            ended = done;
        }
        assert!(brotli.reset());
        all
    }

    fn text(length: usize, step: usize) -> Vec<u8> {
        let words = ["{\"id\":", "kettle ", "\"price\":", "brass ", "walnut,"];
        (0..length)
            .flat_map(|at| words[at * at / step % words.len()].bytes())
            .take(length)
            .collect()
    }

    #[test]
    fn a_stream_in_used_memory_is_the_one_in_new_memory_and_takes_no_more() {
        for level in 0..=11 {
            let wanted = text(20_000, 3);
            let sizes = [Size::Whole(wanted.len()), Size::Stream(None)];
            let fresh = sizes.map(|size| encode(&mut Brotli::new(level), size, &wanted, false));
            let mut used = Brotli::new(level);
            let mut held = 0;
            for round in 0..4 {
                encode(&mut used, Size::Stream(None), &text(70_000, 7), false);
                encode(&mut used, Size::Whole(40_000), &text(40_000, 5), true);
                encode(&mut used, Size::Whole(1), b"1", false);
                for (size, fresh) in sizes.iter().zip(&fresh) {
                    assert!(encode(&mut used, *size, &wanted, false) == *fresh, "{level}");
                }
                if round > 1 {
                    assert_eq!(used.memory(), held, "level {level} grows");
                }
                held = used.memory();
            }
            assert!(held > 10_000, "{level}: {held}");
        }
    }

    #[test]
    fn what_is_reserved_is_about_what_is_held() {
        let length = 150_000;
        let body = text(length, 3);
        for level in 0..=11 {
            for size in [
                Size::Stream(None),
                Size::Stream(Some(1 << 30)),
                Size::Whole(length),
            ] {
                let mut brotli = Brotli::new(level);
                brotli.start(size).unwrap();
                let mut out = vec![0; length];
                // In the pieces that a stream comes in; a whole body may come as one.
                let pieces = if let Size::Whole(_) = size {
                    length
                } else {
                    16 << 10
                };
                for mut piece in body.chunks(pieces) {
                    while !piece.is_empty() {
                        brotli.encode(&mut piece, &mut out).unwrap();
                    }
                    while !brotli.flush(&mut out).unwrap().done {}
                }
                let held = brotli.state().unwrap().m8.bytes();
                let reserved = footprint(level, size);
                assert!(
                    held.abs_diff(reserved) <= held / 4,
                    "{level} {size:?}: {reserved} reserved, {held} held"
                );
            }
        }
    }
}
