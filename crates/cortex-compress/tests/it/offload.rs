//! Encoding on other threads, and what a thread does at a time without them.

use crate::support::{Script, Step, Wakes, decode, drive, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{Coding, CompressBody, CompressionLayer, EtagPolicy, Job, Level, Offload};
use cortex_core::Clock;
use cortex_testkit::ManualClock;
use http::{Request, Response};
use http_body::Body;
use proptest::prelude::*;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};
use tower::{Layer, Service, service_fn};

/// With a clock that stands still, what is quick and what is not is the same on any machine.
fn layer(offload: impl Offload) -> CompressionLayer {
    CompressionLayer::new().clock(ManualClock::new()).offload(offload)
}

fn request(coding: Coding) -> Request<()> {
    Request::builder()
        .header("accept-encoding", coding.as_str())
        .body(())
        .unwrap()
}

fn response(body: Script) -> Response<Script> {
    Response::builder()
        .header("content-type", "text/plain")
        .body(body)
        .unwrap()
}

/// Keeps jobs until the test runs, or drops, them.
#[derive(Clone, Default)]
struct Drawer(Arc<Mutex<Vec<Job>>>);

impl Offload for Drawer {
    fn submit(&self, job: Job) -> Result<(), Job> {
        self.0.lock().unwrap().push(job);
        Ok(())
    }
}

impl Drawer {
    fn open(&self) -> Vec<Job> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Answers with a whole body of 200 KB, and does with each job as told.
fn whole(coding: Coding, with: impl Fn(Job)) -> Response<CompressBody<Script>> {
    let drawer = Drawer::default();
    let mut body = Some(response(Script::whole(text(200_000))));
    let handler =
        service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(body.take().unwrap())));
    let mut future = layer(drawer.clone()).layer(handler).call(request(coding));
    loop {
        let (done, _) = drive(|cx| Pin::new(&mut future).poll(cx));
        if let Some(answer) = done {
            assert!(drawer.open().is_empty());
            return answer.unwrap();
        }
        let jobs = drawer.open();
        assert_eq!(jobs.len(), 1, "stalled without one job under way");
        jobs.into_iter().for_each(&with);
    }
}

#[test]
fn a_whole_body_that_takes_long_is_encoded_elsewhere_with_its_exact_length() {
    for &coding in Coding::ALL {
        let jobs = AtomicUsize::new(0);
        let answer = whole(coding, |job| {
            jobs.fetch_add(1, Ordering::Relaxed);
            job();
        });
        assert_eq!(jobs.into_inner(), 1, "{coding}");
        let declared: usize = answer.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let data = read(answer.into_body()).data();
        assert_eq!(data.len(), declared);
        assert!(
            decode(coding, &data) == (text(200_000).to_vec(), true),
            "{coding}"
        );
    }
}

#[test]
fn a_job_that_nobody_takes_is_done_in_slices_with_the_exact_length() {
    for &coding in Coding::ALL {
        let full = |job: Job| -> Result<(), Job> { Err(job) };
        for answer in [
            whole(coding, drop),
            respond(
                &layer(full),
                request(coding),
                response(Script::whole(text(200_000))),
            ),
        ] {
            assert!(answer.headers().contains_key("content-length"));
            let data = read(answer.into_body()).data();
            assert!(
                decode(coding, &data) == (text(200_000).to_vec(), true),
                "{coding}"
            );
        }
    }
}

#[test]
fn bodies_move_between_threads_whoever_encodes_them() {
    fn moves<T: Send + Sync>() {}
    moves::<CompressBody<Script>>();
    moves::<cortex_compress::Compressor>();
    moves::<cortex_compress::Encoding<Script>>();
}

#[test]
fn what_is_quick_stays() {
    for (coding, length) in [
        (Coding::Gzip, 10_000),
        (Coding::Zstd, 100_000),
        (Coding::Br, 10_000),
    ] {
        let none = |_: Job| -> Result<(), Job> { panic!("a job") };
        for body in [
            Script::whole(text(length)),
            Script::new([Step::Data(text(length / 4)), Step::Pause, Step::Pause]),
        ] {
            let answer = respond(&layer(none), request(coding), response(body.clone()));
            let data = read(answer.into_body()).data();
            let length = body.steps.iter().fold(0, |sum, step| match step {
                Step::Data(data) => sum + data.len(),
                _ => sum,
            });
            assert_eq!(decode(coding, &data), (text(length).to_vec(), true));
        }
    }
}

