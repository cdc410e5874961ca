//! Entity tags and conditional requests, with a handler that knows nothing of codings: RFC 9110, sections 8.8 and 13.

use crate::case::{Case, of_status, with};
use crate::support::{Script, Step, drive, read, text};
use cortex_compress::{CompressBody, CompressionLayer, EtagPolicy};
use http::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use tower::{Layer, Service, service_fn};

/// Tells whether a list names this tag; `*` names all.
fn names(headers: &HeaderMap, field: &HeaderName, tag: &str, weakly: bool) -> Option<bool> {
    if !headers.contains_key(field) {
        return None;
    }
    let mut lines = headers.get_all(field).iter().map(|line| line.to_str().unwrap());
    Some(lines.any(|line| {
        line.split(',').map(str::trim).any(|held| {
            let matches = |held: &str| held == tag || held == "*";
            matches(held) || weakly && held.strip_prefix("W/").is_some_and(matches)
        })
    }))
}

/// Answers as an origin server does that has one representation, with the strong tag `"x"` (13.2.2).
fn origin(request: &Request<()>, body: Script) -> Response<Script> {
    let (tag, headers) = ("\"x\"", request.headers());
    let of_status = |status: StatusCode, body| {
        let response = Response::builder().status(status).header(ETAG, tag);
        response.header(CONTENT_TYPE, "text/plain").body(body).unwrap()
    };
    if names(headers, &IF_MATCH, tag, false) == Some(false) {
        return of_status(StatusCode::PRECONDITION_FAILED, Script::default().exact(0));
    }
    if !request.method().is_safe() {
        return of_status(StatusCode::NO_CONTENT, Script::default().exact(0));
    }
    if names(headers, &IF_NONE_MATCH, tag, true) == Some(true) {
        let mut response = of_status(StatusCode::NOT_MODIFIED, Script::default().exact(0));
        response.headers_mut().remove(CONTENT_TYPE);
        return response;
    }
    if headers.contains_key(RANGE) && names(headers, &IF_RANGE, tag, false) != Some(false) {
        return of_status(StatusCode::PARTIAL_CONTENT, Script::whole(text(10)));
    }
    of_status(StatusCode::OK, body)
}

/// Sends a request to the origin behind a layer.
fn send(
    layer: &CompressionLayer,
    method: Method,
    lines: &[(HeaderName, &str)],
    body: Script,
) -> Response<CompressBody<Script>> {
    let mut request = Request::builder().method(method);
    for (name, value) in lines {
        request = request.header(name, *value);
    }
    let mut body = Some(body);
    let handler = service_fn(
        move |request: Request<()>| -> Ready<Result<Response<Script>, Infallible>> {
            ready(Ok(origin(&request, body.take().unwrap())))
        },
    );
    let mut future = layer.layer(handler).call(request.body(()).unwrap());
    drive(|cx| Pin::new(&mut future).poll(cx)).0.unwrap().unwrap()
}

fn tag<B>(response: &Response<B>) -> &str {
    response.headers()[ETAG].to_str().unwrap()
}

fn accept(coding: &str) -> (HeaderName, &str) {
    (http::header::ACCEPT_ENCODING, coding)
}

fn layer(policy: EtagPolicy) -> CompressionLayer {
    CompressionLayer::new().etag(policy)
}

fn whole() -> Script {
    Script::whole(text(4000))
}

const SUFFIXED: &str = if cfg!(feature = "libdeflate") {
    "\"x~cortex-gzip-4.1\""
} else {
    "\"x~cortex-gzip-4.2\""
};

