//! Bodies that nobody sends by accident: made to hold memory, or to find what a decoder does not expect.

use super::cost::peak;
use super::support::{body, count, encode};
use crate::ALLOCATOR;
use crate::support::{Script, Step, drive, noise, text};
use bytes::Bytes;
use cortex_compress::{Coding, DecodeErrorKind, DecompressError, Limit, ResponseDecompressionLayer};
use http_body::Body;
use proptest::prelude::*;
use std::pin::Pin;

/// Writes a brotli stream (RFC 7932) bit by bit, the lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(mut self, value: usize, count: usize) -> Self {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> at & 1 == 1);
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used += 1;
        }
        self
    }

    /// A prefix code of one symbol, which takes no bits (section 3.4).
    fn only(self, symbol: usize, alphabet_bits: usize) -> Self {
        self.put(1, 2).put(0, 2).put(symbol, alphabet_bits)
    }

    /// The head of a stream with a window of 16 MiB, and of a meta-block that says it has so many bytes (sections 9.1
    /// and 9.2).
    fn brotli(length: usize) -> Self {
        let nibbles = [16, 20, 24]
            .into_iter()
            .position(|bits| length <= 1 << bits)
            .unwrap();
        Self::default()
            .put(0b1111, 4)
            .put(0, 1) // not the last one
            .put(nibbles, 2)
            .put(length - 1, 16 + 4 * nibbles)
            .put(0, 1) // compressed
    }
}

/// A body in brotli that says it decodes to so many bytes, and does: one `x`, copied on. It has 15 bytes.
pub(super) fn many_of_one(length: usize) -> Bytes {
    let (insert_one, copy_most) = (1 << 3, 7); // of the cell of commands with the longest copies (section 5)
    let bits = Bits::brotli(length)
        .put(0, 3) // one type of blocks each
        .put(0, 6) // no direct distances
        .put(0, 2) // contexts
        .put(0, 2) // one tree each
        .only(b'x'.into(), 8)
        .only(6 * 64 + insert_one + copy_most, 10)
        .only(16, 6)
        .put(length - 1 - 2118, 24) // the rest of the copy
        .put(0, 1) // from one byte before
        .put(0b11, 2); // the last meta-block, which is empty
    bits.bytes.into()
}

/// The head of a body in brotli with as many trees as there may be, which ends within the first command.
fn many_trees(length: usize) -> Bytes {
    let most = |bits: Bits| bits.put(1, 1).put(7, 3).put(127, 7); // 256 (section 9.2)
    let mut bits = Bits::brotli(length).put(0, 1);
    bits = most(bits).only(0, 9).only(0, 5).put(0, 2); // types of commands
    bits = bits.put(0, 1).put(0b11_1111, 6); // as many distances as there may be
    bits = bits.put(0, 2);
    for _ in 0..2 {
        bits = most(bits).put(0, 1).only(0, 8).put(0, 1); // literals, then distances
    }
    let long_copy = 6 * 64 + 7;
    for (symbol, alphabet_bits) in [(0, 8), (long_copy, 10), (0, 10)] {
        for _ in 0..256 {
            bits = bits.only(symbol, alphabet_bits);
        }
    }
    bits.bytes.into()
}

#[test]
fn d3_brotli_gets_no_window_that_only_a_body_over_the_limit_can_need() {
    let layer = ResponseDecompressionLayer::new().max_decoded(1 << 20);
    let most = 1_200_000;
    let (length, held) = peak(&layer, "br", many_of_one(1 << 20));
    assert_eq!(length, 1 << 20);
    assert!((1 << 20..=most).contains(&held), "{held}");

    for length in [(1 << 20) + 1, 1 << 21, 1 << 24] {
        let bomb = many_of_one(length);
        assert!(bomb.len() <= 15);
        let (mut body, usage) = ALLOCATOR.measure(|| body(&layer, "br", Script::whole(bomb)));
        let mut held = usage.retained();
        let (answer, usage) = ALLOCATOR.measure(|| drive(|cx| Pin::new(&mut body).poll_frame(cx)).0);
        held += usage.allocated.cast_signed(); // whatever was freed meanwhile
        assert!(held <= most, "{length}: {held}");
        let Some(Some(Err(DecompressError::Decode(error)))) = answer else {
            panic!("{length} bytes were not refused: {answer:?}")
        };
        assert_eq!(error.exceeded(), Some(Limit::DecodedSize(1 << 20)));
        assert_eq!(error.status(), 413);
    }
}

#[test]
fn d3_what_brotli_says_it_has_is_held_against_the_limit_exactly_from_the_next_power_of_two_on() {
    for (max_decoded, length, fits) in [
        (3000, 3000, true),
        (1 << 16, 1 << 16, true),
        (600_000, 600_000, true),
        (600_000, 600_001, false),
        (u64::MAX, 1 << 24, true),
    ] {
        let layer = ResponseDecompressionLayer::new()
            .max_decoded(max_decoded)
            .max_ratio(u32::MAX);
        let (decoded, end) = count(body(&layer, "br", Script::whole(many_of_one(length))));
        let limit = end.decode_error().map(|error| error.exceeded().unwrap());
        assert_eq!(limit, (!fits).then_some(Limit::DecodedSize(max_decoded)));
        assert!(decoded <= max_decoded);
        assert_eq!(decoded == length as u64, fits);
    }
}

