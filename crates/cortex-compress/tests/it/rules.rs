//! Which responses are encoded, and what their headers say: RFC 9110.

use crate::case::{Answer, Case, Log, asking, of_body, of_status, with};
use crate::support::{Script, Step, decode, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    Coding, CompressError, CompressWith, CompressionLayer, ContentTypes, EncodePath, EtagPolicy, Event, Job,
    Level, NoCompress, NotAcceptable, SkipReason,
};
use cortex_testkit::ManualClock;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use std::sync::Arc;

#[test]
fn the_default_case_is_encoded() {
    Case::default().send().must_be_encoded();
}

#[test]
fn n1_n2_n8_without_a_coding_the_identity_is_sent() {
    asking(&[]).send().must_be_identity(SkipReason::NotAccepted);
    asking(&[("accept-encoding", "")])
        .send()
        .must_be_identity(SkipReason::NotAccepted);
    asking(&[("accept-encoding", "compress")])
        .send()
        .must_be_identity(SkipReason::NotAccepted);
    asking(&[("accept-encoding", "gzip;q=0.1, identity")])
        .send()
        .must_be_identity(SkipReason::NotAccepted);
}

#[test]
fn n9_refused_identity_is_sent_anyway_and_whole() {
    let answer = asking(&[("accept-encoding", "identity;q=0, *;q=0")]).send();
    assert_eq!(answer.response.status(), StatusCode::OK);
    assert_eq!(answer.reason(), Some(SkipReason::NotAccepted));
    assert_eq!(read(answer.response.into_body()).data(), text(4000));
}

#[test]
fn n9_refused_identity_is_answered_with_406_where_that_is_asked_for() {
    let strict = || CompressionLayer::new().not_acceptable(NotAcceptable::Status406BeforeHandler);
    let ask = |accept, layer| Case {
        layer,
        ..asking(&[("accept-encoding", accept)])
    };
    for accept in [
        "identity;q=0",
        "*;q=0",
        "compress, identity;q=0",
        "gzip;q=0, *;q=0",
    ] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let mut case = ask(accept, strict());
            let polls = Arc::clone(&case.body.polls);
            case.method = method;
            let answer = case.send_refused();
            assert_eq!(answer.response.status(), StatusCode::NOT_ACCEPTABLE);
            assert_eq!(answer.reason(), Some(SkipReason::NotAcceptable));
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            let body = answer.response.into_body();
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            let text = String::from_utf8(read(body).data()).unwrap();
            assert_eq!(text.len(), length);
            assert!(
                text.ends_with("There is: zstd, br, gzip, deflate, identity.\n"),
                "{text}"
            );
            assert_eq!(polls.load(std::sync::atomic::Ordering::Relaxed), 0);
        }
    }
    let gzip = strict().coding(Coding::Gzip, Coding::Gzip.level(1).unwrap());
    let answer = ask("br, identity;q=0", gzip).send_refused();
    let text = String::from_utf8(read(answer.response.into_body()).data()).unwrap();
    assert!(text.ends_with(": gzip, identity.\n"), "{text}");

    // All others get to the handler.
    for accept in ["gzip, identity;q=0", "identity;q=0, *;q=0.1", "x-gzip, *;q=0"] {
        let status = ask(accept, strict()).send().response.status();
        assert_eq!(status, StatusCode::OK, "{accept}");
    }
    ask("", strict()).send().must_be_identity(SkipReason::NotAccepted);
    ask("compress", strict())
        .send()
        .must_be_identity(SkipReason::NotAccepted);
    let tunnel = Case {
        method: Method::CONNECT,
        ..ask("*;q=0", strict())
    };
    tunnel.send().must_be_untouched(SkipReason::Status); // 9.3.6
}

#[test]
fn n10_encoded_responses_pass_and_identity_is_an_opt_out() {
    let answer = with(&[("content-encoding", "br")]).send();
    assert_eq!(answer.header("content-encoding"), Some("br"));
    answer.must_be_untouched(SkipReason::AlreadyEncoded);
    for identity in ["identity", "Identity", "identity, identity"] {
        let answer = with(&[("content-encoding", identity)]).send();
        assert_eq!(answer.header("content-encoding"), None);
        answer.must_be_untouched(SkipReason::OptedOut);
    }
    let answer = with(&[("content-encoding", "identity, gzip")]).send();
    assert_eq!(answer.header("content-encoding"), Some("identity, gzip"));
    answer.must_be_untouched(SkipReason::AlreadyEncoded);
    let mut tiny = with(&[("content-encoding", "identity")]);
    tiny.body = Script::whole("tiny");
    assert_eq!(tiny.send().header("content-encoding"), None);
    let mut not_modified = with(&[("content-encoding", "identity")]);
    not_modified.status = StatusCode::NOT_MODIFIED;
    let answer = not_modified.send();
    assert_eq!(answer.header("content-encoding"), None);
    answer.must_be_untouched(SkipReason::Status);
}

