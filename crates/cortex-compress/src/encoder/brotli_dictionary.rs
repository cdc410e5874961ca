use super::brotli::quality;
use super::encode::{Drained, Encoder, Size, log};
use super::recycler::Recycler;
use crate::dictionary::Dictionary;
use crate::error::EncodeError;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};

/// The longest dictionary: it is read anew for each stream, which takes about a nanosecond for each byte at level 4.
pub(super) const MAX_DICTIONARY: usize = 256 << 10;

/// The encoder sees a dictionary as what came before in its window, so that has to hold both. It is a ring buffer of
/// twice the size.
const MAX_WINDOW_LOG: u32 = 20;

/// Brotli with a dictionary before its window, and without the static one.
///
/// A decoder finds the dictionary behind the window instead, which is the same place as long as the window spans what
/// came so far, and is out of reach of what this one writes from then on.
pub(super) struct BrotliDictionary {
    state: Option<Box<BrotliEncoderStateStruct<Recycler>>>,
    /// While there is no state.
    memory: Recycler,
    dictionary: Dictionary,
    level: u8,
    footprint: usize,
}

impl BrotliDictionary {
    pub(super) fn new(level: u8, dictionary: &Dictionary) -> Self {
        Self {
            state: None,
            memory: Recycler::default(),
            dictionary: dictionary.clone(),
            level,
            footprint: 0,
        }
    }

    /// Does an operation until it is done or there is no more room; tells how much it wrote, and whether it is done.
    fn run(
        &mut self,
        operation: BrotliEncoderOperation,
        input: &mut &[u8],
        out: &mut [u8],
    ) -> Result<(usize, bool), EncodeError> {
        let state = self
            .state
            .as_mut()
            .ok_or(EncodeError::new("dcb", "the stream was not started"))?;
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written) = (out.len(), 0);
        let went = state.compress_stream(
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
        *input = &input[read..];
        if went {
            Ok((written, !state.has_more_output()))
        } else {
            Err(EncodeError::new("dcb", "the state of the stream is inconsistent"))
        }
    }
}

impl Encoder for BrotliDictionary {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.reset();
        let mut state = Box::new(BrotliEncoderStateStruct::new(std::mem::take(&mut self.memory)));
        let window = window_log(self.dictionary.len(), size);
        let hint = match size {
            Size::Whole(length) => u32::try_from(length).unwrap_or(u32::MAX),
            Size::Stream(_) => 0,
        };
        for (parameter, value) in [
            (
                BrotliEncoderParameter::BROTLI_PARAM_QUALITY,
                quality(self.level, size).into(),
            ),
            (BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window),
            (BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, hint),
        ] {
            if !state.set_parameter(parameter, value) {
                return Err(EncodeError::new("dcb", "a parameter was refused"));
            }
        }
        state.set_custom_dictionary(self.dictionary.len(), self.dictionary.content());
        self.state = Some(state);
        self.footprint = footprint(self.level, self.dictionary.len(), size);
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let (written, _) = self.run(BrotliEncoderOperation::BROTLI_OPERATION_PROCESS, input, out)?;
        Ok(written)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let flush = BrotliEncoderOperation::BROTLI_OPERATION_FLUSH;
        let (written, done) = self.run(flush, &mut &[][..], out)?;
        Ok(Drained { written, done })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let finish = BrotliEncoderOperation::BROTLI_OPERATION_FINISH;
        let (written, _) = self.run(finish, &mut &[][..], out)?;
        let done = self.state.as_ref().is_some_and(|state| state.is_finished());
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

fn window_log(dictionary: usize, size: Size) -> u32 {
    const RESERVED: u64 = 16; // the format keeps some bytes of a window to itself
    const STREAM: u64 = 256 << 10; // of unknown length; the dictionary is out of reach behind it
    let length = match size {
        Size::Whole(length) => length as u64,
        Size::Stream(length) => length.unwrap_or(STREAM),
    };
    let both = length.saturating_add(dictionary as u64);
    // Below 17, the levels from 5 on change to hash tables of 32 MB.
    log(both.saturating_add(RESERVED + 1), 17, MAX_WINDOW_LOG)
}

pub(super) fn footprint(level: u8, dictionary: usize, size: Size) -> usize {
    let beside = (3 << window_log(dictionary, size)) - (3 << super::brotli::window_log(level, size));
    super::brotli::footprint(level, size) + beside
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes a body, and does not end the stream if it is given up.
    fn encode(encoder: &mut BrotliDictionary, input: &[u8], given_up: bool) -> Result<Vec<u8>, EncodeError> {
        encoder.start(Size::Whole(input.len()))?;
        let (mut all, mut left, mut out) = (Vec::new(), input, [0; 4096]);
        while !left.is_empty() {
            let written = encoder.encode(&mut left, &mut out)?;
            all.extend_from_slice(&out[..written]);
        }
        let mut ended = given_up;
        while !ended {
            let Drained { written, done } = encoder.finish(&mut out)?;
            all.extend_from_slice(&out[..written]);
            ended = done;
        }
        assert!(encoder.reset());
        Ok(all)
    }

    #[test]
    fn a_stream_in_used_memory_is_the_one_in_new_memory_and_takes_no_more() {
        let text = |from: usize| -> Vec<u8> {
            let words = ["{\"id\":", "kettle ", "\"price\":", "brass ", "walnut,"];
            (0..10_000)
                .flat_map(|at| words[(at * at + from) / 3 % 5].bytes())
                .collect()
        };
        let dictionary = Dictionary::new(text(0)[..20_000].to_vec()).unwrap();
        for level in [2, 4, 5, 11] {
            let wanted = &text(1)[..15_000];
            let fresh = encode(&mut BrotliDictionary::new(level, &dictionary), wanted, false).unwrap();
            let mut used = BrotliDictionary::new(level, &dictionary);
            let mut held = 0;
            for round in 0..4 {
                encode(&mut used, &text(2)[..40_000], false).unwrap();
                encode(&mut used, &text(3)[..30_000], true).unwrap();
                assert!(encode(&mut used, wanted, false).unwrap() == fresh, "{level}");
                if round > 1 {
                    assert_eq!(used.memory(), held, "level {level} grows");
                }
                held = used.memory();
            }
            assert!(held > 10_000, "{level}: {held}");
        }
    }
}
