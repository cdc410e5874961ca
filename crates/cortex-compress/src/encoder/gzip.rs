#[cfg(feature = "libdeflate")]
use super::encode::OnePass;
use super::encode::{Drained, Encoder, Size, log};
use crate::error::EncodeError;
use zlib_rs::{Deflate, DeflateConfig, DeflateError, DeflateFlush, Status};

/// What a state of zlib-rs holds beside what the window and `mem_level` decide on: hash table, codes, alignment.
const STATE_FIXED: usize = 139_000;

/// The full window.
const FULL: u32 = 15;

/// Gzip, or the zlib format of the `deflate` coding.
///
/// Two encoders: one for streams, and one (feature `libdeflate`) for bodies that are there as a whole.
pub(super) struct Gzip {
    format: Format,
    level: u8,
    stream: Option<Stream>,
    #[cfg(feature = "libdeflate")]
    whole: Option<libdeflater::Compressor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "deflate")]
    Zlib,
}

impl Format {
    const fn coding(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Self::Zlib => "deflate",
        }
    }

    /// Window bits ask for the wrapper of gzip by 16 more (zlib's convention).
    const fn window_bits(self, log: u32) -> i32 {
        let wrapper = match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => 16,
            #[cfg(feature = "deflate")]
            Self::Zlib => 0,
        };
        (log + wrapper).cast_signed()
    }
}

struct Stream {
    state: Deflate,
    window_log: u32,
}

impl Gzip {
    #[cfg(feature = "gzip")]
    pub(super) const fn new(level: u8) -> Self {
        Self::with(Format::Gzip, level)
    }

    #[cfg(feature = "deflate")]
    pub(super) const fn zlib(level: u8) -> Self {
        Self::with(Format::Zlib, level)
    }

    const fn with(format: Format, level: u8) -> Self {
        Self {
            format,
            level,
            stream: None,
            #[cfg(feature = "libdeflate")]
            whole: None,
        }
    }

    fn run(
        &mut self,
        input: &mut &[u8],
        out: &mut [u8],
        flush: DeflateFlush,
    ) -> Result<(usize, Status), EncodeError> {
        let coding = self.format.coding();
        let Some(Stream { state, .. }) = &mut self.stream else {
            return Err(EncodeError::new(coding, "the stream was not started"));
        };
        let (read, written) = (state.total_in(), state.total_out());
        let status = state
            .compress(input, out, flush)
            .map_err(|error| refused(coding, error))?;
        *input = &input[count(read, state.total_in())..];
        Ok((count(written, state.total_out()), status))
    }

    fn drain(&mut self, out: &mut [u8], flush: DeflateFlush) -> Result<(usize, Status), EncodeError> {
        self.run(&mut &[][..], out, flush)
    }
}

