//! Encoded bodies that are kept by their entity tag.

use crate::ALLOCATOR;
use crate::case::Log;
use crate::support::{Script, Step, decode, drive, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    Coding, CompressBody, CompressionLayer, EtagPolicy, Event, Job, Level, NoCompress, SkipReason,
    VariantCache,
};
use cortex_testkit::ManualClock;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Body;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const TEXT: (&str, &str) = ("content-type", "text/plain");
const TAG: (&str, &str) = ("etag", "\"x\"");

type Lines<'a> = &'a [(&'a str, &'a str)];

struct Site {
    layer: CompressionLayer,
    cache: VariantCache,
    log: Arc<Log>,
}

impl Site {
    fn new() -> Self {
        Self::with(CompressionLayer::new(), VariantCache::weighted(8 << 20))
    }

    fn with(layer: CompressionLayer, cache: VariantCache) -> Self {
        let log = Arc::new(Log::default());
        let layer = layer
            .clock(ManualClock::new())
            .cache(cache.clone())
            .observe(Arc::clone(&log));
        Self { layer, cache, log }
    }

    fn get(&self, coding: Coding, response: &[(&str, &str)], body: Script) -> Response<CompressBody<Script>> {
        self.send("/", &[("accept-encoding", coding.as_str())], response, body)
    }

    fn send(
        &self,
        uri: &str,
        request: &[(&str, &str)],
        response: &[(&str, &str)],
        body: Script,
    ) -> Response<CompressBody<Script>> {
        respond(
            &self.layer,
            request_of(Method::GET, uri, request),
            response_of(response, body),
        )
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.log.0.lock().unwrap())
    }

    /// Entries, hits and misses.
    fn counts(&self) -> (usize, u64, u64) {
        let stats = self.cache.stats();
        (stats.entries, stats.hits, stats.misses)
    }
}

