use super::brotli_alloc::BoundedAlloc;
use super::{Decoder, Fault};
use crate::decode::error::Limit;
use crate::decode::limits::Limits;
use ::brotli::enc::StandardAlloc;
use ::brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

type State = BrotliState<BoundedAlloc, StandardAlloc, StandardAlloc>;

/// Brotli (RFC 7932), without the large windows that are no part of the coding.
///
/// Its window grows with what meta-blocks say they have, to 16 MiB at most, or to what the limit of decoded bytes can
/// need. Nothing in it could be used again.
pub(super) struct Brotli {
    state: Option<Box<State>>,
    max_decoded: u64,
    ended: bool,
}

impl Brotli {
    pub(super) const fn new() -> Self {
        Self {
            state: None,
            max_decoded: 0,
            ended: false,
        }
    }
}

impl Decoder for Brotli {
    fn start(&mut self, limits: &Limits) -> Result<(), Fault> {
        let bytes = BoundedAlloc::new(limits.decoded);
        let (words, codes) = (StandardAlloc::default(), StandardAlloc::default());
        self.state = Some(Box::new(State::new_strict(bytes, words, codes)));
        self.max_decoded = limits.decoded;
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
            BrotliResult::ResultFailure if state.alloc_u8.has_refused() => {
                return Err(Fault::Limit(Limit::DecodedSize(self.max_decoded)));
            }
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