impl Encoder for Gzip {
    fn start(&mut self, size: Size) -> Result<(), EncodeError> {
        let window_log = window_log(size);
        // A state that is large enough serves a small body as well.
        if self
            .stream
            .as_ref()
            .is_none_or(|stream| stream.window_log < window_log)
        {
            let state = Deflate::new_with_config(DeflateConfig {
                level: stream_level(self.level, size).into(),
                window_bits: self.format.window_bits(window_log),
                mem_level: mem_level(window_log).cast_signed(),
                ..DeflateConfig::default()
            });
            self.stream = Some(Stream { state, window_log });
        }
        Ok(())
    }

    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(self.run(input, out, DeflateFlush::NoFlush)?.0)
    }

    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let (written, _) = self.drain(out, DeflateFlush::SyncFlush)?;
        let done = written < out.len(); // a full buffer leaves it open; then the next call writes what is left, if any
        Ok(Drained { written, done })
    }

    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError> {
        let (written, status) = self.drain(out, DeflateFlush::Finish)?;
        let done = status == Status::StreamEnd;
        Ok(Drained { written, done })
    }

    #[cfg(feature = "libdeflate")]
    fn one_pass(&mut self, input: &[u8], out: &mut [u8]) -> Option<Result<OnePass, EncodeError>> {
        let level = whole_level(self.level);
        let compressor = self.whole.get_or_insert_with(|| compressor(level));
        let result = match self.format {
            #[cfg(feature = "gzip")]
            Format::Gzip => compressor.gzip_compress(input, out),
            #[cfg(feature = "deflate")]
            Format::Zlib => compressor.zlib_compress(input, out),
        };
        Some(Ok(match result {
            Ok(written) => OnePass::Written(written),
            Err(libdeflater::CompressionError::InsufficientSpace) => OnePass::Full,
        }))
    }

    fn reset(&mut self) -> bool {
        if let Some(stream) = &mut self.stream {
            stream.state.reset();
        }
        true
    }

    fn memory(&self) -> usize {
        let stream = self
            .stream
            .as_ref()
            .map_or(0, |stream| state_size(stream.window_log));
        #[cfg(feature = "libdeflate")]
        let whole = self.whole.as_ref().map_or(0, |_| whole_state(self.level));
        #[cfg(not(feature = "libdeflate"))]
        let whole = 0;
        stream + whole
    }
}

pub(super) fn footprint(level: u8, size: Size) -> usize {
    #[cfg(feature = "libdeflate")]
    if let Size::Whole(_) = size {
        return whole_state(level);
    }
    let _ = level;
    state_size(window_log(size))
}

/// Up to this level, which is the default, whole bodies are encoded by what is cheapest and does not cost much size.
const MODERATE: u8 = 4;

/// Returns the level of zlib-rs for a stream, or for a whole body in slices.
///
/// Its second takes half the time of the fourth for whole bodies, that libdeflate's first would take; it gives fewer bytes
/// than zlib's first. The first one of zlib-rs gives a third more.
fn stream_level(level: u8, size: Size) -> u8 {
    match size {
        Size::Whole(_) if level <= MODERATE => 2,
        _ => level,
    }
}

/// Returns the level of libdeflate for a whole body.
///
/// The first one: for 10 KB of JSON its size is within 1 % of zlib's fourth level, and its time is a third. It is one level
/// wherever a body is encoded, so that the bytes are the same, and the state of a worker serves again.
#[cfg(feature = "libdeflate")]
const fn whole_level(level: u8) -> i32 {
    if level <= MODERATE { 1 } else { level as i32 }
}

/// The states of libdeflate: of its first level, and of those up to 9.
#[cfg(feature = "libdeflate")]
const fn whole_state(level: u8) -> usize {
    if whole_level(level) == 1 { 203_000 } else { 668_500 }
}

#[cfg(feature = "libdeflate")]
fn compressor(level: i32) -> libdeflater::Compressor {
    libdeflater::Compressor::new(
        libdeflater::CompressionLvl::new(level).expect("invariant: gzip's levels are among libdeflate's"),
    )
}

/// The smallest window that spans the whole input.
fn window_log(size: Size) -> u32 {
    match size {
        Size::Stream(Some(length)) => log(length, 10, FULL),
        // The same bytes each time, whatever the state was made for.
        Size::Whole(_) | Size::Stream(None) => FULL,
    }
}

/// How much the encoder collects for a block: 2 to the power of this and 6 literals and matches.
const fn mem_level(window_log: u32) -> u32 {
    if window_log >= 14 { 8 } else { window_log - 6 }
}

const fn state_size(window_log: u32) -> usize {
    STATE_FIXED + (4 << window_log) + (7 << (mem_level(window_log) + 6))
}

/// The difference of two totals, which is at most the length of a buffer.
fn count(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("invariant: bounded by the length of a slice")
}

fn refused(coding: &'static str, _: DeflateError) -> EncodeError {
    EncodeError::new(coding, "the state of the stream is inconsistent")
}
