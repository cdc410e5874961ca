use super::encode::{Drained, Encoder, Size, log};
use crate::error::EncodeError;
use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::codecs::{BrotliEncoder, EncodeV2};
use async_compression::core::util::{PartialBuffer, WriteBuffer};

/// The largest window: it is a ring buffer in memory.
const MAX_WINDOW_LOG: u32 = 18;

/// Brotli's state cannot be reset: a new one is made for each stream, which allocates.
pub(super) struct Brotli {
    state: Option<BrotliEncoder>,
    level: u8,
    footprint: usize,
}

impl Brotli {
    pub(super) const fn new(level: u8) -> Self {
        Self {
            state: None,
            level,
            footprint: 0,
        }
    }

    fn state(&mut self) -> Result<&mut BrotliEncoder, EncodeError> {
        self.state
            .as_mut()
            .ok_or(EncodeError::new("br", "the stream was not started"))
    }
}

impl Encoder for Brotli {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        let params = EncoderParams::default().quality(Level::Precise(self.level.into()));
        let params = match size {
            Size::Whole(length) => params.size_hint(length),
            Size::Stream(_) => params,
        };
        let window = window_log(self.level, size);
        self.state = Some(BrotliEncoder::new(params.window_size(window.cast_signed())));
        self.footprint = footprint(self.level, size);
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut source = PartialBuffer::new(*input);
        let mut sink = WriteBuffer::new_initialized(out);
        self.state()?.encode(&mut source, &mut sink).map_err(refused)?;
        *input = &input[source.written_len()..];
        Ok(sink.written_len())
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let mut sink = WriteBuffer::new_initialized(out);
        let done = self.state()?.flush(&mut sink).map_err(refused)?;
        Ok(Drained {
            written: sink.written_len(),
            done,
        })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let mut sink = WriteBuffer::new_initialized(out);
        let done = self.state()?.finish(&mut sink).map_err(refused)?;
        Ok(Drained {
            written: sink.written_len(),
            done,
        })
    }

    fn reset(&mut self) -> bool {
        self.state = None;
        true
    }

    fn memory(&self) -> usize {
        self.state.as_ref().map_or(0, |_| self.footprint)
    }
}

/// The smallest window that spans the input and serves the encoder well; for streams a small one, as they may have to wait.
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

/// What the state grows to in blocks of 16 KiB, from measurements.
pub(super) fn footprint(level: u8, size: Size) -> usize {
    let tables = match level {
        0 | 1 => return 64 << 10,
        2 | 3 => 450 << 10,
        4 => 720 << 10,
        5 => 1340 << 10,
        6..=8 => 2400 << 10,
        9 => 34 << 20,
        _ => 4 << 20,
    };
    let length = match size {
        Size::Whole(length) => length,
        Size::Stream(_) => 0,
    };
    tables + (3 << window_log(level, size)) + 4 * length
}

fn refused(_: std::io::Error) -> EncodeError {
    EncodeError::new("br", "the state of the stream is inconsistent")
}
