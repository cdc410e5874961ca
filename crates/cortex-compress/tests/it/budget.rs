//! What responses are made of while others hold the memory.

use crate::case::{Answer, Case};
#[cfg(feature = "dictionary")]
use crate::dictionary::{accepting, dictionary, layer_with, run_at_once};
use crate::support::{Script, Step, decode, read, text};
use cortex_compress::{
    Coding, CompressWith, CompressionLayer, Event, Level, MemoryBudget, SkipReason, VariantCache,
};
use cortex_testkit::ManualClock;

fn layer_of(coding: Coding, level: u8, budget: &MemoryBudget) -> CompressionLayer {
    CompressionLayer::new()
        .coding(coding, Level::new(level))
        .memory_budget(budget.clone())
        .clock(ManualClock::new())
}

fn get(layer: &CompressionLayer, coding: &'static str, body: Script) -> Answer {
    let case = Case {
        request: vec![("accept-encoding", coding)],
        body,
        layer: layer.clone(),
        ..Case::default()
    };
    case.send()
}

/// A body whose reader goes away in the middle.
fn stalled() -> Script {
    Script::new([Step::Data(text(100_000)), Step::Stall])
}

/// Returns the level at which a response was encoded to its end.
fn level_of(layer: &CompressionLayer, coding: Coding, body: Script) -> Option<u8> {
    let log = std::sync::Arc::new(crate::case::Log::default());
    let layer = layer.clone().observe(std::sync::Arc::clone(&log));
    let request = http::Request::builder().header("accept-encoding", coding.as_str());
    let response = http::Response::builder()
        .header("content-type", "text/plain")
        .header("etag", "\"x\"")
        .body(body)
        .unwrap();
    let response = crate::support::respond(&layer, request.body(()).unwrap(), response);
    let encoded = response.headers().contains_key("content-encoding");
    let received = read(response.into_body()).data();
    let events = log.0.lock().unwrap();
    match events[..] {
        [Event::Encoded { level, .. }] => {
            assert_eq!(decode(coding, &received), (text(100_000).to_vec(), true));
            Some(level)
        }
        [
            Event::Skipped {
                reason: SkipReason::MemoryBudget,
                ..
            },
        ] => {
            assert!(!encoded);
            None
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn slow_readers_of_the_level_that_is_for_caches_leave_memory_to_others() {
    let budget = MemoryBudget::new(256 << 20);
    let layer = layer_of(Coding::Br, 9, &budget);
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut body = get(&layer, "br", stalled()).response.into_body();
        let mut sent = 0;
        while let (Some(Some(Ok(frame))), _) =
            crate::support::drive(|cx| http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx))
        {
            sent += frame.into_data().unwrap().len();
        }
        assert!(sent > 0, "it is under way");
        waiting.push(body);
    }
    assert!((8 << 20..8 * 3_000_000).contains(&budget.used()), "{budget:?}");
    let whole = level_of(&layer, Coding::Br, Script::whole(text(100_000)));
    assert_eq!(whole, Some(9));
    drop(waiting);
    assert_eq!(budget.used(), 0);
}

#[test]
fn where_there_is_no_memory_for_the_level_a_lower_one_is_tried() {
    let whole = || Script::whole(text(100_000));
    let streamed = || Script::new([Step::Data(text(100_000))]);
    for (bytes, at_once, piecewise) in [
        (64 << 20, Some(9), Some(9)),
        (4 << 20, Some(5), Some(9)),
        (2_200_000, Some(5), Some(5)),
        (1_200_000, Some(2), Some(2)),
        (700_000, None, Some(2)),
        (100_000, None, None),
    ] {
        let budget = MemoryBudget::new(bytes);
        let layer = layer_of(Coding::Br, 9, &budget);
        assert_eq!(level_of(&layer, Coding::Br, whole()), at_once, "{bytes}, whole");
        assert_eq!(
            level_of(&layer, Coding::Br, streamed()),
            piecewise,
            "{bytes}, streamed"
        );
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn what_the_handler_asks_for_is_stepped_down_as_well() {
    let layer = layer_of(Coding::Gzip, 4, &MemoryBudget::new(1_200_000));
    for script in [
        Script::whole(text(100_000)),
        Script::new([Step::Data(text(100_000))]),
    ] {
        let case = Case {
            request: vec![("accept-encoding", "br, gzip")],
            body: script,
            layer: layer.clone().coding(Coding::Br, Level::new(1)),
            ..Case::default()
        };
        let answer = case
            .extended(CompressWith::new(Coding::Br).level(Level::new(11)))
            .send();
        assert_eq!(answer.header("content-encoding"), Some("br"));
        let data = read(answer.response.into_body()).data();
        assert_eq!(decode(Coding::Br, &data), (text(100_000).to_vec(), true));
    }
}

#[test]
fn the_cache_keeps_nothing_of_a_level_that_was_stepped_down_for_want_of_memory() {
    let cache = VariantCache::weighted(8 << 20);
    for bytes in [2_200_000, 64 << 20] {
        let layer = layer_of(Coding::Br, 9, &MemoryBudget::new(bytes)).cache(cache.clone());
        assert!(level_of(&layer, Coding::Br, Script::whole(text(100_000))).is_some());
        let kept = usize::from(bytes > 60 << 20);
        assert_eq!(cache.stats().entries, kept, "with {bytes} bytes");
    }
}

#[cfg(feature = "dictionary")]
#[test]
fn a_reader_that_stopped_leaves_memory_to_others_with_a_dictionary_and_without() {
    let known = dictionary(100_000);
    let budget = MemoryBudget::new(12_000_000);
    let layer = layer_with(&[&known])
        .offload(run_at_once)
        .memory_budget(budget.clone());
    let get = |accepts: &str| {
        let script = stalled().exact(8 << 20);
        accepting(layer.clone(), accepts, &known, script).send()
    };
    let mut waiting = Vec::new();
    let after = loop {
        let answer = get("dcz, zstd");
        if answer.header("content-encoding") != Some("dcz") {
            break answer;
        }
        let mut body = answer.response.into_body();
        while let (Some(Some(_)), _) =
            crate::support::drive(|cx| http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx))
        {
        }
        waiting.push(body);
        let each = budget.used() / waiting.len();
        assert!((1_000_000..=3_000_000).contains(&each), "{each} bytes");
    };
    assert!((4..=6).contains(&waiting.len()), "{}", waiting.len());
    assert_eq!(after.header("content-encoding"), Some("zstd"));
    assert_eq!(
        after.header("vary"),
        Some("accept-encoding, available-dictionary")
    );
    assert_eq!(
        get("dcz, zstd;q=0, gzip").header("content-encoding"),
        Some("gzip"),
        "zstd is refused"
    );
    let alone = get("dcz");
    assert_eq!(alone.reason(), Some(SkipReason::MemoryBudget));
    assert_eq!(alone.header("content-encoding"), None, "nothing else is accepted");
    drop((waiting, after, alone));
    assert_eq!(budget.used(), 0);
}
