use crate::breach::Padding;
use crate::coding::Coding;
use crate::error::EncodeError;

/// A streaming encoder that can be used again.
///
/// The order of calls is [`start`](Self::start), then any mix of [`encode`](Self::encode) and [`flush`](Self::flush),
/// then [`finish`](Self::finish); [`reset`](Self::reset) may come at any time.
pub(crate) trait Encoder: Send + Sync {
    /// Begins a stream.
    fn start(&mut self, size: Size) -> Result<(), EncodeError>;

    /// Takes input away from the front of `input` and returns how many bytes it wrote to `out`.
    ///
    /// Neither may be empty.
    fn encode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, EncodeError>;

    /// Writes out whatever is still inside, so that the other side can decode all input so far.
    fn flush(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError>;

    /// Ends the stream.
    fn finish(&mut self, out: &mut [u8]) -> Result<Drained, EncodeError>;

    /// Encodes a whole stream at once where there is a faster way than the streaming one.
    ///
    /// Returns how many bytes of `out` are the stream, or that it does not fit.
    fn one_pass(&mut self, input: &[u8], out: &mut [u8], pace: Pace) -> Option<Result<OnePass, EncodeError>> {
        let _ = (input, out, pace);
        None
    }

    /// Makes the encoder ready for another stream; tells whether it is.
    fn reset(&mut self) -> bool;

    /// Returns about how many bytes of memory the encoder holds now.
    fn memory(&self) -> usize;
}

/// How long the input will be, and how it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// All of it is there, and exactly this long.
    Whole(usize),
    /// It comes in pieces; it says that it will be this long.
    Stream(Option<u64>),
}

/// Who waits for an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The thread that serves.
    Brisk,
    /// A thread for such work.
    Easy,
}

/// How [`Encoder::one_pass`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "libdeflate", feature = "zstd")),
    expect(dead_code, reason = "theirs")
)]
pub(crate) enum OnePass {
    Written(usize),
    Full,
}

/// What [`Encoder::flush`] and [`Encoder::finish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    pub(crate) written: usize,
    /// Nothing is left inside; otherwise call again with more room.
    pub(crate) done: bool,
}

/// Makes an encoder. It allocates its state in [`Encoder::start`] or [`Encoder::one_pass`].
pub(crate) fn create(coding: Coding, level: u8, padding: Option<&Padding>) -> Box<dyn Encoder> {
    let encoder = create_plain(coding, level);
    #[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
    if let Some(padding) = padding {
        return Box::new(super::padded::Padded::new(encoder, coding, padding));
    }
    let _ = padding;
    encoder
}

fn create_plain(coding: Coding, level: u8) -> Box<dyn Encoder> {
    match (coding, level) {
        #[cfg(feature = "zstd")]
        (Coding::Zstd, level) => Box::new(super::zstd::Zstd::new(level)),
        #[cfg(feature = "brotli")]
        (Coding::Br, level) => Box::new(super::brotli::Brotli::new(level)),
        #[cfg(feature = "gzip")]
        (Coding::Gzip, level) => Box::new(super::gzip::Gzip::new(level)),
        #[cfg(feature = "deflate")]
        (Coding::Deflate, level) => Box::new(super::gzip::Gzip::zlib(level)),
    }
}

/// Returns about how many bytes of memory an encoder will hold for such an input.
pub(crate) fn footprint(coding: Coding, level: u8, size: Size) -> usize {
    match (coding, level, size) {
        #[cfg(feature = "zstd")]
        (Coding::Zstd, level, size) => super::zstd::footprint(level, size),
        #[cfg(feature = "brotli")]
        (Coding::Br, level, size) => super::brotli::footprint(level, size),
        #[cfg(feature = "gzip")]
        (Coding::Gzip, level, size) => super::gzip::footprint(level, size),
        #[cfg(feature = "deflate")]
        (Coding::Deflate, level, size) => super::gzip::footprint(level, size),
    }
}

/// Returns the power of two that holds this many bytes, within bounds.
#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
pub(super) fn log(length: u64, least: u32, most: u32) -> u32 {
    (u64::BITS - length.saturating_sub(1).leading_zeros()).clamp(least, most)
}
