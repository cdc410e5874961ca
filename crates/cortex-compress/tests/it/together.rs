//! Where two settings of a layer meet: padding, credentials and dictionaries on one side, the cache and the wishes of
//! handlers on the other.

use crate::breach::{decode_strictly, guarded, padded};
use crate::case::{Answer, Case};
#[cfg(feature = "dictionary")]
use crate::dictionary::{accepting, asking, available, dictionary, layer_with, must_decode, steps, version};
use crate::support::{Script, Step, read, text};
use bytes::Bytes;
use cortex_compress::{
    BreachPolicy, Coding, CompressWith, CompressionLayer, EtagPolicy, Event, SkipReason, VariantCache,
};
use cortex_testkit::ManualClock;

/// Entries, hits and misses.
fn counts(cache: &VariantCache) -> (usize, u64, u64) {
    let stats = cache.stats();
    (stats.entries, stats.hits, stats.misses)
}

fn data_of(answer: Answer) -> Vec<u8> {
    read(answer.response.into_body()).data()
}

#[cfg(feature = "dictionary")]
#[test]
fn what_is_compressed_against_a_dictionary_is_neither_kept_nor_looked_for() {
    let known = dictionary(20_000);
    let body: Bytes = [&version(&known)[..], &text(20_000)].concat().into();
    for (name, streamed) in [("dcz", false), ("dcz", true), ("dcb", false), ("dcb", true)] {
        let cache = VariantCache::weighted(8 << 20);
        let layer = layer_with(&[&known]).cache(cache.clone());
        let ask = |accept: &str, more: &[(&'static str, &'static str)]| {
            let script = if streamed {
                steps(&body, 3000, false)
            } else {
                Script::whole(body.clone())
            };
            let mut case = accepting(layer.clone(), accept, &known, script);
            case.request.extend(more);
            case.response.push(("content-length", "40000"));
            case.send()
        };
        for _ in 0..2 {
            must_decode(ask(name, &[]), name, &known, &body);
            assert_eq!(counts(&cache), (0, 0, 0), "{name} {streamed}");
        }
        let kept = data_of(ask("gzip", &[]));
        assert_eq!(decode_strictly(Coding::Gzip, &kept), body);
        assert_eq!(counts(&cache), (1, 0, 1), "{name} {streamed}");
        must_decode(ask(name, &[]), name, &known, &body);
        assert_eq!(counts(&cache), (1, 0, 1), "{name} {streamed}");
        assert_eq!(data_of(ask("gzip", &[])), kept);
        assert_eq!(counts(&cache), (1, 1, 1), "{name} {streamed}");

        // A page of another origin, which may not read the response, gets what all get.
        let elsewhere = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "cors"),
            ("origin", "https://other.example"),
        ];
        let accept = format!("gzip, {name}");
        assert_eq!(data_of(ask(&accept, &elsewhere)), kept);
        assert_eq!(counts(&cache), (1, 2, 1), "{name} {streamed}");
    }
}

#[cfg(feature = "dictionary")]
#[test]
fn dictionaries_that_clients_have_make_no_entries_of_their_own() {
    let (known, unknown) = (dictionary(5000), dictionary(100));
    let cache = VariantCache::weighted(8 << 20);
    let layer = layer_with(&[&known]).cache(cache.clone());
    let (known, unknown) = (available(&known), available(&unknown));
    for (hits, fields) in [
        &[("accept-encoding", "gzip")][..],
        &[("accept-encoding", "gzip"), ("available-dictionary", &known)],
        &[
            ("accept-encoding", "gzip, dcz"),
            ("available-dictionary", &unknown),
        ],
        &[
            ("accept-encoding", "gzip, dcz"),
            ("available-dictionary", ":AA==:"),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let answer = asking(layer.clone(), fields).send();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.header("vary"), Some(crate::dictionary::BOTH));
        assert_eq!(counts(&cache), (1, u64::try_from(hits).unwrap(), 1), "{fields:?}");
    }
}

