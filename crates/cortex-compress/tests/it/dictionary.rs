//! Compression Dictionary Transport. Section numbers are of RFC 9842 unless named.

use crate::ALLOCATOR;
use crate::case::{Answer, Case};
use crate::support::{Script, Step, decode, drive, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    BreachPolicy, Coding, CompressWith, CompressionLayer, Dictionary, DictionaryStore, EtagPolicy, Event,
    Job, Level, NoCompress, NotAcceptable, SkipReason, UseAsDictionary,
};
use cortex_testkit::ManualClock;
use http::{Method, StatusCode};
use http_body::Body;
use proptest::prelude::*;
use std::io::Read;
use std::pin::Pin;

pub(crate) const BOTH: &str = "accept-encoding, available-dictionary";

type Fields = Vec<(&'static str, String)>;

/// What the browsers that know of dictionaries send.
const BROWSER: &str = "gzip, deflate, br, zstd, dcb, dcz";

/// Words that responses share with a dictionary, and that compress badly without it.
pub(crate) fn dictionary(length: usize) -> Dictionary {
    Dictionary::new(noise(length)).unwrap()
}

/// A later version of the content of a dictionary: every 500 bytes something else.
pub(crate) fn version(dictionary: &Dictionary) -> Bytes {
    let mut content = dictionary.content().to_vec();
    for piece in content.chunks_mut(500) {
        piece[0] ^= 0x55;
    }
    content.into()
}

pub(crate) fn layer_with(dictionaries: &[&Dictionary]) -> CompressionLayer {
    let store = DictionaryStore::new();
    for &dictionary in dictionaries {
        store.insert(dictionary.clone()).unwrap();
    }
    CompressionLayer::new()
        .clock(ManualClock::new())
        .dictionaries(store)
}

/// An offload.
#[expect(clippy::unnecessary_wraps, reason = "it is what an offload returns")]
pub(crate) fn run_at_once(job: Job) -> Result<(), Job> {
    job();
    Ok(())
}

/// A case with these fields in the request.
pub(crate) fn asking(layer: CompressionLayer, fields: &[(&'static str, &str)]) -> Case {
    Case {
        request: fields.iter().map(|&(name, value)| (name, leak(value))).collect(),
        layer,
        ..Case::default()
    }
}

/// The fields of a case are static.
fn leak(value: &str) -> &'static str {
    String::leak(value.to_owned())
}

pub(crate) fn available(dictionary: &Dictionary) -> String {
    dictionary.available_dictionary().to_str().unwrap().to_owned()
}

/// A case of a client that has the dictionary and likes this coding.
pub(crate) fn accepting(
    layer: CompressionLayer,
    coding: &str,
    dictionary: &Dictionary,
    body: Script,
) -> Case {
    let available = available(dictionary);
    Case {
        body,
        ..asking(
            layer,
            &[("accept-encoding", coding), ("available-dictionary", &available)],
        )
    }
}

/// Decodes a response as a client with the dictionary does, by decoders of other crates.
fn decode_with(name: &str, dictionary: &Dictionary, data: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match name {
        "dcz" => {
            // 5: eight bytes, the hash, and a zstd stream in windows of at most 8 MiB.
            assert_eq!(data[..8], [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0]);
            assert_eq!(data[8..40], dictionary.hash()[..]);
            let content = dictionary.content();
            let mut stream = zstd::stream::read::Decoder::with_dictionary(&data[40..], content).unwrap();
            stream.window_log_max(23).unwrap();
            stream.read_to_end(&mut decoded).unwrap();
        }
        "dcb" => {
            // 4: four bytes, the hash, and a brotli stream.
            assert_eq!(data[..4], [0xff, 0x44, 0x43, 0x42]);
            assert_eq!(data[4..36], dictionary.hash()[..]);
            let content = dictionary.content().to_vec().into();
            let mut stream = brotli::Decompressor::new_with_custom_dict(&data[36..], 4096, content);
            stream.read_to_end(&mut decoded).unwrap();
        }
        other => panic!("{other} has no dictionary"),
    }
    decoded
}

/// The response is in the coding, and is the body; returns how long it was on the way.
#[track_caller]
pub(crate) fn must_decode(answer: Answer, name: &str, dictionary: &Dictionary, body: &[u8]) -> usize {
    assert_eq!(answer.header("content-encoding"), Some(name));
    assert_eq!(answer.header("vary"), Some(BOTH));
    let declared = answer
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap());
    let received = read(answer.response.into_body());
    let data = received.data();
    assert!(declared.is_none_or(|declared| declared == data.len()));
    assert!(
        decode_with(name, dictionary, &data) == body,
        "{name}: {} bytes",
        body.len()
    );
    data.len()
}

pub(crate) fn steps(data: &Bytes, length: usize, pauses: bool) -> Script {
    let pieces = data.chunks(length).map(|piece| Step::Data(data.slice_ref(piece)));
    if pauses {
        Script::new(pieces.flat_map(|piece| [piece, Step::Pause, Step::Pause]))
    } else {
        Script::new(pieces)
    }
}

#[test]
fn s4_s5_bodies_are_compressed_against_the_dictionary_and_framed() {
    let dictionary = dictionary(70_000);
    let layer = layer_with(&[&dictionary]);
    let body = version(&dictionary);
    let part = body.slice(20_000..30_000);
    for name in ["dcz", "dcb"] {
        for body in [&body, &part] {
            for script in [
                Script::whole(body.clone()),
                steps(body, 7000, false),
                steps(body, 7000, true),
                steps(body, body.len(), false),
            ] {
                let answer = accepting(layer.clone(), name, &dictionary, script).send();
                let length = must_decode(answer, name, &dictionary, body);
                // Nothing of it can be made smaller without the dictionary.
                assert!(length < body.len() / 25, "{name}: {length} of {}", body.len());
            }
        }
    }
}

#[test]
fn s4_s5_every_level_decodes() {
    let dictionary = dictionary(20_000);
    let body = [&version(&dictionary)[..], &text(5000)].concat();
    for (name, coding) in [("dcz", Coding::Zstd), ("dcb", Coding::Br)] {
        for level in coding.levels() {
            let layer = layer_with(&[&dictionary])
                .coding(coding, Level::new(level))
                .offload(run_at_once);
            for script in [
                Script::whole(body.clone()),
                steps(&body.clone().into(), 3000, true),
            ] {
                let answer = accepting(layer.clone(), name, &dictionary, script).send();
                let length = must_decode(answer, name, &dictionary, &body);
                assert!(length < 5000, "{name} {level}: {length}");
            }
        }
    }
}

#[test]
fn s5_a_body_longer_than_any_window_decodes() {
    let dictionary = dictionary(200_000);
    let layer = layer_with(&[&dictionary]).offload(run_at_once);
    let body: Bytes = [&version(&dictionary)[..], &text(1_500_000), &version(&dictionary)]
        .concat()
        .into();
    for name in ["dcz", "dcb"] {
        // Of known length, of one that says less than it is, and of unknown length.
        for exact in [Some(body.len()), Some(20_000), None] {
            let mut script = steps(&body, 60_000, false);
            script.exact = exact.map(|exact| exact as u64);
            let answer = accepting(layer.clone(), name, &dictionary, script).send();
            must_decode(answer, name, &dictionary, &body);
        }
    }
}

#[test]
fn the_dictionary_is_in_reach_of_all_of_a_body_whose_length_is_known() {
    let dictionary = dictionary(1_000_000);
    let layer = layer_with(&[&dictionary]).offload(run_at_once);
    let body = version(&dictionary);
    let script = steps(&body, 60_000, false).exact(body.len());
    let answer = accepting(layer, "dcz", &dictionary, script).send();
    let length = must_decode(answer, "dcz", &dictionary, &body);
    assert!(length < body.len() / 10, "{length}");
}

#[test]
fn an_offload_takes_what_takes_long() {
    let dictionary = dictionary(250_000);
    let jobs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&jobs);
    let layer = layer_with(&[&dictionary]).offload(move |job: Job| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        job();
        Ok(())
    });
    let body = version(&dictionary);
    for name in ["dcz", "dcb"] {
        // A batch of a stream is quick for zstd.
        for script in [Script::whole(body.clone()), steps(&body, 70_000, false)]
            .into_iter()
            .take(1 + usize::from(name == "dcb"))
        {
            let before = jobs.load(std::sync::atomic::Ordering::Relaxed);
            let answer = accepting(layer.clone(), name, &dictionary, script).send();
            must_decode(answer, name, &dictionary, &body);
            assert!(jobs.load(std::sync::atomic::Ordering::Relaxed) > before, "{name}");
        }
    }
}