#[test]
fn t1_t3_the_policy_decides_on_the_tag_of_what_is_encoded() {
    for (policy, one_shot, streamed) in [
        (EtagPolicy::Weaken, "W/\"x\"", "W/\"x\""),
        (EtagPolicy::Suffix, SUFFIXED, "W/\"x\""),
        (EtagPolicy::Keep, "\"x\"", "\"x\""),
    ] {
        let get = |coding: &'static str, body| {
            let response = send(&layer(policy), Method::GET, &[accept(coding)], body);
            tag(&response).to_owned()
        };
        assert_eq!(get("gzip", whole()), one_shot);
        assert_eq!(get("gzip", Script::new([Step::Data(text(4000))])), streamed);
        let trailers = Script::new([Step::Data(text(4000)), Step::Trailers(HeaderMap::new())]);
        assert_eq!(get("gzip", trailers.exact(4000)), one_shot);
        // The identity keeps its own.
        assert_eq!(get("identity", whole()), "\"x\"");
        assert_eq!(get("gzip", Script::whole(text(10))), "\"x\"");
        assert_eq!(get("gzip", Script::whole(crate::support::noise(4000))), "\"x\"");
        // 9.3.2: as GET would.
        let head = send(&layer(policy), Method::HEAD, &[accept("gzip")], whole());
        assert_eq!(tag(&head), one_shot);
        let head = send(&layer(policy), Method::HEAD, &[accept("gzip")], Script::default());
        assert_eq!(tag(&head), streamed);
        // What is too long to be encoded before its header is sent is streamed.
        for method in [Method::GET, Method::HEAD] {
            let long = Script::whole(text((256 << 10) + 1));
            let response = send(&layer(policy), method, &[accept("gzip")], long);
            assert_eq!(tag(&response), streamed);
        }
    }
}

