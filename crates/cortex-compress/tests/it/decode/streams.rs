//! What bodies decode to, and what is wrong with those that do not.

use super::support::{Ticking, body, decode, encode, read};
use crate::support::{Script, Step, noise, text};
use bytes::Bytes;
use cortex_compress::{Coding, DecodeErrorKind, DecompressError, ResponseDecompressionLayer};
use cortex_testkit::ManualClock;
use http::HeaderMap;
use http_body::Body;
use proptest::prelude::*;
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Cuts data into frames of these lengths, again and again, with pauses.
pub(super) fn pieces(data: &[u8], lengths: &[usize], pauses: bool) -> Script {
    let mut steps = Vec::new();
    let mut rest = data;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(*length));
        steps.push(Step::Data(Bytes::copy_from_slice(piece)));
        rest = after;
        if pauses {
            steps.push(Step::Pause);
        }
    }
    Script::new(steps)
}

pub(super) fn layer() -> ResponseDecompressionLayer {
    ResponseDecompressionLayer::new()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_chunking_gives_the_same_bytes(
        lengths in prop::collection::vec(1..5000_usize, 1..5),
        parts in prop::collection::vec((any::<bool>(), 0..60_000_usize), 0..4),
        pauses in any::<bool>(),
        outer in 0..Coding::ALL.len(),
    ) {
        let whole: Vec<u8> = parts
            .iter()
            .flat_map(|&(random, length)| if random { noise(length) } else { text(length) })
            .collect();
        for &coding in Coding::ALL {
            let once = encode(coding, &whole);
            let decoded = read(body(&layer(), coding.as_str(), pieces(&once, &lengths, pauses)));
            prop_assert!(decoded.error.is_none() && !decoded.stalled, "{}: {:?}", coding, decoded.error);
            prop_assert!(decoded.data() == whole, "{}", coding);

            let outer = Coding::ALL[outer];
            let twice = encode(outer, &once);
            let decoded = read(body(&layer(), &format!("{coding}, {outer}"), pieces(&twice, &lengths, pauses)));
            prop_assert!(decoded.error.is_none() && !decoded.stalled, "{} in {}", coding, outer);
            prop_assert!(decoded.data() == whole, "{} in {}", coding, outer);
        }
    }

    #[test]
    fn d5_flipped_bits_and_garbage_never_panic_and_are_bad_requests(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
        garbage in prop::collection::vec(any::<u8>(), 1..300),
        lengths in prop::collection::vec(1..400_usize, 1..4),
    ) {
        let whole = text(5000);
        for &coding in Coding::ALL {
            let mut flipped = encode(coding, &whole);
            for (at, bit) in &flips {
                let at = at.index(flipped.len());
                flipped[at] ^= 1 << bit;
            }
            for (data, expected) in [(&flipped, Some(&whole)), (&garbage, None)] {
                let decoded = read(body(&layer(), coding.as_str(), pieces(data, &lengths, false)));
                prop_assert!(!decoded.stalled);
                match (&decoded.error, expected) {
                    (Some(DecompressError::Decode(error)), _) => {
                        let limit = matches!(error.kind(), DecodeErrorKind::Limit(_));
                        prop_assert_eq!(error.status(), if limit { 413 } else { 400 });
                        prop_assert_eq!(error.coding(), coding);
                    }
                    (Some(error), _) => prop_assert!(false, "{coding}: {error}"),
                    // What is not noticed changes nothing, but in brotli, which has no checksum.
                    (None, Some(whole)) => {
                        prop_assert!(coding == Coding::Br || decoded.data() == **whole, "{}", coding);
                    }
                    (None, None) => {}
                }
            }
        }
    }
}

#[test]
fn d5_a_body_that_ends_early_is_truncated_wherever_it_ends() {
    let whole = text(3000);
    for &coding in Coding::ALL {
        let data = encode(coding, &whole);
        for end in 1..data.len() {
            let decoded = decode(coding.as_str(), data[..end].to_vec());
            let error = decoded.decode_error().expect("there is an error");
            assert_eq!(error.kind(), DecodeErrorKind::Truncated, "{coding} {end}");
            assert_eq!(error.status(), 400);
            assert_eq!(error.coding(), coding);
            assert!(whole.starts_with(&decoded.data()));
        }
        assert_eq!(decode(coding.as_str(), data).data(), whole);
    }
}