/// Whoever goes through the dictionaries of a server has each response begin with one that is not worked up yet.
#[test]
fn no_task_works_a_long_dictionary_up() {
    let known: Vec<_> = (0..64_u8)
        .map(|number| Dictionary::new([&[number], &noise(80_000)[..]].concat()).unwrap())
        .collect();
    let layer = layer_with(&known.iter().collect::<Vec<_>>());
    let jobs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&jobs);
    let count = move || counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let count = std::sync::Arc::new(count);
    let [refusing, taking, losing] = std::array::from_fn(|_| std::sync::Arc::clone(&count));
    let refusing = move |job: Job| {
        refusing();
        Err(job)
    };
    let taking = move |job: Job| {
        taking();
        run_at_once(job)
    };
    let losing = move |job: Job| {
        losing();
        drop(job);
        Ok(())
    };
    for (how, layer, whole, stream) in [
        ("without an offload", layer.clone(), "zstd", "zstd"),
        ("saturated", layer.clone().offload(refusing), "zstd", "zstd"),
        ("with an offload", layer.clone().offload(taking), "dcz", "dcz"),
        (
            "its jobs are dropped",
            layer.clone().offload(losing),
            "zstd",
            "dcz",
        ),
    ] {
        for dictionary in &known {
            let body = version(dictionary).slice(..5000);
            for (script, name) in [
                (Script::whole(body.clone()), whole),
                (steps(&body, 700, true), stream),
            ] {
                let before = jobs.load(std::sync::atomic::Ordering::Relaxed);
                let answer = accepting(layer.clone(), "dcz, zstd, gzip;q=0.5", dictionary, script).send();
                let used = jobs.load(std::sync::atomic::Ordering::Relaxed) - before;
                assert_eq!(used, usize::from(how != "without an offload"), "{how}");
                assert_eq!(answer.header("vary"), Some(BOTH));
                if name == "dcz" {
                    must_decode(answer, name, dictionary, &body);
                } else {
                    let refused = answer.header("content-encoding").is_none();
                    assert!(
                        refused || answer.header("content-encoding") == Some(name),
                        "{how}"
                    );
                    let data = read(answer.response.into_body()).data();
                    // Noise gets no smaller without the dictionary, which is found out of a body that is all there.
                    assert_eq!(refused, name == "zstd" && data == body, "{how}");
                }
            }
        }
    }
    let alone = |body| accepting(layer.clone(), "dcz", &known[0], body).send();
    for body in [Script::whole(text(5000)), steps(&text(5000), 700, true)] {
        let answer = alone(body);
        assert_eq!(
            answer.reason(),
            Some(SkipReason::Pressure),
            "it accepts nothing else"
        );
        assert_eq!(answer.header("vary"), Some(BOTH));
        assert_eq!(read(answer.response.into_body()).data(), text(5000));
    }
}

