use crate::coding::Coding;
use crate::decode::error::Limit;

/// A streaming decoder that can be used again.
///
/// The order of calls is [`start`](Self::start), then [`decode`](Self::decode) until it fails or the input ends, then
/// [`is_complete`](Self::is_complete); [`reset`](Self::reset) may come at any time.
pub(in crate::decode) trait Decoder: Send + Sync {
    /// Begins a stream of at most that many members (of gzip) or frames (of zstd, skippable ones included).
    fn start(&mut self, members: u32) -> Result<(), Fault>;

    /// Takes input away from the front of `input` and returns how many bytes it wrote to `out`, which is not empty.
    ///
    /// Takes and writes as much as it can, or stops earlier, with input left, where that was a lot of work for so few
    /// bytes. Where it fills `out`, more may follow without any input.
    fn decode(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, Fault>;

    /// Tells whether the stream may end where it is.
    fn is_complete(&self) -> bool;

    /// Returns about how many bytes of memory the decoder holds now.
    fn memory(&self) -> usize;

    /// Makes the decoder ready for another stream; tells whether it is worth keeping.
    fn reset(&mut self) -> bool;
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "gzip", feature = "zstd")),
    expect(dead_code, reason = "not every coding has every fault")
)]
pub(in crate::decode) enum Fault {
    /// The data is not what the format allows.
    Corrupt(&'static str),
    /// Something follows the end of the stream.
    Trailing,
    /// It is more than allowed.
    Limit(Limit),
}

/// Makes a decoder. It allocates its state in [`Decoder::start`] at the latest.
pub(in crate::decode) fn create(coding: Coding) -> Box<dyn Decoder> {
    match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => Box::new(super::zstd::Zstd::new()),
        #[cfg(feature = "brotli")]
        Coding::Br => Box::new(super::brotli::Brotli::new()),
        #[cfg(feature = "gzip")]
        Coding::Gzip => Box::new(super::gzip::Gzip::new()),
        #[cfg(feature = "deflate")]
        Coding::Deflate => Box::new(super::deflate::Deflate::new()),
    }
}
