//! Levels that are stepped down under pressure.

use crate::case::Log;
use crate::support::{Script, Step, ask, decode, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    Adaptive, Coding, CompressBody, CompressionLayer, EtagPolicy, Event, Job, Level, SkipReason, VariantCache,
};
use cortex_testkit::ManualClock;
use http::{Method, Request, Response};
use http_body::Body;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A layer whose pressure and time are set by the test.
struct Bench {
    layer: CompressionLayer,
    clock: ManualClock,
    percent: Arc<AtomicU32>,
    log: Arc<Log>,
}

impl Bench {
    fn new(layer: CompressionLayer) -> Self {
        let (clock, log) = (ManualClock::new(), Arc::new(Log::default()));
        let percent = Arc::new(AtomicU32::new(0));
        let read = Arc::clone(&percent);
        let pressure = move || f32::from(u16::try_from(read.load(Ordering::Relaxed)).unwrap()) / 100.0;
        let layer = layer
            .clock(clock.clone())
            .adaptive(Adaptive::pressure(pressure))
            .observe(Arc::clone(&log));
        Self {
            layer,
            clock,
            percent,
            log,
        }
    }

    fn get(&self, coding: Coding, body: Script) -> Response<CompressBody<Script>> {
        respond(&self.layer, request(Method::GET, coding), response(body))
    }

    /// Lets time pass under a pressure, with a small response ten times in a second, until there is a step.
    fn until_a_step(&self, percent: u32) -> Option<u8> {
        self.percent.store(percent, Ordering::Relaxed);
        for _ in 0..300 {
            self.clock.advance(Duration::from_millis(100));
            self.events();
            drop(self.get(Coding::Zstd, Script::whole(text(1100))));
            let step = self.events().into_iter().find_map(|event| match event {
                Event::Adapted { step, .. } => Some(step),
                _ => None,
            });
            if step.is_some() {
                return step;
            }
        }
        None
    }

    fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.log.0.lock().unwrap())
    }
}

fn request(method: Method, coding: Coding) -> Request<()> {
    let request = Request::builder().method(method).uri("/");
    request
        .header("accept-encoding", coding.as_str())
        .body(())
        .unwrap()
}

fn response(body: Script) -> Response<Script> {
    let response = Response::builder().header("content-type", "text/plain");
    let response = response.header("etag", "\"x\"").header("accept-ranges", "bytes");
    response.body(body).unwrap()
}

fn stream(data: &Bytes) -> Script {
    Script::new(data.chunks(4000).map(|piece| Step::Data(data.slice_ref(piece))))
}

/// What a layer that always has this level sends.
fn at_level(coding: Coding, level: u8, body: Script) -> Vec<u8> {
    let layer = CompressionLayer::new()
        .clock(ManualClock::new())
        .coding(coding, Level::new(level));
    let response = respond(&layer, request(Method::GET, coding), response(body));
    read(response.into_body()).data()
}

#[test]
fn each_step_is_a_lower_level_and_the_last_one_the_identity() {
    let data = text(20_000);
    // Of each coding: whole bodies, and streams.
    let ladders: [(Coding, [&[u8]; 2]); 3] = [
        (Coding::Gzip, [&[9, 4, 4, 4], &[9, 4, 2, 2]]),
        (Coding::Br, [&[5, 2, 1, 1], &[5, 2, 1, 1]]),
        (Coding::Zstd, [&[19, 11, 7, 3], &[19, 11, 7, 3]]),
    ];
    let layer = ladders
        .iter()
        .fold(CompressionLayer::new(), |layer, (coding, [whole, _])| {
            layer.coding(*coding, Level::new(whole[0]))
        });
    let bench = Bench::new(layer);
    for step in 0..4 {
        if step > 0 {
            assert_eq!(bench.until_a_step(200), Some(u8::try_from(step).unwrap()));
        }
        for (coding, [whole, streamed]) in ladders {
            let sent = bench.get(coding, Script::whole(data.clone()));
            assert_eq!(sent.headers()["content-encoding"], coding.as_str());
            assert_eq!(sent.headers()["vary"], "accept-encoding");
            let sent = read(sent.into_body()).data();
            assert_eq!(decode(coding, &sent), (data.to_vec(), true));
            assert!(
                sent == at_level(coding, whole[step], Script::whole(data.clone())),
                "{coding} {step}"
            );
            let sent = read(bench.get(coding, stream(&data)).into_body()).data();
            assert_eq!(decode(coding, &sent), (data.to_vec(), true));
            assert!(
                sent == at_level(coding, streamed[step], stream(&data)),
                "{coding} {step}, streamed"
            );
        }
    }
    // zstd has one step more, and then there is none.
    assert_eq!(bench.until_a_step(200), Some(4));
    assert_eq!(bench.until_a_step(200), Some(5));
    bench.events();
    for (coding, _) in ladders {
        for body in [Script::whole(data.clone()), stream(&data)] {
            let sent = bench.get(coding, body);
            for (name, value) in [
                ("vary", "accept-encoding"),
                ("etag", "\"x\""),
                ("accept-ranges", "bytes"),
            ] {
                assert_eq!(sent.headers()[name], value);
            }
            assert!(!sent.headers().contains_key("content-encoding"));
            assert_eq!(read(sent.into_body()).data(), data);
        }
    }
    let pressed = |event: &Event| {
        matches!(
            event,
            Event::Skipped {
                reason: SkipReason::Pressure,
                ..
            }
        )
    };
    let events = bench.events();
    assert!(events.len() == 6 && events.iter().all(pressed), "{events:?}");
    assert_eq!(bench.until_a_step(200), None, "there is nothing below");
    for step in (0..5).rev() {
        assert_eq!(bench.until_a_step(10), Some(step));
    }
    let sent = bench.get(Coding::Br, Script::whole(data.clone()));
    let sent = read(sent.into_body()).data();
    assert!(
        sent == at_level(Coding::Br, 5, Script::whole(data)),
        "as at the beginning"
    );
}