#[test]
fn an_encoder_that_has_its_dictionary_worked_up_needs_no_offload_any_more() {
    let known = dictionary(80_000);
    let jobs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&jobs);
    let layer = layer_with(&[&known]).offload(move |job: Job| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        run_at_once(job)
    });
    let body = version(&known).slice(..5000);
    for expected in [1, 1, 1] {
        let answer = accepting(layer.clone(), "dcz", &known, steps(&body, 700, true)).send();
        let length = must_decode(answer, "dcz", &known, &body);
        assert!(length < 500, "{length}");
        assert_eq!(jobs.load(std::sync::atomic::Ordering::Relaxed), expected);
    }
    let answer = accepting(layer, "dcz", &known, Script::whole(body.clone())).send();
    assert!(matches!(
        answer.events[..],
        [Event::Encoded { dictionary: true, .. }]
    ));
    assert_eq!(
        jobs.load(std::sync::atomic::Ordering::Relaxed),
        2,
        "whole bodies have encoders of their own"
    );
}

#[test]
fn s6_1_a_coding_with_a_dictionary_is_sent_only_where_it_is_named_and_the_hash_is_known() {
    let known = dictionary(5000);
    let unknown = Dictionary::new(text(5000)).unwrap();
    let hash = available(&known);
    let bare = hash.trim_matches(':').to_owned();
    let both = || layer_with(&[&known]);
    let zstd = || both().coding(Coding::Zstd, Level::DEFAULT);
    let brotli_first = || {
        both()
            .coding(Coding::Br, Level::DEFAULT)
            .coding(Coding::Zstd, Level::DEFAULT)
    };
    let gzip = || both().coding(Coding::Gzip, Level::DEFAULT);
    let with_hash = |accept: &str| {
        vec![
            ("accept-encoding", accept.to_owned()),
            ("available-dictionary", hash.clone()),
        ]
    };
    let fields = |accept: &str, field: &str| {
        vec![
            ("accept-encoding", accept.to_owned()),
            ("available-dictionary", field.to_owned()),
        ]
    };
    let cases: Vec<(CompressionLayer, Fields, Option<&str>)> = vec![
        // The server's order decides among equals, and a dictionary is better than none.
        (both(), with_hash(BROWSER), Some("dcz")),
        (brotli_first(), with_hash(BROWSER), Some("dcb")),
        (both(), with_hash("dcb, gzip"), Some("dcb")),
        (both(), with_hash("DCZ"), Some("dcz")),
        // RFC 9110, section 12.5.3: weights, refusals, the identity.
        (both(), with_hash("dcz;q=0.5, dcb;q=0.6"), Some("dcb")),
        (both(), with_hash("dcz;q=0.5, zstd;q=0.6"), Some("zstd")),
        (both(), with_hash("dcz;q=0.5, *;q=0.6"), Some("zstd")),
        (both(), with_hash("dcz;q=0.5, gzip;q=0.5"), Some("dcz")),
        (both(), with_hash("dcz;q=0.5, identity"), None),
        (both(), with_hash("dcz;q=0.5, identity;q=0.5"), Some("dcz")),
        (both(), with_hash("dcz;q=0, gzip"), Some("gzip")),
        (both(), with_hash("dcz, dcz;q=0, gzip"), Some("gzip")),
        (both(), with_hash("dcz;q=0, dcb;q=0"), None),
        (both(), with_hash("dcz;q=1.5, gzip"), Some("gzip")),
        (both(), with_hash("dcz, *;q=0"), Some("dcz")),
        // `*` does not name them.
        (both(), with_hash("*"), Some("zstd")),
        (both(), with_hash("gzip;q=0.5, *"), Some("zstd")),
        (both(), with_hash("zstd"), Some("zstd")),
        (both(), with_hash(""), None),
        (both(), vec![("available-dictionary", hash.clone())], None),
        // Each with its coding on offer only.
        (zstd(), with_hash("dcb, gzip"), None),
        (zstd(), with_hash(BROWSER), Some("dcz")),
        (gzip(), with_hash(BROWSER), Some("gzip")),
        // 2.2: one byte sequence of 32 bytes.
        (both(), fields(BROWSER, &available(&unknown)), Some("zstd")),
        (both(), fields(BROWSER, &bare), Some("zstd")),
        (both(), fields(BROWSER, &format!("\"{bare}\"")), Some("zstd")),
        (both(), fields(BROWSER, &format!("{hash}, {hash}")), Some("zstd")),
        (both(), fields(BROWSER, &hash.to_lowercase()), Some("zstd")),
        (both(), fields(BROWSER, ""), Some("zstd")),
        (both(), fields(BROWSER, &format!("{hash};a=1")), Some("dcz")),
        (
            both(),
            vec![("accept-encoding", BROWSER.to_owned())],
            Some("zstd"),
        ),
        (
            both(),
            [with_hash(BROWSER), vec![("available-dictionary", hash.clone())]].concat(),
            Some("zstd"),
        ),
        // 2.3: the name says nothing.
        (
            both(),
            [
                with_hash(BROWSER),
                vec![("dictionary-id", "\"other\"".to_owned())],
            ]
            .concat(),
            Some("dcz"),
        ),
        (
            both(),
            vec![
                ("accept-encoding", BROWSER.to_owned()),
                ("dictionary-id", "\"known\"".to_owned()),
            ],
            Some("zstd"),
        ),
        (layer_with(&[]), with_hash(BROWSER), Some("zstd")),
        (CompressionLayer::new(), with_hash(BROWSER), Some("zstd")),
    ];
    for (layer, fields, expected) in cases {
        let request: Vec<_> = fields.iter().map(|(name, value)| (*name, &value[..])).collect();
        let answer = asking(layer, &request).send();
        assert_eq!(answer.header("content-encoding"), expected, "{request:?}");
    }
}

