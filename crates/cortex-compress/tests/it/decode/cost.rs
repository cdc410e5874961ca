//! What decoding allocates, and holds. (Of zstd, which is C, only what is around it can be seen.)

use super::support::{body, encode, fetch};
use crate::ALLOCATOR;
use crate::support::{Script, drive, text};
use bytes::Bytes;
use cortex_compress::{Coding, RequestDecompressionLayer, ResponseDecompressionLayer};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Waker};
use tower::{Layer, Service, service_fn};

/// Reads a body to its end; returns its length, and the most that was held at any time beyond what was at first.
pub(super) fn peak(layer: &ResponseDecompressionLayer, codings: &str, data: Bytes) -> (u64, i64) {
    let (mut body, usage) = ALLOCATOR.measure(|| body(layer, codings, Script::whole(data)));
    let mut held = usage.retained();
    let (mut length, mut most) = (0, held);
    loop {
        let (frame, usage) = ALLOCATOR.measure(|| drive(|cx| Pin::new(&mut body).poll_frame(cx)).0);
        held += usage.retained();
        most = most.max(held);
        let Some(frame) = frame.expect("the body stalled") else {
            return (length, most);
        };
        let data = frame.unwrap().into_data().unwrap();
        length += data.len() as u64;
        held -= ALLOCATOR.measure(|| drop(data)).1.freed.cast_signed();
    }
}

#[test]
fn memory_is_bounded_by_the_window_whatever_a_body_decodes_to() {
    for (coding, most) in [
        (Coding::Gzip, 100 << 10),
        (Coding::Deflate, 100 << 10),
        (Coding::Br, 5 << 20),
        (Coding::Zstd, 40 << 10),
    ] {
        let once = encode(coding, &vec![b'.'; 8 << 20]);
        let twice = encode(coding, &once);
        for (stages, codings, data) in [
            (1, coding.to_string(), once),
            (2, format!("{coding}, {coding}"), twice),
        ] {
            let layer = ResponseDecompressionLayer::new().max_ratio(u32::MAX);
            let (length, held) = peak(&layer, &codings, data.into());
            assert_eq!(length, 8 << 20);
            assert!(held <= most * stages, "{codings}: {held}");
        }
    }
}

#[test]
fn a_short_body_in_brotli_costs_no_whole_window() {
    let layer = ResponseDecompressionLayer::new();
    let (_, held) = peak(&layer, "br", encode(Coding::Br, &text(20_000)).into());
    assert!(held <= 200 << 10, "{held}");
}

#[test]
fn the_second_body_allocates_no_state() {
    for &coding in Coding::ALL {
        let layer = ResponseDecompressionLayer::new();
        let data = Bytes::from(encode(coding, &text(100_000)));
        let mut allocated = 0;
        for _ in 0..2 {
            let script = Script::whole(data.clone());
            let response = Response::builder()
                .header("content-encoding", coding.as_str())
                .body(script);
            let response = response.unwrap();
            let (read, usage) = ALLOCATOR.measure(|| {
                let mut body = fetch(&layer, Request::new(()), response).into_body();
                let mut read = 0;
                while let (Some(Some(frame)), _) = drive(|cx| Pin::new(&mut body).poll_frame(cx)) {
                    read += frame.unwrap().into_data().unwrap().len();
                }
                read
            });
            assert_eq!(read, 100_000);
            allocated = usage.allocated;
        }
        // What is decoded, and little more.
        assert!(allocated < 100_000 + 4000, "{coding}: {allocated}");
    }
}

#[test]
fn a_request_that_is_not_encoded_costs_no_allocation() {
    let handler =
        service_fn(|_| std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let mut service = RequestDecompressionLayer::new().layer(handler);
    let request = Request::new(Script::whole("as it is"));
    let (answer, usage) = ALLOCATOR.measure(|| {
        let mut future = service.call(request);
        Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
    });
    assert!(answer.is_ready());
    assert_eq!(usage.allocations, 0);
}

#[test]
fn a_body_that_is_dropped_anywhere_frees_what_it_held() {
    for &coding in Coding::ALL {
        let layer = ResponseDecompressionLayer::new();
        // Not so much that its window is too large to be kept: then the pool has had the most that it keeps after a whole body.
        let data = Bytes::from(encode(coding, &text(200_000)));
        let freed_all = |polls: usize| {
            let script = Script::whole(data.clone());
            let ((), usage) = ALLOCATOR.measure(|| {
                let mut body = body(&layer, coding.as_str(), script);
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..polls {
                    drop(Pin::new(&mut body).poll_frame(&mut cx));
                }
            });
            usage.retained()
        };
        freed_all(10_000); // fills the pool, on a slow machine, too
        for polls in 0..30 {
            let retained = freed_all(polls);
            assert!(retained <= 0, "{coding} after {polls} polls: {retained}");
        }
    }
}
