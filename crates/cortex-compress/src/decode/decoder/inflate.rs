use super::Fault;
use flate2::{Decompress, FlushDecompress, Status};

/// The window and tables of deflate, about 50 KB on zlib-rs, and where its stream stands.
pub(super) struct Inflate {
    state: Decompress,
    zlib: bool,
    pub(super) ended: bool,
}

impl Inflate {
    /// Makes one for bare deflate (RFC 1951), or deflate in the zlib format (RFC 1950).
    pub(super) fn new(zlib: bool) -> Self {
        Self {
            state: Decompress::new(zlib),
            zlib,
            ended: false,
        }
    }

    pub(super) fn reset(&mut self) {
        self.state.reset(self.zlib);
        self.ended = false;
    }

    /// Decodes until the input is used up, the output is full or the stream has ended.
    pub(super) fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let (mut read, mut written) = (0, 0);
        while !self.ended && written < out.len() {
            let (read_before, written_before) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(&input[read..], &mut out[written..], FlushDecompress::None)
                .map_err(|error| {
                    Fault::Corrupt(match error.needs_dictionary() {
                        Some(_) => "a dictionary is needed",
                        None => "a block is invalid",
                    })
                })?;
            let (newly_read, newly_written) = (
                count(read_before, self.state.total_in()),
                count(written_before, self.state.total_out()),
            );
            read += newly_read;
            written += newly_written;
            self.ended = status == Status::StreamEnd;
            if newly_read == 0 && newly_written == 0 {
                break;
            }
        }
        *input = &input[read..];
        Ok(written)
    }
}

/// The difference of two totals, which is at most the length of a buffer.
fn count(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("invariant: bounded by the length of a slice")
}
