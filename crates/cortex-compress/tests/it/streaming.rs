//! Bodies that are encoded while they are sent.

use crate::support::{Broken, Script, Step, decode, drive, encode, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{Coding, CompressBody, CompressError, CompressionLayer};
use cortex_testkit::ManualClock;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use proptest::prelude::*;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

/// Any chunking, with pauses at any place.
fn script() -> impl Strategy<Value = (Script, Vec<u8>)> {
    let piece = prop_oneof![
        3 => (0..3000_usize).prop_map(|length| Some(text(length))),
        1 => (0..3000_usize).prop_map(|length| Some(noise(length))),
        1 => (0..200_000_usize).prop_map(|length| Some(text(length))),
        1 => Just(Some(Bytes::new())),
        3 => Just(None),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let whole = pieces.iter().flatten().flat_map(|piece| piece.to_vec()).collect();
        let steps = pieces
            .into_iter()
            .map(|piece| piece.map_or(Step::Pause, Step::Data));
        (Script::new(steps), whole)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_decoded_is_what_was_sent((script, whole) in script(), known in any::<bool>()) {
        let script = if known && whole.len() > 1024 { script.exact(whole.len()) } else { script };
        for &coding in Coding::ALL {
            let response = encode(coding, script.clone());
            let encoded = response.headers().contains_key("content-encoding");
            let received = read(response.into_body());
            prop_assert!(received.error.is_none() && !received.stalled);
            prop_assert!(received.frames.iter().all(|frame| !frame.is_empty()));
            if encoded {
                let (decoded, complete) = decode(coding, &received.data());
                prop_assert!(complete, "{} has no end", coding);
                prop_assert!(decoded == whole, "{} differs", coding);
            } else {
                prop_assert!(known && received.data() == whole, "{} is broken", coding);
            }
        }
    }

    #[test]
    fn a_body_that_fails_does_not_decode_as_complete((script, whole) in script(), at in any::<prop::sample::Index>()) {
        let mut script = script;
        let at = at.index(script.steps.len() + 1);
        script.steps.insert(at, Step::Fail);
        for &coding in Coding::ALL {
            let received = read(encode(coding, script.clone()).into_body());
            prop_assert!(matches!(received.error, Some(CompressError::Inner(Broken))));
            let (decoded, complete) = decode(coding, &received.data());
            prop_assert!(!complete, "{} looks complete", coding);
            prop_assert!(whole.starts_with(&decoded));
        }
    }

    /// Of four clients each reads when it likes, or goes away and another one comes; their encoders are those that others
    /// have left, at whatever point.
    #[test]
    fn bodies_that_are_sent_at_the_same_time_do_not_mix(
        scripts in prop::collection::vec((script(), any::<bool>()), 1..6),
        turns in prop::collection::vec((0..4_usize, 0..10_u8), 0..120),
    ) {
        let layer = CompressionLayer::new().clock(ManualClock::new());
        let mut clients: [Option<Client>; 4] = std::array::from_fn(|_| None);
        let mut scripts = scripts.iter().cycle().zip(0_u8..);
        for (at, what) in turns {
            let goes_on = match &mut clients[at] {
                Some(client) if what > 0 => client.read(),
                _ => false,
            };
            if !goes_on {
                let Some((((script, whole), known), number)) = scripts.next() else { break };
                clients[at] = Some(Client::ask(&layer, number, script, whole, *known));
            }
        }
        for client in clients.iter_mut().flatten() {
            while client.read() {}
        }
    }
}

struct Client {
    coding: Coding,
    body: CompressBody<Script>,
    is_encoded: bool,
    received: Vec<u8>,
    expected: Vec<u8>,
}

impl Client {
    /// Asks for a body of its own, in a coding by its number.
    fn ask(layer: &CompressionLayer, number: u8, script: &Script, whole: &[u8], known: bool) -> Self {
        let coding = Coding::ALL[usize::from(number) % Coding::ALL.len()];
        let change = |data: &[u8]| {
            data.iter()
                .map(|byte| byte.wrapping_add(number))
                .collect::<Vec<_>>()
        };
        let mut body = script.clone();
        for step in &mut body.steps {
            if let Step::Data(data) = step {
                *data = change(data).into();
            }
        }
        if known && whole.len() > 1024 {
            body = body.exact(whole.len());
        }
        let request = Request::builder().header("accept-encoding", coding.as_str());
        let response = Response::builder().header("content-type", "text/plain");
        let answer = respond(layer, request.body(()).unwrap(), response.body(body).unwrap());
        Self {
            coding,
            is_encoded: answer.headers().contains_key("content-encoding"),
            body: answer.into_body(),
            received: Vec::new(),
            expected: change(whole),
        }
    }

    /// Reads a frame, or finds that there is none yet; tells whether there may be more.
    fn read(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.body).poll_frame(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(Some(frame)) => {
                self.received
                    .extend_from_slice(&frame.unwrap().into_data().unwrap());
                true
            }
            Poll::Ready(None) => {
                let received = std::mem::take(&mut self.received);
                let (decoded, complete) = if self.is_encoded {
                    decode(self.coding, &received)
                } else {
                    (received, true)
                };
                assert!(complete, "{} has no end", self.coding);
                assert!(decoded == self.expected, "{} differs", self.coding);
                false
            }
        }
    }
}

/// As a file that is cut while it is served: the server below the layer notices by the length, which the header does
/// not say any more.
#[test]
fn h4_a_body_that_ends_before_its_promised_length_has_no_end() {
    const LONG: usize = 300_000;
    let end = || Step::Trailers(HeaderMap::new());
    for &coding in Coding::ALL {
        for (steps, exact, declared, promised) in [
            // By its own hint: longer than what is looked at as a whole, or not there at once.
            (vec![Step::Data(text(LONG))], Some(LONG + 1), None, LONG + 1),
            (
                vec![Step::Data(text(LONG)), end()],
                Some(LONG + 1),
                None,
                LONG + 1,
            ),
            (vec![Step::Data(text(3000)), Step::Pause], Some(3001), None, 3001),
            (
                vec![Step::Pause, Step::Pause, Step::Pause],
                Some(3000),
                None,
                3000,
            ),
            // By the header alone, as from a stream of a file.
            (vec![Step::Data(text(3000))], None, Some("5000000"), 5_000_000),
            (vec![Step::Data(text(3000)), end()], None, Some("3001"), 3001),
            (vec![Step::Data(text(LONG))], None, Some("300001"), LONG + 1),
            (vec![], None, Some("3000"), 3000),
        ] {
            let sent: usize = lengths(&steps);
            let script = Script {
                exact: exact.map(|exact| exact as u64),
                ..Script::new(steps)
            };
            let received = read(send(coding, declared, script).into_body());
            let Some(CompressError::Incomplete {
                promised: length,
                received: all,
                ..
            }) = received.error
            else {
                panic!("{coding} {promised}: {:?}", received.error);
            };
            assert_eq!((length, all), (promised as u64, sent as u64), "{coding}");
            assert!(received.trailers.is_none());
            let (decoded, complete) = decode(coding, &received.data());
            assert!(!complete, "{coding} {promised} looks complete");
            assert!(text(sent).starts_with(&decoded));
        }
    }
}

#[test]
fn a_body_that_keeps_its_promised_length_or_exceeds_it_is_complete() {
    for &coding in Coding::ALL {
        for (exact, declared) in [
            (None, Some("6000")),
            (None, Some("5999")),
            (None, Some("no length")),
            // What the body knows of itself is newer than what the header says.
            (Some(6000), Some("9000")),
        ] {
            let steps = [
                Step::Data(text(6000)),
                Step::Pause,
                Step::Trailers(HeaderMap::new()),
            ];
            let script = Script {
                exact,
                ..Script::new(steps)
            };
            let received = read(send(coding, declared, script).into_body());
            assert!(received.error.is_none() && received.trailers.is_some());
            let whole = (text(6000).to_vec(), true);
            assert_eq!(decode(coding, &received.data()), whole, "{coding} {declared:?}");
        }
    }
}

fn lengths(steps: &[Step]) -> usize {
    steps.iter().fold(0, |sum, step| match step {
        Step::Data(data) => sum + data.len(),
        _ => sum,
    })
}

/// Encodes a body whose header declares a length.
fn send(coding: Coding, declared: Option<&str>, body: Script) -> Response<CompressBody<Script>> {
    let request = Request::builder().header("accept-encoding", coding.as_str());
    let mut response = Response::builder().header("content-type", "text/plain");
    if let Some(length) = declared {
        response = response.header("content-length", length);
    }
    let layer = CompressionLayer::new().clock(ManualClock::new());
    let answer = respond(&layer, request.body(()).unwrap(), response.body(body).unwrap());
    assert_eq!(answer.headers()["content-encoding"], coding.as_str());
    answer
}

#[test]
fn a_pause_brings_out_everything_so_far() {
    for &coding in Coding::ALL {
        for length in [1, 100, 16_384, 70_000] {
            let script = Script::new([Step::Data(text(length)), Step::Stall]);
            let received = read(encode(coding, script).into_body());
            assert!(received.stalled);
            let (decoded, complete) = decode(coding, &received.data());
            assert_eq!(decoded, text(length), "{coding} {length}");
            assert!(!complete);
        }
    }
}

#[test]
fn a_short_pause_costs_no_flush_and_a_long_one_only_one() {
    for &coding in Coding::ALL {
        let size = |pauses: usize| {
            let steps = (0..40).flat_map(|_| {
                std::iter::once(Step::Data(text(50))).chain(std::iter::repeat_n(Step::Pause, pauses))
            });
            read(encode(coding, Script::new(steps)).into_body())
        };
        let (none, short, long, longer) = (size(0), size(1), size(2), size(9));
        assert_eq!(
            none.data(),
            short.data(),
            "{coding}: whoever goes on at once is not flushed"
        );
        assert!(long.data().len() > none.data().len());
        assert_eq!(
            long.data(),
            longer.data(),
            "{coding}: a repeated pause writes nothing"
        );
        assert_eq!(long.frames.len(), longer.frames.len());
    }
}

#[test]
fn an_event_is_flushed_at_the_first_pause() {
    let layer = CompressionLayer::new().sse(true);
    for &coding in Coding::ALL {
        for (content_type, pauses) in [("text/event-stream; charset=utf-8", 1), ("text/plain", 2)] {
            let event = Bytes::from_static(b"data: 17\n\n");
            let request = Request::builder().header("accept-encoding", coding.as_str());
            let response = Response::builder().header("content-type", content_type);
            let script = Script::new([Step::Data(event.clone()), Step::Stall]);
            let answer = respond(&layer, request.body(()).unwrap(), response.body(script).unwrap());
            let received = read(answer.into_body());
            assert!(received.stalled);
            assert_eq!(received.pending, pauses, "{coding} {content_type}");
            assert_eq!(
                decode(coding, &received.data()),
                (event.to_vec(), false),
                "{coding}"
            );
        }
    }
}

#[test]
fn nothing_is_written_before_there_is_input() {
    for &coding in Coding::ALL {
        let received = read(encode(coding, Script::new([Step::Stall])).into_body());
        assert!(received.stalled);
        assert!(received.frames.is_empty(), "{coding}");
    }
}

#[test]
fn frames_are_of_sixteen_kilobytes_and_the_thread_is_given_away() {
    for (coding, slices) in [(Coding::Zstd, 20), (Coding::Br, 100), (Coding::Gzip, 60)] {
        let body = Script::new(std::iter::repeat_n(Step::Data(noise(300_000)), 5));
        let received = read(encode(coding, body).into_body());
        let (last, full) = received.frames.split_last().unwrap();
        assert!(full.iter().all(|frame| frame.len() == 16 << 10), "{coding}");
        assert!(last.len() <= 16 << 10);
        assert!(
            received.pending >= slices,
            "{coding}: {} pending polls",
            received.pending
        );
    }
}

#[test]
fn empty_frames_without_end_do_not_keep_a_poll_going() {
    let body = Script::new(std::iter::repeat_n(Step::Data(Bytes::new()), 10_000));
    let received = read(encode(Coding::Gzip, body).into_body());
    assert!(received.pending > 10);
    assert_eq!(decode(Coding::Gzip, &received.data()), (vec![], true));
}

#[test]
fn a_large_whole_body_is_encoded_in_slices_before_its_header() {
    let request = Request::builder()
        .header("accept-encoding", "gzip")
        .body(())
        .unwrap();
    let mut service = tower::Layer::layer(
        &CompressionLayer::new(),
        tower::service_fn(|_: Request<()>| {
            let response = Response::builder().header("content-type", "text/plain");
            std::future::ready(Ok::<_, Broken>(
                response.body(Script::whole(text(200_000))).unwrap(),
            ))
        }),
    );
    let mut future = tower::Service::call(&mut service, request);
    let (response, pending) = drive(|cx| Pin::new(&mut future).poll(cx));
    assert!(pending >= 5, "{pending}");
    assert!(
        response
            .unwrap()
            .unwrap()
            .headers()
            .contains_key("content-length")
    );
}

#[test]
fn the_inner_body_is_read_only_as_far_as_the_outer_one() {
    let pieces = noise(2_000_000);
    let steps: Vec<_> = (0..200)
        .map(|at| Step::Data(pieces.slice(at * 10_000..(at + 1) * 10_000)))
        .collect();
    for &coding in Coding::ALL {
        let script = Script::new(steps.clone());
        let polls = Arc::clone(&script.polls);
        let mut body = encode(coding, script).into_body();
        assert_eq!(
            polls.load(Ordering::Relaxed),
            0,
            "{coding}: nobody has asked for anything"
        );
        let mut whole = Vec::new();
        for _ in 0..4 {
            let (frame, _) = drive(|cx| Pin::new(&mut body).poll_frame(cx));
            whole.extend_from_slice(&frame.unwrap().unwrap().unwrap().into_data().unwrap());
        }
        // Encoders hold a block back, never all there is; the one of brotli has up to 512 KiB.
        assert!(polls.load(Ordering::Relaxed) < 60, "{coding}: {polls:?}");
        whole.extend_from_slice(&read(body).data());
        assert!(decode(coding, &whole) == (pieces.to_vec(), true), "{coding}");
    }
}

#[test]
fn trailers_come_after_the_end_of_the_stream() {
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("checksum"), HeaderValue::from_static("1"))]);
    for &coding in Coding::ALL {
        let steps = [
            Step::Data(text(5000)),
            Step::Pause,
            Step::Pause,
            Step::Trailers(trailers.clone()),
        ];
        let received = read(encode(coding, Script::new(steps)).into_body());
        assert_eq!(received.trailers.as_ref(), Some(&trailers));
        assert_eq!(decode(coding, &received.data()), (text(5000).to_vec(), true));
    }
}

#[test]
fn the_end_is_known_once_it_is_reached() {
    let mut body = encode(Coding::Gzip, Script::new([Step::Data(text(5000))])).into_body();
    assert!(!body.is_end_stream());
    while let (Some(Some(_)), _) = drive(|cx| Pin::new(&mut body).poll_frame(cx)) {}
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(format!("{body:?}").contains("stream"));
}

#[test]
fn every_level_round_trips() {
    use cortex_compress::Level;
    for &coding in Coding::ALL {
        for level in coding.levels() {
            let layer = CompressionLayer::new().coding(coding, Level::new(level));
            for body in [
                Script::whole(text(40_000)),
                Script::new([Step::Data(text(40_000))]),
            ] {
                let request = Request::builder()
                    .header("accept-encoding", coding.as_str())
                    .body(())
                    .unwrap();
                let response = Response::builder()
                    .header("content-type", "text/plain")
                    .body(body)
                    .unwrap();
                let received = read(respond(&layer, request, response).into_body());
                assert!(
                    decode(coding, &received.data()) == (text(40_000).to_vec(), true),
                    "{coding} {level}"
                );
            }
        }
    }
}