#[test]
fn e1_statuses_without_content_are_untouched() {
    for status in [100, 101, 103, 204, 205] {
        of_status(status).send().must_be_untouched(SkipReason::Status);
    }
    let tunnel = Case {
        method: Method::CONNECT,
        ..Case::default()
    };
    tunnel.send().must_be_untouched(SkipReason::Status);
    let refused_tunnel = Case {
        method: Method::CONNECT,
        ..of_status(403)
    };
    refused_tunnel.send().must_be_encoded();
}

#[test]
fn e1_an_empty_body_is_never_encoded() {
    let empty = Case {
        body: Script::default().exact(0),
        layer: CompressionLayer::new().min_size(0),
        ..Case::default()
    };
    empty.send().must_be_untouched(SkipReason::TooSmall);
}

#[test]
fn other_statuses_are_encoded() {
    for status in [200, 201, 203, 299, 400, 404, 500, 503] {
        of_status(status).send().must_be_encoded();
    }
}

#[test]
fn e2_parts_are_never_encoded() {
    of_status(206).send().must_be_identity(SkipReason::Range);
    with(&[("content-range", "bytes 0-3999/9000")])
        .send()
        .must_be_identity(SkipReason::Range);
    let mut parts = with(&[("content-type", "multipart/byteranges; boundary=b")]);
    parts.status = StatusCode::PARTIAL_CONTENT;
    parts.send().must_be_identity(SkipReason::Range);
    of_status(416).send().must_be_untouched(SkipReason::Range);
    let short = Case {
        body: Script::whole("abc"),
        ..of_status(206)
    };
    short.send().must_be_identity(SkipReason::Range);
    let mut image = with(&[("content-type", "image/png")]);
    image.status = StatusCode::PARTIAL_CONTENT;
    image.send().must_be_untouched(SkipReason::ContentType);
}

#[test]
fn e2_a_range_request_answered_in_full_is_encoded() {
    asking(&[("accept-encoding", "gzip"), ("range", "bytes=0-9")])
        .send()
        .must_be_encoded();
}

#[test]
fn e3_no_transform_leaves_the_response_untouched() {
    for value in [
        "no-transform",
        "No-Transform",
        "public, no-transform",
        "private=\"a, b\", no-transform",
    ] {
        with(&[("cache-control", value)])
            .send()
            .must_be_untouched(SkipReason::NoTransform);
        let request = asking(&[("accept-encoding", "gzip"), ("cache-control", value)]);
        request.send().must_be_untouched(SkipReason::NoTransform);
    }
    for value in [
        "x-no-transform",
        "no-transform-at-all",
        "private=\"no-transform, x\"",
        "max-age=1",
    ] {
        with(&[("cache-control", value)]).send().must_be_encoded();
    }
    let said = || {
        let request = asking(&[("accept-encoding", "gzip"), ("cache-control", "no-transform")]);
        [with(&[("cache-control", "no-transform")]), request]
    };
    for case in said() {
        let layer = CompressionLayer::new().no_transform(false);
        Case { layer, ..case }.send().must_be_encoded();
    }
    for case in said() {
        let layer = CompressionLayer::new().no_transform(false).no_transform(true);
        let untouched = Case { layer, ..case }.send();
        untouched.must_be_untouched(SkipReason::NoTransform);
    }
}

#[test]
fn e4_only_listed_types_are_encoded() {
    for value in [
        "text/html; charset=utf-8",
        "Application/JSON",
        "application/problem+json",
        "image/svg+xml",
    ] {
        with(&[("content-type", value)]).send().must_be_encoded();
    }
    for value in [
        "image/png",
        "application/zip",
        "application/grpc",
        "application/grpc+json",
        "nonsense",
        "",
    ] {
        with(&[("content-type", value)])
            .send()
            .must_be_untouched(SkipReason::ContentType);
    }
    let untyped = Case {
        response: vec![("etag", "\"x\"")],
        ..Case::default()
    };
    untyped.send().must_be_untouched(SkipReason::ContentType);
    let listed = Case {
        layer: CompressionLayer::new().types(ContentTypes::none().allow("image/png").unwrap()),
        ..with(&[("content-type", "image/png")])
    };
    listed.send().must_be_encoded();
}

