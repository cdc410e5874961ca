use super::{Decoder, Fault};
use crate::decode::error::Limit;
use zstd_safe::{DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective};

/// RFC 9659 allows windows of 8 MiB in the `zstd` coding.
const MAX_WINDOW_LOG: u32 = 23;

/// A context that has grown larger than this is not kept: it had a large window, which is seldom needed again. Level 3, which most
/// encoders use, has one of 2 MiB.
const KEPT_SIZE: usize = 3 << 20;

/// The negated codes of zstd's errors, as its functions return them.
const PREFIX_UNKNOWN: ErrorCode = 10_usize.wrapping_neg();
const WINDOW_TOO_LARGE: ErrorCode = 16_usize.wrapping_neg();

/// Zstandard (RFC 8878): frames one after the other, some of which are to be skipped.
pub(super) struct Zstd {
    /// Made for the first stream.
    context: Option<DCtx<'static>>,
    within_frame: bool,
    /// A frame has ended.
    any: bool,
    frames: u32,
    frames_left: u32,
}

impl Zstd {
    pub(super) const fn new() -> Self {
        Self {
            context: None,
            within_frame: false,
            any: false,
            frames: 0,
            frames_left: 0,
        }
    }

    fn fault(&self, code: ErrorCode) -> Fault {
        match code {
            WINDOW_TOO_LARGE => Fault::Limit(Limit::Window(1 << MAX_WINDOW_LOG)),
            PREFIX_UNKNOWN if self.any => Fault::Trailing,
            PREFIX_UNKNOWN => Fault::Corrupt("this is not zstd"),
            code => Fault::Corrupt(zstd_safe::get_error_name(code)),
        }
    }
}

impl Decoder for Zstd {
    fn start(&mut self, members: u32) -> Result<(), Fault> {
        (self.within_frame, self.any) = (false, false);
        (self.frames, self.frames_left) = (members, members);
        if self.context.is_none() {
            let mut context = DCtx::try_create().ok_or(Fault::Corrupt("there is no memory"))?;
            context
                .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
                .map_err(|code| self.fault(code))?;
            self.context = Some(context);
        }
        Ok(())
    }

    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let mut written = 0;
        while written < out.len() && (self.within_frame || !input.is_empty()) {
            if !self.within_frame {
                // A frame (RFC 8878, 3.1.1) or one to be skipped (3.1.2): where another crate has switched them on, the library would
                // take those of its versions before 1.0, too, whose windows it does not limit.
                if !matches!(input.first(), Some(0x28 | 0x50..=0x5f)) {
                    return Err(self.fault(PREFIX_UNKNOWN));
                }
                self.frames_left = self
                    .frames_left
                    .checked_sub(1)
                    .ok_or(Fault::Limit(Limit::Members(self.frames)))?;
                self.within_frame = true;
            }
            let context = self
                .context
                .as_mut()
                .ok_or(Fault::Corrupt("the stream was not started"))?;
            let mut source = InBuffer::around(input);
            let mut sink = OutBuffer::around(&mut out[written..]);
            let result = context.decompress_stream(&mut sink, &mut source);
            let (read, now) = (source.pos(), sink.pos());
            let wanted = result.map_err(|code| self.fault(code))?;
            *input = &input[read..];
            written += now;
            if wanted == 0 {
                (self.within_frame, self.any) = (false, true);
            } else if input.is_empty() || (read == 0 && now == 0) {
                break;
            }
        }
        Ok(written)
    }

    fn is_complete(&self) -> bool {
        self.any && !self.within_frame
    }

    fn memory(&self) -> usize {
        self.context.as_ref().map_or(0, DCtx::sizeof)
    }

    fn reset(&mut self) -> bool {
        self.context.as_mut().is_none_or(|context| {
            context.sizeof() <= KEPT_SIZE && context.reset(ResetDirective::SessionOnly).is_ok()
        })
    }
}