#[test]
fn s9_3_3_another_origin_gets_a_dictionary_only_with_what_it_may_read() {
    let known = dictionary(5000);
    let body = version(&known);
    let origin = "https://other.example";
    // Sec-Fetch-Site, Sec-Fetch-Mode, Origin; Access-Control-Allow-Origin.
    let cases: [([Option<&str>; 4], bool); 19] = [
        ([None, None, None, None], true),
        ([None, Some("no-cors"), None, None], true),
        ([Some("same-origin"), Some("cors"), None, None], true),
        ([Some("same-origin"), Some("no-cors"), None, None], true),
        ([Some("cross-site"), None, None, None], true),
        ([Some("none"), Some("navigate"), None, None], true),
        ([Some("cross-site"), Some("navigate"), None, None], true),
        ([Some("same-site"), Some("same-origin"), None, None], true),
        ([Some("cross-site"), Some("cors"), Some(origin), Some("*")], true),
        (
            [Some("cross-site"), Some("cors"), Some(origin), Some(origin)],
            true,
        ),
        (
            [Some("same-site"), Some("cors"), Some(origin), Some(origin)],
            true,
        ),
        ([Some("cross-site"), Some("cors"), Some(origin), None], false),
        ([Some("cross-site"), Some("cors"), None, Some("*")], false),
        (
            [
                Some("cross-site"),
                Some("cors"),
                Some(origin),
                Some("https://third.example"),
            ],
            false,
        ),
        (
            [Some("cross-site"), Some("no-cors"), Some(origin), Some("*")],
            false,
        ),
        ([Some("same-site"), Some("no-cors"), None, None], false),
        ([Some("cross-site"), Some("websocket"), None, None], false),
        ([Some("cross-site"), Some("Cors"), Some(origin), Some("*")], false),
        ([Some("nonsense"), Some(""), None, None], false),
    ];
    for ([site, mode, from, allowed], expected) in cases {
        for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::GET, 304)] {
            let mut case = accepting(
                layer_with(&[&known]),
                BROWSER,
                &known,
                Script::whole(body.clone()),
            );
            (case.method, case.status) = (method, StatusCode::from_u16(status).unwrap());
            let fields = [
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("origin", from),
            ];
            let fields = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            case.request
                .extend(fields.map(|(name, value)| (name, leak(value))));
            case.response
                .extend(allowed.map(|allowed| ("access-control-allow-origin", leak(allowed))));
            let answer = case.send();
            assert_eq!(answer.header("vary"), Some(BOTH));
            let coding = answer.header("content-encoding").map(str::to_owned);
            let says = format!("{site:?} {mode:?} {from:?} {allowed:?} {status}");
            if status == 304 {
                assert_eq!(coding, None, "{says}");
            } else if expected {
                assert_eq!(coding.as_deref(), Some("dcz"), "{says}");
            } else {
                // What the client gets without a dictionary; to GET that is the identity, as it does not get smaller.
                assert_ne!(coding.as_deref(), Some("dcz"), "{says}");
            }
        }
    }

    // Who accepts nothing else gets the identity, and not a dictionary with another coding's name.
    let mut case = accepting(layer_with(&[&known]), "dcz", &known, Script::whole(text(4000)));
    case.request
        .extend([("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")]);
    case.request.push(("origin", origin));
    let answer = case.send();
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.reason(), Some(SkipReason::NotAccepted));
    assert_eq!(read(answer.response.into_body()).data(), text(4000));
}