#[test]
fn an_absent_body_is_an_empty_one_but_an_empty_stream_in_a_stream_is_not() {
    for &coding in Coding::ALL {
        let decoded = decode(coding.as_str(), Bytes::new());
        assert!(decoded.error.is_none() && decoded.frames.is_empty());
        let decoded = decode(coding.as_str(), encode(coding, b""));
        assert!(decoded.error.is_none() && decoded.frames.is_empty());

        let decoded = decode(&format!("{coding}, {coding}"), encode(coding, b""));
        assert_eq!(
            decoded.decode_error().unwrap().kind(),
            DecodeErrorKind::Truncated,
            "{coding}"
        );
    }
}

#[test]
fn d5_what_follows_the_end_is_an_error_whether_it_comes_at_once_or_later() {
    for &coding in Coding::ALL {
        for tail in [&b"x"[..], b"\0", b"\0\0\0\0\0\0\0\0", b"something else"] {
            let data = encode(coding, &text(3000));
            let at_once = decode(coding.as_str(), [&data[..], tail].concat());
            let later = Script::new([Step::Data(data.into()), Step::Pause, Step::Data(tail.into())]);
            for decoded in [at_once, read(body(&layer(), coding.as_str(), later))] {
                let error = decoded.decode_error().expect("there is an error");
                assert_eq!(error.kind(), DecodeErrorKind::TrailingData, "{coding} {tail:?}");
                assert_eq!(error.status(), 400);
                assert_eq!(
                    error.to_string(),
                    format!("decode {coding}: there is data after the end")
                );
            }
        }
    }
}

#[test]
fn d5_a_checksum_is_checked_where_there_is_one() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        let mut data = encode(coding, &text(3000));
        let last = data.len() - if coding == Coding::Gzip { 5 } else { 1 };
        data[last] ^= 1;
        let decoded = decode(coding.as_str(), data);
        assert_eq!(
            decoded.decode_error().unwrap().kind(),
            DecodeErrorKind::Corrupt,
            "{coding}"
        );
    }
    let mut data = encode(Coding::Gzip, &text(3000));
    *data.last_mut().unwrap() ^= 1;
    let error = decode("gzip", data).error.unwrap();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "decode gzip: the length does not match"
    );
}

#[test]
fn rfc9110_8_4_1_2_deflate_is_the_zlib_format_and_needs_no_dictionary() {
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    bare.write_all(&text(3000)).unwrap();
    let decoded = decode("deflate", bare.finish().unwrap());
    assert_eq!(decoded.decode_error().unwrap().kind(), DecodeErrorKind::Corrupt);

    let with_dictionary = [0x78, 0xbb, 1, 2, 3, 4, 5, 6];
    let decoded = decode("deflate", with_dictionary.to_vec());
    assert_eq!(
        decoded.decode_error().unwrap().to_string(),
        "decode deflate: a dictionary is needed"
    );
}

#[test]
fn rfc7932_a_large_window_is_no_part_of_brotli() {
    let params = brotli::enc::BrotliEncoderParams {
        quality: 3,
        large_window: true,
        lgwin: 26,
        ..Default::default()
    };
    let mut data = Vec::new();
    brotli::BrotliCompress(&mut &*text(3000), &mut data, &params).unwrap();
    let decoded = decode("br", data);
    assert_eq!(decoded.decode_error().unwrap().kind(), DecodeErrorKind::Corrupt);
}

#[test]
fn members_and_frames_are_joined() {
    let (first, second) = (text(2000), noise(2000));
    let skippable = [&0x184d_2a53_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"skip"].concat();
    for (coding, between) in [(Coding::Gzip, vec![]), (Coding::Zstd, skippable)] {
        let data = [
            &between[..],
            &encode(coding, &first),
            &between,
            &encode(coding, b""),
            &encode(coding, &second),
            &between,
        ]
        .concat();
        for length in [1, 7, 100_000] {
            let decoded = read(body(&layer(), coding.as_str(), pieces(&data, &[length], false)));
            assert!(decoded.error.is_none(), "{coding}: {:?}", decoded.error);
            assert_eq!(decoded.data(), [&first[..], &second].concat(), "{coding}");
        }
    }
}