#[test]
fn a_stream_is_encoded_elsewhere_one_batch_at_a_time_and_reads_no_further() {
    for coding in [Coding::Gzip, Coding::Br, Coding::Deflate] {
        let drawer = Drawer::default();
        let pieces = text(1_000_000);
        let script = Script::new((0..100).map(|at| Step::Data(pieces.slice(at * 10_000..(at + 1) * 10_000))));
        let polls = Arc::clone(&script.polls);
        let answer = respond(&layer(drawer.clone()), request(coding), response(script));
        let mut body = answer.into_body();
        let mut data = Vec::new();
        let mut jobs = 0;
        loop {
            let (next, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
            match next {
                None => {
                    let batch = drawer.open();
                    assert_eq!(batch.len(), 1, "{coding}: one at a time");
                    // A batch is of 64 KiB; the last frame that was read may exceed it.
                    let read = polls.load(Ordering::Relaxed) * 10_000;
                    assert!(read <= (jobs + 1) * (64 << 10) + 20_000, "{coding}: {read}");
                    jobs += 1;
                    for job in batch {
                        job();
                    }
                }
                Some(None) => break,
                Some(Some(frame)) => data.extend_from_slice(&frame.unwrap().into_data().unwrap()),
            }
        }
        assert!((15..=16).contains(&jobs), "{coding}: {jobs} jobs");
        assert!(decode(coding, &data) == (pieces.to_vec(), true), "{coding}");
    }
}

#[test]
fn a_pause_brings_out_everything_that_waits_for_a_batch() {
    for &coding in Coding::ALL {
        let now = |job: Job| -> Result<(), Job> {
            job();
            Ok(())
        };
        for length in [1, 100, 50_000, 70_000] {
            let script = Script::new([Step::Data(text(length)), Step::Stall]);
            let answer = respond(&layer(now), request(coding), response(script));
            let received = read(answer.into_body());
            assert!(received.stalled);
            assert_eq!(
                decode(coding, &received.data()),
                (text(length).to_vec(), false),
                "{coding}"
            );
        }
    }
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Now,
    /// When the next one comes, or the body waits.
    Later,
    Refused,
    Dropped,
}

#[derive(Clone)]
struct Fates {
    fates: Arc<Mutex<Vec<Fate>>>,
    later: Drawer,
}

impl Offload for Fates {
    fn submit(&self, job: Job) -> Result<(), Job> {
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Now);
        self.later.open().into_iter().for_each(|job| job());
        match fate {
            Fate::Now => job(),
            Fate::Later => return self.later.submit(job),
            Fate::Refused => return Err(job),
            Fate::Dropped => drop(job),
        }
        Ok(())
    }
}

/// Reads a body that may wait for jobs which only the test can run.
fn read_with(later: &Drawer, body: &mut CompressBody<Script>, most: usize) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..most {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Pending => later.open().into_iter().for_each(|job| job()),
            Poll::Ready(None) => return (data, true),
            Poll::Ready(Some(frame)) => data.extend_from_slice(&frame.unwrap().into_data().unwrap()),
        }
    }
    (data, false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any chunking, any pauses, any fate of jobs, any cancelled response before it, on the encoders that it left
    /// behind.
    #[test]
    fn what_is_decoded_is_what_was_sent_whoever_encodes_it(
        pieces in prop::collection::vec(
            prop_oneof![
                2 => (1..4000_usize).prop_map(Some),
                1 => (1..100_000_usize).prop_map(Some),
                2 => Just(None),
            ],
            0..14,
        ),
        fates in prop::collection::vec(
            prop_oneof![Just(Fate::Now), Just(Fate::Later), Just(Fate::Refused), Just(Fate::Dropped)],
            0..12,
        ),
        cancel_after in 0..40_usize,
        known in any::<bool>(),
    ) {
        let mut sent = Vec::new();
        let steps: Vec<_> = pieces.iter().map(|piece| piece.map_or(Step::Pause, |length| {
            let data = if length % 3 == 0 { noise(length) } else { text(length) };
            sent.extend_from_slice(&data);
            Step::Data(data)
        })).collect();
        for &coding in Coding::ALL {
            let later = Drawer::default();
            let fates = Fates { fates: Arc::new(Mutex::new(fates.clone())), later: later.clone() };
            let layer = layer(fates);
            for most in [cancel_after, usize::MAX] {
                let mut script = Script::new(steps.clone());
                if known && sent.len() > 1024 {
                    script = script.exact(sent.len());
                }
                let mut answer = Some(response(script));
                let handler = service_fn(move |_: Request<()>| {
                    std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
                });
                let mut future = layer.layer(handler).call(request(coding));
                let mut cx = Context::from_waker(Waker::noop());
                let answer = loop {
                    match Pin::new(&mut future).poll(&mut cx) {
                        Poll::Pending => later.open().into_iter().for_each(|job| job()),
                        Poll::Ready(answer) => break answer.unwrap(),
                    }
                };
                let encoded = answer.headers().contains_key("content-encoding");
                let (data, ended) = read_with(&later, &mut answer.into_body(), most);
                if ended && encoded {
                    prop_assert!(decode(coding, &data) == (sent.clone(), true), "{coding}");
                } else if ended {
                    prop_assert!(data == sent, "{coding}");
                }
            }
        }
    }
}

