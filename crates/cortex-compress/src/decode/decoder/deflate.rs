use super::inflate::{self, Inflate};
use super::{Decoder, Fault};

/// Deflate in the zlib format (RFC 9110, section 8.4.1.2); zlib checks its header and its checksum.
pub(super) struct Deflate {
    inflate: Inflate,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self {
            inflate: Inflate::new(true),
        }
    }
}

impl Decoder for Deflate {
    fn start(&mut self, _: u32) -> Result<(), Fault> {
        Ok(())
    }

    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        if self.inflate.ended && !input.is_empty() {
            return Err(Fault::Trailing);
        }
        self.inflate.decode(input, out)
    }

    fn is_complete(&self) -> bool {
        self.inflate.ended
    }

    fn memory(&self) -> usize {
        inflate::MEMORY
    }

    fn reset(&mut self) -> bool {
        self.inflate.reset();
        true
    }
}
