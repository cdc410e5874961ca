use super::encode::{Drained, Encoder, OnePass, Size, log};
use crate::error::EncodeError;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{CCtx, CParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, SafeResult};

/// The window for a stream of unknown length, and with it the largest block: it keeps a waiting stream small.
pub(super) const STREAM_WINDOW_LOG: u32 = 16;

/// RFC 9659 allows 8 MiB in the `zstd` coding; the highest levels would take more.
const MAX_WINDOW_LOG: u32 = 23;

pub(super) struct Zstd {
    /// Made for the first stream.
    context: Option<CCtx<'static>>,
    level: u8,
    #[cfg(feature = "dictionary")]
    dictionary: Option<crate::dictionary::Dictionary>,
    /// The tables as they are set: of window, hashes and chains.
    tables: [u32; 3],
    /// What the stream that was started is to hold; 0 where none was.
    footprint: usize,
    /// The context has taken input, before which it works its dictionary up.
    warm: bool,
}

impl Zstd {
    pub(super) const fn new(level: u8) -> Self {
        Self {
            context: None,
            level,
            #[cfg(feature = "dictionary")]
            dictionary: None,
            tables: [0; 3],
            footprint: 0,
            warm: false,
        }
    }

    /// Makes one whose context holds a copy of the dictionary, and works it up when it encodes for the first time.
    #[cfg(feature = "dictionary")]
    pub(super) fn with_dictionary(level: u8, dictionary: &crate::dictionary::Dictionary) -> Self {
        Self {
            dictionary: Some(dictionary.clone()),
            ..Self::new(level)
        }
    }

    fn tables_for(&self, size: Size) -> [u32; 3] {
        #[cfg(feature = "dictionary")]
        if let Some(dictionary) = &self.dictionary {
            return tables_with_dictionary(dictionary.len(), self.level, size);
        }
        tables(self.level, size)
    }

    fn footprint_for(&self, size: Size) -> usize {
        #[cfg(feature = "dictionary")]
        if let Some(dictionary) = &self.dictionary {
            return footprint_with(dictionary.len(), self.level, size);
        }
        footprint(self.level, size)
    }

    fn context(&mut self) -> Result<&mut CCtx<'static>, EncodeError> {
        let context = if let Some(context) = self.context.take() {
            context
        } else {
            let mut context = CCtx::try_create().ok_or(EncodeError::new("zstd", "there is no memory"))?;
            check(context.set_parameter(CParameter::CompressionLevel(self.level.into())))?;
            #[cfg(feature = "dictionary")]
            if let Some(dictionary) = &self.dictionary {
                check(context.load_dictionary(dictionary.content()))?;
            }
            context
        };
        Ok(self.context.insert(context))
    }

    fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Result<OnePass, EncodeError> {
        self.set_tables(Size::Whole(input.len()))?;
        let end = match self.context()?.compress2(out, input) {
            Ok(written) => OnePass::Written(written),
            Err(code) if zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall) => {
                OnePass::Full
            }
            Err(code) => return Err(refused(code)),
        };
        self.warm = true;
        Ok(end)
    }

    fn set_tables(&mut self, size: Size) -> Result<(), EncodeError> {
        let tables = self.tables_for(size);
        if tables != self.tables {
            let [window, hashes, chains] = tables;
            let context = self.context()?;
            check(context.set_parameter(CParameter::WindowLog(window)))?;
            check(context.set_parameter(CParameter::HashLog(hashes)))?;
            check(context.set_parameter(CParameter::ChainLog(chains)))?;
            self.tables = tables;
        }
        Ok(())
    }
}

impl Encoder for Zstd {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        self.set_tables(size)?;
        let length = match size {
            Size::Whole(length) => Some(length as u64),
            // A body may be longer than it says, which would be an error then; the tables are small without the
            // promise.
            Size::Stream(_) => None,
        };
        check(self.context()?.set_pledged_src_size(length))?;
        self.footprint = self.footprint_for(size);
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut source = InBuffer::around(input);
        let mut sink = OutBuffer::around(out);
        check(self.context()?.compress_stream(&mut sink, &mut source))?;
        let (read, written) = (source.pos(), sink.pos());
        self.warm = true;
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
    fn one_pass(&mut self, input: &[u8], out: &mut [u8]) -> Option<Result<OnePass, EncodeError>> {
        Some(self.compress(input, out))
    }

    /// A context that is given no input begins a frame all the same, and writes nothing of it.
    fn warm_up(&mut self) -> Result<(), EncodeError> {
        self.encode(&mut &[][..], &mut [0; 64]).map(drop)
    }

    fn is_warm(&self) -> bool {
        self.warm
    }

    fn reset(&mut self) -> bool {
        self.footprint = 0;
        match &mut self.context {
            Some(context) => context.reset(ResetDirective::SessionOnly).is_ok(),
            None => true,
        }
    }

    fn memory(&self) -> usize {
        // A context takes its memory with the first input, not when it is started.
        let holds = self.context.as_ref().map_or(0, CCtx::sizeof);
        holds.max(self.footprint)
    }
}

/// The logarithms of window, hash table and chain table; 0 leaves one to the level, and to the length if that is
/// known.
///
/// For a stream the level would take tables for megabytes, whatever the window: 85 MB at level 19.
fn tables(level: u8, size: Size) -> [u32; 3] {
    let window = match size {
        Size::Whole(_) if level >= 17 => return [MAX_WINDOW_LOG, 0, 0],
        Size::Whole(_) => return [0; 3],
        Size::Stream(Some(length)) => log(length, 10, STREAM_WINDOW_LOG),
        Size::Stream(None) => STREAM_WINDOW_LOG,
    };
    match level {
        1 if window == STREAM_WINDOW_LOG => [window, 0, 0],
        ..=4 => [window, window - 1, window - 2],
        _ => [window, window - 1, window - 1],
    }
}