#[test]
fn e4_events_are_encoded_where_that_is_asked_for() {
    for value in ["text/event-stream", "Text/Event-Stream; charset=utf-8"] {
        let events = |layer| Case {
            layer,
            ..with(&[("content-type", value)])
        };
        for layer in [
            CompressionLayer::new(),
            CompressionLayer::new().types(ContentTypes::none().allow("text/event-stream").unwrap()),
            CompressionLayer::new().sse(true).sse(false),
        ] {
            events(layer).send().must_be_untouched(SkipReason::EventStream);
        }
        let mut case = events(CompressionLayer::new().sse(true).types(ContentTypes::none()));
        case.body = Script::new([
            Step::Data(text(100)),
            Step::Pause,
            Step::Pause,
            Step::Data(text(3000)),
        ]);
        let answer = case.send();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        let received = read(answer.response.into_body());
        let first = decode(Coding::Gzip, &received.frames[0]);
        assert_eq!(first, (text(100).to_vec(), false)); // it came out before the next event
        let all = [text(100), text(3000)].concat();
        assert_eq!(decode(Coding::Gzip, &received.data()), (all, true));
    }
}

#[test]
fn e4_grpc_is_never_encoded_and_grpc_web_where_it_is_listed() {
    let listing = || ContentTypes::none().allow("application/*").unwrap();
    for (value, encoded) in [
        ("application/grpc", false),
        ("application/grpc+proto", false),
        ("Application/gRPC; charset=utf-8", false),
        ("application/grpc-web", true),
        ("application/grpc-web-text+proto", true),
    ] {
        let mut case = with(&[("content-type", value)]);
        case.layer = CompressionLayer::new().types(listing());
        let answer = case.send();
        if encoded {
            answer.must_be_encoded();
        } else {
            answer.must_be_untouched(SkipReason::ContentType);
        }
        let unlisted = with(&[("content-type", value)]);
        unlisted.send().must_be_untouched(SkipReason::ContentType);
    }
}

#[test]
fn e5_short_bodies_are_left_alone() {
    let of_length = |length: usize| Case {
        body: Script::whole(text(length)),
        ..Case::default()
    };
    of_length(1023).send().must_be_untouched(SkipReason::TooSmall);
    assert_eq!(of_length(1024).send().header("content-encoding"), Some("gzip"));
    let mut declared = with(&[("content-length", "1000")]);
    declared.body = Script::new([Step::Data(text(1000))]);
    declared.send().must_be_untouched(SkipReason::TooSmall);
    let unknown = Case {
        body: Script::new([Step::Data(text(10))]),
        ..Case::default()
    };
    assert_eq!(unknown.send().header("content-encoding"), Some("gzip"));
    let lowered = Case {
        layer: CompressionLayer::new().min_size(100),
        ..of_length(200)
    };
    assert_eq!(lowered.send().header("content-encoding"), Some("gzip"));
}

#[test]
fn h1_a_body_is_encoded_as_a_whole_up_to_the_length_that_is_set() {
    for (most, length, whole) in [
        (None, 256 << 10, true),
        (None, (256 << 10) + 1, false),
        (Some(4000), 4000, true),
        (Some(3999), 4000, false),
        (Some(0), 1024, false),
        (Some(1 << 20), 1 << 20, true),
        (Some(u64::MAX), 300_000, true),
    ] {
        let layer = CompressionLayer::new().etag(EtagPolicy::Suffix);
        let layer = most.map_or(layer.clone(), |most| layer.one_shot_max(most));
        let ask = |method| {
            let case = Case {
                layer: layer.clone(),
                method,
                ..of_body(Script::whole(text(length)))
            };
            case.send()
        };
        let (get, head) = (ask(Method::GET), ask(Method::HEAD));
        assert_eq!(get.header("content-encoding"), Some("gzip"), "{most:?} {length}");
        assert_eq!(get.header("etag"), head.header("etag"), "{most:?} {length}");
        let strong = whole && length <= 4000; // what takes longer may be encoded in one way or another
        assert_eq!(
            get.header("etag") == Some("W/\"x\""),
            !strong,
            "{most:?} {length}"
        );
        let declared = get
            .header("content-length")
            .map(|value| value.parse::<usize>().unwrap());
        assert_eq!(declared.is_some(), whole, "{most:?} {length}");
        let data = read(get.response.into_body()).data();
        assert!(declared.is_none_or(|declared| declared == data.len()));
        assert!(decode(Coding::Gzip, &data) == (text(length).to_vec(), true));
    }
}

