//! What the layer allocates.

use crate::ALLOCATOR;
use crate::support::{Script, Step, drive, noise, read, text};
use cortex_compress::{Coding, CompressionLayer, Negotiated, negotiate};
use cortex_testkit::ManualClock;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use http::{Request, Response};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Waker};
use tower::{Layer, Service, service_fn};

/// Sends a response through the layer, twice so that the second finds an idle encoder, and counts the second time.
fn allocations(accept: &'static str, content_type: &'static str, body: &Script) -> u64 {
    let layer = CompressionLayer::new().clock(ManualClock::new()); // nothing takes so long that it has to wait
    let mut counted = 0;
    for _ in 0..2 {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
        let mut response = Response::new(body.clone());
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(content_type));
        let mut response = Some(response);
        let handler = service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, Infallible>(response.take().unwrap()))
        });
        let mut service = layer.layer(handler);
        let (answer, usage) = ALLOCATOR.measure(|| {
            let mut future = service.call(request);
            Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
        });
        assert!(answer.is_ready());
        counted = usage.allocations;
    }
    counted
}

#[test]
fn negotiation_does_not_allocate() {
    let mut headers = HeaderMap::new();
    headers.append(
        ACCEPT_ENCODING,
        HeaderValue::from_static("gzip;q=0.3, x-gzip, \"a,b\", *;q=0.1,, identity"),
    );
    headers.append(
        ACCEPT_ENCODING,
        HeaderValue::from_static("br;q=0.9, zstd;q=broken"),
    );
    let (negotiated, usage) = ALLOCATOR.measure(|| negotiate(&headers, Coding::ALL));
    assert_eq!(negotiated, Negotiated::Encode(Coding::Gzip));
    assert_eq!(usage.allocations, 0);
    for (what, headers, expected) in crate::weights::garbage() {
        let (negotiated, usage) = ALLOCATOR.measure(|| negotiate(&headers, Coding::ALL));
        assert_eq!((negotiated, usage.allocations), (expected, 0), "{what}");
    }
}

#[test]
fn what_is_not_encoded_costs_no_allocation() {
    for (accept, content_type, length) in [
        ("", "text/plain", 5000),
        ("identity", "text/plain", 5000),
        ("gzip", "text/plain", 100),
        ("gzip", "image/png", 5000),
    ] {
        let count = allocations(accept, content_type, &Script::whole(text(length)));
        assert_eq!(count, 0, "{accept} {content_type} {length}");
    }
}

#[test]
fn a_whole_body_costs_the_output_and_its_length() {
    for &coding in Coding::ALL {
        let count = allocations(coding.as_str(), "application/json", &Script::whole(text(10_000)));
        assert!((1..=3).contains(&count), "{coding}: {count} allocations");
    }
}

#[test]
fn a_stream_costs_its_state_and_one_allocation_for_each_frame() {
    for &coding in Coding::ALL {
        let script = Script::new(std::iter::repeat_n(Step::Data(noise(50_000)), 10));
        drop(read(crate::support::encode(coding, script.clone()).into_body()));
        let mut body = crate::support::encode(coding, script).into_body();
        let mut frame = || drive(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).0;
        assert!(frame().is_some()); // sets the encoder up: this layer has no idle one
        let (more, usage) = ALLOCATOR.measure(frame);
        assert!(more.is_some());
        assert!(usage.allocations <= 3, "{coding}: {usage:?}"); // the driver's waker, and the shared frame
    }
}