#[test]
fn a_brotli_body_that_stalls_holds_its_window_and_its_tables_and_no_more() {
    let layer = ResponseDecompressionLayer::new().max_decoded(1 << 20);
    let begun = many_of_one(1 << 20).slice(..10);
    for (head, most) in [(begun, 1_200_000), (many_trees(1 << 20), 2_500_000)] {
        let script = Script::new([Step::Data(head), Step::Stall]);
        let ((_body, answer), usage) = ALLOCATOR.measure(|| {
            let mut body = body(&layer, "br", script);
            let (answer, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
            (body, answer)
        });
        assert!(answer.is_none(), "{answer:?}");
        let held = usage.retained();
        assert!((1 << 20..=most).contains(&held), "{held}");
    }
}

/// What a fuzzer makes of a body.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<prop::sample::Index>;
        prop_oneof![
            4 => (at(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, 1 << bit)),
            1 => at().prop_map(Self::Cut),
            2 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            1 => (at(), 1..200_usize).prop_map(|(at, length)| Self::Repeat(at, length)),
        ]
    }

    fn apply(&self, data: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(data.len());
                data[at] ^= bits;
            }
            Self::Cut(at) => data.truncate(at.index(data.len())),
            Self::Insert(at, bytes) => {
                let at = at.index(data.len());
                data.splice(at..at, bytes.iter().copied());
            }
            Self::Repeat(at, length) => {
                let at = at.index(data.len());
                let again = data[at..data.len().min(at + length)].to_vec();
                data.splice(at..at, again);
            }
        }
    }
}

/// Where a body that is decoded under tight limits begins: with what a decoder takes for its own, or with anything.
fn begin(coding: Coding, kind: usize, whole: &[u8], garbage: &[u8]) -> Vec<u8> {
    match kind {
        0 => garbage.to_vec(),
        1 => encode(coding, whole),
        2 => [&encode(coding, whole)[..], &encode(coding, b"again")].concat(),
        _ => {
            let head = match coding {
                Coding::Gzip => vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
                Coding::Deflate => vec![0x78, 0x9c],
                Coding::Br => Bits::brotli(1 + garbage.len() * 27_000).bytes,
                _ => vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38],
            };
            [&head[..], garbage].concat()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes: no panic, no more than the limit comes out, what is held is bounded, and an error has a status.
    #[test]
    fn d3_d5_no_input_makes_a_decoder_panic_or_hold_or_yield_more_than_it_may(
        kind in 0..4_usize,
        random in any::<bool>(),
        length in 0..20_000_usize,
        garbage in prop::collection::vec(any::<u8>(), 0..600),
        changes in prop::collection::vec(Change::any(), 0..4),
        pieces in prop::collection::vec(1..700_usize, 1..4),
        max_decoded in 0..30_000_u64,
        twice in any::<bool>(),
    ) {
        let whole = if random { noise(length) } else { text(length) };
        for &coding in Coding::ALL {
            let mut data = begin(coding, kind, &whole, &garbage);
            for change in &changes {
                change.apply(&mut data);
            }
            if twice {
                data = encode(coding, &data); // so that the inner decoder is what fails
            }
            let codings = if twice { format!("{coding}, {coding}") } else { coding.to_string() };
            let mut steps = Vec::new();
            let mut rest = Bytes::from(data);
            for &piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                steps.push(Step::Data(rest.split_to(piece.min(rest.len()))));
            }
            let layer = ResponseDecompressionLayer::new()
                .max_decoded(max_decoded)
                .max_encoded(10_000)
                .max_members(3);
            let (mut body, usage) = ALLOCATOR.measure(|| body(&layer, &codings, Script::new(steps)));
            let (mut held, mut most, mut decoded) = (usage.retained(), 0, 0);
            let error = loop {
                let (answer, usage) = ALLOCATOR.measure(|| drive(|cx| Pin::new(&mut body).poll_frame(cx)).0);
                held += usage.retained();
                most = most.max(held);
                match answer {
                    None => prop_assert!(false, "{coding} stalled"),
                    Some(None) => break None,
                    Some(Some(Err(error))) => break Some(error),
                    Some(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap();
                        decoded += data.len() as u64;
                        held -= ALLOCATOR.measure(|| drop(data)).1.freed.cast_signed();
                    }
                }
            };
            prop_assert!(decoded <= max_decoded, "{coding}: {decoded} bytes");
            // A window, tables and a frame of output for each stage; those of zstd are C's, and not seen.
            let allowed = if coding == Coding::Br { 600_000 } else { 100_000 };
            prop_assert!(most <= allowed * if twice { 2 } else { 1 }, "{coding}: {most} bytes held");
            if let Some(error) = error {
                let DecompressError::Decode(error) = error else { panic!("{error}") };
                let limit = matches!(error.kind(), DecodeErrorKind::Limit(_));
                prop_assert_eq!(error.status(), if limit { 413 } else { 400 });
                prop_assert_eq!(error.coding(), coding);
            }
        }
    }
}