#[test]
fn what_is_configured_later_counts_as_well() {
    let bench = Bench::new(CompressionLayer::new());
    let layer = bench
        .layer
        .clone()
        .coding(Coding::Gzip, Level::new(9))
        .etag(EtagPolicy::Suffix);
    let bench = Bench { layer, ..bench };
    assert!(format!("{:?}", bench.layer).contains("offers: [gzip 9]"));
    let sent = bench.get(Coding::Gzip, Script::whole(text(5000)));
    assert_eq!(sent.headers()["etag"], "W/\"x\"");
    // gzip alone: 9, 4, and its lowest.
    for percent in 1..=3 {
        bench.percent.store(200, Ordering::Relaxed);
        for _ in 0..50 {
            bench.clock.advance(Duration::from_millis(100));
            drop(bench.get(Coding::Gzip, Script::whole(text(2000))));
            let adapted = |event: &Event| matches!(event, Event::Adapted { step, .. } if *step == percent);
            if bench.events().iter().any(adapted) {
                break;
            }
        }
    }
    let sent = bench.get(Coding::Gzip, Script::whole(text(5000)));
    assert!(!sent.headers().contains_key("content-encoding"));
}

/// 8.8.3 of RFC 9110: the bytes depend on the load, so that no strong tag may stand for them.
#[test]
fn t3_no_tag_is_strong_and_conditions_are_those_of_weak_tags() {
    for layer in [
        CompressionLayer::new().etag(EtagPolicy::Suffix),
        CompressionLayer::new().etag(EtagPolicy::Weaken),
    ] {
        let bench = Bench::new(layer);
        let sent = bench.get(Coding::Gzip, Script::whole(text(5000)));
        assert_eq!(sent.headers()["etag"], "W/\"x\"");
        let mut request = request(Method::GET, Coding::Gzip);
        request
            .headers_mut()
            .insert("if-none-match", "W/\"x\"".parse().unwrap());
        let mut not_modified = response(Script::default());
        *not_modified.status_mut() = http::StatusCode::NOT_MODIFIED;
        let (sent, _) = ask(&bench.layer, request, not_modified);
        assert_eq!(sent.headers()["etag"], "W/\"x\"");
    }
    let keeps = Bench::new(CompressionLayer::new().etag(EtagPolicy::Keep));
    let sent = keeps.get(Coding::Gzip, Script::whole(text(5000)));
    assert_eq!(sent.headers()["etag"], "\"x\"", "the caller's own business");
}

/// 9.3.2: as `GET` would, under the same pressure.
#[test]
fn e8_head_tells_what_get_would() {
    let bench = Bench::new(CompressionLayer::new());
    let head = |bench: &Bench| {
        let mut response = response(Script::whole(text(5000)));
        response.headers_mut().insert("content-length", 5000.into());
        respond(&bench.layer, request(Method::HEAD, Coding::Gzip), response)
    };
    let sent = head(&bench);
    assert_eq!(sent.headers()["content-encoding"], "gzip");
    while bench.until_a_step(300).is_some() {}
    let sent = head(&bench);
    let get = bench.get(Coding::Gzip, Script::whole(text(5000)));
    for name in ["vary", "etag", "accept-ranges", "content-encoding"] {
        assert_eq!(sent.headers().get(name), get.headers().get(name), "{name}");
    }
    assert_eq!(sent.headers()["content-length"], "5000");
    assert_eq!(sent.body().size_hint().exact(), Some(5000));
}

