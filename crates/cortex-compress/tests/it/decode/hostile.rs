//! Bodies that nobody sends by accident: made to hold memory, or to find what a decoder does not expect.

use super::cost::peak;
use super::streams::{layer, pieces};
use super::support::{Ticking, body, count, encode, read};
use crate::ALLOCATOR;
use crate::support::{Script, Step, drive, noise, text};
use bytes::Bytes;
use cortex_compress::{Coding, DecodeErrorKind, DecompressError, Limit, ResponseDecompressionLayer};
use http_body::Body;
use proptest::prelude::*;
use std::pin::Pin;
use std::time::Duration;

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

    /// Bytes as they are, from the next whole one on.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.used = self.bytes.len() * 8;
        self
    }

    /// A prefix code of one symbol, which takes no bits (section 3.4).
    fn only(self, symbol: usize, alphabet_bits: usize) -> Self {
        self.put(1, 2).put(0, 2).put(symbol, alphabet_bits)
    }

    /// The head of a stream with a window of 16 MiB (section 9.1), and of a meta-block that says it has so many bytes.
    fn brotli(length: usize) -> Self {
        Self::default().put(0b1111, 4).meta_block(length)
    }

    /// The head of a meta-block that says it has so many bytes (section 9.2).
    fn meta_block(self, length: usize) -> Self {
        let nibbles = [16, 20, 24]
            .into_iter()
            .position(|bits| length <= 1 << bits)
            .unwrap();
        self.put(0, 1) // not the last one
            .put(nibbles, 2)
            .put(length - 1, 16 + 4 * nibbles)
            .put(0, 1) // compressed
    }
}

/// The end of the header of a meta-block that has one type of blocks each, and codes of one symbol each.
fn only(bits: Bits, command: usize, distance: usize) -> Bits {
    bits.put(0, 3) // one type each
        .put(0, 6) // no direct distances
        .put(0, 2) // contexts
        .put(0, 2) // one code each
        .only(b'x'.into(), 8)
        .only(command, 10)
        .only(distance, 6)
}

/// A body in brotli of 15 bytes that says it decodes to so many, and does: one `x`, copied on.
pub(super) fn many_of_one(length: usize) -> Bytes {
    let (insert_one, copy_most) = (1 << 3, 7); // of the cell of commands with the longest copies (section 5)
    only(Bits::brotli(length), 6 * 64 + insert_one + copy_most, 16)
        .put(length - 1 - 2118, 24) // the rest of the copy
        .put(0, 1) // from one byte before
        .put(0b11, 2) // the last meta-block, which is empty
        .bytes
        .into()
}

/// The same with literals, none of which takes a bit.
fn many_literals(length: usize) -> Bytes {
    let insert_most = 7 * 64 + (7 << 3);
    only(Bits::brotli(length), insert_most, 16)
        .put(length - 22594, 24)
        .put(0b11, 2)
        .bytes
        .into()
}

/// The same with copies of two bytes, none of which takes a bit, after some literals.
fn many_commands(length: usize) -> Bytes {
    let mut raw = Bits::default()
        .put(0b1111, 4)
        .put(0, 1)
        .put(0, 2)
        .put(16 - 1, 16)
        .put(1, 1);
    raw = raw.bytes(&[b'y'; 16]);
    only(raw.meta_block(length - 16), 0, 0).put(0b11, 2).bytes.into()
}

/// A body in brotli of literals whose code is chosen by a map that was written with one symbol.
fn mapped(symbol: usize, transformed: usize) -> Bytes {
    let bits = Bits::brotli(3)
        .put(0, 3)
        .put(0, 6)
        .put(0, 2)
        .put(1, 4) // two codes
        .put(0, 1)
        .only(symbol, 1)
        .put(transformed, 1)
        .put(0, 1)
        .only(b'a'.into(), 8)
        .only(b'b'.into(), 8);
    let insert_three = 2 * 64 + (3 << 3);
    bits.only(insert_three, 10).only(0, 6).put(0b11, 2).bytes.into()
}

