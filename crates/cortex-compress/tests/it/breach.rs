//! What is done against BREACH: padding that decoders skip, and nothing encoded where there are credentials.

use crate::case::Case;
use crate::support::{Script, Step, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    BreachPolicy, Coding, CompressWith, CompressionLayer, EtagPolicy, Job, Level, SkipReason,
};
use cortex_testkit::ManualClock;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::Read;

/// The least and the most that padding takes, whichever way a body is encoded.
fn bounds(coding: Coding, max: usize) -> std::ops::RangeInclusive<usize> {
    match coding {
        Coding::Gzip => 1..=10 + max,
        Coding::Deflate => 10..=10 + max,
        Coding::Zstd => 8..=8 + max,
        Coding::Br => 3..=3 + max,
        other => panic!("no padding for {other}"),
    }
}

/// Decodes a stream with nothing behind it, by decoders that others wrote.
pub(crate) fn decode_strictly(coding: Coding, mut data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        Coding::Gzip => {
            let mut reader = flate2::bufread::GzDecoder::new(&mut data);
            reader.read_to_end(&mut plain).unwrap();
        }
        Coding::Deflate => {
            let mut reader = flate2::bufread::ZlibDecoder::new(&mut data);
            reader.read_to_end(&mut plain).unwrap();
        }
        Coding::Br => {
            let mut reader = brotli::Decompressor::new(&mut data, 4096);
            reader.read_to_end(&mut plain).unwrap();
        }
        Coding::Zstd => {
            zstd::stream::copy_decode(&mut data, &mut plain).unwrap();
        }
        other => panic!("no reader for {other}"),
    }
    assert!(data.is_empty(), "{coding}: {} bytes are left", data.len());
    plain
}

pub(crate) fn padded(max: u16) -> CompressionLayer {
    CompressionLayer::new()
        .clock(ManualClock::new())
        .breach(BreachPolicy::Pad { max })
}

fn encode(layer: &CompressionLayer, coding: Coding, body: Script) -> Vec<u8> {
    let request = Request::builder().header("accept-encoding", coding.as_str());
    let response = Response::builder().header("content-type", "text/plain");
    let response = respond(layer, request.body(()).unwrap(), response.body(body).unwrap());
    assert_eq!(response.headers()["content-encoding"], coding.as_str());
    let length = response.headers().get("content-length").cloned();
    let exact = response.body().size_hint().exact();
    let data = read(response.into_body()).data();
    if let Some(length) = length {
        assert_eq!(length, data.len().to_string());
        assert_eq!(exact, Some(data.len() as u64));
    }
    data
}

fn pieces(data: &Bytes, length: usize) -> Script {
    let pieces = data.chunks(length).map(|piece| Step::Data(data.slice_ref(piece)));
    Script::new(pieces.flat_map(|piece| [piece, Step::Pause, Step::Pause]))
}