fn request_of(method: Method, uri: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for &(name, value) in lines {
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

fn response_of(lines: &[(&str, &str)], body: Script) -> Response<Script> {
    let mut response = Response::builder();
    for &(name, value) in lines {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}

/// A body that says its length in the header alone, as that of a file.
fn file(data: &Bytes) -> Script {
    let pieces = data.chunks(3000).map(|piece| Step::Data(data.slice_ref(piece)));
    Script::new(pieces.flat_map(|piece| [piece, Step::Pause]))
}

#[test]
fn a_hit_is_the_same_response_and_reads_nothing() {
    for policy in [EtagPolicy::Weaken, EtagPolicy::Suffix, EtagPolicy::Keep] {
        for &coding in Coding::ALL {
            let layer = CompressionLayer::new().etag(policy);
            let site = Site::with(layer, VariantCache::weighted(1 << 20));
            let lines = [
                TEXT,
                TAG,
                ("vary", "origin"),
                ("content-length", "5000"),
                ("accept-ranges", "bytes"),
                ("repr-digest", "sha-256=:AA==:"),
                ("cache-control", "max-age=60"),
            ];
            let first = site.get(coding, &lines, Script::whole(text(5000)));
            let body = Script::whole(text(5000));
            let polls = Arc::clone(&body.polls);
            let second = site.get(coding, &lines, body);
            assert_eq!(first.headers(), second.headers());
            assert_eq!(second.headers()["content-encoding"], coding.as_str());
            let hint = second.body().size_hint().exact().unwrap();
            assert_eq!(second.headers()["content-length"], hint.to_string().as_str());
            let (first, second) = (read(first.into_body()).data(), read(second.into_body()).data());
            assert_eq!(first, second);
            assert_eq!(decode(coding, &second), (text(5000).to_vec(), true));
            assert_eq!(polls.load(Ordering::Relaxed), 0, "the body was read");
            assert_eq!(site.counts(), (1, 1, 1));
            let events = site.events();
            assert!(
                matches!(
                    events[..],
                    [
                        Event::Encoded { bytes_in: 5000, bytes_out, .. },
                        Event::Cached { coding: cached, bytes_in: 5000, bytes_out: again, .. },
                    ] if cached == coding && bytes_out == again && again == hint
                ),
                "{events:?}"
            );
        }
    }
}

#[test]
fn the_body_of_the_handler_is_dropped_at_once() {
    let site = Site::new();
    for hit in [false, true] {
        let body = Script::whole(text(5000));
        let polls = Arc::clone(&body.polls);
        let response = site.get(Coding::Gzip, &[TEXT, TAG], body);
        assert_eq!(Arc::strong_count(&polls) == 1, hit);
        drop(response);
    }
}

#[test]
fn a_file_is_kept_once_it_was_sent_to_its_end() {
    let data = text(40_000);
    let lines = [TEXT, TAG, ("content-length", "40000")];
    for &coding in Coding::ALL {
        for offload in [false, true] {
            let mut layer = CompressionLayer::new();
            if offload {
                layer = layer.offload(|job: Job| -> Result<(), Job> {
                    job();
                    Ok(())
                });
            }
            let site = Site::with(layer, VariantCache::weighted(8 << 20));
            let first = site.get(coding, &lines, file(&data));
            assert!(!first.headers().contains_key("content-length"));
            assert_eq!(site.counts(), (0, 0, 1));
            let sent = read(first.into_body()).data();
            let second = site.get(coding, &lines, Script::new([Step::Fail]));
            assert_eq!(
                second.headers()["content-length"],
                sent.len().to_string().as_str()
            );
            assert_eq!(second.headers()["etag"], "W/\"x\"");
            assert_eq!(read(second.into_body()).data(), sent);
            assert_eq!(decode(coding, &sent), (data.to_vec(), true));
            assert_eq!(site.counts(), (1, 1, 1));
        }
    }
}

#[test]
fn a_stream_that_is_not_all_there_is_not_kept() {
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("checksum"), HeaderValue::from_static("1"))]);
    let data = || Step::Data(text(20_000));
    for (what, steps, length) in [
        ("it fails", vec![data(), Step::Pause, data(), Step::Fail], "40000"),
        ("it stalls", vec![data(), Step::Stall], "40000"),
        ("it is too short", vec![data(), Step::Pause], "40000"),
        ("it is too long", vec![data(), Step::Pause, data()], "39999"),
        ("it has trailers", vec![data(), Step::Trailers(trailers)], "20000"),
        ("it is too large", vec![Step::Data(noise(300_000))], "300000"),
    ] {
        for &coding in Coding::ALL {
            let cache = VariantCache::weighted(8 << 20).max_entry(200_000);
            let site = Site::with(CompressionLayer::new(), cache);
            let lines = [TEXT, TAG, ("content-length", length)];
            let response = site.get(coding, &lines, Script::new(steps.clone()));
            assert!(response.headers().contains_key("content-encoding"), "{what}");
            drop(read(response.into_body()));
            assert_eq!(site.counts(), (0, 0, 1), "{what}");
        }
    }
}

#[test]
fn a_client_that_goes_before_the_end_leaves_nothing() {
    let data = text(40_000);
    let lines = [TEXT, TAG, ("content-length", "40000")];
    // Each piece is flushed, as the second pause is no accident.
    let pieces = data.chunks(8000).map(|piece| Step::Data(data.slice_ref(piece)));
    let body = Script::new(pieces.flat_map(|piece| [piece, Step::Pause, Step::Pause]));
    let count = |most: usize| {
        let site = Site::new();
        let mut body = site.get(Coding::Gzip, &lines, body.clone()).into_body();
        let mut frames = 0;
        while frames < most {
            match drive(|cx| std::pin::Pin::new(&mut body).poll_frame(cx))
                .0
                .unwrap()
            {
                Some(frame) => drop(frame.unwrap()),
                None => break,
            }
            frames += 1;
        }
        drop(body);
        (frames, site.counts().0)
    };
    let (all, kept) = count(usize::MAX);
    assert!(all > 4 && kept == 1);
    for frames in 0..all {
        assert_eq!(count(frames), (frames, 0));
    }
    assert_eq!(count(all), (all, 1), "the last frame was sent");
}

