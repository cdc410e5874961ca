use super::encode::{Drained, Encoder, Size};
use crate::error::EncodeError;
use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

/// Gzip, or the zlib format of the `deflate` coding: about 380 KB of state, on zlib-rs.
pub(super) struct Gzip {
    state: Compress,
    coding: &'static str,
}

impl Gzip {
    #[cfg(feature = "gzip")]
    pub(super) fn new(level: u8) -> Self {
        Self {
            state: Compress::new_gzip(Compression::new(level.into()), 15),
            coding: "gzip",
        }
    }

    #[cfg(feature = "deflate")]
    pub(super) fn zlib(level: u8) -> Self {
        Self {
            state: Compress::new(Compression::new(level.into()), true),
            coding: "deflate",
        }
    }

    fn run(
        &mut self,
        input: &mut &[u8],
        out: &mut [u8],
        flush: FlushCompress,
    ) -> Result<(usize, Status), EncodeError> {
        let (read, written) = (self.state.total_in(), self.state.total_out());
        let status = self
            .state
            .compress(input, out, flush)
            .map_err(|error| refused(self.coding, &error))?;
        *input = &input[count(read, self.state.total_in())..];
        Ok((count(written, self.state.total_out()), status))
    }

    fn drain(&mut self, out: &mut [u8], flush: FlushCompress) -> Result<(usize, Status), EncodeError> {
        self.run(&mut &[][..], out, flush)
    }
}

impl Encoder for Gzip {
    fn start(&mut self, _: Size) -> Result<(), EncodeError> {
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(self.run(input, out, FlushCompress::None)?.0)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let (written, _) = self.drain(out, FlushCompress::Sync)?;
        let done = written < out.len(); // a full buffer leaves it open; then the next call writes what is left, if any
        Ok(Drained { written, done })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let (written, status) = self.drain(out, FlushCompress::Finish)?;
        let done = status == Status::StreamEnd;
        Ok(Drained { written, done })
    }

    fn reset(&mut self) -> bool {
        self.state.reset();
        true
    }
}

/// The difference of two totals, which is at most the length of a buffer.
fn count(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("invariant: bounded by the length of a slice")
}

fn refused(coding: &'static str, _: &CompressError) -> EncodeError {
    EncodeError::new(coding, "the state of the stream is inconsistent")
}
