//! The rules for responses, with the sections of RFC 9110.

use super::support::{encode, fetch, read};
use crate::support::{Script, Step, text};
use cortex_compress::{Coding, Limit, OriginalHeaders, ResponseDecompressionLayer};
use http::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tower::{Layer, Service, service_fn};

/// The fields of a header.
type Fields = &'static [(&'static str, &'static str)];

fn layer() -> ResponseDecompressionLayer {
    ResponseDecompressionLayer::new()
}

/// Returns what the server is asked to accept.
fn asked(layer: &ResponseDecompressionLayer, request: Request<()>) -> Option<String> {
    let asked = Arc::new(Mutex::new(None));
    let note = Arc::clone(&asked);
    let server = service_fn(move |request: Request<()>| {
        let accept = request.headers().get("accept-encoding");
        *note.lock().unwrap() = accept.map(|value| value.to_str().unwrap().to_owned());
        ready(Ok::<_, Infallible>(Response::new(Script::default())))
    });
    drop(layer.layer(server).call(request));
    asked.lock().unwrap().take()
}

#[test]
fn s12_5_3_accept_encoding_names_what_is_decoded_unless_the_caller_does() {
    let cases: [(ResponseDecompressionLayer, Fields, Option<&str>); 5] = [
        (layer(), &[], Some("zstd, br, gzip, deflate")),
        (layer().codings(&[Coding::Br]), &[], Some("br")),
        (layer().codings(&[]), &[], Some("identity")),
        (layer(), &[("accept-encoding", "gzip;q=0.5")], Some("gzip;q=0.5")),
        (layer(), &[("range", "bytes=5-")], Some("identity")), // 14.2: of the encoded bytes
    ];
    let tunnel = Request::connect("shop.example:443").body(()).unwrap();
    assert_eq!(asked(&layer(), tunnel).as_deref(), Some("identity"));
    for (layer, fields, expected) in cases {
        let request = fields
            .iter()
            .fold(Request::builder(), |builder, (name, value)| {
                builder.header(*name, *value)
            })
            .body(())
            .unwrap();
        assert_eq!(asked(&layer, request).as_deref(), expected, "{fields:?}");
    }
}

#[test]
fn s8_4_a_response_is_decoded_and_described_as_what_it_is() {
    for &coding in Coding::ALL {
        let data = encode(coding, &text(30_000));
        let response = Response::builder()
            .header("content-encoding", coding.as_str())
            .header("content-length", data.len())
            .header("repr-digest", "sha-256=:AAAA:")
            .header("etag", "\"x\"")
            .header("vary", "accept-encoding")
            .body(Script::whole(data.clone()))
            .unwrap();
        let response = fetch(&layer(), Request::new(()), response);
        let mut names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "vary"]);
        let original = response
            .extensions()
            .get::<OriginalHeaders>()
            .expect("it was encoded");
        assert_eq!(
            original.headers()["content-length"],
            data.len().to_string().as_str()
        );
        assert_eq!(read(response.into_body()).data(), text(30_000));
    }
}

#[test]
fn what_cannot_or_must_not_be_decoded_is_untouched() {
    let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
    let cases: [(&str, &Method, u16, Fields); 11] = [
        ("9.3.2", &head, 200, &[("content-encoding", "gzip")]),
        ("9.3.6", &connect, 200, &[("content-encoding", "gzip")]),
        ("15.2", &get, 101, &[("content-encoding", "gzip")]),
        ("15.3.5", &get, 204, &[("content-encoding", "gzip")]),
        ("15.3.6", &get, 205, &[("content-encoding", "gzip")]),
        ("15.4.5", &get, 304, &[("content-encoding", "gzip")]),
        (
            "15.3.7",
            &get,
            206,
            &[("content-encoding", "gzip"), ("content-range", "bytes 0-9/20")],
        ),
        (
            "14.4",
            &get,
            200,
            &[("content-encoding", "gzip"), ("content-range", "bytes 0-9/20")],
        ),
        ("unknown", &get, 200, &[("content-encoding", "compress, gzip")]),
        ("too many", &get, 200, &[("content-encoding", "gzip, gzip, gzip")]),
        ("not encoded", &get, 200, &[("content-digest", "sha-256=:AAAA:")]),
    ];
    for (name, method, status, fields) in cases {
        let response = fields
            .iter()
            .fold(Response::builder(), |builder, (name, value)| {
                builder.header(*name, *value)
            })
            .header("content-length", "10")
            .status(StatusCode::from_u16(status).unwrap())
            .body(Script::whole("0123456789"))
            .unwrap();
        let before = response.headers().clone();
        let request = Request::builder().method(method).body(()).unwrap();
        let response = fetch(&layer(), request, response);
        assert_eq!(*response.headers(), before, "{name}");
        assert!(response.extensions().is_empty());
        assert_eq!(read(response.into_body()).data(), b"0123456789", "{name}");
    }
}

#[test]
fn the_error_of_the_client_comes_through() {
    let server = service_fn(|_: Request<()>| ready(Err::<Response<Script>, _>("no route")));
    let future = layer().layer(server).call(Request::new(()));
    let mut future = std::pin::pin!(future);
    let (result, _) = crate::support::drive(|cx| future.as_mut().poll(cx));
    assert_eq!(result.unwrap().unwrap_err(), "no route");
}

#[test]
fn a_response_that_says_it_is_too_long_is_not_read() {
    let script = Script::new([Step::Data(encode(Coding::Gzip, &text(3000)).into())]);
    let polls = Arc::clone(&script.polls);
    let response = Response::builder()
        .header("content-encoding", "gzip")
        .header("content-length", 1001);
    let layer = layer().max_encoded(1000);
    let response = fetch(&layer, Request::new(()), response.body(script).unwrap());
    let decoded = read(response.into_body());
    let limit = decoded.decode_error().unwrap().exceeded();
    assert_eq!(limit, Some(Limit::EncodedSize(1000)));
    assert_eq!(polls.load(Ordering::Relaxed), 0);
}
