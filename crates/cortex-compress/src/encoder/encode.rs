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
    /// Grows `out` as needed and returns how many bytes of it are the stream.
    fn one_pass(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<Result<usize, EncodeError>> {
        let _ = (input, out);
        None
    }

    /// Makes the encoder ready for another stream; tells whether it is.
    fn reset(&mut self) -> bool;
}

/// How long the input will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Known(usize),
    Unknown,
}

/// What [`Encoder::flush`] and [`Encoder::finish`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    pub(crate) written: usize,
    /// Nothing is left inside; otherwise call again with more room.
    pub(crate) done: bool,
}

/// Makes an encoder. It allocates its state in [`Encoder::start`] at the latest.
pub(crate) fn create(coding: Coding, level: u8) -> Box<dyn Encoder> {
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

/// Returns how much input takes about 250 us to encode: the longest time a task keeps its thread to itself.
///
/// From measurements of JSON on one machine, so a bound in order of magnitude only. Brotli from level 4 on and zstd from
/// level 5 on work in bursts of a block (64 KiB and more: 1 to 3 ms), which no slice can divide.
pub(crate) const fn slice(coding: Coding, level: u8, size: Size) -> usize {
    match (coding, level, size) {
        #[cfg(feature = "zstd")]
        (Coding::Zstd, ..=2, Size::Known(_)) => 104 << 10,
        #[cfg(feature = "zstd")]
        (Coding::Zstd, ..=4, _) => 64 << 10,
        #[cfg(feature = "zstd")]
        (Coding::Zstd, ..=7, _) => 16 << 10,
        #[cfg(feature = "zstd")]
        (Coding::Zstd, _, _) => 4 << 10,
        #[cfg(feature = "brotli")]
        (Coding::Br, ..=1, _) => 32 << 10,
        #[cfg(feature = "brotli")]
        (Coding::Br, ..=3, _) => 16 << 10,
        #[cfg(feature = "brotli")]
        (Coding::Br, 4, _) => 12 << 10,
        #[cfg(feature = "brotli")]
        (Coding::Br, _, _) => 4 << 10,
        #[cfg(feature = "gzip")]
        (Coding::Gzip, ..=4, _) => 20 << 10,
        #[cfg(feature = "gzip")]
        (Coding::Gzip, 5, _) => 16 << 10,
        #[cfg(feature = "gzip")]
        (Coding::Gzip, 6, _) => 12 << 10,
        #[cfg(feature = "gzip")]
        (Coding::Gzip, _, _) => 8 << 10,
        #[cfg(feature = "deflate")]
        (Coding::Deflate, ..=5, _) => 16 << 10,
        #[cfg(feature = "deflate")]
        (Coding::Deflate, _, _) => 8 << 10,
    }
}