/// The head of a body in brotli with as many codes as there may be, which ends within the first command.
fn many_codes(length: usize) -> Bytes {
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

/// A body in brotli of that many blocks of one byte, each in 80 bytes with a map of 16 384 entries, which move to the
/// front and take no bits.
fn many_maps(blocks: usize) -> Bytes {
    let mut bits = Bits::default().put(0b1111, 4);
    for _ in 0..blocks {
        bits = bits.meta_block(1).put(1, 1).put(7, 3).put(127, 7); // 256 types of literals
        bits = bits.only(0, 9).only(0, 5).put(0, 2);
        bits = bits.put(0, 2).put(0, 6); // one type of the others, no direct distances
        for _ in 0..256 {
            bits = bits.put(0, 2);
        }
        bits = bits.put(1, 4).put(0, 1).only(1, 1).put(1, 1); // two codes
        bits = bits.put(0, 1).only(b'a'.into(), 8).only(b'b'.into(), 8);
        bits = bits.only(2 * 64 + (1 << 3), 10).only(0, 6);
    }
    bits.put(0b11, 2).bytes.into()
}

/// What the `brotli` crate decodes a body to, if it does.
fn reference(data: &[u8]) -> Option<Vec<u8>> {
    let mut rest = data;
    let mut whole = Vec::new();
    brotli::BrotliDecompress(&mut rest, &mut whole).ok()?;
    Some(whole)
}

#[test]
fn d3_what_brotli_says_it_has_costs_nothing_before_it_is_there() {
    let layer = ResponseDecompressionLayer::new();
    for length in [1 << 20, 1 << 24] {
        for (head, most) in [
            (many_of_one(length).slice(..10), 40_000),
            (many_codes(length), 1_500_000),
        ] {
            let script = Script::new([Step::Data(head), Step::Stall]);
            let ((_body, answer), usage) = ALLOCATOR.measure(|| {
                let mut body = body(&layer, "br", script);
                let (answer, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
                (body, answer)
            });
            assert!(answer.is_none(), "{answer:?}");
            assert!(usage.retained() <= most, "{length}: {usage:?}");
        }
    }
}

#[test]
fn d6_brotli_decodes_no_more_at_a_time_than_is_read_from_it() {
    let layer = ResponseDecompressionLayer::new().clock(Ticking::new(Duration::ZERO));
    for bomb in [
        many_of_one(1 << 24),
        many_literals(1 << 24),
        many_commands(1 << 24),
    ] {
        assert!(bomb.len() <= 33);
        let mut body = body(&layer, "br", Script::whole(bomb));
        // It is told by the window, which holds all that was decoded.
        let (frame, usage) = ALLOCATOR.measure(|| drive(|cx| Pin::new(&mut body).poll_frame(cx)).0);
        let first = frame.unwrap().unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), 16 << 10);
        assert!(usage.allocated <= 80_000, "{usage:?}");
    }
}

#[test]
fn d6_brotli_reads_no_more_than_a_header_between_two_looks_at_the_clock() {
    let data = many_maps(500);
    assert!(data.len() < 500 * 100, "{}", data.len());
    let expected = reference(&data).unwrap();
    assert_eq!(expected.len(), 500);
    for step in [1, 7, 64, data.len()] {
        let steps = data.chunks(step).map(Bytes::copy_from_slice).map(Step::Data);
        // Each look says that the time is up.
        let layer = ResponseDecompressionLayer::new().clock(Ticking::new(Duration::from_millis(1)));
        let decoded = read(body(&layer, "br", Script::new(steps)));
        assert!(decoded.error.is_none(), "{:?}", decoded.error);
        assert!(decoded.data() == expected);
        assert!(decoded.pending >= 499 || step < 80, "{}", decoded.pending);
    }
}

#[test]
fn d3_bombs_of_brotli_are_cut_off_where_the_limit_is() {
    let layer = ResponseDecompressionLayer::new().max_decoded(1 << 20);
    for bomb in [many_of_one, many_literals, many_commands] {
        let (length, held) = peak(&layer, "br", bomb(1 << 20));
        assert_eq!(length, 1 << 20);
        assert!(held <= 1_700_000, "half as much again: {held}");

        for length in [(1 << 20) + 2, 1 << 21, 1 << 24] {
            let (decoded, end) = count(body(&layer, "br", Script::whole(bomb(length))));
            assert!((1_000_000..=1 << 20).contains(&decoded), "{decoded}");
            let error = end.decode_error().expect("it was cut off");
            assert_eq!(error.exceeded(), Some(Limit::DecodedSize(1 << 20)));
            assert_eq!(error.status(), 413);
        }
    }
}