#[test]
fn s6_2_whatever_might_be_encoded_varies_on_both_fields() {
    let known = dictionary(5000);
    let case = |accept: &str| asking(layer_with(&[&known]), &[("accept-encoding", accept)]);
    let vary = |case: Case| case.send().header("vary").map(str::to_owned);
    assert_eq!(vary(case("gzip")).as_deref(), Some(BOTH));
    assert_eq!(vary(case("identity")).as_deref(), Some(BOTH));
    assert_eq!(vary(asking(layer_with(&[]), &[])).as_deref(), Some(BOTH));
    for (method, status) in [
        (Method::HEAD, 200),
        (Method::GET, 206),
        (Method::GET, 304),
        (Method::GET, 404),
    ] {
        let case = Case {
            method,
            status: StatusCode::from_u16(status).unwrap(),
            ..case("gzip")
        };
        assert_eq!(vary(case).as_deref(), Some(BOTH), "{status}");
    }
    let stream = Case {
        body: steps(&text(5000), 1000, true),
        ..case("gzip")
    };
    assert_eq!(vary(stream).as_deref(), Some(BOTH));
    let broken = Case {
        body: Script::new([Step::Fail]).exact(4000),
        ..case("gzip")
    };
    assert_eq!(vary(broken).as_deref(), Some(BOTH));
    let incompressible = Case {
        body: Script::whole(noise(4000)),
        ..case("gzip")
    };
    assert_eq!(vary(incompressible).as_deref(), Some(BOTH));

    let image = Case {
        response: vec![("content-type", "image/png")],
        ..case(BROWSER)
    };
    assert_eq!(vary(image), None);
    assert_eq!(vary(case(BROWSER).extended(NoCompress)), None);
    let without = Case {
        layer: CompressionLayer::new(),
        ..case(BROWSER)
    };
    assert_eq!(vary(without).as_deref(), Some("accept-encoding"));
}

#[test]
fn the_header_of_head_and_of_304_are_those_of_get() {
    let known = dictionary(5000);
    let sent = |method: Method, status: u16, etag: EtagPolicy| {
        let case = accepting(
            layer_with(&[&known]).etag(etag),
            BROWSER,
            &known,
            Script::whole(version(&known)),
        );
        let mut case = Case {
            method,
            status: StatusCode::from_u16(status).unwrap(),
            ..case
        };
        case.request.push(("if-none-match", "W/\"x\""));
        case.send()
    };
    for etag in [EtagPolicy::Weaken, EtagPolicy::Suffix] {
        for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::GET, 304)] {
            let answer = sent(method, status, etag);
            // A dictionary makes other bytes than another one, so that no tag is strong.
            assert_eq!(answer.header("etag"), Some("W/\"x\""), "{status} {etag:?}");
            let coding = answer.header("content-encoding");
            assert_eq!(coding, (status == 200).then_some("dcz"));
        }
    }
}