#[test]
fn streams_that_wait_for_their_readers_hold_an_eighth_of_the_cache_at_most() {
    let cache = VariantCache::weighted(4 << 20).max_entry(1 << 20);
    let site = Site::with(CompressionLayer::new().coding(Coding::Gzip, Level::new(1)), cache);
    let sent = |number: u32| {
        let mut steps: Vec<_> = (0..30).map(|_| Step::Data(noise(10_000))).collect();
        steps.push(Step::Stall);
        let lines = [TEXT, TAG, ("content-length", "310000")];
        let uri = format!("/{number}");
        let mut body = site
            .send(&uri, &[("accept-encoding", "gzip")], &lines, Script::new(steps))
            .into_body();
        while let Some(Some(Ok(frame))) = drive(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).0 {
            drop(frame);
        }
        body
    };
    let one = sent(0);
    let (waiting, usage) = ALLOCATOR.measure(|| (1..40).map(sent).collect::<Vec<_>>());
    let each = usage.retained() / i64::try_from(waiting.len()).unwrap();
    drop((one, waiting));
    // An encoder, and a fortieth of what may be recorded; not the 300 KB that each has sent.
    assert!((300_000..470_000).contains(&each), "{each} bytes each");
}

#[test]
fn what_must_not_or_cannot_be_kept_is_not() {
    let cases: [(&str, Method, Lines<'_>, u16, Lines<'_>); 15] = [
        ("HEAD", Method::HEAD, &[], 200, &[TEXT, TAG]),
        ("POST", Method::POST, &[], 200, &[TEXT, TAG]),
        ("404", Method::GET, &[], 404, &[TEXT, TAG]),
        (
            "206",
            Method::GET,
            &[],
            206,
            &[TEXT, TAG, ("content-range", "bytes 0-1/2")],
        ),
        ("no tag", Method::GET, &[], 200, &[TEXT]),
        ("weak", Method::GET, &[], 200, &[TEXT, ("etag", "W/\"x\"")]),
        (
            "no-store",
            Method::GET,
            &[],
            200,
            &[TEXT, TAG, ("cache-control", "no-store")],
        ),
        (
            "private",
            Method::GET,
            &[],
            200,
            &[TEXT, TAG, ("cache-control", "private")],
        ),
        (
            "cookie",
            Method::GET,
            &[],
            200,
            &[TEXT, TAG, ("set-cookie", "a=b")],
        ),
        ("vary", Method::GET, &[], 200, &[TEXT, TAG, ("vary", "*")]),
        (
            "person",
            Method::GET,
            &[("authorization", "x")],
            200,
            &[TEXT, TAG],
        ),
        (
            "asked",
            Method::GET,
            &[("cache-control", "no-store")],
            200,
            &[TEXT, TAG],
        ),
        (
            "transform",
            Method::GET,
            &[("cache-control", "no-transform")],
            200,
            &[TEXT, TAG],
        ),
        (
            "type",
            Method::GET,
            &[],
            200,
            &[TAG, ("content-type", "image/png")],
        ),
        (
            "encoded",
            Method::GET,
            &[],
            200,
            &[TEXT, TAG, ("content-encoding", "gzip")],
        ),
    ];
    let site = Site::new();
    for (what, method, request, status, response) in cases {
        for _ in 0..2 {
            let mut lines = request.to_vec();
            lines.push(("accept-encoding", "gzip"));
            let mut response = response_of(response, Script::whole(text(5000)));
            *response.status_mut() = status.try_into().unwrap();
            let response = respond(&site.layer, request_of(method.clone(), "/", &lines), response);
            drop(read(response.into_body()));
            assert_eq!(site.counts(), (0, 0, 0), "{what}");
        }
    }
    let mut out = response_of(&[TEXT, TAG], Script::whole(text(5000)));
    out.extensions_mut().insert(NoCompress);
    drop(respond(
        &site.layer,
        request_of(Method::GET, "/", &[("accept-encoding", "gzip")]),
        out,
    ));
    let unknown = site.get(Coding::Gzip, &[TEXT, TAG], Script::new([Step::Data(text(5000))]));
    drop(read(unknown.into_body()));
    assert_eq!(site.counts(), (0, 0, 0), "no length");
    drop(site.get(Coding::Gzip, &[TEXT, TAG], Script::whole(text(5000))));
    assert_eq!(site.counts(), (1, 0, 1), "that one is");
}