#[test]
fn a_padded_body_is_kept_with_its_padding_and_for_its_layer_alone() {
    let body = text(5000);
    for &coding in Coding::ALL {
        for streamed in [false, true] {
            let cache = VariantCache::weighted(8 << 20);
            let plain = CompressionLayer::new()
                .clock(ManualClock::new())
                .etag(EtagPolicy::Suffix)
                .cache(cache.clone());
            let layer = plain.clone().breach(BreachPolicy::Pad { max: 1000 });
            let send = |layer: &CompressionLayer| {
                let answer = Case {
                    request: vec![("accept-encoding", coding.as_str())],
                    response: vec![
                        ("content-type", "text/plain"),
                        ("etag", "\"x\""),
                        ("content-length", "5000"),
                    ],
                    body: if streamed {
                        Script::new([Step::Data(body.slice(..2000)), Step::Data(body.slice(2000..))])
                    } else {
                        Script::whole(body.clone())
                    },
                    layer: layer.clone(),
                    ..Case::default()
                }
                .send();
                let length = answer.header("content-length").map(str::to_owned);
                let weak = answer.header("etag").unwrap().starts_with("W/");
                let data = data_of(answer);
                assert_eq!(decode_strictly(coding, &data), body, "{coding}");
                assert!(length.is_none_or(|length| length == data.len().to_string()));
                (data, weak)
            };
            let first = send(&layer);
            assert!(first.1, "{coding}: its tag is weak");
            assert_eq!(counts(&cache), (1, 0, 1), "{coding}");
            assert_eq!(send(&layer), first, "{coding}");
            assert_eq!(counts(&cache), (1, 1, 1), "{coding}");
            let bare = send(&plain);
            assert!(bare.0.len() < first.0.len() && bare.1 == streamed, "{coding}");
            assert_eq!(counts(&cache), (2, 1, 2), "{coding}");
            assert_eq!(send(&plain), bare);
            send(&layer.clone().breach(BreachPolicy::Pad { max: 1000 }));
            assert_eq!(counts(&cache), (3, 2, 3), "{coding}: another key");
        }
    }
}

#[test]
fn who_has_credentials_gets_nothing_from_the_cache() {
    for field in ["cookie", "authorization"] {
        let cache = VariantCache::weighted(8 << 20);
        let layer = guarded().cache(cache.clone());
        let case = |credentials: bool| {
            let mut case = Case {
                layer: layer.clone(),
                ..Case::default()
            };
            if credentials {
                case.request.push((field, "a=b"));
            }
            case.response.push(("cache-control", "public"));
            case
        };
        let denied = |expected| {
            case(true).send().must_be_identity(SkipReason::Credentials);
            assert_eq!(counts(&cache), expected, "{field}");
        };
        denied((0, 0, 0));
        case(false).send().must_be_encoded();
        assert_eq!(counts(&cache), (1, 0, 1), "{field}");
        denied((1, 0, 1));
        // But where the handler says that there is no secret.
        let answer = case(true).extended(CompressWith::new(Coding::Gzip)).send();
        assert!(
            matches!(answer.events[..], [Event::Cached { .. }]),
            "{:?}",
            answer.events
        );
        assert_eq!(counts(&cache), (1, 1, 1), "{field}");
        assert_eq!(decode_strictly(Coding::Gzip, &data_of(answer)), text(4000));
    }
}

#[test]
fn a_body_at_a_level_of_its_own_has_the_padding_of_its_content() {
    for &coding in Coding::ALL {
        let (plain, layer) = (
            CompressionLayer::new().clock(ManualClock::new()),
            padded(1000).clock(ManualClock::new()),
        );
        let level = (*coding.levels().end()).min(9);
        let send = |layer: &CompressionLayer, wish: bool, streamed: bool| {
            let mut case = Case {
                request: vec![("accept-encoding", coding.as_str())],
                layer: layer.clone(),
                ..Case::default()
            };
            if streamed {
                case.body = Script::new([Step::Data(text(4000))]);
            }
            if wish {
                let wish = CompressWith::new(coding).level(coding.level(level).unwrap());
                case = case.extended(wish);
            }
            let answer = case.send();
            if wish && !streamed {
                let at = |event: &Event| matches!(event, Event::Encoded { level: at, .. } if *at == level);
                assert!(answer.events.iter().any(at), "{coding}: {:?}", answer.events);
            }
            let data = data_of(answer);
            assert_eq!(decode_strictly(coding, &data), text(4000), "{coding}");
            data.len()
        };
        for streamed in [false, true] {
            let added = |wish| send(&layer, wish, streamed) - send(&plain, wish, streamed);
            let (usual, wished) = (added(false), added(true));
            assert!(usual > 0 && usual <= 1022, "{coding}: {usual}");
            // The end of a stream may share a block with data, or not.
            assert!(
                usual.abs_diff(wished) <= 12,
                "{coding} {streamed}: {usual} {wished}"
            );
        }
    }
}

#[cfg(feature = "dictionary")]
#[test]
fn the_handler_asks_for_a_level_with_a_dictionary() {
    let known = dictionary(5000);
    let body = version(&known);
    for (name, coding, wish, expected) in [
        ("dcz", Coding::Zstd, 1, 3),
        ("dcz", Coding::Zstd, 9, 9),
        ("dcb", Coding::Br, 1, 2),
        ("dcb", Coding::Br, 9, 9),
    ] {
        let wish = CompressWith::new(coding).level(coding.level(wish).unwrap());
        let layer = layer_with(&[&known]).etag(EtagPolicy::Suffix);
        let accept = format!("{coding}, {name}");
        let answer = accepting(layer, &accept, &known, Script::whole(body.clone()))
            .extended(wish)
            .send();
        assert!(
            matches!(
                answer.events[..],
                [Event::Encoded { level, dictionary: true, .. }] if level == expected
            ),
            "{name}: {:?}",
            answer.events
        );
        assert_eq!(answer.header("etag"), Some("W/\"x\""));
        must_decode(answer, name, &known, &body);
    }
}