#[test]
fn padded_bodies_decode_to_the_same_bytes_whole_in_slices_and_as_streams() {
    for &coding in Coding::ALL {
        for max in [1, 100, 1000] {
            let (plain, layer) = (CompressionLayer::new().clock(ManualClock::new()), padded(max));
            for length in [4000, 30_000, 120_000] {
                let data = text(length);
                for body in [
                    Script::whole(data.clone()),
                    pieces(&data, 700),
                    pieces(&data, length),
                ] {
                    let without = encode(&plain, coding, body.clone()).len();
                    let with = encode(&layer, coding, body);
                    assert_eq!(decode_strictly(coding, &with), data, "{coding} {max} {length}");
                    let added = with.len() - without;
                    // The end may take some bytes more where it does not share a block with data.
                    let bounds = bounds(coding, max.into());
                    assert!(
                        (*bounds.start()..=bounds.end() + 12).contains(&added),
                        "{coding} {max} {length}: {added}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_offload_pads_as_the_serving_thread_does() {
    for &coding in Coding::ALL {
        let layer = padded(100);
        let away = layer.clone().offload(|job: Job| {
            job();
            Ok(())
        });
        let data = text(120_000);
        let here = encode(&layer, coding, pieces(&data, 50_000));
        let there = encode(&away, coding, pieces(&data, 50_000));
        assert_eq!(decode_strictly(coding, &there), data, "{coding}");
        assert_eq!(decode_strictly(coding, &here), data, "{coding}");
        let whole = encode(&away, coding, Script::whole(data.clone()));
        assert_eq!(decode_strictly(coding, &whole), data, "{coding}");
    }
}

#[test]
fn a_stream_of_nothing_is_padded_too() {
    for &coding in Coding::ALL {
        let data = encode(&padded(100), coding, Script::new([]));
        assert_eq!(decode_strictly(coding, &data), b"", "{coding}");
        let paused = encode(&padded(100), coding, Script::new([Step::Pause, Step::Pause]));
        assert_eq!(decode_strictly(coding, &paused), b"", "{coding}");
    }
}

#[test]
fn the_same_content_has_the_same_length_and_other_contents_have_others() {
    for &coding in Coding::ALL {
        let layer = padded(100);
        let data = text(3000);
        let lengths = |layer: &CompressionLayer, make: &dyn Fn(usize) -> Script| -> Vec<usize> {
            (0..40).map(|at| encode(layer, coding, make(at)).len()).collect()
        };
        for stream in [false, true] {
            let body = |data: Bytes| {
                if stream {
                    pieces(&data, 900)
                } else {
                    Script::whole(data)
                }
            };
            let same = lengths(&layer, &|_| body(data.clone()));
            assert_eq!(
                same.iter().collect::<BTreeSet<_>>().len(),
                1,
                "{coding}: {same:?}"
            );

            // Digits that occur nowhere else: without padding the lengths are within a few bytes of each other.
            let other = |at: usize| body([&data[..], format!("#{at:02}").as_bytes()].concat().into());
            let others = lengths(&layer, &other);
            let spread = |lengths: &[usize]| lengths.iter().max().unwrap() - lengths.iter().min().unwrap();
            assert!(spread(&others) > 50, "{coding}: {others:?}");
            let plain = lengths(&CompressionLayer::new().clock(ManualClock::new()), &other);
            assert!(spread(&plain) < 10, "{coding}: {plain:?}");

            let key = lengths(&padded(100), &other);
            assert_ne!(key, others, "{coding}: another layer has another key");
        }
    }
}

#[test]
fn what_is_not_smaller_with_its_padding_is_not_encoded() {
    // Encoded, about 40 bytes; with its padding, half of them more than 1100.
    let (mut encoded, mut identities) = (0, 0);
    for at in 0..200 {
        let body = Bytes::from([b"a".repeat(1100), vec![at]].concat());
        let answer = Case {
            body: Script::whole(body.clone()),
            layer: CompressionLayer::new().breach(BreachPolicy::Pad { max: 2200 }),
            ..Case::default()
        }
        .send();
        let coding = answer.header("content-encoding").map(str::to_owned);
        let reason = answer.reason();
        let data = read(answer.response.into_body()).data();
        if coding.is_some() {
            assert!(data.len() < body.len());
            assert_eq!(decode_strictly(Coding::Gzip, &data), body);
            encoded += 1;
        } else {
            assert_eq!(reason, Some(SkipReason::NotSmaller));
            assert_eq!(data, body);
            identities += 1;
        }
    }
    assert!(encoded > 20 && identities > 20, "{encoded} {identities}");
    let answer = Case {
        body: Script::whole(noise(2000)),
        layer: padded(1),
        ..Case::default()
    };
    answer.send().must_be_identity(SkipReason::NotSmaller);
}

#[test]
fn a_padded_response_has_a_weak_tag_whatever_the_policy_says_of_strong_ones() {
    for (policy, tag) in [
        (EtagPolicy::Weaken, "W/\"x\""),
        (EtagPolicy::Suffix, "W/\"x\""),
        (EtagPolicy::Keep, "\"x\""), // as it was asked for
    ] {
        for method in [Method::GET, Method::HEAD] {
            let case = Case {
                method,
                layer: padded(100).etag(policy),
                ..Case::default()
            };
            assert_eq!(case.send().header("etag"), Some(tag), "{policy:?}");
        }
    }
}

#[test]
fn the_header_of_a_padded_response_is_that_of_an_encoded_one() {
    let answer = Case {
        layer: padded(100),
        ..Case::default()
    }
    .send();
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    let data = read(answer.response.into_body()).data();
    assert_eq!(data.len(), length);
    // RFC 1952, section 2.3.1: FCOMMENT alone, and a comment that ends with a zero before the first block.
    assert_eq!(data[..4], [0x1f, 0x8b, 8, 16]);
    let end = data.iter().skip(10).position(|&byte| byte == 0).unwrap();
    assert!(data[10..10 + end].iter().all(u8::is_ascii_graphic));
}

#[test]
fn a_layer_that_is_derived_from_another_pads_alone() {
    let plain = CompressionLayer::new().clock(ManualClock::new());
    let expected = encode(&plain, Coding::Gzip, Script::whole(text(5000)));
    let layer = plain.clone().breach(BreachPolicy::Pad { max: 1000 });
    for _ in 0..3 {
        let padded = encode(&layer, Coding::Gzip, Script::whole(text(5000)));
        assert_eq!(padded[3], 16);
        assert_eq!(encode(&plain, Coding::Gzip, Script::whole(text(5000))), expected);
    }
    let off = layer.breach(BreachPolicy::Off);
    assert_eq!(encode(&off, Coding::Gzip, Script::whole(text(5000))), expected);
}

pub(crate) fn guarded() -> CompressionLayer {
    CompressionLayer::new().breach(BreachPolicy::SkipWhenCredentials)
}

fn asking(layer: CompressionLayer, field: &'static str) -> Case {
    Case {
        request: vec![("accept-encoding", "gzip"), (field, "a=b")],
        layer,
        ..Case::default()
    }
}

#[test]
fn requests_with_credentials_get_the_identity() {
    for field in ["cookie", "authorization"] {
        asking(guarded(), field)
            .send()
            .must_be_identity(SkipReason::Credentials);
        let head = Case {
            method: Method::HEAD,
            ..asking(guarded(), field)
        };
        head.send().must_be_identity(SkipReason::Credentials);
        let not_modified = Case {
            status: StatusCode::NOT_MODIFIED,
            ..asking(guarded(), field)
        };
        not_modified.send().must_be_identity(SkipReason::Status);
        asking(CompressionLayer::new(), field).send().must_be_encoded();
        asking(padded(100).breach(BreachPolicy::Off), field)
            .send()
            .must_be_encoded();
    }
    for field in ["x-cookie", "set-cookie", "proxy-authorization", "origin"] {
        asking(guarded(), field).send().must_be_encoded();
    }
    let unaccepted = Case {
        request: vec![("accept-encoding", "compress"), ("cookie", "a=b")],
        layer: guarded(),
        ..Case::default()
    };
    unaccepted.send().must_be_identity(SkipReason::NotAccepted);
}

#[test]
fn a_handler_may_say_that_there_is_no_secret() {
    let case = asking(guarded(), "cookie").extended(CompressWith::new(Coding::Gzip));
    case.send().must_be_encoded();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_content_in_any_pieces_at_any_level_decodes(
        content in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..8),
        coding in 0..Coding::ALL.len(),
        effort in 0_u8..12,
        max in 1_u16..2000,
    ) {
        let coding = Coding::ALL[coding];
        let level = effort.clamp(*coding.levels().start(), *coding.levels().end());
        let layer = padded(max).coding(coding, Level::new(level));
        let steps = content.iter().map(|piece| match piece.len() % 3 {
            0 => Step::Pause,
            _ => Step::Data(Bytes::from(piece.clone())),
        });
        let expected: Vec<u8> = content.iter().filter(|piece| piece.len() % 3 != 0).flatten().copied().collect();
        let data = encode(&layer, coding, Script::new(steps));
        prop_assert_eq!(decode_strictly(coding, &data), expected);
    }
}