#[test]
fn the_wishes_of_the_handler_come_first() {
    let known = dictionary(5000);
    let body = text(4000);
    let case = || {
        accepting(
            layer_with(&[&known]),
            BROWSER,
            &known,
            Script::whole(body.clone()),
        )
    };
    let answer = case().extended(CompressWith::new(Coding::Gzip)).send();
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let data = read(answer.response.into_body()).data();
    assert_eq!(decode(Coding::Gzip, &data), (body.to_vec(), true));
    // The coding, with what the client has.
    let answer = case().extended(CompressWith::new(Coding::Zstd)).send();
    must_decode(answer, "dcz", &known, &body);
    let answer = case().extended(NoCompress).send();
    answer.must_be_untouched(SkipReason::OptedOut);
}

#[test]
fn a_client_that_takes_nothing_but_a_dictionary_is_not_refused() {
    let known = dictionary(5000);
    let layer = || layer_with(&[&known]).not_acceptable(NotAcceptable::Status406BeforeHandler);
    let body = version(&known);
    let only = "dcz, *;q=0";
    let answer = accepting(layer(), only, &known, Script::whole(body.clone())).send();
    must_decode(answer, "dcz", &known, &body);
    let other = Dictionary::new(text(5000)).unwrap();
    let answer = accepting(layer(), only, &other, Script::whole(body)).send_refused();
    assert_eq!(answer.response.status(), StatusCode::NOT_ACCEPTABLE);
    let lines = answer.response.headers().get_all("vary").iter();
    assert_eq!(
        lines.collect::<Vec<_>>(),
        ["accept-encoding", "available-dictionary"]
    );
}

#[test]
fn an_observer_learns_of_the_dictionary() {
    let known = dictionary(5000);
    for (accept, expected) in [("dcz", true), ("dcb", true), ("zstd", false)] {
        for whole in [true, false] {
            let body = text(4000);
            let script = if whole {
                Script::whole(body.clone())
            } else {
                steps(&body, 900, false)
            };
            let mut case = accepting(layer_with(&[&known]), accept, &known, script);
            let log = std::sync::Arc::new(crate::case::Log::default());
            case.layer = case.layer.observe(std::sync::Arc::clone(&log));
            let response = case.response.clone();
            let mut builder = http::Response::builder();
            for (name, value) in response {
                builder = builder.header(name, value);
            }
            let mut request = http::Request::builder();
            for (name, value) in case.request {
                request = request.header(name, value);
            }
            let response = builder.body(case.body).unwrap();
            let answer = respond(&case.layer, request.body(()).unwrap(), response);
            read(answer.into_body());
            let events = log.0.lock().unwrap();
            assert!(
                matches!(events[..], [Event::Encoded { dictionary, bytes_in: 4000, .. }] if dictionary == expected),
                "{events:?}"
            );
        }
    }
}

#[test]
fn dictionaries_come_and_go_while_the_server_runs() {
    let (one, two) = (dictionary(5000), Dictionary::new(text(5000)).unwrap());
    let store = DictionaryStore::new();
    let layer = CompressionLayer::new()
        .clock(ManualClock::new())
        .dictionaries(store.clone());
    let body = text(4000);
    let coding = |dictionary: &Dictionary| {
        let answer = accepting(layer.clone(), BROWSER, dictionary, Script::whole(body.clone())).send();
        answer.header("content-encoding").map(str::to_owned)
    };
    assert_eq!(coding(&one).as_deref(), Some("zstd"));
    store.insert(one.clone()).unwrap();
    assert_eq!(coding(&one).as_deref(), Some("dcz"));
    store.insert(two.clone()).unwrap();
    assert_eq!(coding(&two).as_deref(), Some("dcz"));

    // What has begun is finished, whatever becomes of the dictionary.
    let script = steps(&version(&one), 900, true);
    let begun = accepting(layer.clone(), "dcz", &one, script).send();
    assert!(store.remove(one.hash()));
    must_decode(begun, "dcz", &one, &version(&one));
    assert_eq!(coding(&one).as_deref(), Some("zstd"));

    // Encoders never mix dictionaries up.
    store.insert(one.clone()).unwrap();
    for _ in 0..5 {
        for dictionary in [&one, &two] {
            for name in ["dcz", "dcb"] {
                let answer = accepting(layer.clone(), name, dictionary, Script::whole(body.clone())).send();
                must_decode(answer, name, dictionary, &body);
            }
        }
        let plain = asking(layer.clone(), &[("accept-encoding", "zstd")]).send();
        let data = read(plain.response.into_body()).data();
        assert_eq!(decode(Coding::Zstd, &data), (text(4000).to_vec(), true));
    }
}

