//! The rules for requests, D1 to D6 of which the numbers are, with the sections of RFC 9110.

use super::hostile::many_of_one;
use super::support::encode;
use crate::support::{Script, drive, text};
use bytes::Bytes;
use cortex_compress::{
    Coding, DecompressError, Limit, OriginalHeaders, RefusalBody, RequestBody, RequestDecompressionLayer,
};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError};
use std::convert::Infallible;
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tower::{Layer, Service, service_fn};

/// What the handler saw.
struct Seen {
    headers: HeaderMap,
    original: Option<OriginalHeaders>,
    body: Result<Bytes, Box<dyn Error + Send + Sync>>,
}

/// Sends a request through a layer to a handler that reads it all.
fn send(layer: &RequestDecompressionLayer, request: Request<Script>) -> (Option<Seen>, Response<Bytes>) {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let note = Arc::clone(&seen);
    let handler = service_fn(move |request: Request<RequestBody<Script>>| {
        let note = Arc::clone(&note);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes);
            *note.lock().unwrap() = Some(Seen {
                headers: head.headers,
                original: head.extensions.get().cloned(),
                body,
            });
            Ok::<_, Infallible>(Response::new(Full::from("done")))
        }
    });
    let mut future = pin!(layer.layer(handler).call(request));
    let (response, _) = drive(|cx| future.as_mut().poll(cx));
    let response = response.expect("the response stalled").unwrap();
    let response = response.map(|mut body: RefusalBody<Full<Bytes>>| {
        assert!(body.size_hint().exact().is_some_and(|length| length > 0));
        let (frame, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
        let data = frame.unwrap().unwrap().unwrap().into_data().unwrap();
        assert!(body.is_end_stream());
        data
    });
    let seen = seen.lock().unwrap().take();
    (seen, response)
}

fn request(lines: &[&str], body: Script) -> Request<Script> {
    let builder = lines.iter().fold(Request::post("/"), |builder, line| {
        builder.header("content-encoding", *line)
    });
    builder.body(body).unwrap()
}

fn layer() -> RequestDecompressionLayer {
    RequestDecompressionLayer::new()
}

#[test]
fn d1_8_4_names_have_any_case_aliases_and_lines_and_are_undone_from_the_right() {
    let (gzip, zstd) = (Coding::Gzip, Coding::Zstd);
    let plain = text(5000);
    let cases: [(&[&str], Vec<u8>); 9] = [
        (&["GZip"], encode(gzip, &plain)),
        (&["x-gzip"], encode(gzip, &plain)),
        (&["X-GZIP"], encode(gzip, &plain)),
        (&["identity, ZSTD,, identity"], encode(zstd, &plain)),
        (&["Deflate"], encode(Coding::Deflate, &plain)),
        (&["BR"], encode(Coding::Br, &plain)),
        (&["gzip, zstd"], encode(zstd, &encode(gzip, &plain))),
        (&["gzip", "zstd"], encode(zstd, &encode(gzip, &plain))),
        (&["zstd ,\tgzip", "identity"], encode(gzip, &encode(zstd, &plain))),
    ];
    for (lines, body) in cases {
        let (seen, response) = send(&layer(), request(lines, Script::whole(body)));
        assert_eq!(response.status(), 200);
        let seen = seen.expect("the handler was called");
        assert_eq!(seen.body.unwrap(), plain, "{lines:?}");
        let original = seen.original.expect("it was encoded");
        assert_eq!(
            original.headers().get_all("content-encoding").iter().count(),
            lines.len()
        );
    }
}

#[test]
fn d1_8_4_1_identity_is_no_coding() {
    for lines in [&["identity"][..], &["", ","], &["identity", "Identity"]] {
        let mut request = request(lines, Script::whole("as it is"));
        request
            .headers_mut()
            .insert("content-length", "8".parse().unwrap());
        let (seen, _) = send(&layer(), request);
        let seen = seen.expect("the handler was called");
        assert_eq!(seen.body.unwrap(), "as it is");
        assert_eq!(seen.headers.get("content-encoding"), None);
        assert_eq!(seen.headers["content-length"], "8");
        assert_eq!(seen.original, None);
    }
}

#[test]
fn d2_15_5_16_what_is_unknown_or_too_much_is_refused_before_it_is_read() {
    let all = layer();
    let two = layer().codings(&[Coding::Gzip, Coding::Br]).max_codings(1);
    let cases: [(&RequestDecompressionLayer, &[&str], &str); 9] = [
        (&all, &["compress"], "zstd, br, gzip, deflate"),
        (&all, &["gzip;q=1"], "zstd, br, gzip, deflate"),
        (&all, &["\"gzip\""], "zstd, br, gzip, deflate"),
        (&all, &["*"], "zstd, br, gzip, deflate"),
        (&all, &["gzip, aes128gcm"], "zstd, br, gzip, deflate"),
        (&all, &["gzip, gzip, gzip"], "zstd, br, gzip, deflate"),
        (&all, &["gzip", "br", "identity, zstd"], "zstd, br, gzip, deflate"),
        (&two, &["zstd"], "gzip, br"),
        (&two, &["gzip, br"], "gzip, br"),
    ];
    for (layer, lines, accept) in cases {
        let script = Script::whole("anything");
        let polls = Arc::clone(&script.polls);
        let (seen, response) = send(layer, request(lines, script));
        assert!(seen.is_none(), "{lines:?}");
        assert_eq!(response.status(), 415, "{lines:?}");
        assert_eq!(response.headers()["accept-encoding"], accept);
        assert!(response.body().starts_with(b"Unsupported Content-Encoding: "));
        assert_eq!(polls.load(Ordering::Relaxed), 0);
    }
    let (_, response) = send(&two, request(&["gzip, br"], Script::whole("anything")));
    assert_eq!(
        response.body(),
        "Unsupported Content-Encoding: too many codings, the limit is 1.\n"
    );
    let none = layer().codings(&[]);
    let (_, response) = send(&none, request(&["gzip"], Script::whole("anything")));
    assert_eq!(response.headers()["accept-encoding"], "identity");
}