#[test]
fn e6_a_body_that_does_not_get_smaller_stays_as_it_is() {
    for length in [1024, 4000, 100_000, 250_000] {
        for coding in Coding::ALL {
            let mut case = with(&[
                ("content-length", "4000"),
                ("accept-ranges", "bytes"),
                ("digest", "d"),
            ]);
            case.request = vec![("accept-encoding", coding.as_str())];
            case.body = Script::whole(noise(length));
            let answer = case.send();
            assert_eq!(answer.reason(), Some(SkipReason::NotSmaller), "{coding} {length}");
            for (name, value) in [
                ("content-length", "4000"),
                ("accept-ranges", "bytes"),
                ("digest", "d"),
                ("etag", "\"x\""),
                ("vary", "accept-encoding"),
            ] {
                assert_eq!(answer.header(name), Some(value));
            }
            assert_eq!(answer.header("content-encoding"), None);
            let body = answer.response.into_body();
            assert_eq!(body.size_hint().exact(), Some(length as u64));
            assert_eq!(read(body).data(), noise(length));
        }
    }
}

#[test]
fn e7_the_handler_opts_out_and_signed_responses_stay() {
    let opted = || Case::default().extended(NoCompress);
    opted().send().must_be_untouched(SkipReason::OptedOut);
    let wish = opted().extended(CompressWith::new(Coding::Gzip));
    wish.send().must_be_untouched(SkipReason::OptedOut);
    let mut twice = opted();
    twice.response.push(("content-encoding", "identity"));
    let answer = twice.send();
    assert_eq!(answer.header("content-encoding"), None); // 8.4.1
    answer.must_be_untouched(SkipReason::OptedOut);
    with(&[("signature-input", "sig=()")])
        .send()
        .must_be_untouched(SkipReason::Signed);
}

#[test]
fn e7_the_handler_asks_for_a_coding() {
    let all = ("accept-encoding", "zstd, br, gzip, deflate");
    let wish = |coding, request: &[(&'static str, &'static str)]| {
        asking(request).extended(CompressWith::new(coding))
    };
    for &coding in Coding::ALL {
        let answer = wish(coding, &[all]).send();
        assert_eq!(answer.header("content-encoding"), Some(coding.as_str()));
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
    }
    // The client decides what it accepts, and whether it wants any.
    for (accept, expected) in [
        ("gzip;q=0.1, zstd", "gzip"),
        ("zstd, br", "zstd"),
        ("gzip;q=0, *", "zstd"),
        ("*", "gzip"),
    ] {
        let answer = wish(Coding::Gzip, &[("accept-encoding", accept)]).send();
        assert_eq!(answer.header("content-encoding"), Some(expected), "{accept}");
    }
    for accept in ["", "identity", "gzip;q=0.5, identity"] {
        let case = wish(Coding::Gzip, &[("accept-encoding", accept)]);
        case.send().must_be_identity(SkipReason::NotAccepted);
    }
    // What is not on offer is not sent.
    let mut unoffered = wish(Coding::Gzip, &[all]);
    unoffered.layer = CompressionLayer::new().coding(Coding::Br, Coding::Br.level(1).unwrap());
    assert_eq!(unoffered.send().header("content-encoding"), Some("br"));

    // The list of types and the least size give way, and nothing else.
    for types in [
        &[("content-type", "application/octet-stream")][..],
        &[("content-type", "text/event-stream")],
    ] {
        let case = with(types).extended(CompressWith::new(Coding::Gzip));
        case.send().must_be_encoded();
    }
    let mut untyped = Case::default().extended(CompressWith::new(Coding::Gzip));
    untyped.response = vec![("etag", "\"x\"")];
    untyped.send().must_be_encoded();
    let mut short = Case::default().extended(CompressWith::new(Coding::Gzip));
    short.body = Script::whole(text(200));
    assert_eq!(short.send().header("content-encoding"), Some("gzip"));
    let mut empty = Case::default().extended(CompressWith::new(Coding::Gzip));
    empty.body = Script::default().exact(0);
    empty.send().must_be_untouched(SkipReason::TooSmall);
    for (line, reason) in [
        (("content-type", "application/grpc"), SkipReason::ContentType),
        (("cache-control", "no-transform"), SkipReason::NoTransform),
        (("signature-input", "sig=()"), SkipReason::Signed),
        (("content-encoding", "br"), SkipReason::AlreadyEncoded),
    ] {
        let case = with(&[line]).extended(CompressWith::new(Coding::Gzip));
        case.send().must_be_untouched(reason);
    }
    let part = with(&[("content-range", "bytes 0-3999/9000")]).extended(CompressWith::new(Coding::Gzip));
    part.send().must_be_identity(SkipReason::Range);
    let mut head = with(&[("content-type", "image/png"), ("content-length", "50")]);
    head.method = Method::HEAD;
    let answer = head.extended(CompressWith::new(Coding::Gzip)).send();
    assert_eq!(answer.reason(), Some(SkipReason::Head));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut not_modified = of_status(304).extended(CompressWith::new(Coding::Gzip));
    not_modified.response.push(("content-type", "image/png"));
    not_modified.send().must_be_identity(SkipReason::Status);
}