#[cfg(feature = "tokio")]
#[test]
fn blocking_threads_of_tokio_encode_what_takes_long() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let layer = CompressionLayer::new()
            .coding(Coding::Br, Level::new(9))
            .clock(ManualClock::new())
            .offload(cortex_compress::SpawnBlocking::new());
        for body in [
            Script::whole(text(100_000)),
            Script::new([Step::Data(text(100_000))]),
        ] {
            let mut body = Some(response(body));
            let handler = service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, Infallible>(body.take().unwrap()))
            });
            let mut answer = layer
                .layer(handler)
                .call(request(Coding::Br))
                .await
                .unwrap()
                .into_body();
            let mut data = Vec::new();
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await {
                data.extend_from_slice(&frame.unwrap().into_data().unwrap());
            }
            assert!(decode(Coding::Br, &data) == (text(100_000).to_vec(), true));
        }
    });
}

/// The input that a task may encode before it gives its thread away, by the first estimate.
const SLICES: [(Coding, u8, usize); 9] = [
    (Coding::Zstd, 1, 73_529),
    (Coding::Zstd, 3, 65_789),
    (Coding::Zstd, 6, 20_833),
    (Coding::Br, 1, 40_322),
    (Coding::Br, 4, 11_363),
    (Coding::Br, 5, 6250),
    (Coding::Gzip, 5, 19_230),
    (Coding::Gzip, 9, 6250),
    (Coding::Deflate, 5, 19_230),
];

/// Polls a body to its end as a server does, and returns the most that `measure` grew between two pauses.
fn longest(mut body: CompressBody<Script>, mut measure: impl FnMut(usize) -> usize) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut longest, mut sent, mut before) = (0, 0, measure(0));
    loop {
        let next = Pin::new(&mut body).poll_frame(&mut cx);
        if let Poll::Ready(Some(Ok(frame))) = &next {
            sent += frame.data_ref().unwrap().len();
        }
        if let Poll::Ready(Some(_)) = next {
            continue;
        }
        longest = longest.max(measure(sent) - before);
        before = measure(sent);
        if next.is_ready() {
            return longest;
        }
    }
}

#[test]
fn a_task_encodes_no_more_than_its_slice_at_a_time() {
    for (coding, level, slice) in SLICES {
        let layer = CompressionLayer::new()
            .coding(coding, Level::new(level))
            .clock(ManualClock::new());
        let send = |script| respond(&layer, request(coding), response(script)).into_body();

        // By what it reads, where all is ready: frames of 500 bytes, of which the last may not be encoded yet.
        let whole = text(400_000);
        let script = Script::new(
            whole
                .chunks(500)
                .map(|piece| Step::Data(Bytes::copy_from_slice(piece))),
        );
        let polls = Arc::clone(&script.polls);
        let read = longest(send(script), |_| polls.load(Ordering::Relaxed) * 500);
        // Encoders that collect input are charged a sixteenth of it until they work, so that more may be read than
        // that.
        assert!(
            (slice / 3..=slice * 17 / 8 + 1000).contains(&read),
            "{coding} {level}: {read} bytes read at a time, not {slice}"
        );

        // By what it writes of one large frame: noise comes out as long as it was. What brotli finds in three slices it
        // writes in the time of one.
        let most = match coding {
            Coding::Br if level > 1 => slice * 3,
            _ => slice,
        };
        let written = longest(send(Script::new([Step::Data(noise(1_000_000))])), |sent| sent);
        assert!(
            (slice / 3..=most + (17 << 10)).contains(&written),
            "{coding} {level}: {written} bytes written at a time, not {slice}"
        );
    }
}

#[test]
fn a_whole_body_is_encoded_in_slices_of_that_length() {
    for (coding, level, slice) in SLICES {
        let layer = CompressionLayer::new()
            .coding(coding, Level::new(level))
            .clock(ManualClock::new());
        let mut answer = Some(response(Script::whole(text(256 << 10))));
        let handler =
            service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
        let mut future = layer.layer(handler).call(request(coding));
        let (answer, pauses) = drive(|cx| Pin::new(&mut future).poll(cx));
        let least = (256 << 10) / slice;
        assert!(
            (least..=least * 7 / 3 + 2).contains(&pauses),
            "{coding} {level}: {pauses} pauses, not {least}"
        );
        let data = read(answer.unwrap().unwrap().into_body()).data();
        assert!(decode(coding, &data) == (text(256 << 10).to_vec(), true));
    }
}