#[test]
fn d2_a_request_without_a_body_has_nothing_to_decode() {
    let (seen, response) = send(&layer(), request(&["compress"], Script::default()));
    assert_eq!(response.status(), 200);
    assert_eq!(seen.unwrap().headers["content-encoding"], "compress");
}

#[test]
fn d3_15_5_14_a_body_that_says_it_is_too_long_is_refused_at_once() {
    let layer = layer().max_encoded(100);
    for (length, exact, status) in [
        (100, None, 200),
        (101, None, 413),
        (5, Some(101), 413),
        (5, None, 200),
    ] {
        let mut script = Script::whole(encode(Coding::Gzip, b"short"));
        script.exact = exact;
        let polls = Arc::clone(&script.polls);
        let mut request = request(&["gzip"], script);
        request.headers_mut().insert("content-length", length.into());
        let (seen, response) = send(&layer, request);
        assert_eq!(response.status(), status);
        assert_eq!(seen.is_some(), status == 200);
        if status == 413 {
            assert_eq!(
                response.body(),
                "The encoded content is too large: at most 100 bytes are read.\n"
            );
            assert_eq!(polls.load(Ordering::Relaxed), 0);
        }
    }
    // It is not for bodies that are not encoded.
    let (seen, _) = send(&layer, request(&[], Script::whole(text(1000))));
    assert_eq!(seen.unwrap().body.unwrap(), text(1000));
}

#[test]
fn d3_d4_limits_that_show_while_reading_are_length_limits() {
    let bomb = encode(Coding::Gzip, &vec![0; 4 << 20]);
    let members = encode(Coding::Gzip, b"").repeat(3);
    let long = encode(Coding::Gzip, &text(10_000));
    let cases = [
        (layer(), "gzip", bomb.clone()),
        (layer().max_ratio(u32::MAX).max_decoded(1 << 20), "gzip", bomb),
        (layer().max_decoded(1 << 20), "br", many_of_one(1 << 24).into()),
        (layer().max_members(2), "gzip", members),
        (layer().max_encoded(1000), "gzip", long),
    ];
    for (layer, coding, body) in cases {
        let mut script = Script::whole(body);
        script.exact = None;
        let (seen, _) = send(&layer, request(&[coding], script));
        let error = seen.unwrap().body.unwrap_err();
        assert!(error.is::<LengthLimitError>(), "{error:?}");
    }
}

#[test]
fn d5_damage_is_a_typed_error() {
    let mut script = Script::whole(encode(Coding::Br, &text(10_000)));
    script.steps.truncate(0);
    script.steps.push_back(crate::support::Step::Data(
        encode(Coding::Br, &text(10_000)).split_off(9).into(),
    ));
    let (seen, _) = send(&layer(), request(&["br"], script));
    let error = seen.unwrap().body.unwrap_err();
    let error = error
        .downcast_ref::<cortex_compress::DecodeError>()
        .expect("a typed error");
    assert_eq!(error.coding(), Coding::Br);
    assert_eq!(error.status(), 400);
}

#[test]
fn d6_8_6_what_was_true_of_the_encoded_body_is_moved_to_an_extension() {
    let gone = [
        "content-length",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
    ];
    let mut request = request(&["gzip"], Script::whole(encode(Coding::Gzip, b"text")));
    for name in gone {
        request.headers_mut().append(name, "24".parse().unwrap());
    }
    request.headers_mut().append("digest", "md5=1".parse().unwrap());
    request
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    let (seen, _) = send(&layer(), request);
    let seen = seen.unwrap();
    assert_eq!(seen.headers.len(), 1);
    assert_eq!(seen.headers["content-type"], "text/plain");
    let original = seen.original.unwrap();
    assert_eq!(original.headers().len(), 7);
    assert_eq!(original.headers()["content-encoding"], "gzip");
    for name in gone {
        assert_eq!(original.headers()[name], "24");
    }
    assert_eq!(original.headers().get_all("digest").iter().count(), 2);
}

#[test]
fn a_request_without_codings_passes_as_it_is() {
    let mut request = request(&[], Script::whole("plain"));
    request
        .headers_mut()
        .insert("content-length", "5".parse().unwrap());
    let (seen, response) = send(&layer(), request);
    assert_eq!(response.body(), "done");
    let seen = seen.unwrap();
    assert_eq!(seen.headers["content-length"], "5");
    assert_eq!(seen.body.unwrap(), "plain");
    assert_eq!(seen.original, None);
}

#[test]
fn a_handler_that_wants_to_know_the_limit_takes_the_body_out() {
    let handler = service_fn(async |request: Request<RequestBody<Script>>| {
        let error = request.into_body().into_inner().collect().await.unwrap_err();
        let DecompressError::Decode(error) = error else {
            panic!("{error}")
        };
        assert_eq!(error.exceeded(), Some(Limit::DecodedSize(99)));
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = error.status();
        Ok::<_, Infallible>(response)
    });
    let request = request(&["zstd"], Script::whole(encode(Coding::Zstd, &text(100))));
    let mut future = pin!(layer().max_decoded(99).layer(handler).call(request));
    let (response, _) = drive(|cx| future.as_mut().poll(cx));
    assert_eq!(response.unwrap().unwrap().status(), 413);
}