#[test]
fn e7_the_handler_asks_for_a_level() {
    let level_of = |events: &[Event]| match *events {
        [Event::Encoded { level, .. }] => level,
        ref other => panic!("{other:?}"),
    };
    for &coding in Coding::ALL {
        let (low, high) = (*coding.levels().start(), (*coding.levels().end()).min(9));
        let level = |level| coding.level(level).unwrap();
        let layer = CompressionLayer::new()
            .coding(coding, level(low))
            .etag(EtagPolicy::Suffix)
            .clock(ManualClock::new());
        let ask = |layer: &CompressionLayer, method: Method, wish: Option<u8>| {
            let mut case = asking(&[("accept-encoding", coding.as_str())]);
            (case.layer, case.method, case.body) = (layer.clone(), method, Script::whole(text(6000)));
            if let Some(wish) = wish {
                case = case.extended(CompressWith::new(coding).level(level(wish)));
            }
            case.send()
        };
        let sent = |answer: Answer| {
            let tag = answer.header("etag").unwrap().to_owned();
            (
                tag,
                level_of(&answer.events),
                read(answer.response.into_body()).data(),
            )
        };
        // As a layer does that has the level on offer, whatever its encoders have done before.
        let other = CompressionLayer::new()
            .coding(coding, level(high))
            .etag(EtagPolicy::Suffix);
        let offered = sent(ask(&other.clock(ManualClock::new()), Method::GET, None));
        let usual = sent(ask(&layer, Method::GET, None));
        assert_eq!((usual.1, offered.1), (low, high), "{coding}");
        assert!(
            usual.0 != offered.0 && usual.2.len() > offered.2.len(),
            "{coding}"
        );
        for _ in 0..3 {
            assert!(sent(ask(&layer, Method::GET, Some(high))) == offered, "{coding}");
            assert!(sent(ask(&layer, Method::GET, Some(low))) == usual, "{coding}");
            assert!(sent(ask(&layer, Method::GET, None)) == usual, "{coding}");
        }
        assert_eq!(
            decode(coding, &offered.2),
            (text(6000).to_vec(), true),
            "{coding}"
        );
        let head = ask(&layer, Method::HEAD, Some(high));
        assert_eq!(head.header("etag"), Some(offered.0.as_str()), "{coding}"); // 9.3.2
    }
    // The level is that of the coding that is asked for, and of no other.
    let wish = CompressWith::new(Coding::Gzip).level(Level::new(9));
    assert_eq!(wish.coding(), Coding::Gzip);
    for (accept, expected) in [("gzip, zstd", 9), ("zstd", 1)] {
        let answer = asking(&[("accept-encoding", accept)]).extended(wish).send();
        assert_eq!(level_of(&answer.events), expected, "{accept}");
    }
    // A default is that of the coding, not of the layer.
    let mut case = Case::default().extended(CompressWith::new(Coding::Gzip).level(Level::DEFAULT));
    case.layer = CompressionLayer::new().coding(Coding::Gzip, Level::new(1));
    assert_eq!(level_of(&case.send().events), 4);
    let wrong = || CompressWith::new(Coding::Gzip).level(Level::new(12));
    assert!(std::panic::catch_unwind(wrong).is_err());
}

#[test]
fn e7_a_level_that_takes_long_goes_where_such_work_goes() {
    let here = |job: Job| -> Result<(), Job> {
        job();
        Ok(())
    };
    for (level, expected) in [(None, EncodePath::Inline), (Some(9), EncodePath::Offloaded)] {
        let mut case = asking(&[("accept-encoding", "br")]);
        case.layer = CompressionLayer::new().clock(ManualClock::new()).offload(here);
        if let Some(level) = level {
            case = case.extended(CompressWith::new(Coding::Br).level(Level::new(level)));
        }
        let answer = case.send();
        let [Event::Encoded { path, .. }] = answer.events[..] else {
            panic!("{:?}", answer.events)
        };
        assert_eq!(path, expected);
        let data = read(answer.response.into_body()).data();
        assert_eq!(decode(Coding::Br, &data), (text(4000).to_vec(), true));
    }
}

