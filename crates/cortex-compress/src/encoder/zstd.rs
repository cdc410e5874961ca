use super::encode::{Drained, Encoder, Size};
use crate::error::EncodeError;
use zstd_safe::{CCtx, CParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, SafeResult};

/// The window for a stream of unknown length: smaller blocks keep a poll short, and a waiting stream small.
const STREAM_WINDOW_LOG: u32 = 16;

/// RFC 9659 allows 8 MiB in the `zstd` coding; the highest levels would take more.
const MAX_WINDOW_LOG: u32 = 23;

pub(super) struct Zstd {
    /// Made for the first stream.
    context: Option<CCtx<'static>>,
    level: u8,
}

impl Zstd {
    pub(super) const fn new(level: u8) -> Self {
        Self { context: None, level }
    }

    fn context(&mut self) -> Result<&mut CCtx<'static>, EncodeError> {
        let context = if let Some(context) = self.context.take() {
            context
        } else {
            let mut context = CCtx::try_create().ok_or(EncodeError::new("zstd", "there is no memory"))?;
            check(context.set_parameter(CParameter::CompressionLevel(self.level.into())))?;
            context
        };
        Ok(self.context.insert(context))
    }

    /// Sets the window: for a whole body the level and the length choose.
    fn set_window(&mut self, size: Size) -> Result<(), EncodeError> {
        let log = match size {
            Size::Unknown => STREAM_WINDOW_LOG,
            Size::Known(_) if self.level >= 17 => MAX_WINDOW_LOG,
            Size::Known(_) => 0,
        };
        check(self.context()?.set_parameter(CParameter::WindowLog(log))).map(drop)
    }
}

impl Encoder for Zstd {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.set_window(size)?;
        let length = match size {
            Size::Known(length) => u64::try_from(length).ok(),
            Size::Unknown => None,
        };
        check(self.context()?.set_pledged_src_size(length)).map(drop)
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut source = InBuffer::around(input);
        let mut sink = OutBuffer::around(out);
        check(self.context()?.compress_stream(&mut sink, &mut source))?;
        let (read, written) = (source.pos(), sink.pos());
        *input = &input[read..];
        Ok(written)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let mut sink = OutBuffer::around(out);
        let left = check(self.context()?.flush_stream(&mut sink))?;
        Ok(Drained {
            written: sink.pos(),
            done: left == 0,
        })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let mut sink = OutBuffer::around(out);
        let left = check(self.context()?.end_stream(&mut sink))?;
        Ok(Drained {
            written: sink.pos(),
            done: left == 0,
        })
    }

    /// Encodes straight from `input` to `out`, which needs no buffers inside the context.
    fn one_pass(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<Result<usize, EncodeError>> {
        let bound = zstd_safe::compress_bound(input.len());
        if out.len() < bound {
            out.resize(bound, 0);
        }
        let size = Size::Known(input.len());
        Some(
            self.set_window(size)
                .and_then(|()| check(self.context()?.compress2(out.as_mut_slice(), input))),
        )
    }

    fn reset(&mut self) -> bool {
        match &mut self.context {
            Some(context) => context.reset(ResetDirective::SessionOnly).is_ok(),
            None => true,
        }
    }
}

fn check(result: SafeResult) -> Result<usize, EncodeError> {
    result.map_err(|code: ErrorCode| EncodeError::new("zstd", zstd_safe::get_error_name(code)))
}
