//! What an observer is told of bodies that are encoded, to their end or not.

use crate::case::Log;
use crate::support::{Script, Step, drive, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    AbortCause, Coding, CompressBody, CompressionLayer, EncodePath, Event, Job, Level, SkipReason,
};
use cortex_core::Clock;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tower::{Layer, Service, service_fn};

/// Each look at it takes a microsecond.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Instant {
        unreachable!("encoders ask for nanoseconds")
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn nanos(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// A layer whose clock ticks, and what it tells.
fn observed() -> (CompressionLayer, Arc<Log>) {
    let log = Arc::new(Log::default());
    let layer = CompressionLayer::new()
        .clock(Ticking::default())
        .observe(Arc::clone(&log));
    (layer, log)
}

fn events(log: &Log) -> Vec<Event> {
    std::mem::take(&mut *log.0.lock().unwrap())
}

fn request(coding: Coding) -> Request<()> {
    let request = Request::builder().header("accept-encoding", coding.as_str());
    request.body(()).unwrap()
}

fn response<B>(body: B) -> Response<B> {
    let response = Response::builder().header("content-type", "text/plain");
    response.body(body).unwrap()
}

#[test]
fn what_is_encoded_to_its_end_tells_how_and_how_long_that_took() {
    for &coding in Coding::ALL {
        let level = *coding.levels().start();
        let here = |job: Job| -> Result<(), Job> {
            job();
            Ok(())
        };
        let whole = |length| Script::whole(text(length));
        let pieces = Script::new([
            Step::Data(text(3000)),
            Step::Pause,
            Step::Pause,
            Step::Data(text(1000)),
        ]);
        for (body, away, path, length) in [
            (whole(4000), false, EncodePath::Inline, 4000),
            (whole(200_000), false, EncodePath::Sliced, 200_000),
            (whole(200_000), true, EncodePath::Offloaded, 200_000),
            (pieces.clone(), false, EncodePath::Streamed, 4000),
            (
                Script::new([Step::Data(text(300_000))]),
                true,
                EncodePath::Streamed,
                300_000,
            ),
        ] {
            let (layer, log) = observed();
            // Dear enough to be divided, whatever is learned of a clock that ticks.
            let level = if length > 4000 {
                (*coding.levels().end()).min(9)
            } else {
                level
            };
            let layer = layer.coding(coding, Level::new(level));
            let layer = if away { layer.offload(here) } else { layer };
            let answer = respond(&layer, request(coding), response(body));
            let sent = read(answer.into_body()).data().len() as u64;
            let [
                Event::Encoded {
                    coding: told,
                    level: at,
                    path: way,
                    bytes_in,
                    bytes_out,
                    time,
                    ..
                },
            ] = events(&log)[..]
            else {
                panic!("{coding} {path:?}: {log:?}", log = log.0)
            };
            assert_eq!((told, at, way), (coding, level, path));
            assert_eq!((bytes_in, bytes_out), (length, sent), "{coding} {path:?}");
            assert!(time >= Duration::from_micros(1), "{coding} {path:?}: {time:?}");
            assert!(time < Duration::from_millis(10), "{coding} {path:?}: {time:?}");
        }
    }
}

#[test]
fn time_is_that_of_the_encoder_and_not_of_who_it_waits_for() {
    let (layer, log) = observed();
    let clock = Arc::new(Ticking::default());
    let layer = layer.clock(Arc::clone(&clock));
    let body = Script::new([Step::Data(text(500)), Step::Stall]);
    let mut body = respond(&layer, request(Coding::Gzip), response(body)).into_body();
    let (first, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
    assert!(matches!(first, Some(Some(Ok(_)))));
    clock.0.fetch_add(1_000_000_000, Ordering::Relaxed);
    drop(body);
    let [Event::Aborted { time, bytes_in, .. }] = events(&log)[..] else {
        panic!("{log:?}", log = log.0)
    };
    assert_eq!(bytes_in, 500);
    // Its start, the piece and the flush.
    assert_eq!(time, Duration::from_micros(3));
}

#[test]
fn a_body_that_fails_tells_what_it_was_and_how_far_it_came() {
    for &coding in Coding::ALL {
        let (layer, log) = observed();
        let body = Script::new([
            Step::Data(noise(3000)),
            Step::Pause,
            Step::Pause,
            Step::Data(noise(2500)), // what is shorter waits for more
            Step::Fail,
        ]);
        let received = read(respond(&layer, request(coding), response(body)).into_body());
        assert!(received.error.is_some());
        let [
            Event::Aborted {
                coding: told,
                path,
                bytes_in,
                bytes_out,
                cause,
                ..
            },
        ] = events(&log)[..]
        else {
            panic!("{coding}: {log:?}", log = log.0)
        };
        assert_eq!((told, path), (coding, EncodePath::Streamed));
        assert_eq!((bytes_in, cause), (5500, AbortCause::Inner), "{coding}");
        assert!(
            bytes_out >= received.data().len() as u64 && bytes_out >= 3000,
            "{coding}"
        );
    }
}

#[test]
fn a_client_that_goes_is_told_once_wherever_the_body_was() {
    for &coding in Coding::ALL {
        let mut last = 0;
        for polls in 0..12 {
            let (layer, log) = observed();
            let pieces = (0..3).flat_map(|_| [Step::Data(text(20_000)), Step::Pause, Step::Pause]);
            let script = Script::new(pieces.chain([Step::Stall]));
            let mut body = respond(&layer, request(coding), response(script)).into_body();
            let mut cx = Context::from_waker(Waker::noop());
            let mut sent = 0;
            for _ in 0..polls {
                if let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
                    sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
            }
            assert_eq!(events(&log), [], "{coding}: told before it was over");
            drop(body);
            let [
                Event::Aborted {
                    bytes_in,
                    bytes_out,
                    cause,
                    ..
                },
            ] = events(&log)[..]
            else {
                panic!("{coding} {polls}: {log:?}", log = log.0)
            };
            assert_eq!(cause, AbortCause::Dropped);
            assert!(bytes_in >= last && bytes_in <= 60_000, "{coding} {polls}");
            assert!(bytes_out >= sent, "{coding} {polls}");
            last = bytes_in;
        }
        assert_eq!(last, 60_000, "{coding}");
    }
}

#[test]
fn a_client_that_goes_before_the_header_is_told_as_well() {
    type Answer = Result<Response<Script>, Infallible>;
    for away in [false, true] {
        let (layer, log) = observed();
        let jobs: Arc<Mutex<Vec<Job>>> = Arc::default();
        let kept = Arc::clone(&jobs);
        let offload = move |job: Job| -> Result<(), Job> {
            kept.lock().unwrap().push(job);
            Ok(())
        };
        let layer = layer.coding(Coding::Br, Level::new(9));
        let layer = if away { layer.offload(offload) } else { layer };
        let mut body = Some(response(Script::whole(text(200_000))));
        let handler = service_fn(move |_: Request<()>| std::future::ready(Answer::Ok(body.take().unwrap())));
        let mut future = layer.layer(handler).call(request(Coding::Br));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        drop(future);
        let [
            Event::Aborted {
                path, cause, time, ..
            },
        ] = events(&log)[..]
        else {
            panic!("{log:?}", log = log.0)
        };
        let expected = if away {
            EncodePath::Offloaded
        } else {
            EncodePath::Sliced
        };
        assert_eq!((path, cause), (expected, AbortCause::Dropped));
        assert_eq!(time.is_zero(), away, "of a job nothing is known yet");
        for job in std::mem::take(&mut *jobs.lock().unwrap()) {
            job();
        }
        assert_eq!(events(&log), []);
    }
}

/// Panics instead of its second frame.
struct Panics(u8);

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(self.0 == 0, "a defect");
        self.0 += 1;
        Poll::Ready(Some(Ok(Frame::data(text(2500)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[test]
fn a_panic_is_told_as_one_when_the_server_drops_the_body_later() {
    let (layer, log) = observed();
    let mut answer = Some(response(Panics(0)));
    let handler =
        service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    let mut future = layer.layer(handler).call(request(Coding::Gzip));
    let answer = drive(|cx| Pin::new(&mut future).poll(cx)).0.unwrap().unwrap();
    let mut body: CompressBody<Panics> = answer.into_body();
    let mut cx = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| while Pin::new(&mut body).poll_frame(&mut cx).is_ready() {});
    assert!(catch_unwind(poll).is_err());
    assert_eq!(events(&log), []);
    drop(body);
    let [Event::Aborted { cause, bytes_in, .. }] = events(&log)[..] else {
        panic!("{log:?}", log = log.0)
    };
    assert_eq!((cause, bytes_in), (AbortCause::Panic, 2500));
}

#[test]
fn what_is_sent_as_it_is_after_all_is_skipped_and_not_aborted() {
    for length in [4000, 200_000] {
        let (layer, log) = observed();
        let layer = layer.coding(Coding::Br, Level::new(9));
        let answer = respond(
            &layer,
            request(Coding::Br),
            response(Script::whole(noise(length))),
        );
        drop(answer);
        let [Event::Skipped { reason, .. }] = events(&log)[..] else {
            panic!("{log:?}", log = log.0)
        };
        assert_eq!(reason, SkipReason::NotSmaller);
    }
}