#[test]
fn that_a_body_does_not_get_smaller_is_remembered() {
    for &coding in Coding::ALL {
        let site = Site::new();
        let lines = [TEXT, TAG, ("accept-ranges", "bytes")];
        let first = site.get(coding, &lines, Script::whole(noise(5000)));
        let body = Script::whole(noise(5000));
        let polls = Arc::clone(&body.polls);
        let second = site.get(coding, &lines, body);
        assert_eq!(polls.load(Ordering::Relaxed), 0, "nothing is tried again");
        assert_eq!(first.headers(), second.headers());
        assert_eq!(second.headers()["vary"], "accept-encoding");
        assert_eq!(second.headers()["etag"], "\"x\"");
        assert_eq!(second.headers()["accept-ranges"], "bytes");
        assert_eq!(read(second.into_body()).data(), noise(5000));
        assert_eq!(site.counts(), (1, 1, 1));
        let skipped = |event: &Event| {
            matches!(
                event,
                Event::Skipped {
                    reason: SkipReason::NotSmaller,
                    ..
                }
            )
        };
        assert!(site.events().iter().all(skipped));
    }
}

/// 9.3.2 of RFC 9110.
#[test]
fn e8_head_says_what_the_cache_knows_of_get() {
    for etag in [EtagPolicy::Weaken, EtagPolicy::Suffix] {
        for &coding in Coding::ALL {
            for (data, streams) in [
                (noise(5000), false),
                (text(5000), false),
                (text(5000), true),
                (noise(50_000), true),
            ] {
                let site = Site::with(
                    CompressionLayer::new().etag(etag),
                    VariantCache::weighted(8 << 20),
                );
                let length = data.len().to_string();
                let lines = [TEXT, TAG, ("content-length", &*length)];
                let body = || {
                    if streams {
                        Script::new([Step::Data(data.clone())])
                    } else {
                        Script::whole(data.clone())
                    }
                };
                let fields = |response: &Response<_>| {
                    let names = ["content-encoding", "etag", "vary"];
                    names.map(|name| response.headers().get(name).cloned())
                };
                drop(read(site.get(coding, &lines, body()).into_body()));
                let second = site.get(coding, &lines, body());
                let before = site.cache.stats();
                let accepts = [("accept-encoding", coding.as_str())];
                let request = request_of(Method::HEAD, "/", &accepts);
                let head = respond(&site.layer, request, response_of(&lines, body()));
                assert_eq!(
                    fields(&head),
                    fields(&second),
                    "{coding} {etag:?} {length} {streams}"
                );
                let smaller = data == text(5000);
                assert_eq!(head.headers().contains_key("content-encoding"), smaller);
                assert_eq!(site.cache.stats(), before, "it was not asked for");
                if !smaller {
                    assert_eq!(head.headers()["content-length"], &*length);
                }
            }
        }
    }
}

#[test]
fn a_stream_that_did_not_get_smaller_is_the_identity_the_next_time() {
    let lines = [TEXT, TAG, ("content-length", "20000"), ("accept-ranges", "bytes")];
    for &coding in Coding::ALL {
        let site = Site::new();
        let first = site.get(coding, &lines, file(&noise(20_000)));
        assert_eq!(first.headers()["content-encoding"], coding.as_str());
        assert_eq!(
            decode(coding, &read(first.into_body()).data()),
            (noise(20_000).to_vec(), true)
        );
        let second = site.get(coding, &lines, file(&noise(20_000)));
        assert!(!second.headers().contains_key("content-encoding"));
        for (name, value) in [
            ("content-length", "20000"),
            ("accept-ranges", "bytes"),
            ("vary", "accept-encoding"),
        ] {
            assert_eq!(second.headers()[name], value);
        }
        assert_eq!(read(second.into_body()).data(), noise(20_000));
        assert_eq!(site.counts(), (1, 1, 1));
    }
}

