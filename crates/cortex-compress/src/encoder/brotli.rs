use super::encode::{Drained, Encoder, Size};
use crate::error::EncodeError;
use async_compression::Level;
use async_compression::brotli::EncoderParams;
use async_compression::codecs::{BrotliEncoder, EncodeV2};
use async_compression::core::util::{PartialBuffer, WriteBuffer};

/// The window for a stream of unknown length: a waiting stream holds a ring buffer of this size.
const STREAM_WINDOW_LOG: u32 = 18;

/// Brotli's state cannot be reset: a new one is made for each stream, which allocates.
pub(super) struct Brotli {
    state: Option<BrotliEncoder>,
    level: u8,
}

impl Brotli {
    pub(super) const fn new(level: u8) -> Self {
        Self { state: None, level }
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
            Size::Known(length) => params.size_hint(length).window_size(window_log(length)),
            Size::Unknown => params.window_size(STREAM_WINDOW_LOG.cast_signed()),
        };
        self.state = Some(BrotliEncoder::new(params));
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
}

/// The smallest window that spans the whole input and serves the encoder well.
///
/// Below 17, the levels from 5 on change to hash tables that take a hundred times longer to set up than to use.
fn window_log(length: usize) -> i32 {
    let log = usize::BITS - (length + 16).leading_zeros(); // the format keeps 16 bytes of a window to itself
    log.clamp(17, STREAM_WINDOW_LOG).cast_signed()
}

fn refused(_: std::io::Error) -> EncodeError {
    EncodeError::new("br", "the state of the stream is inconsistent")
}
