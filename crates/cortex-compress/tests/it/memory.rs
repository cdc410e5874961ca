//! What encoders hold, and what becomes of a response when they hold too much.

use crate::ALLOCATOR;
use crate::case::{Case, asking};
use crate::support::{Script, Step, decode, drive, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{Coding, CompressBody, CompressionLayer, Level, MemoryBudget, SkipReason};
use cortex_core::Clock;
use cortex_testkit::ManualClock;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

fn send(layer: &CompressionLayer, coding: Coding, body: Script) -> Response<CompressBody<Script>> {
    let request = Request::builder().header("accept-encoding", coding.as_str());
    let response = Response::builder().header("content-type", "text/plain");
    respond(layer, request.body(()).unwrap(), response.body(body).unwrap())
}

#[test]
fn without_memory_the_identity_is_sent_and_varies() {
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("checksum"), HeaderValue::from_static("1"))]);
    for coding in ["gzip", "zstd", "br", "deflate"] {
        for (steps, exact) in [
            (vec![Step::Data(text(4000))], true),
            (vec![Step::Data(text(4000))], false),
            (
                vec![Step::Data(text(4000)), Step::Trailers(trailers.clone())],
                true,
            ),
            // Begun when the lack of memory was seen.
            (
                vec![Step::Data(text(1000)), Step::Pause, Step::Data(text(3000))],
                true,
            ),
            (vec![Step::Data(text(4000)), Step::Fail], false),
        ] {
            let fails = matches!(steps.last(), Some(Step::Fail));
            let trailing = matches!(steps.last(), Some(Step::Trailers(_)));
            let sent = steps.iter().fold(Vec::new(), |mut all, step| {
                if let Step::Data(data) = step {
                    all.extend_from_slice(data);
                }
                all
            });
            let mut case = Case {
                layer: CompressionLayer::new().memory_budget(1000),
                ..asking(&[("accept-encoding", coding)])
            };
            case.body = Script::new(steps);
            if exact {
                case.body = case.body.exact(4000);
            }
            let answer = case.send();
            assert_eq!(answer.reason(), Some(SkipReason::MemoryBudget));
            assert_eq!(answer.header("vary"), Some("accept-encoding"));
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("etag"), Some("\"x\""));
            let body = answer.response.into_body();
            assert!(!body.is_end_stream());
            let length = (exact && !trailing).then_some(4000); // which would keep the trailers back
            assert_eq!(body.size_hint().exact(), length);
            let received = read(body);
            assert_eq!(received.data(), sent);
            assert_eq!(received.error.is_some(), fails);
            assert_eq!(received.trailers.is_some(), trailing);
        }
    }
}

#[test]
fn memory_is_free_again_when_a_stream_ends_or_is_dropped() {
    let stream = || Script::new([Step::Data(text(9000)), Step::Stall]);
    for &coding in Coding::ALL {
        let layer = CompressionLayer::new()
            .coding(coding, Level::DEFAULT)
            .memory_budget(1 << 20);
        let is_encoded = |answer: &Response<CompressBody<Script>>| {
            let encoded = answer.headers().contains_key("content-encoding");
            assert_eq!(answer.headers()["vary"], "accept-encoding");
            encoded
        };
        let mut waiting = Vec::new();
        loop {
            let answer = send(&layer, coding, stream());
            if !is_encoded(&answer) {
                break;
            }
            waiting.push(answer);
        }
        assert!((1..=2).contains(&waiting.len()), "{coding}: {}", waiting.len());
        waiting.pop();
        let answer = send(&layer, coding, Script::new([Step::Data(text(9000))]));
        assert!(is_encoded(&answer), "{coding}");
        let data = read(answer.into_body()).data();
        assert_eq!(decode(coding, &data), (text(9000).to_vec(), true));
        assert!(is_encoded(&send(&layer, coding, stream())), "{coding}");
    }
}

#[test]
fn layers_that_share_a_budget_share_the_memory() {
    let budget = MemoryBudget::new(500_000);
    let layer = || {
        CompressionLayer::new()
            .coding(Coding::Gzip, Level::DEFAULT)
            .memory_budget(budget.clone())
    };
    let (one, other) = (layer(), layer().min_size(1));
    let stream = || Script::new([Step::Data(text(9000)), Step::Stall]);
    let first = send(&one, Coding::Gzip, stream());
    assert_eq!(first.headers()["content-encoding"], "gzip");
    assert!((100_000..=budget.limit()).contains(&budget.used()), "{budget:?}");
    for layer in [&other, &one] {
        let refused = send(layer, Coding::Gzip, stream());
        assert_eq!(refused.headers().get("content-encoding"), None);
        assert_eq!(refused.headers()["vary"], "accept-encoding");
    }
    drop(first);
    assert_eq!(budget.used(), 0);
    assert_eq!(
        send(&other, Coding::Gzip, stream()).headers()["content-encoding"],
        "gzip"
    );
}

/// A clock by which everything is quick: it moves on by a nanosecond each time somebody looks.
struct Quick(ManualClock);