/// A clock that moves on each time somebody looks, so that everything takes as long as the test says.
#[derive(Clone)]
struct Busy {
    clock: ManualClock,
    nanos: Arc<AtomicU64>,
}

impl Busy {
    fn new() -> Self {
        Self {
            clock: ManualClock::new(),
            nanos: Arc::default(),
        }
    }

    fn everything_takes(&self, nanos: u64) {
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    /// So long that whatever comes next is another turn of its task.
    fn rest(&self) {
        self.clock.advance(Duration::from_secs(1));
    }
}

impl Clock for Busy {
    fn now(&self) -> Instant {
        self.clock
            .advance(Duration::from_nanos(self.nanos.load(Ordering::Relaxed)));
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }
}

/// Sends a whole body with a strong tag, and returns the answer and how often the task gave its thread away before.
fn send(layer: &CompressionLayer, coding: Coding, body: Bytes) -> (Response<CompressBody<Script>>, usize) {
    let mut answer = response(Script::whole(body));
    let tag = http::HeaderValue::from_static("\"x\"");
    answer.headers_mut().insert("etag", tag);
    let mut answer = Some(answer);
    let handler =
        service_fn(move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(answer.take().unwrap())));
    let mut future = layer.layer(handler).call(request(coding));
    let (answer, pauses) = drive(|cx| Pin::new(&mut future).poll(cx));
    (answer.unwrap().unwrap(), pauses)
}

/// Bodies that are just quick by the first estimate.
const QUICK: [(Coding, usize); 2] = [(Coding::Zstd, 100_000), (Coding::Br, 10_000)];

#[test]
fn what_was_slow_while_the_machine_was_busy_is_quick_again_when_it_is_not() {
    for (coding, length) in QUICK {
        let clock = Busy::new();
        let layer = CompressionLayer::new().clock(clock.clone());
        let pauses = || {
            clock.rest();
            send(&layer, coding, text(length)).1
        };
        clock.everything_takes(200_000);
        assert_eq!(pauses(), 0, "{coding}: quick by the first estimate");
        clock.everything_takes(10_000_000);
        let until_slow = (0..50).take_while(|_| pauses() == 0).count();
        assert!((1..50).contains(&until_slow), "{coding}: {until_slow}");
        clock.everything_takes(100_000);
        let until_quick = (0..50).take_while(|_| pauses() > 0).count();
        assert!((1..50).contains(&until_quick), "{coding}: {until_quick}");
        assert_eq!(pauses(), 0, "{coding}: and stays so");
    }
}

#[test]
fn what_has_a_strong_tag_of_its_own_is_the_same_whoever_encodes_it() {
    for (coding, length) in QUICK
        .into_iter()
        .chain([(Coding::Gzip, 19_000), (Coding::Deflate, 19_000)])
    {
        let clock = Busy::new();
        let jobs = Arc::new(AtomicUsize::new(0));
        let room = Arc::new(AtomicUsize::new(0));
        let layer = CompressionLayer::new()
            .clock(clock.clone())
            .etag(EtagPolicy::Suffix);
        let layer = {
            let (jobs, room) = (Arc::clone(&jobs), Arc::clone(&room));
            layer.offload(move |job: Job| {
                jobs.fetch_add(1, Ordering::Relaxed);
                match room.load(Ordering::Relaxed) {
                    0 => return Err(job),
                    1 => drop(job),
                    _ => job(),
                }
                Ok(())
            })
        };
        let get = || {
            clock.rest();
            let (answer, pauses) = send(&layer, coding, text(length));
            let tag = answer.headers()["etag"].clone();
            assert!(tag.as_bytes().starts_with(b"\"x~cortex-"), "{tag:?}");
            assert_eq!(pauses, 0, "{coding}: in slices, it would be other bytes");
            (tag, read(answer.into_body()).data())
        };
        let quick = get();
        assert_eq!(jobs.load(Ordering::Relaxed), 0, "{coding}");
        clock.everything_takes(10_000_000);
        for how in 0..3 {
            room.store(how, Ordering::Relaxed);
            for _ in 0..20 {
                assert!(get() == quick, "{coding}: other bytes with the same tag");
            }
        }
        assert!(
            jobs.load(Ordering::Relaxed) > 40,
            "{coding}: a slow body is offered to others first"
        );
    }
}