/// Each flush costs some bytes, so that pieces of ten are sent as more than they hold.
#[test]
fn that_a_stream_with_many_pauses_got_larger_says_nothing_of_the_body() {
    let data = text(4000);
    let pieces = data.chunks(10).map(|piece| Step::Data(data.slice_ref(piece)));
    let chatty = Script::new(pieces.flat_map(|piece| [piece, Step::Pause, Step::Pause]));
    let lines = [TEXT, TAG, ("content-length", "4000")];
    for &coding in Coding::ALL {
        let site = Site::new();
        let sent = read(site.get(coding, &lines, chatty.clone()).into_body()).data();
        assert!(sent.len() > 4000, "{coding}: {}", sent.len());
        assert_eq!(site.counts(), (0, 0, 1), "{coding}");
        for hits in 0..2 {
            let whole = site.get(coding, &lines, Script::whole(data.clone()));
            assert_eq!(whole.headers()["content-encoding"], coding.as_str());
            assert!(read(whole.into_body()).data().len() < 4000, "{coding}");
            assert_eq!(site.counts(), (1, hits, 2), "{coding}");
        }
    }
}

#[test]
fn many_small_frames_count_as_what_they_hold() {
    // An eighth of this is room for 30 KB.
    let site = Site::with(CompressionLayer::new(), VariantCache::weighted(240_000));
    let lines = [TEXT, TAG, ("content-length", "12000")];
    let pieces = |length: usize| {
        let data = text(12_000);
        let pieces: Vec<_> = data
            .chunks(length)
            .map(|piece| Step::Data(data.slice_ref(piece)))
            .collect();
        Script::new(
            pieces
                .into_iter()
                .flat_map(|piece| [piece, Step::Pause, Step::Pause]),
        )
    };
    drop(read(site.get(Coding::Gzip, &lines, pieces(20)).into_body()));
    assert_eq!(site.counts(), (0, 0, 1), "600 frames");
    drop(read(site.get(Coding::Gzip, &lines, pieces(4000)).into_body()));
    assert_eq!(site.counts(), (1, 0, 2), "3 frames");
}

/// 8.8.3 of RFC 9110: the bytes of a stream depend on how it came, so that no strong tag may stand for them, later
/// neither.
#[test]
fn t3_what_was_streamed_once_has_a_weak_tag_for_as_long_as_it_is_kept() {
    let layer = CompressionLayer::new().etag(EtagPolicy::Suffix);
    let site = Site::with(layer, VariantCache::weighted(1 << 20));
    let slow = || {
        let halves = [
            Step::Data(text(2000)),
            Step::Pause,
            Step::Data(text(4000).slice(2000..)),
        ];
        Script::new(halves).exact(4000)
    };
    let first = site.get(Coding::Gzip, &[TEXT, TAG], slow());
    assert_eq!(first.headers()["etag"], "W/\"x\"");
    drop(read(first.into_body()));
    let second = site.get(Coding::Gzip, &[TEXT, TAG], Script::whole(text(4000)));
    assert_eq!(second.headers()["etag"], "W/\"x\"");
    assert_eq!(site.counts(), (1, 1, 1));
    site.cache.clear();
    for _ in 0..2 {
        let whole = site.get(Coding::Gzip, &[TEXT, TAG], Script::whole(text(4000)));
        assert_eq!(whole.headers()["etag"], "\"x~cortex-gzip-4.1\"");
    }
}

