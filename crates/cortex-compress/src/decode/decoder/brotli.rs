use super::{Decoder, Fault};
use ::brotli::enc::StandardAlloc;
use ::brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Brotli (RFC 7932), without the large windows that are no part of the coding.
///
/// Its window grows with what is decoded, to 16 MiB at most. Nothing in it could be used again.
pub(super) struct Brotli {
    state: Option<Box<State>>,
    ended: bool,
}

impl Brotli {
    pub(super) const fn new() -> Self {
        Self {
            state: None,
            ended: false,
        }
    }
}

impl Decoder for Brotli {
    fn start(&mut self, _: u32) -> Result<(), Fault> {
        let alloc = StandardAlloc::default;
        self.state = Some(Box::new(State::new_strict(alloc(), alloc(), alloc())));
        self.ended = false;
        Ok(())
    }

    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        if self.ended {
            return if input.is_empty() {
                Ok(0)
            } else {
                Err(Fault::Trailing)
            };
        }
        let state = self
            .state
            .as_mut()
            .ok_or(Fault::Corrupt("the stream was not started"))?;
        let (mut read, mut written) = (0, 0);
        let result = BrotliDecompressStream(
            &mut input.len(),
            &mut read,
            input,
            &mut out.len(),
            &mut written,
            out,
            &mut 0,
            state,
        );
        *input = &input[read..];
        match result {
            BrotliResult::ResultFailure => return Err(Fault::Corrupt("a block is invalid")),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        if self.ended && !input.is_empty() {
            return Err(Fault::Trailing);
        }
        Ok(written)
    }

    fn is_complete(&self) -> bool {
        self.ended
    }

    fn reset(&mut self) -> bool {
        self.state = None;
        true // for the buffer that goes with it
    }
}