#[test]
fn d6_trailers_come_last_without_their_digests() {
    let mut trailers = HeaderMap::new();
    trailers.insert("content-digest", "sha-256=:AAAA:".parse().unwrap());
    trailers.insert("x-checked", "yes".parse().unwrap());
    for &coding in Coding::ALL {
        let data = encode(coding, &text(100_000)).into();
        let script = Script::new([Step::Data(data), Step::Trailers(trailers.clone())]);
        let decoded = read(body(&layer(), coding.as_str(), script));
        assert_eq!(decoded.data(), text(100_000));
        let received = decoded.trailers.expect("there are trailers");
        assert_eq!(received.len(), 1);
        assert_eq!(received["x-checked"], "yes");
    }
}

/// Encodes with an encoder that is not ours and is flushed in the middle; returns the two parts.
fn encode_in_two_parts(coding: Coding, first: &[u8], second: &[u8]) -> (Vec<u8>, Vec<u8>) {
    fn parts<W: Write>(
        mut encoder: W,
        [first, second]: [&[u8]; 2],
        so_far: impl Fn(&W) -> usize,
        finish: impl FnOnce(W) -> Vec<u8>,
    ) -> (Vec<u8>, Vec<u8>) {
        encoder.write_all(first).unwrap();
        encoder.flush().unwrap();
        let middle = so_far(&encoder);
        encoder.write_all(second).unwrap();
        let mut whole = finish(encoder);
        let rest = whole.split_off(middle);
        (whole, rest)
    }

    let parts_of = [first, second];
    let level = flate2::Compression::new(6);
    match coding {
        Coding::Gzip => {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            parts(
                encoder,
                parts_of,
                |encoder| encoder.get_ref().len(),
                |encoder| encoder.finish().unwrap(),
            )
        }
        Coding::Deflate => {
            let encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            parts(
                encoder,
                parts_of,
                |encoder| encoder.get_ref().len(),
                |encoder| encoder.finish().unwrap(),
            )
        }
        Coding::Br => {
            let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            parts(
                encoder,
                parts_of,
                |encoder| encoder.get_ref().len(),
                brotli::CompressorWriter::into_inner,
            )
        }
        Coding::Zstd => {
            let encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            parts(
                encoder,
                parts_of,
                |encoder| encoder.get_ref().len(),
                |encoder| encoder.finish().unwrap(),
            )
        }
        other => panic!("no encoder for {other}"),
    }
}

#[test]
fn what_has_come_is_decoded_before_the_inner_body_is_read_on() {
    for &coding in Coding::ALL {
        for first in [text(1), text(500), text(40_000), noise(40_000)] {
            let second = text(10_000);
            let (flushed, rest) = encode_in_two_parts(coding, &first, &second);
            let whole = [&first[..], &second].concat();
            let stalled = Script::new([Step::Data(flushed.clone().into()), Step::Stall]);
            let decoded = read(body(&layer(), coding.as_str(), stalled));
            assert!(decoded.stalled);
            assert!(
                decoded.data() == first,
                "{coding}: {} of {}",
                decoded.data().len(),
                first.len()
            );

            let complete = Script::new([Step::Data(flushed.into()), Step::Pause, Step::Data(rest.into())]);
            let decoded = read(body(&layer(), coding.as_str(), complete));
            assert!(decoded.error.is_none() && decoded.data() == whole, "{coding}");
        }
    }
}

#[test]
fn the_inner_error_comes_through_after_what_it_followed() {
    for &coding in Coding::ALL {
        let mut encoded = encode(coding, &noise(300_000));
        encoded.truncate(250_000);
        let decoded = read(body(
            &layer(),
            coding.as_str(),
            Script::new([Step::Data(encoded.into()), Step::Fail]),
        ));
        assert!(matches!(decoded.error, Some(DecompressError::Inner(_))));
        assert!(decoded.data().len() > 100_000, "{coding}");
        assert!(noise(300_000).starts_with(&decoded.data()));
    }
}

