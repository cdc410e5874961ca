//! Bodies that are made to cost more than they are.

use super::support::{Ticking, body, count, decode, encode};
use crate::support::{Script, Step, text};
use bytes::Bytes;
use cortex_compress::{Coding, DecodeErrorKind, Limit, ResponseDecompressionLayer};
use std::io::Write;
use std::time::Duration;

/// Encodes that many megabytes of zeros, without having them.
///
/// There is an end to it for zstd only: nobody gets that far.
fn zeros(coding: Coding, megabytes: usize) -> Vec<u8> {
    let block = vec![0; 1 << 20];
    match coding {
        Coding::Zstd => {
            // A block of 128 KiB is 4 bytes where it repeats one.
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b0000_0000, (17 - 10) << 3];
            for at in 0..megabytes * 8 {
                let last = u32::from(at + 1 == megabytes * 8);
                let header = last | 1 << 1 | (128 << 10) << 3;
                frame.extend(&header.to_le_bytes()[..3]);
                frame.push(0);
            }
            frame
        }
        Coding::Br => {
            // A meta-block that was flushed can be repeated.
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 1 << 20, 5, 22);
            let mut ends = [0; 2];
            for end in &mut ends {
                encoder.write_all(&block).unwrap();
                encoder.flush().unwrap();
                *end = encoder.get_ref().len();
            }
            let data = &encoder.get_ref()[..ends[1]];
            let (first, second) = data.split_at(ends[0]);
            [first, &second.repeat(megabytes - 1)].concat()
        }
        _ => {
            // The blocks of one megabyte, flushed, can be repeated.
            let head = encode(coding, b"");
            let head = if coding == Coding::Gzip {
                &head[..10]
            } else {
                &head[..2]
            };
            let mut encoder = flate2::Compress::new(flate2::Compression::best(), false);
            let mut once = Vec::with_capacity(64 << 10);
            encoder
                .compress_vec(&block, &mut once, flate2::FlushCompress::Full)
                .unwrap();
            [head, &once.repeat(megabytes)].concat()
        }
    }
}

#[test]
fn the_bombs_of_these_tests_are_bombs() {
    for &coding in Coding::ALL {
        let layer = ResponseDecompressionLayer::new()
            .max_ratio(u32::MAX)
            .max_decoded(u64::MAX);
        let (length, decoded) = count(body(&layer, coding.as_str(), Script::whole(zeros(coding, 5))));
        assert_eq!(length, 5 << 20, "{coding}");
        let kind = decoded.decode_error().map(cortex_compress::DecodeError::kind);
        let expected = (coding != Coding::Zstd).then_some(DecodeErrorKind::Truncated);
        assert_eq!(kind, expected);
    }
}

#[test]
fn d3_a_bomb_is_cut_off_by_the_limit_that_it_meets_first() {
    for &coding in Coding::ALL {
        let bomb = Bytes::from(zeros(coding, 1024));
        let layer = ResponseDecompressionLayer::new();
        let cases = [
            (layer.clone(), Limit::Ratio(200)),
            (
                layer.clone().max_decoded(9 << 20).max_ratio(u32::MAX),
                Limit::DecodedSize(9 << 20),
            ),
        ];
        for (layer, limit) in cases {
            let (length, decoded) = count(body(&layer, coding.as_str(), Script::whole(bomb.clone())));
            let error = decoded.decode_error().expect("there is an error");
            assert_eq!(error.exceeded(), Some(limit), "{coding}");
            assert_eq!(error.status(), 413);
            assert!(length <= 9 << 20, "{coding}: {length}");
        }
    }
}

#[test]
fn d3_bombs_in_bombs_are_cut_off_in_the_middle() {
    for &coding in Coding::ALL {
        let bomb = encode(coding, &zeros(coding, 1024));
        assert!(
            bomb.len() < 8 << 10,
            "a gigabyte in {} bytes of {coding}",
            bomb.len()
        );
        let layer = ResponseDecompressionLayer::new();
        let (length, decoded) = count(body(&layer, &format!("{coding}, {coding}"), Script::whole(bomb)));
        assert!(
            matches!(decoded.decode_error().unwrap().exceeded(), Some(Limit::Ratio(_))),
            "{coding}"
        );
        assert!(length <= 1 << 20);

        let hidden = encode(coding, &encode(coding, &vec![0; 8 << 20]));
        let layer = layer.max_decoded(1 << 20).max_ratio(u32::MAX);
        let (length, decoded) = count(body(
            &layer,
            &format!("{coding}, {coding}"),
            Script::whole(hidden),
        ));
        assert_eq!(
            decoded.decode_error().unwrap().exceeded(),
            Some(Limit::DecodedSize(1 << 20))
        );
        assert!(length <= 1 << 20);
    }
}