#[test]
fn a_long_dictionary_is_for_zstd_alone() {
    for (length, expected) in [(256 << 10, "dcb"), ((256 << 10) + 1, "gzip")] {
        let dictionary = dictionary(length);
        let body = version(&dictionary).slice(..3000);
        let case = |accept| {
            accepting(
                layer_with(&[&dictionary]).offload(run_at_once),
                accept,
                &dictionary,
                Script::whole(body.clone()),
            )
        };
        // The body does not get smaller without the dictionary.
        let answer = case("dcb, gzip").extended(CompressWith::new(Coding::Gzip)).send();
        assert_eq!(answer.header("content-encoding"), None);
        let text = Case {
            body: Script::whole(text(4000)),
            ..case("dcb, gzip;q=0.5")
        };
        assert_eq!(text.send().header("content-encoding"), Some(expected));
        let answer = case("dcz, dcb").send();
        must_decode(answer, "dcz", &dictionary, &body);
    }
}

#[test]
fn a_body_that_does_not_get_smaller_is_the_identity() {
    let dictionary = Dictionary::new(text(5000)).unwrap();
    for name in ["dcz", "dcb"] {
        let layer = layer_with(&[&dictionary]).min_size(0);
        for body in [noise(4000), noise(30), noise(1), Bytes::from_static(&[b'a'; 37])] {
            let answer = accepting(layer.clone(), name, &dictionary, Script::whole(body.clone())).send();
            assert_eq!(answer.reason(), Some(SkipReason::NotSmaller));
            assert_eq!(answer.header("vary"), Some(BOTH));
            assert_eq!(answer.header("etag"), Some("\"x\""));
            assert_eq!(read(answer.response.into_body()).data(), body);
        }
    }
}

#[test]
fn without_memory_the_identity_is_sent() {
    let known = dictionary(5000);
    for body in [Script::whole(text(4000)), steps(&text(4000), 500, false)] {
        let layer = layer_with(&[&known]).memory_budget(100_000);
        let answer = accepting(layer, BROWSER, &known, body).send();
        assert_eq!(answer.reason(), Some(SkipReason::MemoryBudget));
        assert_eq!(answer.header("vary"), Some(BOTH));
        assert_eq!(answer.header("content-encoding"), None);
    }
}

/// Contexts of zstd are not seen here, as they are C's.
#[test]
fn a_reader_that_stopped_holds_no_more_than_a_state() {
    let known = dictionary(100_000);
    let layer = layer_with(&[&known]);
    let mut script = steps(&text(800_000), 100_000, false);
    script.steps.push_back(Step::Stall);
    let (body, usage) = ALLOCATOR.measure(|| {
        let mut body = accepting(layer.clone(), "dcb", &known, script)
            .send()
            .response
            .into_body();
        let mut read = 0;
        while read < 50_000 {
            let (Some(frame), _) = drive(|cx| Pin::new(&mut body).poll_frame(cx)) else {
                break;
            };
            read += frame.unwrap().unwrap().into_data().unwrap().len();
        }
        body
    });
    let held = usage.retained();
    assert!((1_000_000..=2_500_000).contains(&held), "{held} bytes");
    drop(body);
}

#[test]
fn in_the_long_run_memory_stays_as_it_is() {
    let known = [dictionary(5000), dictionary(30_000)];
    let layer = layer_with(&[&known[0], &known[1]]).breach(BreachPolicy::Pad { max: 100 });
    let round = || {
        for (name, dictionary) in ["dcz", "dcb"]
            .into_iter()
            .flat_map(|name| known.each_ref().map(|each| (name, each)))
        {
            let body = version(dictionary);
            for script in [
                Script::whole(body.clone()),
                Script::whole(noise(2000)),
                steps(&body, 900, true),
                Script::new([Step::Data(body.clone()), Step::Fail]),
                Script::new([Step::Data(body.clone()), Step::Stall]),
            ] {
                let available = dictionary.available_dictionary();
                let request = http::Request::builder()
                    .header("accept-encoding", name)
                    .header("available-dictionary", available);
                let response = http::Response::builder().header("content-type", "text/plain");
                let response = respond(&layer, request.body(()).unwrap(), response.body(script).unwrap());
                let mut body = response.into_body();
                let _ = drive(|cx| Pin::new(&mut body).poll_frame(cx));
                drop(read(body));
            }
        }
    };
    for _ in 0..3 {
        round();
    }
    let ((), usage) = ALLOCATOR.measure(|| {
        for _ in 0..5 {
            round();
        }
    });
    assert_eq!(usage.retained(), 0, "{usage:?}");
}

