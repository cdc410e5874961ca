//! What holds for any request and any response, however odd their headers are.

use crate::support::{Script, Step, ask, decode, noise, read, text};
use cortex_compress::{Coding, CompressWith, CompressionLayer, EtagPolicy, NoCompress, NotAcceptable};
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use proptest::prelude::*;
use std::task::{Context, Waker};

type Lines = Vec<(&'static str, String)>;

fn pick(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let known = prop::sample::select(values).prop_map(str::to_owned);
    prop_oneof![8 => known, 1 => "[ -~]{0,20}"]
}

fn field(name: &'static str, values: &'static [&'static str]) -> BoxedStrategy<(&'static str, String)> {
    pick(values).prop_map(move |value| (name, value)).boxed()
}

fn request_lines() -> impl Strategy<Value = Lines> {
    let accepts = &[
        "gzip",
        "br, zstd",
        "*",
        "*;q=0",
        "identity;q=0",
        "gzip;q=0.5, identity",
        "",
        "x-gzip",
        "deflate",
        "a\"b, gzip",
    ];
    let tags = &[
        "\"x\"",
        "W/\"x\"",
        "\"x~cortex-gzip-4.1\"",
        "*",
        "\"y\\\", \"x\"",
        "\"open",
    ];
    let line = prop_oneof![
        4 => field("accept-encoding", accepts),
        1 => field("cache-control", &["no-transform", "no-cache", "a=\"b, no-transform\""]),
        1 => field("if-none-match", tags),
        1 => field("if-match", tags),
        1 => field("if-range", tags),
        1 => field("range", &["bytes=0-9"]),
    ];
    prop::collection::vec(line, 0..5)
}

fn response_lines() -> impl Strategy<Value = Lines> {
    let types = &[
        "text/plain",
        "application/json; charset=utf-8",
        "image/png",
        "text/event-stream",
        "application/grpc",
        "multipart/byteranges; boundary=b",
        "",
    ];
    let line = prop_oneof![
        6 => field("content-type", types),
        2 => field("etag", &["\"x\"", "W/\"x\"", "x", "\"\"", "\"x"]),
        2 => field("vary", &["*", "Accept-Encoding", "origin", "origin, accept-encoding", "accept-encoding-x"]),
        1 => field("cache-control", &["no-transform", "public"]),
        1 => field("content-encoding", &["gzip", "identity", "identity, br"]),
        1 => field("content-length", &["4000", "0", "x"]),
        1 => field("content-range", &["bytes 0-9/4000"]),
        1 => field("accept-ranges", &["bytes"]),
        1 => field("repr-digest", &["sha-256=:AA==:"]),
        1 => field("signature-input", &["sig=()"]),
    ];
    prop::collection::vec(line, 0..7)
}

fn headers(lines: &Lines) -> HeaderMap {
    lines
        .iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?)))
        .collect()
}

/// A body and what it holds.
fn body() -> impl Strategy<Value = (Script, Vec<u8>)> {
    let data = prop_oneof![Just(text(4000)), Just(noise(3000)), Just(text(10)), Just(text(0))];
    (data, any::<bool>()).prop_map(|(data, whole)| {
        let script = if whole {
            Script::whole(data.clone())
        } else {
            Script::new([Step::Data(data.clone()), Step::Pause])
        };
        (script, data.to_vec())
    })
}

fn layer() -> impl Strategy<Value = CompressionLayer> {
    let policies = prop::sample::select(vec![EtagPolicy::Weaken, EtagPolicy::Suffix, EtagPolicy::Keep]);
    let refusals = prop::sample::select(vec![
        NotAcceptable::Identity,
        NotAcceptable::Status406BeforeHandler,
    ]);
    (policies, refusals, any::<(bool, bool)>(), 0..2000_u64).prop_map(
        |(etag, refusal, (obey, sse), least)| {
            CompressionLayer::new()
                .etag(etag)
                .not_acceptable(refusal)
                .no_transform(obey)
                .sse(sse)
                .min_size(least)
        },
    )
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::CONNECT,
        Method::PUT,
    ])
}

fn header_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(b"\"\\, W/*x".to_vec()),
        1 => prop_oneof![33..=126_u8, 128..=255_u8],
    ]
}

/// A line with what might be tags, some with our suffix or with nearly ours.
fn condition() -> impl Strategy<Value = Vec<u8>> {
    let suffixes = vec![
        "",
        "",
        "~cortex-gzip-4.1\"",
        "~cortex-gzip-4.1",
        "~cortex--5.1\"",
        "~cortex-br-4.1\", \"z\"",
    ];
    (
        prop::collection::vec(header_byte(), 0..12),
        prop::sample::select(suffixes),
    )
        .prop_map(|(bytes, suffix)| [&bytes[..], suffix.as_bytes()].concat())
}

