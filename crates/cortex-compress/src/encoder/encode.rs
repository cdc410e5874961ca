use crate::breach::Padding;
use crate::coding::Coding;
use crate::dictionary::Dictionary;
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
    fn one_pass(&mut self, input: &[u8], out: &mut [u8]) -> Option<Result<OnePass, EncodeError>> {
        let _ = (input, out);
        None
    }

    /// Works up, before there is any input, what it keeps of its dictionary. It has to be started.
    fn warm_up(&mut self) -> Result<(), EncodeError> {
        Ok(())
    }

    /// Tells whether it has worked its dictionary up, and keeps it so for all streams to come.
    fn is_warm(&self) -> bool {
        false
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
pub(crate) fn create(
    coding: Coding,
    level: u8,
    dictionary: Option<&Dictionary>,
    padding: Option<&Padding>,
) -> Box<dyn Encoder> {
    let encoder = match dictionary {
        Some(dictionary) => create_with_dictionary(coding, level, dictionary),
        None => create_plain(coding, level),
    };
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

#[cfg(not(feature = "dictionary"))]
fn create_with_dictionary(_: Coding, _: u8, dictionary: &Dictionary) -> Box<dyn Encoder> {
    match *dictionary {}
}

#[cfg(feature = "dictionary")]
fn create_with_dictionary(coding: Coding, level: u8, dictionary: &Dictionary) -> Box<dyn Encoder> {
    let encoder: Box<dyn Encoder> = match coding {
        Coding::Zstd => Box::new(super::zstd::Zstd::with_dictionary(level, dictionary)),
        #[cfg(feature = "brotli")]
        Coding::Br => Box::new(super::brotli_dictionary::BrotliDictionary::new(level, dictionary)),
        #[cfg(feature = "gzip")]
        Coding::Gzip => return create_plain(coding, level),
        #[cfg(feature = "deflate")]
        Coding::Deflate => return create_plain(coding, level),
    };
    Box::new(super::framed::Framed::new(encoder, coding, dictionary))
}

/// Returns the level to use with a dictionary: the lowest ones find little of it, or nothing.
pub(crate) fn level_with_dictionary(coding: Coding, level: u8) -> u8 {
    match coding {
        // Their hash tables are so small that most of 100 KB is forgotten.
        #[cfg(feature = "zstd")]
        Coding::Zstd => level.max(3),
        // They do not look at dictionaries.
        #[cfg(feature = "brotli")]
        Coding::Br => level.max(2),
        #[cfg(feature = "gzip")]
        Coding::Gzip => level,
        #[cfg(feature = "deflate")]
        Coding::Deflate => level,
    }
}

/// Says whether an encoder keeps what it has made of its dictionary, or works it up for each stream, which is quick
/// then.
pub(crate) const fn keeps_dictionary(coding: Coding) -> bool {
    match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => true,
        #[cfg(feature = "brotli")]
        Coding::Br => false,
        #[cfg(feature = "gzip")]
        Coding::Gzip => false,
        #[cfg(feature = "deflate")]
        Coding::Deflate => false,
    }
}

/// Returns how long a dictionary of this coding may be; 0 for one that has none.
#[cfg(feature = "dictionary")]
pub(crate) const fn max_dictionary(coding: Coding) -> usize {
    match coding {
        Coding::Zstd => Dictionary::MAX_LEN,
        #[cfg(feature = "brotli")]
        Coding::Br => super::brotli_dictionary::MAX_DICTIONARY,
        #[cfg(feature = "gzip")]
        Coding::Gzip => 0,
        #[cfg(feature = "deflate")]
        Coding::Deflate => 0,
    }
}

/// Returns about how many bytes of memory an encoder will hold for such an input.
pub(crate) fn footprint(coding: Coding, level: u8, dictionary: Option<&Dictionary>, size: Size) -> usize {
    let _ = dictionary;
    match (coding, level, size) {
        #[cfg(feature = "dictionary")]
        (Coding::Zstd, level, size) if let Some(dictionary) = dictionary => {
            super::zstd::footprint_with(dictionary.len(), level, size)
        }
        #[cfg(all(feature = "dictionary", feature = "brotli"))]
        (Coding::Br, level, size) if let Some(dictionary) = dictionary => {
            super::brotli_dictionary::footprint(level, dictionary.len(), size)
        }
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