/// The same with a dictionary.
///
/// A dictionary is out of reach once the input is longer than the window (RFC 9842, section 5), so that has to be larger
/// than without one; but it is memory that waits with a stream, for whoever reads slowly. From level 5 on the tables
/// would be for megabytes here, too, those of the dictionary and those of the input: 170 MB at level 19.
#[cfg(feature = "dictionary")]
fn tables_with_dictionary(dictionary: usize, level: u8, size: Size) -> [u32; 3] {
    let window = match size {
        Size::Whole(_) if level >= 17 => MAX_WINDOW_LOG,
        Size::Whole(_) => 0,
        Size::Stream(None) => DICTIONARY_WINDOW_LOG,
        Size::Stream(Some(length)) => log(length, 10, DICTIONARY_WINDOW_LOG),
    };
    let table = if level >= 5 { table_log(dictionary) } else { 0 };
    [window, table, table]
}

/// The largest window of a stream with a dictionary.
#[cfg(feature = "dictionary")]
const DICTIONARY_WINDOW_LOG: u32 = 20;

#[cfg(feature = "dictionary")]
fn table_log(dictionary: usize) -> u32 {
    log(dictionary as u64, 12, 18)
}

/// What a context with a dictionary holds, from measurements.
#[cfg(feature = "dictionary")]
pub(super) fn footprint_with(dictionary: usize, level: u8, size: Size) -> usize {
    let input = match size {
        Size::Whole(_) => footprint(level, size),
        Size::Stream(_) => {
            let [window, ..] = tables_with_dictionary(dictionary, level, size);
            footprint(level, Size::Stream(None)) + (300 << 10) + (1 << window)
        }
    };
    let tables = if level >= 5 { 12 } else { 3 };
    input + dictionary + (tables << table_log(dictionary))
}

/// What a context holds, from measurements.
pub(super) fn footprint(level: u8, size: Size) -> usize {
    let optimal = if level >= 16 { 600 << 10 } else { 0 }; // statistics of the parser
    optimal
        + match size {
            Size::Stream(None) => 540 << 10,
            Size::Stream(Some(length)) => (200 << 10) + (6 << log(length, 10, STREAM_WINDOW_LOG)),
            Size::Whole(length) => {
                let bits = if level <= 4 { 2 } else { 3 };
                (100 << 10) + (1_usize << bits << log(length as u64, 10, 20))
            }
        }
}

fn check(result: SafeResult) -> Result<usize, EncodeError> {
    result.map_err(refused)
}

fn refused(code: ErrorCode) -> EncodeError {
    EncodeError::new("zstd", zstd_safe::get_error_name(code))
}

#[cfg(all(test, feature = "dictionary"))]
mod tests {
    use super::*;
    use crate::dictionary::Dictionary;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[3]
        });
        bytes.take(length).collect()
    }

    /// Encodes a body of this length, and returns what is held at the end.
    fn memory_after(
        dictionary: &Dictionary,
        level: u8,
        size: Size,
        length: usize,
    ) -> Result<usize, EncodeError> {
        let mut zstd = Zstd::with_dictionary(level, dictionary);
        let body = noise(length);
        let mut out = vec![0; length * 2 + 1000];
        if let Size::Whole(_) = size {
            let end = zstd.one_pass(&body, &mut out);
            end.expect("zstd encodes at once")?;
        } else {
            zstd.start(size)?;
            let (mut rest, mut filled) = (&body[..], 0);
            while !rest.is_empty() {
                filled += zstd.encode(&mut rest, &mut out[filled..])?;
            }
            assert!(zstd.finish(&mut out[filled..])?.done);
        }
        assert!(zstd.reset()); // what is reserved counts for held until then
        Ok(zstd.memory())
    }

    #[test]
    fn a_stream_holds_what_is_reserved_for_it() {
        let mut zstd = Zstd::new(1);
        zstd.start(Size::Stream(None)).unwrap();
        let reserved = footprint(1, Size::Stream(None));
        assert_eq!(zstd.memory(), reserved, "before it has taken any");
        let (body, mut out) = (noise(200_000), vec![0; 300_000]);
        let (mut rest, mut filled) = (&body[..], 0);
        while !rest.is_empty() {
            filled += zstd.encode(&mut rest, &mut out[filled..]).unwrap();
        }
        assert!(zstd.reset());
        let held = zstd.memory();
        assert!(held.abs_diff(reserved) <= reserved / 8, "{held}, not {reserved}");

        let dictionary = Dictionary::new(noise(100_000)).unwrap();
        let mut zstd = Zstd::with_dictionary(3, &dictionary);
        zstd.start(Size::Stream(None)).unwrap();
        let reserved = footprint_with(100_000, 3, Size::Stream(None));
        assert_eq!(zstd.memory(), reserved, "with a dictionary");
    }

    #[test]
    fn what_is_reserved_is_about_what_is_held() {
        for bytes in [100, 100_000, Dictionary::MAX_LEN] {
            let dictionary = Dictionary::new(noise(bytes)).unwrap();
            for level in [3, 6, 19] {
                for (size, length) in [
                    (Size::Whole(1000), 1000),
                    (Size::Whole(250_000), 250_000),
                    (Size::Stream(None), 3000),
                    (Size::Stream(Some(20_000)), 3000),
                    (Size::Stream(Some(3_000_000)), 3000),
                ] {
                    let held = memory_after(&dictionary, level, size, length).unwrap();
                    let reserved = footprint_with(bytes, level, size);
                    assert!(
                        reserved * 2 > held && reserved < held * 3 + (1 << 20),
                        "{bytes} {level} {size:?}: {reserved} reserved, {held} held"
                    );
                }
            }
        }
    }
}