impl Clock for Quick {
    fn now(&self) -> Instant {
        self.0.advance(Duration::from_nanos(1));
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

#[test]
fn a_stream_of_zstd_keeps_what_it_has_reserved_while_it_waits() {
    let expected = (540 << 10) + (16 << 10); // and a buffer
    let expected = expected - expected / 8..=expected + expected / 8;
    let budget = MemoryBudget::new(8 << 20);
    let layer = CompressionLayer::new()
        .coding(Coding::Zstd, Level::DEFAULT)
        .memory_budget(budget.clone());
    let first_poll = |layer: &CompressionLayer, length| {
        let script = Script::new([Step::Data(text(length)), Step::Stall]);
        let mut body = send(layer, Coding::Zstd, script).into_body();
        let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        (body, polled.is_ready())
    };

    let standing = layer.clone().clock(ManualClock::new());
    let (body, _) = first_poll(&standing, 30_000);
    assert!(expected.contains(&budget.used()), "{budget:?}");
    drop(body);
    assert_eq!(budget.used(), 0);

    // Where it is so quick that whole blocks of zstd are encoded at a time.
    let quick = layer.clock(Quick(ManualClock::new()));
    for _ in 0..10 {
        drop(read(
            send(&quick, Coding::Zstd, Script::new([Step::Data(text(200_000))])).into_body(),
        ));
    }
    let (body, sent) = first_poll(&quick, 200_000);
    assert!(sent && expected.contains(&budget.used()), "{budget:?}");
    drop(body);
    assert_eq!(budget.used(), 0);
}

/// What a stream holds whose reader has stopped. Contexts of zstd are not seen here, as they are C's.
#[test]
fn a_reader_that_stopped_holds_no_more_than_a_state() {
    for (coding, exact, most) in [
        (Coding::Gzip, None, 500_000),
        (Coding::Gzip, Some(4000), 200_000),
        (Coding::Deflate, None, 500_000),
        (Coding::Br, None, 1_000_000),
    ] {
        let layer = CompressionLayer::new().clock(ManualClock::new());
        let frames = match exact {
            Some(length) => vec![Step::Pause, Step::Data(text(length / 2))],
            None => (0..20).map(|_| Step::Data(text(100_000))).collect(),
        };
        let mut script = Script::new(frames);
        script.steps.push_back(Step::Stall);
        script.exact = exact.map(|length| length as u64);
        // What waits is one piece of a body, which the counting does not include.
        let (body, usage) = ALLOCATOR.measure(|| {
            let mut body = send(&layer, coding, script).into_body();
            let mut read = 0;
            while read < 50_000 {
                let (Some(frame), _) = drive(|cx| Pin::new(&mut body).poll_frame(cx)) else {
                    break;
                };
                read += frame.unwrap().unwrap().into_data().unwrap().len();
            }
            body
        });
        let held = usage.retained();
        assert!(
            (100_000..=most).contains(&held),
            "{coding} {exact:?}: {held} bytes"
        );
        drop(body);
    }
}

#[test]
fn at_steady_state_encoders_allocate_no_state() {
    for (coding, level) in [
        (Coding::Gzip, 4),
        (Coding::Gzip, 5),
        (Coding::Deflate, 4),
        (Coding::Br, 0),
        (Coding::Br, 1),
        (Coding::Br, 2),
        (Coding::Br, 4),
        (Coding::Br, 5),
    ] {
        let layer = CompressionLayer::new()
            .coding(coding, Level::new(level))
            .clock(ManualClock::new());
        for body in [
            Script::whole(text(10_000)),
            Script::whole(text(150_000)),
            Script::new([Step::Data(text(150_000))]),
            Script::new([Step::Data(text(3000)), Step::Pause, Step::Pause]),
        ] {
            drop(read(send(&layer, coding, body.clone()).into_body())); // makes the encoder
            let (encoded, usage) =
                ALLOCATOR.measure(|| read(send(&layer, coding, body.clone()).into_body()).data());
            // The output twice (once as the test collects it), the head of the response, and what drives it.
            let most = encoded.len() as u64 * 3 + (12 << 10);
            assert!(
                usage.allocated <= most,
                "{coding} {level}: {usage:?} for {} bytes",
                encoded.len()
            );
        }
    }
}

#[test]
fn in_the_long_run_memory_stays_as_it_is() {
    let layer = CompressionLayer::new().clock(ManualClock::new());
    let (small, large, junk): (Bytes, Bytes, Bytes) = (text(3000), text(60_000), noise(5000));
    let round = || {
        for &coding in Coding::ALL {
            for body in [
                Script::whole(small.clone()),
                Script::whole(large.clone()),
                Script::whole(junk.clone()),
                Script::new([
                    Step::Data(small.clone()),
                    Step::Pause,
                    Step::Pause,
                    Step::Data(large.clone()),
                ]),
                Script::new([Step::Data(small.clone()), Step::Fail]),
                Script::new([Step::Data(large.clone()), Step::Stall]),
            ] {
                let mut body = send(&layer, coding, body).into_body();
                let _ = drive(|cx| Pin::new(&mut body).poll_frame(cx));
                drop(read(body));
            }
        }
    };
    for _ in 0..3 {
        round();
    }
    let ((), usage) = ALLOCATOR.measure(|| {
        for _ in 0..10 {
            round();
        }
    });
    assert_eq!(usage.retained(), 0, "{usage:?}");
}