#[test]
fn what_is_kept_at_the_full_level_is_sent_whatever_the_pressure() {
    let cache = VariantCache::weighted(1 << 20);
    let layer = CompressionLayer::new().coding(Coding::Gzip, Level::new(9));
    let bench = Bench::new(layer.coding(Coding::Zstd, Level::new(1)).cache(cache.clone()));
    let send = |body: &Bytes| {
        let sent = bench.get(Coding::Gzip, Script::whole(body.clone()));
        let encoded = sent.headers().contains_key("content-encoding");
        (read(sent.into_body()).data(), encoded)
    };
    let [known, new] = [text(20_000), text(20_001)];
    let full = send(&known);
    let counts = || {
        let stats = cache.stats();
        (stats.entries, stats.hits, stats.misses)
    };
    assert_eq!(counts(), (1, 0, 1));
    // The small responses that go by are kept, too.
    assert_eq!(bench.until_a_step(200), Some(1));
    let before = counts();
    assert_eq!(send(&known), full);
    let lower = send(&new);
    assert_eq!(send(&new), lower);
    assert_eq!(counts(), (before.0 + 1, before.1 + 2, before.2 + 1));
    assert_eq!(lower.0, at_level(Coding::Gzip, 4, Script::whole(new.clone())));
    while bench.until_a_step(200).is_some() {}
    assert_eq!(send(&known), full);
    assert_eq!(send(&new), (new.to_vec(), false));
    while bench.until_a_step(0).is_some() {}
    assert_eq!(
        send(&new).0,
        at_level(Coding::Gzip, 9, Script::whole(new.clone()))
    );
}

#[test]
fn jobs_that_wait_make_pressure() {
    let (clock, log) = (ManualClock::new(), Arc::new(Log::default()));
    let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
    let queue = Arc::clone(&jobs);
    // In this order: what is watched must be the offload that was given.
    let layer = CompressionLayer::new()
        .adaptive(Adaptive::queue_delay(Duration::from_millis(20)))
        .offload(move |job: Job| -> Result<(), Job> {
            queue.lock().unwrap().push(job);
            Ok(())
        })
        .clock(clock.clone())
        .observe(Arc::clone(&log));
    let steps = |wait: u64| {
        for _ in 0..100 {
            let mut response = Some(response(Script::whole(text(100_000))));
            let handler = tower::service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
            });
            let mut service = tower::Layer::layer(&layer, handler);
            let future = tower::Service::call(&mut service, request(Method::GET, Coding::Gzip));
            let mut future = std::pin::pin!(future);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            if future.as_mut().poll(&mut cx).is_pending() {
                clock.advance(Duration::from_millis(wait));
                for job in std::mem::take(&mut *jobs.lock().unwrap()) {
                    job();
                }
                assert!(future.poll(&mut cx).is_ready());
            }
            clock.advance(Duration::from_millis(100));
        }
        let adapted = std::mem::take(&mut *log.0.lock().unwrap()).into_iter();
        let steps = adapted.filter_map(|event| match event {
            Event::Adapted { step, .. } => Some(step),
            _ => None,
        });
        steps.collect::<Vec<_>>()
    };
    assert!(steps(5).is_empty());
    // One level below is the lowest of each, and then there is the identity.
    assert_eq!(steps(50)[..2], [1, 2]);
    let mut back = Vec::new();
    for _ in 0..10 {
        back.extend(steps(5));
    }
    assert_eq!(back.last(), Some(&0), "{back:?}");
}

#[cfg(feature = "dictionary")]
#[test]
fn with_a_dictionary_levels_step_down_to_the_lowest_that_makes_use_of_it() {
    use crate::dictionary::{
        BOTH, accepting, dictionary, layer_with, must_decode, run_at_once, steps, version,
    };
    let known = dictionary(20_000);
    let body = version(&known);
    let layer = layer_with(&[&known])
        .offload(run_at_once)
        .coding(Coding::Zstd, Level::new(19))
        .coding(Coding::Br, Level::new(5));
    let bench = Bench::new(layer);
    let ladders = [("dcz", [19, 11, 7, 3, 3]), ("dcb", [5, 2, 2, 2, 2])];
    for step in 0..5 {
        if step > 0 {
            assert_eq!(bench.until_a_step(200), Some(u8::try_from(step).unwrap()));
        }
        for (name, levels) in ladders {
            let send = |body: Script| accepting(bench.layer.clone(), name, &known, body).send();
            let answer = send(Script::whole(body.clone()));
            assert!(
                matches!(
                    answer.events[..],
                    [Event::Encoded { level, dictionary: true, .. }] if level == levels[step]
                ),
                "{name} {step}: {:?}",
                answer.events
            );
            must_decode(answer, name, &known, &body);
            must_decode(send(steps(&body, 3000, false)), name, &known, &body);
        }
    }
    assert_eq!(bench.until_a_step(200), Some(5));
    for (name, _) in ladders {
        let answer = accepting(bench.layer.clone(), name, &known, Script::whole(body.clone())).send();
        assert_eq!(answer.reason(), Some(SkipReason::Pressure));
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.header("vary"), Some(BOTH));
        assert_eq!(read(answer.response.into_body()).data(), body);
    }
}
