//! Streamed bodies on their way into the cache.

use crate::case::Log;
use crate::support::{Script, Step, drive, noise, read, respond, text};
use cortex_compress::{Coding, CompressBody, CompressionLayer, Event, VariantCache};
use cortex_testkit::ManualClock;
use http::{Request, Response};
use http_body::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

fn get(layer: &CompressionLayer, uri: &str, body: Script, length: usize) -> CompressBody<Script> {
    let request = Request::builder().uri(uri).header("accept-encoding", "gzip");
    let response = Response::builder()
        .header("content-type", "text/plain")
        .header("etag", "\"x\"")
        .header("content-length", length)
        .body(body)
        .unwrap();
    respond(layer, request.body(()).unwrap(), response).into_body()
}

/// Reads a body as far as it goes without its end, and leaves it there.
fn stall(layer: &CompressionLayer, uri: &str) -> CompressBody<Script> {
    let data = noise(150_000);
    let mut body = get(layer, uri, Script::new([Step::Data(data), Step::Stall]), 200_000);
    while let (Some(Some(Ok(_))), _) = drive(|cx| Pin::new(&mut body).poll_frame(cx)) {}
    body
}

fn read_all(layer: &CompressionLayer, uri: &str) {
    let data = text(100_000);
    let body = get(layer, uri, Script::new([Step::Data(data)]), 100_000);
    assert!(read(body).error.is_none());
}

#[test]
fn slow_readers_keep_nothing_out_of_the_cache() {
    let uris: Vec<_> = (0..9).map(|number| format!("/{number}")).collect();
    for slow in [vec!["/a"; 9], uris.iter().map(String::as_str).collect()] {
        let cache = VariantCache::weighted(8 << 20); // of which 1 MB is for what is being sent
        let layer = CompressionLayer::new()
            .cache(cache.clone())
            .clock(ManualClock::new());
        let waiting: Vec<_> = slow.iter().map(|uri| stall(&layer, uri)).collect();
        assert_eq!(cache.stats().entries, 0);
        read_all(&layer, "/b");
        assert_eq!(cache.stats().entries, 1, "{slow:?}");
        drop(waiting);
        assert_eq!(cache.stats().entries, 1);
    }
}

#[test]
fn a_reader_that_stopped_does_not_keep_out_what_it_reads() {
    let cache = VariantCache::weighted(8 << 20);
    let clock = ManualClock::new();
    let layer = CompressionLayer::new().cache(cache.clone()).clock(clock.clone());
    let data = text(100_000);
    let steps = [Step::Data(data.slice(..60_000)), Step::Stall];
    let mut slow = get(&layer, "/", Script::new(steps), 100_000);
    let _ = drive(|cx| Pin::new(&mut slow).poll_frame(cx));
    read_all(&layer, "/");
    assert_eq!(cache.stats().entries, 0, "the first one may still be as fast");
    clock.advance(Duration::from_secs(1));
    read_all(&layer, "/");
    assert_eq!(cache.stats().entries, 1);
    drop(slow);
    assert_eq!(cache.stats().entries, 1);
}

#[test]
fn streams_of_one_body_each_have_an_encoder_and_the_first_one_is_kept() {
    let cache = VariantCache::weighted(8 << 20);
    let log = Arc::new(Log::default());
    let layer = CompressionLayer::new()
        .cache(cache.clone())
        .observe(Arc::clone(&log))
        .clock(ManualClock::new());
    let body = || get(&layer, "/", Script::new([Step::Data(text(100_000))]), 100_000);
    let mut first = body();
    let others: Vec<_> = (0..4).map(|_| body()).collect();
    for other in others {
        drop(read(other));
    }
    assert_eq!(cache.stats().entries, 0, "they are not recorded");
    let (frame, _) = drive(|cx| Pin::new(&mut first).poll_frame(cx));
    let frame = frame.unwrap().unwrap().unwrap().into_data().unwrap();
    let sent = [frame.to_vec(), read(first).data()].concat();
    assert_eq!((cache.stats().entries, cache.stats().hits), (1, 0));
    let hit = body();
    assert_eq!(read(hit).data(), sent);
    let events = log.0.lock().unwrap();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let encoded = count(|event| {
        matches!(
            event,
            Event::Encoded {
                coding: Coding::Gzip,
                ..
            }
        )
    });
    assert_eq!(
        (encoded, count(|event| matches!(event, Event::Cached { .. }))),
        (5, 1)
    );
}