#[test]
fn e8_head_is_described_like_get_without_length_and_without_encoding() {
    let head = || Case {
        method: Method::HEAD,
        ..with(&[("content-length", "4000"), ("accept-ranges", "bytes")])
    };
    let answer = head().send();
    assert_eq!(answer.reason(), Some(SkipReason::Head));
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    assert_eq!(answer.header("etag"), Some("W/\"x\""));
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("accept-ranges"), None);
    let body = answer.response.into_body();
    assert_eq!(body.size_hint().exact(), None);
    assert!(!body.is_end_stream());
    assert!(read(body).data().is_empty());

    // What the header declares counts before the body, which a handler may leave out.
    let bodiless = Case {
        body: Script::default().exact(0),
        ..head()
    };
    assert_eq!(bodiless.send().header("content-encoding"), Some("gzip"));
    let mut short = head();
    short.response.push(("content-length", "10"));
    short.response.retain(|&line| line != ("content-length", "4000"));
    assert_eq!(short.send().reason(), Some(SkipReason::TooSmall));
    let mut unknown = head();
    unknown.response.retain(|&(name, _)| name != "content-length");
    unknown.body = Script::default().exact(0);
    unknown.send().must_be_identity(SkipReason::TooSmall);
    let mut plain = head();
    plain.request = vec![];
    let plain = plain.send();
    assert_eq!(plain.header("content-length"), Some("4000"));
    plain.must_be_identity(SkipReason::NotAccepted);
}

#[test]
fn h1_a_whole_body_has_an_exact_length_and_a_streamed_one_has_none() {
    for (length, frames) in [(1024, 1), (1024, 3), (20_000, 1), (100_000, 5), (256 << 10, 1)] {
        for &coding in Coding::ALL {
            let mut case = with(&[("content-length", "1"), ("accept-ranges", "bytes")]);
            case.request = vec![("accept-encoding", coding.as_str())];
            case.response.retain(|&(name, _)| name != "content-length");
            let whole = text(length);
            let pieces = whole.chunks(length.div_ceil(frames)).map(Bytes::copy_from_slice);
            case.body = Script::new(pieces.map(Step::Data)).exact(length);
            let answer = case.send();
            assert_eq!(answer.header("accept-ranges"), None);
            let declared: u64 = answer.header("content-length").unwrap().parse().unwrap();
            let body = answer.response.into_body();
            assert_eq!(body.size_hint().exact(), Some(declared));
            let received = read(body);
            assert_eq!(received.data().len() as u64, declared, "{coding} {length}");
            assert_eq!(received.frames.len(), 1);
            assert_eq!(decode(coding, &received.data()), (whole.to_vec(), true));
        }
    }
    for body in [
        Script::whole(text((256 << 10) + 1)),
        Script::new([Step::Data(text(4000))]),
        Script::new([Step::Pause, Step::Data(text(4000))]).exact(4000),
        Script::new([Step::Data(text(4000)), Step::Pause]).exact(4000),
        Script::new([Step::Data(text(1000)), Step::Pause, Step::Data(text(3000))]).exact(4000),
    ] {
        let mut case = with(&[("content-length", "4000")]);
        let original = body.steps.iter().fold(Vec::new(), |mut all, step| {
            if let Step::Data(data) = step {
                all.extend_from_slice(data);
            }
            all
        });
        case.body = body;
        let answer = case.send();
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert_eq!(answer.header("content-length"), None);
        let body = answer.response.into_body();
        assert_eq!(body.size_hint().exact(), None);
        assert_eq!(decode(Coding::Gzip, &read(body).data()), (original, true));
    }
}

const DIGESTS: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

#[test]
fn h2_digests_of_the_identity_are_removed_from_headers_and_trailers() {
    let trailers: HeaderMap = DIGESTS
        .into_iter()
        .chain(["grpc-status"])
        .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("0")))
        .collect();
    for exact in [true, false] {
        let mut case = with(&DIGESTS.map(|name| (name, "d")));
        case.body = Script::new([Step::Data(text(4000)), Step::Trailers(trailers.clone())]);
        if exact {
            case.body = case.body.exact(4000);
        }
        let answer = case.send();
        for name in DIGESTS {
            assert_eq!(answer.header(name), None);
        }
        let left = read(answer.response.into_body()).trailers.unwrap();
        assert_eq!(
            left.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["grpc-status"]
        );
    }
}