fn mentions(headers: &HeaderMap, name: &str) -> usize {
    let lines = headers
        .get_all("vary")
        .iter()
        .filter_map(|line| line.to_str().ok());
    let tokens = lines.flat_map(|line| line.split(','));
    tokens
        .filter(|token| token.trim().eq_ignore_ascii_case(name))
        .count()
}

proptest! {
    #[test]
    fn no_response_gets_inconsistent(
        layer in layer(),
        method in method(),
        asked in request_lines(),
        status in prop::sample::select(vec![100, 101, 200, 201, 204, 205, 206, 304, 404, 416, 500]),
        answered in response_lines(),
        (script, original) in body(),
        wish in prop::sample::select(vec![0, 0, 0, 1, 2]),
    ) {
        let mut request = Request::builder().method(method.clone()).body(()).unwrap();
        *request.headers_mut() = headers(&asked);
        let before = headers(&answered);
        let mut response = Response::builder().status(status).body(script).unwrap();
        *response.headers_mut() = before.clone();
        match wish {
            1 => drop(response.extensions_mut().insert(NoCompress)),
            2 => drop(response.extensions_mut().insert(CompressWith::new(Coding::Br))),
            _ => {}
        }
        let (response, called) = ask(&layer, request, response);
        let after = response.headers().clone();
        if !called {
            prop_assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
            prop_assert_eq!(mentions(&after, "accept-encoding"), 1);
            return Ok(());
        }
        prop_assert_eq!(response.status().as_u16(), status);
        // V2: what the handler said once is not said twice.
        let (said, says) = (mentions(&before, "accept-encoding"), mentions(&after, "accept-encoding"));
        prop_assert!(says <= said.max(1), "{:?}", after);
        prop_assert!(mentions(&before, "*") == 0 || says == said, "{:?}", after);

        let body = response.into_body();
        let encoded = before.get("content-encoding") != after.get("content-encoding")
            && after.contains_key("content-encoding");
        if !encoded {
            prop_assert_eq!(before.get_all("etag").iter().count(), after.get_all("etag").iter().count());
            if status != 304 {
                prop_assert_eq!(before.get("etag"), after.get("etag"));
            }
            for name in [
                "content-length",
                "accept-ranges",
                "repr-digest",
                "content-type",
                "content-range",
            ] {
                let forgotten = status == 304 && !after.contains_key(name);
                prop_assert!(forgotten || before.get(name) == after.get(name), "{}", name);
            }
            let data = read(body).data();
            prop_assert!(data == original || status == 304 && data.is_empty());
            return Ok(());
        }
        // V1, H1, H2, E1, E2.
        prop_assert!(says == 1 || says == said || mentions(&after, "*") > 0);
        prop_assert!(!after.contains_key("accept-ranges") && !after.contains_key("repr-digest"));
        prop_assert!(![100, 101, 204, 205, 206, 304, 416].contains(&status));
        prop_assert!(!after.contains_key("content-range"));
        let name = after["content-encoding"].to_str().unwrap();
        let coding = *Coding::ALL.iter().find(|coding| coding.as_str() == name).unwrap();
        if method == Method::HEAD {
            prop_assert_eq!(after.get("content-length"), None);
            prop_assert_eq!(body.size_hint().exact(), None);
            prop_assert!(read(body).data().is_empty());
            return Ok(());
        }
        let sent = read(body).data();
        if let Some(length) = after.get("content-length") {
            prop_assert_eq!(length, &HeaderValue::from(sent.len()));
        }
        prop_assert_eq!(decode(coding, &sent), (original, true));
    }

    /// 9.3.2 and 8.6: HEAD says what GET does, where GET can know it beforehand.
    #[test]
    fn head_says_what_get_says(
        layer in layer(),
        asked in request_lines(),
        status in prop::sample::select(vec![200, 203, 206, 304, 404, 416]),
        answered in response_lines(),
        length in prop::sample::select(vec![500, 1500, 4000]),
        (promised, declared, emptied) in any::<(bool, bool, bool)>(),
        wish in any::<bool>(),
    ) {
        let mut answered: Lines = answered.into_iter().filter(|(name, _)| *name != "content-length").collect();
        if declared {
            answered.push(("content-length", length.to_string()));
        }
        let send = |method: Method| {
            let script = if promised {
                Script::whole(text(length))
            } else if emptied && declared && method == Method::HEAD {
                Script::default().exact(0) // the handler knows HEAD
            } else {
                Script::new([Step::Data(text(length))])
            };
            let mut request = Request::builder().method(method).body(()).unwrap();
            *request.headers_mut() = headers(&asked);
            let mut response = Response::builder().status(status).body(script).unwrap();
            *response.headers_mut() = headers(&answered);
            if wish {
                response.extensions_mut().insert(CompressWith::new(Coding::Gzip));
            }
            ask(&layer, request, response).0
        };
        let (mut get, mut head) = (send(Method::GET), send(Method::HEAD));
        let (got, said) = (get.headers_mut().remove("content-length"), head.headers_mut().remove("content-length"));
        prop_assert!(said.is_none() || said == got);
        prop_assert_eq!(get.status(), head.status());
        prop_assert_eq!(get.headers(), head.headers());
        let hint = head.body().size_hint().exact();
        prop_assert!(hint.is_none() || declared || hint == get.body().size_hint().exact());
    }

    /// Whatever bytes a header may hold: what is rewritten says the same once it is rewritten again.
    #[test]
    fn conditions_of_any_bytes_are_rewritten_once(
        lines in prop::collection::vec(condition(), 0..4),
        tag in prop::collection::vec(header_byte(), 0..12),
        put in any::<bool>(),
    ) {
        let compressor = CompressionLayer::new().etag(EtagPolicy::Suffix).compressor();
        let method = if put { Method::PUT } else { Method::GET };
        let mut headers = HeaderMap::new();
        for line in &lines {
            for name in ["if-none-match", "if-match", "if-range"] {
                headers.append(name, HeaderValue::from_bytes(line).unwrap());
            }
        }
        let before = headers.clone();
        let plan = compressor.plan(&method, &mut headers);
        let rewritten = headers.clone();
        drop(compressor.plan(&method, &mut headers));
        let twice: Vec<u8> = lines.concat();
        let stacked = twice.windows(8).filter(|part| part == b"~cortex-").count() > lines.len();
        prop_assert!(stacked || headers == rewritten);
        prop_assert_eq!(
            before.get_all("if-range").iter().collect::<Vec<_>>(),
            headers.get_all("if-range").iter().collect::<Vec<_>>()
        );
        if !put {
            prop_assert_eq!(
                before.get_all("if-match").iter().collect::<Vec<_>>(),
                headers.get_all("if-match").iter().collect::<Vec<_>>()
            );
        }
        let mut response = Response::builder().status(304).body(Script::default()).unwrap();
        response.headers_mut().insert(ETAG, HeaderValue::from_bytes(&tag).unwrap());
        let (mut head, body) = response.into_parts();
        let mut context = Context::from_waker(Waker::noop());
        drop(compressor.respond(&plan, &mut head, body, &mut context));
        prop_assert!(head.headers.contains_key(ETAG));
    }

    /// 15.4.5 and RFC 9111, section 4.3.4.
    #[test]
    fn a_304_carries_the_tag_that_its_200_had(
        layer in layer(),
        accept in pick(&["gzip", "br, zstd", "*", "identity", "gzip;q=0.5, deflate", ""]),
        opaque in "[!#-~]{0,12}",
        weak in any::<bool>(),
        others in prop::collection::vec("(W/)?\"another-[!#-~]{1,8}\"", 0..3),
        at in any::<prop::sample::Index>(),
        (script, _) in body(),
    ) {
        let made = format!("{}\"{opaque}\"", if weak { "W/" } else { "" });
        let send = |held: Option<&str>, response: Response<Script>| {
            let mut request = Request::new(());
            let lines = [Some(("accept-encoding", accept.as_str())), held.map(|held| ("if-none-match", held))];
            for (name, value) in lines.into_iter().flatten() {
                request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
            }
            ask(&layer, request, response)
        };
        let of_status = |status: u16, body| {
            let response = Response::builder().status(status).header("etag", made.as_str());
            response.header("content-type", "text/plain").body(body).unwrap()
        };
        let (full, called) = send(None, of_status(200, script));
        prop_assume!(called);
        let held = full.headers()[ETAG].to_str().unwrap().to_owned();
        let mut list = others.clone();
        list.insert(at.index(list.len() + 1), held.clone());
        let (not_modified, _) = send(Some(&list.join(", ")), of_status(304, Script::default().exact(0)));
        prop_assert_eq!(not_modified.headers()[ETAG].to_str().unwrap(), held, "{:?}", list);
        prop_assert_eq!(not_modified.headers().get_all(ETAG).iter().count(), 1);
    }
}
