//! Bytes that decoders skip, for each coding.

use crate::breach::Pad;
use crate::coding::Coding;

/// Says whether padding comes behind the end of a stream: a decoder that stops there has everything. Else it comes
/// behind what a flush brings out, before the end.
pub(super) const fn follows_end(coding: Coding) -> bool {
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

/// Makes the padding of a stream: as many bytes as [`Pad::length`] says, and the least that there can be.
pub(super) fn of_stream(coding: Coding, pad: Pad) -> Vec<u8> {
    match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => skippable_frame(pad),
        #[cfg(feature = "brotli")]
        Coding::Br => metadata_blocks(pad),
        #[cfg(feature = "gzip")]
        Coding::Gzip => empty_blocks(pad),
        #[cfg(feature = "deflate")]
        Coding::Deflate => empty_blocks(pad),
    }
}

/// Makes the padding for a body that is encoded at once; it goes in by [`insert`].
pub(super) fn of_whole(coding: Coding, pad: Pad) -> Vec<u8> {
    match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => skippable_frame(pad),
        #[cfg(feature = "brotli")]
        Coding::Br => metadata_blocks(pad),
        #[cfg(feature = "gzip")]
        Coding::Gzip => comment(pad),
        #[cfg(feature = "deflate")]
        Coding::Deflate => empty_blocks(pad),
    }
}

/// Puts padding into the `written` bytes of a whole stream, behind which there has to be room for it.
///
/// Not for br, whose header ends within a byte, and which no encoder gives at once.
pub(super) fn insert(coding: Coding, out: &mut [u8], written: usize, padding: &[u8]) {
    let at = match coding {
        #[cfg(feature = "zstd")]
        Coding::Zstd => Some(written),
        #[cfg(feature = "brotli")]
        Coding::Br => None,
        #[cfg(feature = "gzip")]
        Coding::Gzip => {
            // RFC 1952, section 2.3.1: FLG.FCOMMENT; neither of our encoders writes another optional part.
            out[3] |= 1 << 4;
            Some(10)
        }
        #[cfg(feature = "deflate")]
        Coding::Deflate => Some(2), // RFC 1950, section 2.2: CMF and FLG
    };
    let at = at.expect("invariant: no encoder gives br at once");
    out.copy_within(at..written, at + padding.len());
    out[at..at + padding.len()].copy_from_slice(padding);
}

/// RFC 8878, section 3.1.2.
#[cfg(feature = "zstd")]
fn skippable_frame(pad: Pad) -> Vec<u8> {
    let length = u32::try_from(pad.length).unwrap_or_default();
    let mut frame = 0x184D_2A50_u32.to_le_bytes().to_vec();
    frame.extend(length.to_le_bytes());
    frame.extend(filler(pad.seed).take(pad.length));
    frame
}

/// RFC 1952, section 2.3.1: a comment, up to a zero.
#[cfg(feature = "gzip")]
fn comment(pad: Pad) -> Vec<u8> {
    filler(pad.seed).take(pad.length).chain([0]).collect()
}

/// RFC 7932, section 9.2: metadata, in pieces of at most 256 bytes.
#[cfg(feature = "brotli")]
fn metadata_blocks(pad: Pad) -> Vec<u8> {
    const HEADER: usize = 2;
    const LEAST: usize = HEADER + 1;
    const MOST: usize = HEADER + 256;
    let mut blocks = Vec::new();
    let mut left = pad.length + LEAST;
    let mut filler = filler(pad.seed);
    while left > 0 {
        let block = match left - left.min(MOST) {
            1..LEAST => left - LEAST, // leave as much as another block takes
            _ => left.min(MOST),
        };
        // ISLAST 0, MNIBBLES 3 (none), a reserved 0, MSKIPBYTES 1, all from the lowest bit on; then the length less
        // one.
        let less_one = block - HEADER - 1;
        let header = 0b01_0110 | less_one << 6;
        blocks.extend([header, header >> 8].map(|bits| u8::try_from(bits & 0xff).unwrap_or_default()));
        blocks.extend(filler.by_ref().take(block - HEADER));
        left -= block;
    }
    blocks
}

