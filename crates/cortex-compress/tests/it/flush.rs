//! When a stream sends what it has.

use crate::support::{Received, Script, Step, decode, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{Coding, CompressionLayer, FlushPolicy};
use cortex_testkit::ManualClock;
use http::{Request, Response};
use proptest::prelude::*;

/// Sends pieces of this type of content, with a clock that stands still.
fn send(policy: FlushPolicy, coding: Coding, kind: &str, steps: impl IntoIterator<Item = Step>) -> Received {
    let layer = CompressionLayer::new().clock(ManualClock::new()).sse(true);
    let request = Request::builder().header("accept-encoding", coding.as_str());
    let response = Response::builder().header("content-type", kind);
    let response = response.body(Script::new(steps)).unwrap();
    read(respond(&layer.flush(policy), request.body(()).unwrap(), response).into_body())
}

/// Pieces with pauses between them that last.
fn pieces(lengths: &[usize]) -> (Vec<Step>, Vec<u8>) {
    let all = text(lengths.iter().sum());
    let mut rest = all.clone();
    let steps = lengths.iter().flat_map(|&length| {
        let data = Step::Data(rest.split_to(length));
        [data, Step::Pause, Step::Pause, Step::Pause]
    });
    (steps.collect(), all.to_vec())
}

#[test]
fn at_a_pause_all_that_came_is_sent() {
    for &coding in Coding::ALL {
        let (mut steps, all) = pieces(&[500, 700]);
        steps.push(Step::Stall);
        let received = send(FlushPolicy::OnPause, coding, "text/plain", steps);
        assert!(received.stalled);
        assert_eq!(received.frames.len(), 2, "{coding}");
        assert_eq!(decode(coding, &received.frames[0]).0, all[..500], "{coding}");
        assert_eq!(decode(coding, &received.data()), (all, false), "{coding}");
    }
    assert_eq!(FlushPolicy::default(), FlushPolicy::OnPause);
}

#[test]
fn until_the_end_what_is_short_is_held_back_and_nobody_is_woken_for_it() {
    for &coding in Coding::ALL {
        let (mut steps, all) = pieces(&[500, 700]);
        let ended = send(FlushPolicy::OnEnd, coding, "text/plain", steps.clone());
        assert_eq!(ended.frames.len(), 1, "{coding}");
        assert_eq!(decode(coding, &ended.data()), (all, true), "{coding}");

        let pauses = steps.len() - 2;
        steps.push(Step::Stall);
        let waiting = send(FlushPolicy::OnEnd, coding, "text/plain", steps);
        assert!(waiting.stalled && waiting.frames.is_empty(), "{coding}");
        assert_eq!(
            waiting.pending,
            pauses + 1,
            "{coding}: a poll for each of the source's, and no more"
        );
    }
}

#[test]
fn what_fills_a_frame_is_sent_before_the_end() {
    for &coding in Coding::ALL {
        let mut rest = noise(400_000);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            steps.extend([Step::Data(rest.split_to(20_000)), Step::Pause]);
        }
        steps.push(Step::Stall);
        let received = send(FlushPolicy::OnEnd, coding, "text/plain", steps);
        assert!(received.stalled);
        assert!(
            received.frames.iter().all(|frame| frame.len() <= 16 << 10),
            "{coding}"
        );
        let sent: usize = received.frames.iter().map(Bytes::len).sum();
        assert!(sent > 250_000, "{coding}: {sent} of 400000 bytes");
    }
}

#[test]
fn what_comes_in_small_pieces_takes_fewer_bytes_without_flushes() {
    for &coding in Coding::ALL {
        let steps = pieces(&[100; 100]).0;
        let [paused, ended] = [FlushPolicy::OnPause, FlushPolicy::OnEnd]
            .map(|policy| send(policy, coding, "text/plain", steps.clone()).data().len());
        assert!(ended * 5 < paused * 4, "{coding}: {ended} and {paused} bytes");
    }
}

#[test]
fn a_stream_of_events_is_flushed_whatever_is_set() {
    for &coding in Coding::ALL {
        let (mut steps, all) = pieces(&[500, 700]);
        steps.push(Step::Stall);
        let received = send(FlushPolicy::OnEnd, coding, "text/event-stream", steps);
        assert_eq!(decode(coding, &received.frames[0]).0, all[..500], "{coding}");
        assert_eq!(decode(coding, &received.data()), (all, false), "{coding}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn however_it_comes_the_same_is_sent(
        lengths in prop::collection::vec(prop_oneof![1..50_usize, 1000..30_000_usize], 1..8),
        coding in prop::sample::select(Coding::ALL),
        fails in any::<bool>(),
    ) {
        let (mut steps, all) = pieces(&lengths);
        if fails {
            steps.push(Step::Fail);
        }
        let [paused, ended] = [FlushPolicy::OnPause, FlushPolicy::OnEnd]
            .map(|policy| send(policy, coding, "text/plain", steps.clone()));
        prop_assert_eq!(ended.error.is_some(), fails);
        let (decoded, complete) = decode(coding, &ended.data());
        prop_assert_eq!(complete, !fails, "{}", coding);
        prop_assert!(all.starts_with(&decoded) && (fails || all == decoded), "{}", coding);
        // Encoders are free to divide what comes at once as they like, so that it may be a little more.
        let most = paused.data().len() * 21 / 20 + 64;
        prop_assert!(ended.data().len() <= most, "{}: {}, not {}", coding, ended.data().len(), most);
    }
}