/// As of requests that a client has pipelined: the task of the connection answers one after the other in one poll.
#[test]
fn responses_of_one_task_share_the_time_of_a_poll() {
    /// Answers 16 requests in a row, and returns how often each of their tasks gave its thread away.
    fn answer(
        (coding, level): (Coding, Level),
        body: &Script,
        nanos: u64,
        tasks: &[Arc<Wakes>],
    ) -> Vec<usize> {
        let clock = Busy::new();
        clock.everything_takes(nanos);
        let layer = CompressionLayer::new().coding(coding, level).clock(clock);
        let sent = body.steps.iter().fold(Vec::new(), |mut all, step| {
            if let Step::Data(data) = step {
                all.extend_from_slice(data);
            }
            all
        });
        let mut pauses = vec![0; tasks.len()];
        for at in 0..16 {
            let waker = Waker::from(Arc::clone(&tasks[at % tasks.len()]));
            let mut cx = Context::from_waker(&waker);
            let pauses = &mut pauses[at % tasks.len()];
            let mut answer = Some(response(body.clone()));
            let handler = service_fn(move |_: Request<()>| {
                std::future::ready(Ok::<_, Infallible>(answer.take().unwrap()))
            });
            let mut future = layer.layer(handler).call(request(coding));
            let mut answer = loop {
                match Pin::new(&mut future).poll(&mut cx) {
                    Poll::Pending => *pauses += 1,
                    Poll::Ready(answer) => break answer.unwrap().into_body(),
                }
            };
            let mut data = Vec::new();
            loop {
                match Pin::new(&mut answer).poll_frame(&mut cx) {
                    Poll::Pending => *pauses += 1,
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => data.extend_from_slice(&frame.unwrap().into_data().unwrap()),
                }
            }
            assert!(decode(coding, &data) == (sent.clone(), true));
        }
        let wakes: Vec<_> = tasks.iter().map(|task| task.count()).collect();
        assert_eq!(wakes, pauses, "who gives way goes on soon");
        pauses
    }

    let task = || Arc::new(Wakes::default());
    let short = || {
        Script::new(
            text(4000)
                .chunks(1000)
                .map(Bytes::copy_from_slice)
                .map(Step::Data),
        )
    };
    let default = |body: Script| {
        Coding::ALL
            .iter()
            .map(move |&coding| (coding, Level::DEFAULT, body.clone()))
    };
    let slow = [Coding::Gzip, Coding::Deflate]
        .map(|coding| (coding, Level::new(9), Script::new([Step::Data(text(3500))])));
    let all = [
        Script::whole(text(4000)),
        Script::new([Step::Data(text(4000))]),
        short(),
    ]
    .into_iter()
    .flat_map(default)
    .chain(slow);
    for (coding, level, body) in all {
        let how = (coding, level, body.exact, body.steps.len());
        let with = (coding, level);
        // 16 times 90 us are no less than five times 250 us.
        let one = answer(with, &body, 90_000, &[task()]);
        assert!((4..=16).contains(&one[0]), "{how:?}: {one:?}");
        // Of several tasks each has its own; and where nothing takes long, nobody waits.
        let several = answer(with, &body, 90_000, &[task(), task()]);
        assert_eq!(several, [0, 0], "{how:?}");
        assert_eq!(answer(with, &body, 1000, &[task()]), [0], "{how:?}");
    }
}

#[test]
fn a_stream_that_was_slow_while_the_machine_was_busy_is_quick_again_when_it_is_not() {
    for coding in [Coding::Gzip, Coding::Deflate] {
        for piece in [60_000, 500] {
            let clock = Busy::new();
            let layer = CompressionLayer::new().clock(clock.clone());
            let pauses = || {
                clock.rest();
                let steps = text(60_000);
                let steps = steps.chunks(piece).map(Bytes::copy_from_slice).map(Step::Data);
                let answer = respond(&layer, request(coding), response(Script::new(steps)));
                let received = read(answer.into_body());
                assert!(decode(coding, &received.data()) == (text(60_000).to_vec(), true));
                received.pending
            };
            clock.everything_takes(10_000);
            let quick = pauses();
            clock.everything_takes(10_000_000);
            for _ in 0..20 {
                pauses();
            }
            clock.everything_takes(10_000);
            let slow = pauses();
            assert!(slow > quick * 2, "{coding}: {slow} after {quick}");
            let until_quick = (0..100).take_while(|_| pauses() > quick).count();
            assert!((1..100).contains(&until_quick), "{coding}: {until_quick}");
        }
    }
}