#[test]
fn what_fails_has_no_valid_end() {
    let known = dictionary(5000);
    for name in ["dcz", "dcb"] {
        let script = Script::new([Step::Data(text(4000)), Step::Pause, Step::Pause, Step::Fail]);
        let answer = accepting(layer_with(&[&known]), name, &known, script).send();
        let received = read(answer.response.into_body());
        assert!(received.error.is_some());
        let data = received.data();
        let mut decoded = Vec::new();
        let content = known.content();
        let error = if name == "dcz" {
            let mut stream = zstd::stream::read::Decoder::with_dictionary(&data[40..], content).unwrap();
            stream.read_to_end(&mut decoded)
        } else {
            let content = content.to_vec().into();
            brotli::Decompressor::new_with_custom_dict(&data[36..], 4096, content).read_to_end(&mut decoded)
        };
        assert!(error.is_err(), "{name}");
        assert_eq!(decoded, text(4000), "{name}: the pause has brought it out");
    }
}

#[test]
fn padding_is_skipped_by_decoders_with_a_dictionary() {
    let known = dictionary(30_000);
    let layer = layer_with(&[&known]).breach(BreachPolicy::Pad { max: 300 });
    let body = version(&known);
    for name in ["dcz", "dcb"] {
        for script in [Script::whole(body.clone()), steps(&body, 900, true)] {
            let padded = accepting(layer.clone(), name, &known, script.clone()).send();
            let padded = must_decode(padded, name, &known, &body);
            let plain = accepting(layer.clone().breach(BreachPolicy::Off), name, &known, script).send();
            let plain = must_decode(plain, name, &known, &body);
            assert!(
                (plain + 3..plain + 330).contains(&padded),
                "{name}: {plain} {padded}"
            );
        }
    }
}

#[test]
fn requests_with_credentials_may_be_left_alone() {
    let known = dictionary(5000);
    let layer = layer_with(&[&known]).breach(BreachPolicy::SkipWhenCredentials);
    let mut case = accepting(layer, BROWSER, &known, Script::whole(text(4000)));
    case.request.push(("cookie", "a=b"));
    let answer = case.send();
    assert_eq!(answer.reason(), Some(SkipReason::Credentials));
    assert_eq!(answer.header("vary"), Some(BOTH));
}

#[test]
fn s2_1_a_marked_response_says_that_it_is_a_dictionary() {
    let mark = UseAsDictionary::new("/app/*").unwrap();
    let marked = |case: Case| case.extended(mark.clone()).send();
    for status in [200, 304] {
        let case = Case {
            status: StatusCode::from_u16(status).unwrap(),
            ..Case::default()
        };
        assert_eq!(marked(case).header("use-as-dictionary"), Some("match=\"/app/*\""));
    }
    let small = Case {
        body: Script::whole("small"),
        ..Case::default()
    };
    assert_eq!(
        marked(small).header("use-as-dictionary"),
        Some("match=\"/app/*\"")
    );
    let own = crate::case::with(&[("use-as-dictionary", "match=\"/own\"")]);
    assert_eq!(marked(own).header("use-as-dictionary"), Some("match=\"/own\""));
    assert_eq!(Case::default().send().header("use-as-dictionary"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_decodes_with_any_dictionary(
        content in prop::collection::vec(any::<u8>(), 8..5000),
        copies in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..2000, any::<u8>()), 0..40),
        brotli in any::<bool>(),
        effort in 0_u8..20,
        pauses in any::<bool>(),
        piece in 1_usize..9000,
    ) {
        prop_assume!(!content.starts_with(&[0x37, 0xa4, 0x30, 0xec]));
        let dictionary = Dictionary::new(content.clone()).unwrap();
        let (name, coding) = if brotli { ("dcb", Coding::Br) } else { ("dcz", Coding::Zstd) };
        let level = effort.clamp(*coding.levels().start(), *coding.levels().end());
        let layer = layer_with(&[&dictionary]).coding(coding, Level::new(level)).offload(run_at_once);
        // Pieces of the dictionary, its end and its beginning among them, with other bytes between them.
        let mut body = Vec::new();
        for (at, length, between) in copies {
            let at = at.index(content.len());
            body.extend_from_slice(&content[at..content.len().min(at + length)]);
            body.push(between);
        }
        let script = steps(&body.clone().into(), piece, pauses);
        let answer = accepting(layer, name, &dictionary, script).send();
        must_decode(answer, name, &dictionary, &body);
    }
}