#[test]
fn the_inner_body_is_read_only_when_there_is_nothing_to_decode() {
    for &coding in Coding::ALL {
        let script = Script::new([
            Step::Data(encode(coding, &vec![b'a'; 1 << 20]).into()),
            Step::Stall,
        ]);
        let polls = script.polls.clone();
        let mut body = body(&layer(), coding.as_str(), script);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let _ = Pin::new(&mut body).poll_frame(&mut cx);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1, "{coding}");
    }
}

#[test]
fn d6_the_thread_is_given_away_when_time_is_up() {
    for &coding in Coding::ALL {
        for data in [text(600_000), noise(600_000), vec![b'a'; 600_000].into()] {
            let encoded = Bytes::from(encode(coding, &data));
            let read = |clock| {
                let layer = layer().clock(clock);
                let decoded = read(body(&layer, coding.as_str(), Script::whole(encoded.clone())));
                assert!(decoded.data() == data);
                decoded
            };
            // What a look takes is what the work before it took.
            let fast = read(Ticking::new(Duration::from_micros(20)));
            let slow = read(Ticking::new(Duration::from_micros(70)));
            assert!(fast.burst <= 160 << 10, "{coding}: {}", fast.burst);
            assert!(slow.burst <= 80 << 10, "{coding}: {}", slow.burst);
            assert!(slow.pending >= 10 && slow.pending >= fast.pending, "{coding}");

            let stopped = read(Ticking::new(Duration::ZERO));
            assert!(stopped.burst <= 280 << 10, "{coding}: {}", stopped.burst);
            assert!(stopped.pending >= 2);
        }
    }
}

#[test]
fn d6_frames_of_nothing_are_work_too() {
    let empty = std::iter::repeat_n(Step::Data(Bytes::new()), 100_000);
    let layer = layer().clock(Ticking::new(Duration::ZERO));
    let decoded = read(body(&layer, "gzip", Script::new(empty)));
    assert!(decoded.pending > 20);
}

/// Reads a body whose reader is away for that long before each poll; returns the lengths of its frames, and how often
/// it was pending.
fn frames_with_absences(coding: Coding, encoded: Bytes, absence: Duration) -> (Vec<usize>, usize) {
    let clock = ManualClock::new();
    let mut body = body(
        &layer().clock(clock.clone()),
        coding.as_str(),
        Script::whole(encoded),
    );
    let (mut lengths, mut pending) = (Vec::new(), 0);
    loop {
        clock.advance(absence);
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => pending += 1,
            Poll::Ready(None) => return (lengths, pending),
            Poll::Ready(Some(frame)) => lengths.push(frame.unwrap().into_data().unwrap().len()),
        }
    }
}

#[test]
fn d6_the_time_between_polls_is_not_the_time_of_the_body() {
    for &coding in Coding::ALL {
        let encoded = Bytes::from(encode(coding, &text(1 << 20)));
        let at_once = frames_with_absences(coding, encoded.clone(), Duration::ZERO);
        let slowly = frames_with_absences(coding, encoded, Duration::from_millis(1));
        assert_eq!(slowly, at_once, "{coding}");
        assert!((1..10).contains(&at_once.1), "{coding}: {}", at_once.1);
    }
}

#[test]
fn d6_short_frames_are_timed_together() {
    for &coding in Coding::ALL {
        // Frames of little that are ready at once, each of which takes 20 us.
        let encoded = Bytes::from(encode(coding, &noise(4000)));
        let steps = encoded.chunks(50).map(Bytes::copy_from_slice).map(Step::Data);
        let layer = layer().clock(Ticking::new(Duration::from_micros(20)));
        let decoded = read(body(&layer, coding.as_str(), Script::new(steps)));
        assert_eq!(decoded.data(), noise(4000));
        assert!(decoded.frames.len() >= 50, "{coding}: {}", decoded.frames.len());
        assert!(decoded.pending >= 8, "{coding}: {}", decoded.pending);
    }
}
