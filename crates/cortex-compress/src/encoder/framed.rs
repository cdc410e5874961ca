use super::encode::{Drained, Encoder, OnePass, Size};
use crate::coding::Coding;
use crate::dictionary::Dictionary;
use crate::error::EncodeError;

/// Another encoder, whose streams begin with what they were compressed against (RFC 9842, sections 4 and 5).
pub(super) struct Framed {
    inner: Box<dyn Encoder>,
    header: Box<[u8]>,
    /// How much of the header was written.
    sent: usize,
}

impl Framed {
    pub(super) fn new(inner: Box<dyn Encoder>, coding: Coding, dictionary: &Dictionary) -> Self {
        Self {
            inner,
            header: [magic(coding), dictionary.hash()].concat().into(),
            sent: 0,
        }
    }

    /// Writes what there is room for, and returns how much that is.
    fn begin(&mut self, out: &mut [u8]) -> usize {
        let left = &self.header[self.sent..];
        let length = left.len().min(out.len());
        out[..length].copy_from_slice(&left[..length]);
        self.sent += length;
        length
    }
}

/// What a stream begins with, before the hash.
const fn magic(coding: Coding) -> &'static [u8] {
    match coding {
        // Section 5: a skippable frame of 32 bytes, so that any zstd decoder reads over it.
        Coding::Zstd => &[0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0],
        // Section 4.
        #[cfg(feature = "brotli")]
        Coding::Br => &[0xff, 0x44, 0x43, 0x42],
        #[cfg(feature = "gzip")]
        Coding::Gzip => &[],
        #[cfg(feature = "deflate")]
        Coding::Deflate => &[],
    }
}

impl Encoder for Framed {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.sent = 0;
        self.inner.start(size)
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let begun = self.begin(out);
        if begun == out.len() {
            return Ok(begun);
        }
        Ok(begun + self.inner.encode(input, &mut out[begun..])?)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let begun = self.begin(out);
        if begun == out.len() {
            return Ok(Drained {
                written: begun,
                done: false,
            });
        }
        let drained = self.inner.flush(&mut out[begun..])?;
        Ok(Drained {
            written: begun + drained.written,
            ..drained
        })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let begun = self.begin(out);
        if begun == out.len() {
            return Ok(Drained {
                written: begun,
                done: false,
            });
        }
        let drained = self.inner.finish(&mut out[begun..])?;
        Ok(Drained {
            written: begun + drained.written,
            ..drained
        })
    }

    fn one_pass(&mut self, input: &[u8], out: &mut [u8]) -> Option<Result<OnePass, EncodeError>> {
        let length = self.header.len();
        if out.len() <= length {
            return Some(Ok(OnePass::Full));
        }
        let (header, body) = out.split_at_mut(length);
        header.copy_from_slice(&self.header);
        Some(self.inner.one_pass(input, body)?.map(|end| match end {
            OnePass::Written(written) => OnePass::Written(length + written),
            OnePass::Full => OnePass::Full,
        }))
    }

    fn warm_up(&mut self) -> Result<(), EncodeError> {
        self.inner.warm_up()
    }

    fn is_warm(&self) -> bool {
        self.inner.is_warm()
    }

    fn reset(&mut self) -> bool {
        self.inner.reset()
    }

    fn memory(&self) -> usize {
        self.inner.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::create;

    /// Encodes a body in two pieces with a flush between them, into room for so many bytes at a time.
    fn encode(
        encoder: &mut dyn Encoder,
        body: &[u8],
        size: Size,
        room: usize,
    ) -> Result<Vec<u8>, EncodeError> {
        let (mut all, mut out) = (Vec::new(), vec![0; room]);
        encoder.start(size)?;
        let (first, second) = body.split_at(body.len() / 2);
        for (mut piece, ends) in [(first, false), (second, true)] {
            while !piece.is_empty() {
                let written = encoder.encode(&mut piece, &mut out)?;
                all.extend_from_slice(&out[..written]);
            }
            loop {
                let drained = if ends {
                    encoder.finish(&mut out)?
                } else {
                    encoder.flush(&mut out)?
                };
                all.extend_from_slice(&out[..drained.written]);
                if drained.done {
                    break;
                }
            }
        }
        Ok(all)
    }

    #[test]
    fn the_header_comes_first_and_once_however_little_room_there_is() {
        let body = b"The quick brown fox jumps over the lazy dog. ".repeat(60);
        let dictionary = Dictionary::new(body[..1000].to_vec()).unwrap();
        for &coding in Coding::ALL {
            if magic(coding).is_empty() {
                continue; // has no dictionary
            }
            let header = [magic(coding), dictionary.hash()].concat();
            let mut encoder = create(coding, 3, Some(&dictionary), None);
            let whole = encode(&mut *encoder, &body, Size::Stream(None), 5000).unwrap();
            assert_eq!(whole[..header.len()], header, "{coding}");
            for room in [1, 7, 39, 40, 41, 100] {
                assert!(encoder.reset());
                let pieces = encode(&mut *encoder, &body, Size::Stream(None), room).unwrap();
                assert!(pieces == whole, "{coding}: {room}");
            }
            assert!(encoder.reset());
            let mut out = vec![0; 5000];
            let Some(at_once) = encoder.one_pass(&body, &mut out) else {
                continue;
            };
            let OnePass::Written(length) = at_once.unwrap() else {
                panic!("{coding}: there is room");
            };
            assert_eq!(out[..header.len()], header, "{coding}");
            for less in [0, 1, header.len(), length - 1] {
                let full = encoder.one_pass(&body, &mut out[..less]);
                assert_eq!(full.unwrap().unwrap(), OnePass::Full, "{coding}: {less}");
            }
        }
    }
}