#[test]
fn t3_each_coding_and_level_has_its_own_suffix() {
    use cortex_compress::Coding;
    let mut seen = Vec::new();
    for &coding in Coding::ALL {
        for level in [1, 2] {
            let layer = layer(EtagPolicy::Suffix).coding(coding, coding.level(level).unwrap());
            let response = send(&layer, Method::GET, &[accept(coding.as_str())], whole());
            let zlib = matches!(coding, Coding::Gzip | Coding::Deflate) && !cfg!(feature = "libdeflate");
            let revision = if zlib { 2 } else { 1 };
            assert_eq!(
                tag(&response),
                format!("\"x~cortex-{coding}-{level}.{revision}\"")
            );
            seen.push(tag(&response).to_owned());
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2 * Coding::ALL.len());
}

#[test]
fn t1_t3_a_304_carries_the_tag_that_the_client_holds() {
    for (policy, held, expected) in [
        (EtagPolicy::Weaken, "W/\"x\"", "W/\"x\""),
        (EtagPolicy::Weaken, "\"x\"", "\"x\""),
        (EtagPolicy::Weaken, "\"y\", W/\"x\"", "W/\"x\""),
        (EtagPolicy::Weaken, "*", "\"x\""),
        (EtagPolicy::Suffix, SUFFIXED, SUFFIXED),
        (EtagPolicy::Suffix, "\"x\"", "\"x\""),
        (EtagPolicy::Suffix, "W/\"x\"", "W/\"x\""),
        (
            EtagPolicy::Suffix,
            "\"y~cortex-gzip-4.1\", \"x~cortex-gzip-4.1\"",
            "\"x~cortex-gzip-4.1\"",
        ),
        (
            EtagPolicy::Suffix,
            &format!("\"x~cortex-br-4.1\", {SUFFIXED}"),
            SUFFIXED,
        ),
        (
            EtagPolicy::Suffix,
            &format!("{SUFFIXED}, \"x~cortex-br-4.1\""),
            SUFFIXED,
        ),
        // Of another level or coding, and yet of the same representation.
        (EtagPolicy::Suffix, "\"x~cortex-br-9.7\"", "\"x~cortex-br-9.7\""),
        (EtagPolicy::Suffix, "\"x\", \"x~cortex-br-9.7\"", "\"x\""),
        // On the way somebody weakened it.
        (
            EtagPolicy::Suffix,
            "W/\"x~cortex-gzip-4.1\"",
            "W/\"x~cortex-gzip-4.1\"",
        ),
        (EtagPolicy::Keep, "\"x\"", "\"x\""),
        (EtagPolicy::Keep, "W/\"x\"", "\"x\""),
    ] {
        let lines = [accept("gzip"), (IF_NONE_MATCH, held)];
        for method in [Method::GET, Method::HEAD] {
            let response = send(&layer(policy), method, &lines, whole());
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{policy:?} {held}");
            assert_eq!(tag(&response), expected, "{policy:?} {held}");
            assert_eq!(response.headers()["vary"], "accept-encoding");
        }
    }
    // Several lines are one list.
    let lines = [(IF_NONE_MATCH, "\"y\""), (IF_NONE_MATCH, "W/\"x\"")];
    let response = send(&layer(EtagPolicy::Weaken), Method::GET, &lines, whole());
    assert_eq!(tag(&response), "W/\"x\"");
    let lines = [(IF_NONE_MATCH, "\"y\""), (IF_NONE_MATCH, SUFFIXED)];
    let response = send(&layer(EtagPolicy::Suffix), Method::GET, &lines, whole());
    assert_eq!(tag(&response), SUFFIXED);
    // Without a condition on tags nothing is known of what the client holds.
    assert_eq!(of_status(304).send().header("etag"), Some("\"x\""));
}

/// What must not be encoded now was encoded before, and the handler has compared with what was made of the tag.
#[test]
fn t1_t3_a_304_that_is_left_alone_still_carries_the_tag_that_the_client_holds() {
    use cortex_compress::NoCompress;
    let answer = |policy,
                  held: &'static str,
                  untransformed: bool,
                  extend: bool,
                  line: (&'static str, &'static str)| {
        let mut case = with(&[
            line,
            ("content-length", "4000"),
            ("repr-digest", "sha-256=:AA==:"),
        ]);
        case.layer = layer(policy);
        case.status = StatusCode::NOT_MODIFIED;
        case.body = Script::default().exact(0);
        case.request.push(("if-none-match", held));
        if untransformed {
            case.request.push(("cache-control", "no-transform"));
        }
        let answer = if extend { case.extended(NoCompress) } else { case }.send();
        let encoded = answer.header("content-length").is_none();
        assert_eq!(
            answer.header("repr-digest").is_none(),
            encoded,
            "{policy:?} {held}"
        );
        // The 200 to such a request does not vary; the one that the client holds does.
        assert_eq!(answer.header("vary").is_some(), encoded, "{policy:?} {held}");
        (answer.header("etag").unwrap().to_owned(), encoded)
    };
    let (weaken, suffix, keep) = (EtagPolicy::Weaken, EtagPolicy::Suffix, EtagPolicy::Keep);
    let cached = ("cache-control", "max-age=9");
    for (policy, held, encoded) in [
        (suffix, SUFFIXED, true),
        (suffix, "W/\"x\"", true),
        (suffix, "\"x\"", false),
        (suffix, "\"x~cortex-gzip-4.1\", \"x\"", false),
        (weaken, "W/\"x\"", true),
        (weaken, "W/\"x\", \"x\"", false),
        (keep, "W/\"x\"", false),
    ] {
        let expected = if encoded { held } else { "\"x\"" };
        let told = answer(policy, held, true, false, cached);
        assert_eq!(told, (expected.to_owned(), encoded), "{policy:?} {held}");
    }
    // The same of what the response forbids, since it did not before; but then only a suffix is known to be ours.
    for line in [("cache-control", "no-transform"), ("content-type", "image/png")] {
        assert_eq!(
            answer(suffix, SUFFIXED, false, false, line),
            (SUFFIXED.to_owned(), true)
        );
        for policy in [weaken, suffix] {
            let told = answer(policy, "W/\"x\"", false, false, line);
            assert_eq!(told, ("\"x\"".to_owned(), false));
        }
    }
    assert_eq!(
        answer(suffix, SUFFIXED, false, true, cached),
        (SUFFIXED.to_owned(), true)
    );
    assert_eq!(
        answer(weaken, "W/\"x\"", false, true, cached),
        ("\"x\"".to_owned(), false)
    );
    // RFC 9421: the tag may be signed.
    let signed = ("signature-input", "sig=()");
    assert_eq!(
        answer(suffix, SUFFIXED, false, false, signed),
        ("\"x\"".to_owned(), false)
    );
}

/// 9.3.2: `GET` streams what promises no length, whatever its header declares, and `HEAD` says so.
#[test]
fn e8_head_has_the_tag_of_get_where_a_length_is_declared_and_not_promised() {
    for policy in [EtagPolicy::Weaken, EtagPolicy::Suffix] {
        let ask = |method, body| {
            let mut case = with(&[("content-length", "4000")]);
            (case.method, case.layer, case.body) = (method, layer(policy), body);
            case.send()
        };
        let reader = || Script::new([Step::Data(text(4000))]);
        let get = ask(Method::GET, reader());
        assert_eq!(get.header("etag"), Some("W/\"x\""));
        // With the body of GET, and without any.
        for body in [reader(), Script::default(), Script::default().exact(0)] {
            let head = ask(Method::HEAD, body);
            assert_eq!(head.response.headers(), get.response.headers(), "{policy:?}");
        }
        let get = ask(Method::GET, whole());
        let head = ask(Method::HEAD, whole());
        assert_eq!(head.header("etag"), get.header("etag"), "{policy:?}");
    }
}

#[test]
fn t3_a_tag_of_another_resource_does_not_match() {
    for held in ["\"y~cortex-gzip-4.1\"", "\"x~other-gzip-4.1\"", "\"x-gzip\""] {
        let lines = [accept("gzip"), (IF_NONE_MATCH, held)];
        let response = send(&layer(EtagPolicy::Suffix), Method::GET, &lines, whole());
        assert_eq!(response.status(), StatusCode::OK, "{held}");
    }
    // Nor is ours taken out where it is not put in.
    for policy in [EtagPolicy::Weaken, EtagPolicy::Keep] {
        let lines = [accept("gzip"), (IF_NONE_MATCH, SUFFIXED)];
        let response = send(&layer(policy), Method::GET, &lines, whole());
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[test]
fn t2_a_weakened_tag_matches_neither_in_if_match_nor_in_if_range() {
    let weaken = layer(EtagPolicy::Weaken);
    let put = send(&weaken, Method::PUT, &[(IF_MATCH, "W/\"x\"")], whole());
    assert_eq!(put.status(), StatusCode::PRECONDITION_FAILED); // 13.1.1
    let part = |held| {
        let lines = [accept("gzip"), (RANGE, "bytes=0-9"), (IF_RANGE, held)];
        send(&weaken, Method::GET, &lines, whole())
    };
    let full = part("W/\"x\""); // 13.1.5
    assert_eq!(full.status(), StatusCode::OK);
    assert_eq!(full.headers()["content-encoding"], "gzip");
    assert_eq!(part("\"x\"").status(), StatusCode::PARTIAL_CONTENT);
}

#[test]
fn t3_who_reads_an_encoded_representation_can_change_it_on_condition() {
    let suffix = layer(EtagPolicy::Suffix);
    let got = send(&suffix, Method::GET, &[accept("gzip")], whole());
    let held = tag(&got).to_owned();
    for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::POST] {
        let lines = [accept("gzip"), (IF_MATCH, held.as_str())];
        let response = send(&suffix, method, &lines, whole());
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
    }
    let stale = [(IF_MATCH, "\"w~cortex-gzip-4.1\"")];
    let response = send(&suffix, Method::PUT, &stale, whole());
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    // A read on that condition is of the identity.
    let response = send(&suffix, Method::GET, &[(IF_MATCH, &held)], whole());
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
}

#[test]
fn t3_parts_of_the_identity_are_not_added_to_an_encoded_beginning() {
    let lines = [accept("gzip"), (RANGE, "bytes=0-9"), (IF_RANGE, SUFFIXED)];
    let response = send(&layer(EtagPolicy::Suffix), Method::GET, &lines, whole());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(tag(&response), SUFFIXED);
}

#[test]
fn t4_a_weak_tag_stays() {
    for policy in [EtagPolicy::Weaken, EtagPolicy::Suffix, EtagPolicy::Keep] {
        let case = Case {
            layer: layer(policy),
            ..with(&[("etag", "W/\"x\"")])
        };
        assert_eq!(case.send().header("etag"), Some("W/\"x\""));
    }
}

/// FNV-1a, 64 bits.
fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What the encoders make of 2000 and 10000 bytes of text, by their tag.
const BYTES: [(&str, [u64; 2]); 6] = [
    ("zstd-1.1", [0xd299_ffcc_cfd1_e75a, 0xc9b8_386a_21d6_7875]),
    ("br-4.1", [0x3e8f_7a54_785f_a905, 0xf233_06f8_3fe2_9cd8]),
    ("gzip-4.1", [0x8893_d383_f8e9_9c63, 0xb08c_5f35_8149_6037]),
    ("deflate-4.1", [0x4537_4a1f_580d_6682, 0x60c2_5824_f115_882f]),
    // Without libdeflate.
    ("gzip-4.2", [0xac9e_9ea0_be91_76d2, 0x9628_599a_684a_631a]),
    ("deflate-4.2", [0x418e_a7ed_4f2b_9e7a, 0x82e5_cfc9_4221_a7c9]),
];

#[test]
fn t3_the_same_tag_stands_for_the_same_bytes() {
    use crate::support::noise;
    for coding in ["zstd", "br", "gzip", "deflate"] {
        // With a clock that stands still, what is encoded in slices is the same on any machine.
        let suffix = layer(EtagPolicy::Suffix).clock(cortex_testkit::ManualClock::new());
        let get = |length| {
            let body = Script::whole(text(length));
            let response = send(&suffix, Method::GET, &[accept(coding)], body);
            let tag = tag(&response).to_owned();
            (tag, hash(&read(response.into_body()).data()))
        };
        let check = || {
            let (large, small) = (get(10_000), get(2000));
            assert_eq!(small.0, large.0);
            let variant = small.0.strip_prefix("\"x~cortex-").unwrap().trim_end_matches('"');
            let known = BYTES.iter().find(|known| known.0 == variant);
            assert_eq!(
                known.map(|known| known.1),
                Some([small.1, large.1]),
                "{variant} stood for other bytes: let `revision` in etag.rs give another number"
            );
        };
        check();
        // On the workers that others have left behind: larger, smaller, streamed, given up half way, and cancelled
        // ones.
        for body in [
            Script::whole(text(200_000)),
            Script::whole(text(1500)),
            Script::whole(noise(9000)),
            Script::whole(noise(200_000)),
            Script::new([Step::Data(text(50_000)), Step::Pause, Step::Pause]),
        ] {
            drop(read(
                send(&suffix, Method::GET, &[accept(coding)], body).into_body(),
            ));
            check();
        }
        for polls in 1..4 {
            let request = Request::builder()
                .header("accept-encoding", coding)
                .body(())
                .unwrap();
            let response = Response::builder().header(CONTENT_TYPE, "text/plain");
            let mut response = Some(response.body(Script::whole(text(250_000))).unwrap());
            let handler =
                service_fn(move |_: Request<()>| ready(Ok::<_, Infallible>(response.take().unwrap())));
            let mut future = suffix.layer(handler).call(request);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            for _ in 0..polls {
                assert!(Pin::new(&mut future).poll(&mut cx).is_pending(), "{coding}");
            }
            drop(future);
            check();
        }
    }
}

#[test]
fn a_body_that_takes_long_has_a_weak_tag_as_it_may_be_encoded_in_one_way_or_another() {
    let suffix = layer(EtagPolicy::Suffix);
    for method in [Method::GET, Method::HEAD] {
        let body = Script::whole(text(200_000));
        let response = send(&suffix, method, &[accept("zstd")], body);
        assert_eq!(tag(&response), "W/\"x\"");
    }
}