#[test]
fn h3_a_whole_body_with_trailers_has_no_length() {
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("checksum"), HeaderValue::from_static("1"))]);
    let steps = [Step::Data(text(4000)), Step::Trailers(trailers.clone())];
    let mut case = with(&[("content-length", "4000")]);
    case.body = Script::new(steps).exact(4000);
    let answer = case.send();
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.response.body().size_hint().exact(), None); // or a server would declare it
    let received = read(answer.response.into_body());
    assert_eq!(received.trailers, Some(trailers.clone()));
    assert_eq!(
        decode(Coding::Gzip, &received.data()),
        (text(4000).to_vec(), true)
    );

    // Not smaller: the identity, with its own trailers.
    let script = Script::new([Step::Data(noise(4000)), Step::Trailers(trailers.clone())]);
    let received = read(of_body(script.exact(4000)).send().response.into_body());
    assert_eq!(received.trailers, Some(trailers));
    assert_eq!(received.data(), noise(4000));
}

#[test]
fn a_body_that_breaks_its_promise_at_once_is_passed_on_as_it_is_and_has_no_end() {
    let trailers = HeaderMap::new();
    for (steps, data, fails) in [
        (vec![], 0, false),
        (vec![Step::Data(text(3999))], 3999, false),
        (vec![Step::Trailers(trailers.clone())], 0, false),
        (
            vec![Step::Data(text(2000)), Step::Trailers(trailers)],
            2000,
            false,
        ),
        (vec![Step::Fail], 0, true),
        (vec![Step::Data(text(4000)), Step::Fail], 4000, true),
    ] {
        let answer = of_body(Script::new(steps).exact(4000)).send();
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.reason(), Some(SkipReason::Failed));
        let body = answer.response.into_body();
        assert_eq!(
            body.size_hint().exact(),
            None,
            "a server would declare that length"
        );
        let received = read(body);
        assert_eq!(received.data().len(), data);
        match received.error {
            Some(CompressError::Inner(_)) => assert!(fails),
            Some(CompressError::Incomplete {
                promised, received, ..
            }) => {
                assert_eq!((fails, promised, received), (false, 4000, data as u64));
            }
            other => panic!("{other:?}"),
        }
    }
    let longer = of_body(Script::new([Step::Data(text(4000)), Step::Data(text(10))]).exact(4000));
    let received = read(longer.send().response.into_body());
    let (decoded, complete) = decode(Coding::Gzip, &received.data());
    assert!(complete);
    assert_eq!(decoded, [text(4000), text(10)].concat());
}

#[test]
fn v1_a_304_varies_unless_its_type_is_known_to_be_left_alone() {
    let untyped = Case {
        response: vec![("etag", "\"x\"")],
        body: Script::default().exact(0),
        ..of_status(304)
    };
    untyped.send().must_be_identity(SkipReason::Status);
    of_status(304).send().must_be_identity(SkipReason::Status);
    for line in [
        ("content-type", "image/png"),
        ("content-type", "text/event-stream"),
        ("cache-control", "no-transform"),
        ("signature-input", "sig=()"),
    ] {
        let case = Case {
            status: StatusCode::NOT_MODIFIED,
            ..with(&[line])
        };
        case.send().must_be_untouched(SkipReason::Status);
    }
    let encoded = Case {
        status: StatusCode::NOT_MODIFIED,
        ..with(&[("content-encoding", "br")])
    };
    encoded.send().must_be_untouched(SkipReason::Status);
}

/// 8.6, and RFC 9111, section 4.3.4: a cache takes over what a 304 says.
#[test]
fn a_304_says_nothing_of_the_identity_to_who_holds_another_coding() {
    let case = |request: &[(&'static str, &'static str)]| Case {
        status: StatusCode::NOT_MODIFIED,
        request: request.to_vec(),
        body: Script::default().exact(0),
        ..with(&[
            ("content-length", "4000"),
            ("accept-ranges", "bytes"),
            ("repr-digest", "d"),
        ])
    };
    for request in [
        &[("accept-encoding", "gzip")][..],
        &[("if-none-match", "W/\"x\"")],
        &[("accept-encoding", "gzip"), ("if-none-match", "W/\"x\"")],
    ] {
        let answer = case(request).send();
        for name in [
            "content-length",
            "accept-ranges",
            "repr-digest",
            "content-encoding",
        ] {
            assert_eq!(answer.header(name), None, "{request:?}");
        }
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(answer.reason(), Some(SkipReason::Status));
        let body = answer.response.into_body();
        assert_eq!(body.size_hint().exact(), None);
        assert!(read(body).data().is_empty());
    }
    for request in [&[][..], &[("if-none-match", "\"x\"")]] {
        let answer = case(request).send();
        assert_eq!(answer.header("content-length"), Some("4000"));
        assert_eq!(answer.header("repr-digest"), Some("d"));
        answer.must_be_identity(SkipReason::Status);
    }
}