#[test]
fn rfc7932_bodies_of_every_kind_decode_to_what_the_reference_says() {
    let raw = many_commands(16 + 1).slice(..21);
    let skipped = |length: usize, bytes: usize| {
        let bits = Bits::default()
            .put(0, 1)
            .put(0, 1)
            .put(3, 2)
            .put(0, 1)
            .put(bytes, 2);
        let bits = match bytes {
            0 => bits,
            _ => bits.put(length - 1, 8 * bytes),
        };
        bits.bytes(&vec![0xaa; length]).bytes
    };
    let bodies = [
        Bytes::from_static(&[6]), // nothing
        many_of_one(100_000),
        many_literals(100_000),
        many_commands(100_000),
        mapped(0, 0),
        mapped(1, 0),
        mapped(1, 1),
        [&raw[..], &[3]].concat().into(),
        [&raw[..], &[2]].concat().into(),
        [&skipped(0, 0)[..], &[3]].concat().into(),
        [&skipped(200, 1)[..], &[3]].concat().into(),
        [&skipped(2000, 2)[..], &[3]].concat().into(),
        [&skipped(200_000, 3)[..], &[3]].concat().into(),
        [&skipped(200, 2)[..], &[3]].concat().into(), // in one byte more than it takes
        [&skipped(200, 1)[..], &[0x83]].concat().into(), // padded with a one
    ];
    for data in bodies {
        let expected = reference(&data);
        for piece in [1, 3, 1000] {
            let decoded = read(body(&layer(), "br", pieces(&data, &[piece], false)));
            let got = decoded.error.is_none().then(|| decoded.data());
            assert!(
                got == expected,
                "{:?}: {:?}",
                &data[..data.len().min(40)],
                decoded.error
            );
        }
    }
    assert_eq!(reference(&mapped(1, 0)).unwrap(), b"bbb");
    assert!(reference(&many_literals(100_000)).is_some_and(|data| data.len() == 100_000));
}

/// Data that brotli finds words, contexts, types of blocks, far and near copies in.
fn varied(length: usize, seed: usize) -> Vec<u8> {
    let words = [
        "Time and ",
        "life ",
        "\"name\": ",
        " of the ",
        "ational ",
        "\u{e9}t\u{e9} ",
        "http://www.",
        "kettle",
    ];
    let numbers = noise(length + 9);
    let mut data = Vec::with_capacity(length + 300);
    for (at, &number) in numbers.iter().enumerate().skip(seed % 9) {
        match usize::from(number) {
            number @ 0..=99 => data.extend_from_slice(words[number % 8].as_bytes()),
            number @ 100..=159 => data.extend_from_slice((at * number).to_string().as_bytes()),
            number @ 160..=199 => data.push((number % 20).to_le_bytes()[0] + b'a'),
            number @ 200..=219 if !data.is_empty() => {
                let from = at * number * 7919 % data.len();
                let until = data.len().min(from + number);
                data.extend_from_within(from..until);
            }
            number => data.extend(&(number * 77).to_le_bytes()[..4]),
        }
        if data.len() >= length {
            break;
        }
    }
    data.truncate(length);
    data
}

fn encode_brotli(data: &[u8], quality: i32, lgwin: i32) -> Vec<u8> {
    let params = brotli::enc::BrotliEncoderParams {
        quality,
        lgwin,
        ..Default::default()
    };
    let mut encoded = Vec::new();
    brotli::BrotliCompress(&mut &*data, &mut encoded, &params).unwrap();
    encoded
}

#[test]
fn rfc7932_every_quality_and_window_is_decoded() {
    for quality in 0..=11 {
        for lgwin in [10, 13, 16, 22] {
            let data = varied(15_000, 5);
            let encoded = encode_brotli(&data, quality, lgwin);
            let decoded = read(body(&layer(), "br", pieces(&encoded, &[700, 1, 13], false)));
            assert!(decoded.error.is_none(), "{quality} {lgwin}: {:?}", decoded.error);
            assert!(decoded.data() == data, "{quality} {lgwin}");
        }
    }
    for (quality, lgwin) in [(1, 17), (5, 16), (9, 24)] {
        let data = varied(600_000, 2);
        let encoded = encode_brotli(&data, quality, lgwin);
        let decoded = read(body(&layer(), "br", pieces(&encoded, &[5000], false)));
        assert!(
            decoded.error.is_none() && decoded.data() == data,
            "{quality} {lgwin}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rfc7932_what_is_changed_is_refused_or_decoded_as_the_reference_does(
        length in 1..6000_usize,
        seed in 0..9_usize,
        quality in 0..=11,
        lgwin in 10..=24,
        changes in prop::collection::vec(prop::collection::vec(Change::any(), 1..3), 20),
        lengths in prop::collection::vec(1..600_usize, 1..3),
    ) {
        let encoded = encode_brotli(&varied(length, seed), quality, lgwin);
        for changes in changes {
            let mut data = encoded.clone();
            for change in changes {
                change.apply(&mut data);
            }
            if data.is_empty() {
                continue; // is no body
            }
            let expected = reference(&data);
            let decoded = read(body(&layer(), "br", pieces(&data, &lengths, false)));
            match decoded.decode_error().map(cortex_compress::DecodeError::kind) {
                None => prop_assert!(expected.as_deref() == Some(&decoded.data())),
                // What the reference does not mind.
                Some(DecodeErrorKind::Limit(_) | DecodeErrorKind::TrailingData) => {}
                Some(_) => prop_assert_eq!(expected, None),
            }
        }
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