/// RFC 1951, section 3.2: blocks that hold nothing, where a byte begins.
///
/// A stored one takes five bytes. With one or two of fixed codes before it, ten bits each, it takes one or two bytes
/// more.
#[cfg(any(feature = "deflate", feature = "gzip"))]
fn empty_blocks(pad: Pad) -> Vec<u8> {
    const STORED: [u8; 5] = [0, 0, 0, 0xff, 0xff];
    const LEAST: usize = 2 * STORED.len(); // from here on there is a mix of the three for each length
    let length = LEAST + pad.length;
    let (count, mut more) = (length / STORED.len(), length % STORED.len());
    let mut blocks = Vec::with_capacity(length);
    for _ in 0..count {
        // BFINAL 0, BTYPE 1, and seven zeros for the end of the block; then the header of the stored block, and zeros
        // to the next byte.
        let fixed: &[u8] = match more {
            0 => &[],
            1 => &[0b10],
            _ => &[0b10, 0b10 << 2],
        };
        more -= fixed.len();
        blocks.extend(fixed);
        blocks.extend(STORED);
    }
    blocks
}

/// Printable characters without an end: six bits of chance each.
#[cfg(any(feature = "brotli", feature = "gzip", feature = "zstd"))]
fn filler(seed: u64) -> impl Iterator<Item = u8> {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = seed;
    std::iter::repeat_with(move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        CHARACTERS[usize::try_from(mixed >> 58).unwrap_or_default()]
    })
}

#[cfg(all(
    test,
    feature = "brotli",
    feature = "deflate",
    feature = "gzip",
    feature = "zstd"
))]
mod tests {
    use super::*;

    fn pad(length: usize) -> Pad {
        Pad { length, seed: 7 }
    }

    #[test]
    fn there_is_padding_of_every_length() {
        for length in 0..2000 {
            assert_eq!(comment(pad(length)).len(), 1 + length);
            assert_eq!(skippable_frame(pad(length)).len(), 8 + length);
            assert_eq!(metadata_blocks(pad(length)).len(), 3 + length);
            assert_eq!(empty_blocks(pad(length)).len(), 10 + length);
        }
        assert_eq!(metadata_blocks(pad(u16::MAX.into())).len(), 3 + 65535);
    }

    #[test]
    fn the_bytes_are_those_of_the_standards() {
        assert_eq!(skippable_frame(pad(0)), b"\x50\x2a\x4d\x18\0\0\0\0");
        assert_eq!(skippable_frame(pad(300))[..8], *b"\x50\x2a\x4d\x18\x2c\x01\0\0");
        assert_eq!(comment(pad(0)), [0]);
        assert_eq!(empty_blocks(pad(0)), b"\0\0\0\xff\xff\0\0\0\xff\xff");
        assert_eq!(empty_blocks(pad(1)), b"\x02\0\0\0\xff\xff\0\0\0\xff\xff");
        assert_eq!(empty_blocks(pad(2)), b"\x02\x08\0\0\0\xff\xff\0\0\0\xff\xff");
        assert_eq!(metadata_blocks(pad(0))[..2], [0x16, 0]);
        assert_eq!(metadata_blocks(pad(255))[..2], [0xd6, 0x3f]);
    }

    #[test]
    fn a_comment_is_printable_and_hardly_compresses() {
        let comment = comment(pad(4000));
        let (end, text) = comment.split_last().unwrap();
        assert_eq!(*end, 0);
        assert!(text.iter().all(u8::is_ascii_graphic));
        let compressed = zstd::bulk::compress(text, 19).unwrap();
        assert!(compressed.len() > 2900, "{}", compressed.len());
    }
}