#[test]
fn v1_vary_is_there_wherever_accept_encoding_might_have_changed_the_response() {
    let mut without = vec![
        ("GET", 200),
        ("HEAD", 200),
        ("GET", 206),
        ("GET", 304),
        ("POST", 201),
        ("GET", 404),
    ];
    for accept in [Some("gzip"), Some("identity"), Some("*;q=0"), Some(""), None] {
        for &(method, status) in &without {
            let mut case = of_status(status);
            case.method = method.parse().unwrap();
            case.request = accept
                .map(|accept| ("accept-encoding", accept))
                .into_iter()
                .collect();
            let vary = case.send();
            assert_eq!(
                vary.header("vary"),
                Some("accept-encoding"),
                "{method} {status} {accept:?}"
            );
        }
    }
    without = vec![
        ("GET", 101),
        ("GET", 204),
        ("POST", 205),
        ("GET", 416),
        ("CONNECT", 200),
    ];
    for (method, status) in without {
        let mut case = of_status(status);
        case.method = method.parse().unwrap();
        assert_eq!(case.send().header("vary"), None, "{method} {status}");
    }
    let mut image = with(&[("content-type", "image/png")]);
    image.method = Method::HEAD;
    assert_eq!(image.send().header("vary"), None);
}

#[test]
fn v2_vary_is_not_duplicated() {
    for (before, lines) in [
        ("Accept-Encoding", 1),
        ("origin, accept-encoding", 1),
        ("*", 1),
        ("origin", 2),
    ] {
        let answer = with(&[("vary", before)]).send();
        assert_eq!(
            answer.response.headers().get_all("vary").iter().count(),
            lines,
            "{before}"
        );
    }
}

#[test]
fn the_order_of_offers_is_the_servers_preference() {
    for (layer, expected) in [
        (CompressionLayer::new(), "zstd"),
        (
            CompressionLayer::new().coding(Coding::Gzip, Coding::Gzip.level(1).unwrap()),
            "gzip",
        ),
        (
            CompressionLayer::default()
                .coding(Coding::Br, Coding::Br.level(1).unwrap())
                .coding(Coding::Zstd, Coding::Zstd.level(3).unwrap())
                .coding(Coding::Br, Coding::Br.level(2).unwrap()),
            "br",
        ),
    ] {
        let mut case = asking(&[("accept-encoding", "gzip, br, zstd")]);
        case.layer = layer;
        assert_eq!(case.send().header("content-encoding"), Some(expected));
    }
}

#[test]
fn n3_every_coding_is_answered_by_its_own_name() {
    for (accept, coding) in [
        ("ZSTD", Coding::Zstd),
        ("Br", Coding::Br),
        ("x-gzip", Coding::Gzip),     // 8.4.1.3
        ("deflate", Coding::Deflate), // 8.4.1.2: in the zlib format, which the decoder of the test insists on
    ] {
        for body in [Script::whole(text(4000)), Script::new([Step::Data(text(4000))])] {
            let mut case = asking(&[("accept-encoding", accept)]);
            case.body = body;
            let answer = case.send();
            assert_eq!(answer.header("content-encoding"), Some(coding.as_str()));
            let received = read(answer.response.into_body());
            assert_eq!(decode(coding, &received.data()), (text(4000).to_vec(), true));
        }
    }
}

#[test]
fn impossible_levels_are_refused() {
    for (coding, level) in [
        (Coding::Gzip, 0),
        (Coding::Gzip, 10),
        (Coding::Deflate, 10),
        (Coding::Zstd, 20),
        (Coding::Br, 12),
    ] {
        let level = Level::new(level);
        let made = std::panic::catch_unwind(|| CompressionLayer::new().coding(coding, level));
        assert!(made.is_err(), "{coding} {level:?}");
    }
}

#[test]
fn the_observer_learns_the_sizes() {
    for body in [Script::whole(text(4000)), Script::new([Step::Data(text(4000))])] {
        let log = Arc::new(Log::default());
        let request = Request::builder()
            .header("accept-encoding", "zstd")
            .body(())
            .unwrap();
        let response = Response::builder()
            .header("content-type", "text/plain")
            .body(body)
            .unwrap();
        let response = respond(
            &CompressionLayer::new().observe(Arc::clone(&log)),
            request,
            response,
        );
        let sent = read(response.into_body()).data().len() as u64;
        match log.0.lock().unwrap()[..] {
            [
                Event::Encoded {
                    coding,
                    bytes_in,
                    bytes_out,
                    ..
                },
            ] => {
                assert_eq!((coding, bytes_in, bytes_out), (Coding::Zstd, 4000, sent));
            }
            ref other => panic!("{other:?}"),
        }
    }
}