#[test]
fn layers_that_share_a_cache_share_its_room_and_clones_what_is_in_it() {
    let cache = VariantCache::weighted(1 << 20);
    let [fast, small, same] = [1, 9, 9].map(|level| {
        let layer = CompressionLayer::new().coding(Coding::Gzip, Level::new(level));
        Site::with(layer, cache.clone())
    });
    let sent = |site: &Site| {
        let response = site.get(Coding::Gzip, &[TEXT, TAG], Script::whole(text(20_000)));
        read(response.into_body()).data().len()
    };
    let (first, second) = (sent(&fast), sent(&small));
    assert!(second < first);
    assert_eq!((sent(&fast), sent(&small)), (first, second));
    assert_eq!(fast.counts(), (2, 2, 2));
    assert_eq!(sent(&same), second);
    assert_eq!(fast.counts(), (3, 2, 3));
    let clone = Site {
        layer: small.layer.clone().min_size(1),
        ..same
    };
    assert_eq!(sent(&clone), second);
    assert_eq!(fast.counts(), (3, 3, 3));
    // A clone that is changed to another level has that.
    let clone = Site {
        layer: small.layer.clone().coding(Coding::Gzip, Level::new(1)),
        ..clone
    };
    assert_eq!(sent(&clone), first);
    assert_eq!(fast.counts(), (4, 3, 4));
    cache.clear();
    assert_eq!(fast.counts(), (0, 3, 4));
}

#[test]
fn a_flood_of_paths_stays_within_the_limit_and_leaves_what_is_asked_for() {
    const LIMIT: usize = 1 << 20;
    let site = Site::with(CompressionLayer::new(), VariantCache::weighted(LIMIT));
    let asked = [("accept-encoding", "gzip")];
    let send = |uri: &str| {
        drop(site.send(uri, &asked, &[TEXT, TAG], Script::whole(text(2000))));
        site.events();
    };
    send("/hot");
    let flood = || {
        for number in 0..6000 {
            send(&format!("/?{number}"));
            if number % 500 == 0 {
                send("/hot");
            }
        }
    };
    let held = ALLOCATOR.measure(flood).1.retained();
    let stats = site.cache.stats();
    assert!(stats.bytes <= LIMIT && stats.bytes > LIMIT - 2000, "{stats:?}");
    assert!(
        usize::try_from(held).unwrap() < LIMIT,
        "{held} bytes, of {stats:?}"
    );
    assert_eq!(stats.hits, 12, "it was asked for, and stayed");
    assert!(stats.evictions > 4000, "{stats:?}");
}

#[test]
fn what_is_under_way_when_the_cache_is_cleared_is_not_kept() {
    let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
    let queue = Arc::clone(&jobs);
    let layer = CompressionLayer::new()
        .one_shot_max(250_000)
        .offload(move |job: Job| -> Result<(), Job> {
            queue.lock().unwrap().push(job);
            Ok(())
        });
    let run = || {
        let jobs = std::mem::take(&mut *jobs.lock().unwrap());
        let count = jobs.len();
        for job in jobs {
            job();
        }
        count
    };
    let site = Site::with(layer, VariantCache::weighted(8 << 20));
    let begin = |data: Bytes| {
        let service = tower::service_fn(move |_: Request<()>| {
            let response = response_of(&[TEXT, TAG], Script::whole(data.clone()));
            std::future::ready(Ok::<_, std::convert::Infallible>(response))
        });
        let service = tower::Layer::layer(&site.layer, service);
        let request = request_of(Method::GET, "/", &[("accept-encoding", "br")]);
        let mut response = Box::pin(tower::ServiceExt::oneshot(service, request));
        let pending = drive(|cx| response.as_mut().poll(cx)).0.is_none();
        assert!(pending, "it waits for a job");
        response
    };
    let end = |mut response: std::pin::Pin<Box<dyn Future<Output = Result<Response<_>, _>>>>| {
        let response: Result<_, std::convert::Infallible> = drive(|cx| response.as_mut().poll(cx)).0.unwrap();
        decode(Coding::Br, &read(response.unwrap().into_body()).data()).0
    };
    let (old, new) = (text(250_000), text(250_001).slice(1..));
    assert_ne!(old, new);
    let first = begin(old.clone());
    site.cache.clear();
    let second = begin(new.clone()); // whose handler has another body for the same tag
    assert_eq!(run(), 2, "it has not joined");
    assert_eq!(end(first), old);
    assert_eq!(site.counts().0, 0);
    assert_eq!(end(second), new);
    assert_eq!(site.counts().0, 1);
    site.cache.clear();
    assert_eq!(site.counts().0, 0);

    // A stream that is recorded.
    let data = text(40_000);
    let body = site.get(
        Coding::Gzip,
        &[TEXT, TAG, ("content-length", "40000")],
        file(&data),
    );
    site.cache.clear();
    drop(read(body.into_body()));
    run();
    assert_eq!(site.counts().0, 0);
}