#[test]
fn d3_the_limits_are_exact() {
    for &coding in Coding::ALL {
        let data = encode(coding, &text(50_000));
        let length = data.len() as u64;
        let layer = ResponseDecompressionLayer::new()
            .max_decoded(50_000)
            .max_encoded(length);
        for script in [
            Script::whole(data.clone()),
            Script::new([Step::Data(data.clone().into())]),
        ] {
            assert!(
                count(body(&layer, coding.as_str(), script)).1.error.is_none(),
                "{coding}"
            );
        }

        let (count_decoded, decoded) = count(body(
            &layer.clone().max_decoded(49_999),
            coding.as_str(),
            Script::whole(data.clone()),
        ));
        assert_eq!(
            decoded.decode_error().unwrap().exceeded(),
            Some(Limit::DecodedSize(49_999))
        );
        assert!(count_decoded < 50_000);

        // With and without a known length.
        let layer = layer.max_encoded(length - 1);
        for script in [
            Script::whole(data.clone()),
            Script::new([Step::Data(data.into())]),
        ] {
            let polls = script.polls.clone();
            let known = script.exact.is_some();
            let (_, decoded) = count(body(&layer, coding.as_str(), script));
            let error = decoded.decode_error().expect("there is an error");
            assert_eq!(error.exceeded(), Some(Limit::EncodedSize(length - 1)));
            assert_eq!(
                polls.load(std::sync::atomic::Ordering::Relaxed),
                usize::from(!known)
            );
        }
    }
}

#[test]
fn d4_members_and_frames_are_counted_and_skippable_ones_too() {
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
    let cases = [
        (Coding::Gzip, encode(Coding::Gzip, b"")),
        (Coding::Zstd, encode(Coding::Zstd, b"")),
        (Coding::Zstd, skippable),
    ];
    for (coding, member) in cases {
        assert!(
            decode(coding.as_str(), member.repeat(1024)).error.is_none(),
            "{coding}"
        );
        let decoded = decode(coding.as_str(), member.repeat(1025));
        let error = decoded.decode_error().expect("there is an error");
        assert_eq!(error.exceeded(), Some(Limit::Members(1024)));
        assert_eq!(error.status(), 413);
        assert_eq!(
            error.to_string(),
            format!("decode {coding}: there are more than the allowed 1024 members")
        );
    }
}

#[test]
fn d4_what_never_decodes_to_anything_is_limited_by_its_encoded_length() {
    let layer = ResponseDecompressionLayer::new()
        .max_encoded(1 << 20)
        .clock(Ticking::new(Duration::ZERO));
    let name = [0x1f, 0x8b, 8, 1 << 3, 0, 0, 0, 0, 0, 3];
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &u32::MAX.to_le_bytes()].concat();
    for (coding, head) in [(Coding::Gzip, name.to_vec()), (Coding::Zstd, skippable)] {
        let head = std::iter::once(Step::Data(head.into()));
        let rest = std::iter::repeat_n(Step::Data(Bytes::from_static(&[b'n'; 1000])), 2000);
        let script = Script::new(head.chain(rest));
        let polls = script.polls.clone();
        let (length, decoded) = count(body(&layer, coding.as_str(), script));
        assert_eq!(length, 0);
        assert_eq!(
            decoded.decode_error().unwrap().exceeded(),
            Some(Limit::EncodedSize(1 << 20))
        );
        assert!(
            polls.load(std::sync::atomic::Ordering::Relaxed) < 1100,
            "{coding} was read on"
        );
        assert!(decoded.pending > 5, "{coding}: {}", decoded.pending);
    }
}

#[test]
fn rfc9659_a_zstd_window_has_at_most_eight_megabytes() {
    for (log, fits) in [(23, true), (24, false)] {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&text(3000)).unwrap();
        let decoded = decode("zstd", encoder.finish().unwrap());
        let kind = decoded.decode_error().map(cortex_compress::DecodeError::kind);
        let expected = (!fits).then_some(DecodeErrorKind::Limit(Limit::Window(8 << 20)));
        assert_eq!(kind, expected, "{log}");
    }
}
