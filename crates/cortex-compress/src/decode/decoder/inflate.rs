use super::Fault;
use zlib_rs::{InflateError, InflateFlush, Status};

const WINDOW_BITS: u8 = 15;

/// What an [`Inflate`] holds: its window and its tables.
pub(super) const MEMORY: usize = 50 << 10;

/// The window and tables of deflate, about 50 KB, and where its stream stands.
pub(super) struct Inflate {
    state: zlib_rs::Inflate,
    zlib: bool,
    pub(super) ended: bool,
}

impl Inflate {
    /// Makes one for bare deflate (RFC 1951), or deflate in the zlib format (RFC 1950).
    pub(super) fn new(zlib: bool) -> Self {
        Self {
            state: zlib_rs::Inflate::new(zlib, WINDOW_BITS),
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
        let mut written = 0;
        while !self.ended && written < out.len() {
            let before = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(input, &mut out[written..], InflateFlush::NoFlush)
                .map_err(|error| self.explain(error))?;
            self.ended = status == Status::StreamEnd;
            let (newly_read, newly_written) = (
                count(before.0, self.state.total_in()),
                count(before.1, self.state.total_out()),
            );
            *input = &input[newly_read..];
            written += newly_written;
            if newly_read == 0 && newly_written == 0 {
                break;
            }
        }
        Ok(written)
    }

    fn explain(&self, error: InflateError) -> Fault {
        Fault::Corrupt(match error {
            InflateError::NeedDict { .. } => "a dictionary is needed",
            _ => self.state.error_message().unwrap_or("the data is invalid"),
        })
    }
}

/// The difference of two totals, which is at most the length of a buffer.
fn count(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("invariant: bounded by the length of a slice")
}