#[test]
fn what_takes_long_is_encoded_once_however_many_ask_for_it() {
    for &coding in Coding::ALL {
        let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
        let queue = Arc::clone(&jobs);
        let layer = CompressionLayer::new().offload(move |job: Job| -> Result<(), Job> {
            queue.lock().unwrap().push(job);
            Ok(())
        });
        let site = Site::with(layer, VariantCache::weighted(8 << 20));
        let ran = AtomicUsize::new(0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bodies = runtime.block_on(async {
            let local = tokio::task::LocalSet::new();
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..20 {
                let (layer, response) = (
                    site.layer.clone(),
                    response_of(&[TEXT, TAG], Script::whole(text(250_000))),
                );
                let request = request_of(Method::GET, "/", &[("accept-encoding", coding.as_str())]);
                let mut response = Some(response);
                let service = tower::service_fn(move |_: Request<()>| {
                    std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
                });
                let service = tower::Layer::layer(&layer, service);
                let task = tower::ServiceExt::oneshot(service, request);
                let task = tasks.spawn_local_on(task, &local);
                if number % 4 == 0 {
                    // The first one is among those that go.
                    local.spawn_local(async move {
                        tokio::task::yield_now().await;
                        task.abort();
                    });
                }
            }
            local
                .run_until(async {
                    let mut bodies = Vec::new();
                    loop {
                        for job in std::mem::take(&mut *jobs.lock().unwrap()) {
                            ran.fetch_add(1, Ordering::Relaxed);
                            job();
                        }
                        while let Some(ended) = tasks.try_join_next() {
                            bodies.extend(
                                ended
                                    .ok()
                                    .map(|response| read(response.unwrap().into_body()).data()),
                            );
                        }
                        if tasks.is_empty() {
                            break bodies;
                        }
                        for _ in 0..4 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
                .await
        });
        assert_eq!(ran.load(Ordering::Relaxed), 1, "{coding}");
        assert!(bodies.len() >= 15);
        assert_eq!(decode(coding, &bodies[0]), (text(250_000).to_vec(), true));
        assert!(bodies.iter().all(|body| *body == bodies[0]));
        let (mut encoded, mut cached, mut aborted) = (0, 0, 0);
        for event in site.events() {
            match event {
                Event::Encoded { .. } => encoded += 1,
                Event::Cached { .. } => cached += 1,
                Event::Aborted { .. } => aborted += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((encoded, cached), (1, bodies.len() - 1));
        assert!(aborted + bodies.len() <= 20, "{aborted}");
    }
}

#[test]
fn many_threads_and_few_keys_never_mix_bodies() {
    let site = Site::with(CompressionLayer::new(), VariantCache::weighted(40_000));
    let clear = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let (site, clear) = (&site, &clear);
            scope.spawn(move || {
                for round in 0..60 {
                    let resource = (thread * 7 + round) % 5;
                    let &coding = &Coding::ALL[(thread + round) % Coding::ALL.len()];
                    let body = text(3000 + resource * 500);
                    let response = site.send(
                        &format!("/{resource}"),
                        &[("accept-encoding", coding.as_str())],
                        &[TEXT, TAG],
                        Script::whole(body.clone()),
                    );
                    let sent = read(response.into_body()).data();
                    assert_eq!(decode(coding, &sent), (body.to_vec(), true));
                    if clear.fetch_add(1, Ordering::Relaxed) % 50 == 0 {
                        site.cache.clear();
                    }
                }
            });
        }
    });
    let stats = site.cache.stats();
    assert!(
        stats.hits > 0 && stats.misses > 0 && stats.bytes <= 40_000,
        "{stats:?}"
    );
}

/// One request of a random mix.
#[derive(Clone, Copy, Debug)]
struct Ask {
    resource: u8,
    version: u8,
    language: u8,
    coding: usize,
    shape: Shape,
    /// How many frames the client reads before it goes; all, for most.
    frames: Option<usize>,
    clear: bool,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Whole,
    Slow,
    File,
    Incompressible,
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let shape = prop_oneof![
        Just(Shape::Whole),
        Just(Shape::Slow),
        Just(Shape::File),
        Just(Shape::Incompressible)
    ];
    let frames = prop_oneof![4 => Just(None), 1 => (0_usize..3).prop_map(Some)];
    let ask = (
        0_u8..2,
        0_u8..2,
        0_u8..2,
        0..Coding::ALL.len(),
        shape,
        frames,
        prop::bool::weighted(0.05),
    );
    let ask = ask.prop_map(
        |(resource, version, language, coding, shape, frames, clear)| Ask {
            resource,
            version,
            language,
            coding,
            shape,
            frames,
            clear,
        },
    );
    prop::collection::vec(ask, 1..40)
}

/// What a handler sends under one tag: the language makes a difference as well, as a careless one has it.
fn identity(ask: Ask) -> Bytes {
    let mut data = match ask.shape {
        Shape::Incompressible => noise(3000),
        _ => text(9000),
    }
    .to_vec();
    data.extend_from_slice(&[ask.resource, ask.version, ask.language]);
    data.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever was asked for before, and by whom: what is sent is what the handler says it is.
    #[test]
    fn every_body_is_that_of_its_response(asks in asks(), suffix in any::<bool>(), small in any::<bool>()) {
        let policy = if suffix { EtagPolicy::Suffix } else { EtagPolicy::Weaken };
        let size = if small { 6000 } else { 1 << 20 };
        let site = Site::with(CompressionLayer::new().etag(policy), VariantCache::weighted(size));
        let mut strong: Vec<(HeaderValue, u8, Vec<u8>)> = Vec::new();
        for ask in asks {
            if ask.clear {
                site.cache.clear();
            }
            let coding = Coding::ALL[ask.coding];
            let expected = identity(ask);
            let length = expected.len().to_string();
            // The same tag for all languages, and for both kinds of body.
            let tag = format!("\"v{}\"", ask.version);
            let mut lines = vec![TEXT, ("etag", tag.as_str()), ("vary", "accept-language")];
            let body = match ask.shape {
                Shape::Whole | Shape::Incompressible => Script::whole(expected.clone()),
                Shape::Slow => file(&expected).exact(expected.len()),
                Shape::File => {
                    lines.push(("content-length", &length));
                    file(&expected)
                }
            };
            let language = if ask.language == 0 { "de" } else { "en" };
            let response = site.send(
                &format!("/{}", ask.resource),
                &[("accept-encoding", coding.as_str()), ("accept-language", language)],
                &lines,
                body,
            );
            let encoded = response.headers().contains_key("content-encoding");
            let declared = response.headers().get("content-length").cloned();
            let tag = response.headers()["etag"].clone();
            let mut body = response.into_body();
            if let Some(frames) = ask.frames {
                for _ in 0..frames {
                    let _ = drive(|cx| std::pin::Pin::new(&mut body).poll_frame(cx));
                }
                continue;
            }
            let sent = read(body).data();
            if let Some(declared) = declared {
                prop_assert_eq!(declared, sent.len().to_string());
            }
            if encoded {
                prop_assert_eq!(decode(coding, &sent), (expected.to_vec(), true));
            } else {
                prop_assert_eq!(&sent, &expected);
            }
            // A strong tag stands for the same bytes of a resource and language each time.
            if !tag.as_bytes().starts_with(b"W/") && encoded {
                let of = ask.resource * 2 + ask.language;
                let known = strong.iter().find(|known| known.0 == tag && known.1 == of);
                if let Some((.., bytes)) = known {
                    prop_assert_eq!(bytes, &sent);
                } else {
                    strong.push((tag, of, sent));
                }
            }
        }
        let stats = site.cache.stats();
        prop_assert!(stats.bytes <= size);
    }
}
