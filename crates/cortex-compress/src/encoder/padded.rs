use super::encode::{Drained, Encoder, OnePass, Size};
use super::padding::{follows_end, insert, of_stream, of_whole};
use crate::breach::{Content, Padding};
use crate::coding::Coding;
use crate::error::EncodeError;

/// Another encoder, whose streams get padding by their content.
pub(super) struct Padded {
    inner: Box<dyn Encoder>,
    coding: Coding,
    padding: Padding,
    content: Content,
    /// There is something inside that no flush has brought out.
    dirty: bool,
    end: End,
}

/// How far the end of a stream has come.
#[derive(Debug)]
enum End {
    NotYet,
    Padding { bytes: Vec<u8>, sent: usize },
    Padded,
    Over,
}

impl Padded {
    pub(super) fn new(inner: Box<dyn Encoder>, coding: Coding, padding: &Padding) -> Self {
        Self {
            inner,
            coding,
            padding: padding.clone(),
            content: padding.content(),
            dirty: true,
            end: End::NotYet,
        }
    }

    fn begin_padding(&self) -> End {
        End::Padding {
            bytes: of_stream(self.coding, self.content.pad()),
            sent: 0,
        }
    }
}

impl Encoder for Padded {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.content = self.padding.content();
        self.dirty = true; // the header of the stream
        self.end = End::NotYet;
        self.inner.start(size)
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let all = *input;
        let written = self.inner.encode(input, out)?;
        self.content.add(&all[..all.len() - input.len()]);
        self.dirty = true;
        Ok(written)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let drained = self.inner.flush(out)?;
        self.dirty = !drained.done;
        Ok(drained)
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let after = follows_end(self.coding);
        let mut written = 0;
        while written < out.len() {
            let room = &mut out[written..];
            match &mut self.end {
                End::NotYet if !after && self.dirty => {
                    written += self.flush(room)?.written;
                }
                End::NotYet if !after => self.end = self.begin_padding(),
                End::NotYet => {
                    let drained = self.inner.finish(room)?;
                    written += drained.written;
                    if drained.done {
                        self.end = self.begin_padding();
                    }
                }
                End::Padding { bytes, sent } => {
                    let length = room.len().min(bytes.len() - *sent);
                    room[..length].copy_from_slice(&bytes[*sent..*sent + length]);
                    written += length;
                    *sent += length;
                    if *sent == bytes.len() {
                        self.end = if after { End::Over } else { End::Padded };
                    }
                }
                End::Padded => {
                    let drained = self.inner.finish(room)?;
                    written += drained.written;
                    if drained.done {
                        self.end = End::Over;
                    }
                }
                End::Over => break,
            }
        }
        Ok(Drained {
            written,
            done: matches!(self.end, End::Over),
        })
    }

    fn one_pass(&mut self, input: &[u8], out: &mut [u8]) -> Option<Result<OnePass, EncodeError>> {
        let mut content = self.padding.content();
        content.add(input);
        let padding = of_whole(self.coding, content.pad());
        let room = out.len().saturating_sub(padding.len());
        let result = self.inner.one_pass(input, &mut out[..room])?;
        Some(result.map(|end| match end {
            OnePass::Written(written) => {
                insert(self.coding, out, written, &padding);
                OnePass::Written(written + padding.len())
            }
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
        self.end = End::NotYet;
        self.inner.reset()
    }

    fn memory(&self) -> usize {
        let padding = match &self.end {
            End::Padding { bytes, .. } => bytes.capacity(),
            _ => 0,
        };
        self.inner.memory() + padding
    }
}
