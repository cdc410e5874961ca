//! What is kept of local traces when they are over, with which weight, and within which bounds.
#![expect(clippy::float_cmp, reason = "sums of whole numbers are exact")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use cortex_core::{Clock, Context, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_trace::propagation;
use cortex_trace::{
    AlwaysOff, AlwaysOn, ExportError, Exporter, FollowParent, ParentBased, Probability, ServerEnd,
    ServerSpan, ServerStart, Span, SpanData, Tail, TailStats, Tracer, TracerBuilder,
};
use http::{HeaderMap, Method};

use crate::support::{AGES, Fixture};

const SECOND: Duration = Duration::from_secs(1);

fn with(tail: Tail, configure: impl FnOnce(TracerBuilder) -> TracerBuilder) -> Fixture {
    Fixture::with(|builder| configure(builder.queue_capacity(1 << 20).tail(tail)))
}

/// A tracer whose sampler keeps nothing.
fn off(tail: Tail) -> Fixture {
    with(tail, |builder| builder.sampler(AlwaysOff))
}

impl Fixture {
    fn job(&self, name: &'static str) -> Span {
        self.tracer.span(name).parent(Context::new()).start()
    }

    fn below(&self, parent: Context, name: &'static str) -> Span {
        self.tracer.span(name).parent(parent).start()
    }

    fn tail_stats(&self) -> TailStats {
        let stats = self.tracer.tail_stats().unwrap();
        assert_eq!(
            stats.begun,
            stats.kept_by_rule + stats.kept_by_sampler + stats.discarded + stats.pending
        );
        stats
    }

    /// A request of a trace that is random, and the same in every run.
    fn request(&self, headers: &HeaderMap) -> ServerSpan {
        let start = ServerStart {
            method: &Method::GET,
            path: "/",
            start: self.clock.now(),
        };
        self.tracer.server(headers, start)
    }

    fn answer(&self, mut span: ServerSpan, status: u16) {
        let end = self.clock.now();
        span.finish(ServerEnd {
            status: Some(status),
            end,
            error: None,
        });
    }
}

fn trace(n: u64) -> TraceId {
    let n = n + 1; // zero is no trace
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    TraceId::new(u128::from(n) << 64 | u128::from(z ^ (z >> 31))).unwrap()
}

fn caller(n: u64, flags: &str, tracestate: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let parent = format!("00-{:032x}-00f067aa0ba902b7-{flags}", trace(n).get());
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", tracestate.parse().unwrap());
    headers
}

fn failed(mut span: Span) {
    span.set_error("declined");
}

fn names(spans: &[SpanData]) -> Vec<&str> {
    spans.iter().map(|span| &*span.name).collect()
}

fn th(span: &SpanData) -> Option<&str> {
    span.tracestate
        .get("ot")?
        .split(';')
        .find_map(|part| part.strip_prefix("th:"))
}

/// What a backend computes from `th`, read independently of the code that wrote it.
fn count(span: &SpanData) -> f64 {
    let digits = th(span).unwrap();
    let threshold = u64::from_str_radix(&format!("{digits:0<14}"), 16).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "good to 53 bits")]
    let share = 1.0 - threshold as f64 / 2.0_f64.powi(56);
    1.0 / share
}

#[test]
fn an_error_anywhere_keeps_the_whole_local_trace() {
    let fixture = off(Tail::new().keep_errors());
    let root = fixture.job("order");
    assert!(root.is_recording());
    // Callees hear that it is not sampled.
    assert!(!root.context().flags().contains(Flags::SAMPLED));
    let mut headers = HeaderMap::new();
    propagation::inject(&root.context(), root.tracestate(), &mut headers);
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-02"));
    assert!(!headers.contains_key("tracestate"));
    let inner = fixture.below(root.context(), "pay");
    failed(fixture.below(inner.context(), "charge"));
    drop(inner);
    drop(root);
    fixture.job("fine").end();
    let ended = fixture.ended();
    assert_eq!(names(&ended), ["charge", "pay", "order"]);
    for span in &ended {
        assert!(span.flags.contains(Flags::SAMPLED));
        assert_eq!(span.tracestate.to_string(), "ot=th:0");
    }
    let stats = fixture.tail_stats();
    assert_eq!((stats.kept_by_rule, stats.discarded), (1, 1));
    assert_eq!((stats.pending_spans, stats.pending_bytes), (0, 0));
}

#[test]
fn without_a_tail_what_is_dropped_is_not_recorded() {
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    assert!(!fixture.job("order").is_recording());
    assert!(fixture.tracer.tail_stats().is_none());
}

#[test]
fn a_slow_root_is_kept_and_a_slow_child_is_not_enough() {
    let fixture = off(Tail::new().slower_than(Duration::from_millis(500)));
    let fast = fixture.job("fast");
    let child = fixture.below(fast.context(), "late child");
    drop(fast);
    fixture.clock.advance(SECOND);
    drop(child);
    let exact = fixture.job("exact");
    fixture.clock.advance(Duration::from_millis(500));
    drop(exact);
    let slow = fixture.job("slow");
    fixture.clock.advance(Duration::from_millis(501));
    drop(slow);
    assert_eq!(names(&fixture.ended()), ["slow"]);
}

#[test]
fn rules_of_the_user_see_the_segment() {
    let fixture = off(Tail::new().keep_if(|segment| {
        segment.root().is_some_and(|root| root.name == "big") && segment.spans().len() == 3
    }));
    for (name, children) in [("big", 2), ("big", 1), ("small", 2)] {
        let root = fixture.job(name);
        for _ in 0..children {
            fixture.below(root.context(), "child").end();
        }
    }
    assert_eq!(names(&fixture.ended()), ["child", "child", "big"]);
}

#[test]
fn a_rule_that_panics_does_not_match_and_one_that_traces_is_not_traced() {
    let fixture = off(Tail::new()
        .keep_if(|segment| {
            let root = segment.root().unwrap();
            assert_ne!(root.name, "bad", "seeded");
            false
        })
        .keep_errors());
    failed(fixture.job("bad"));
    fixture.job("bad").end();
    let (ended, stats) = (fixture.ended(), fixture.tail_stats());
    assert_eq!((names(&ended), stats.panics), (vec!["bad"], 2));

    let tracer = Arc::new(OnceLock::<Tracer>::new());
    let seen = Arc::clone(&tracer);
    let fixture = off(Tail::new().keep_if(move |_| {
        let span = seen.get().unwrap().span("rule").start();
        assert!(!span.is_recording());
        true
    }));
    assert!(tracer.set(fixture.tracer.clone()).is_ok());
    fixture.job("job").end();
    assert_eq!(names(&fixture.ended()), ["job"]);
    assert_eq!(fixture.tail_stats().panics, 0);
}

#[test]
fn late_spans_follow_the_state() {
    let fixture = off(Tail::new().keep_errors());
    let kept = fixture.job("kept");
    let open = fixture.below(kept.context(), "open");
    let kept_context = kept.context();
    failed(kept);
    let later = fixture.below(kept_context, "started later");
    let inner = fixture.below(open.context(), "started below");
    assert!(later.is_recording() && inner.is_recording());
    drop((open, later, inner));
    let dropped = fixture.job("dropped");
    let open = fixture.below(dropped.context(), "open of the dropped");
    let dropped_context = dropped.context();
    drop(dropped);
    let later = fixture.below(dropped_context, "later of the dropped");
    assert!(!later.is_recording());
    failed(open);
    let ended = fixture.ended();
    assert_eq!(names(&ended), ["kept", "open", "started later", "started below"]);
    assert!(ended.iter().all(|span| th(span) == Some("0")));
    assert!(ended.iter().all(|span| span.flags.contains(Flags::SAMPLED)));
}

#[test]
fn two_local_roots_of_one_trace_are_two() {
    let fixture = with(Tail::new().keep_errors(), |builder| {
        builder.sampler(Probability::new(0.0).unwrap())
    });
    let (a, b) = (
        fixture.request(&caller(1, "03", "")),
        fixture.request(&caller(1, "03", "")),
    );
    assert_eq!(a.context().trace_id(), b.context().trace_id());
    fixture.below(b.context(), "of b").end();
    fixture.below(a.context(), "of a").end();
    fixture.answer(a, 200);
    fixture.answer(b, 500);
    assert_eq!(names(&fixture.ended()), ["of b", "GET"]);
}

#[test]
fn the_decision_of_an_unsampled_caller_stands_unless_told_otherwise() {
    for (tail, kept) in [
        (Tail::new().keep_errors(), 0),
        (Tail::new().keep_errors().unsampled_callers(), 1),
    ] {
        let fixture = with(tail, |builder| builder);
        let span = fixture.request(&caller(1, "02", "ot=th:ffffffffffffff"));
        fixture.answer(span, 500);
        let ended = fixture.ended();
        assert_eq!(ended.len(), kept);
        assert!(ended.iter().all(|span| th(span) == Some("0")));
    }
}

#[test]
fn a_caller_that_speaks_b3_is_left_alone_only_if_it_said_no() {
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    let (trace_id, span_id) = ids.split_once('-').unwrap();
    let several = [("x-b3-traceid", trace_id), ("x-b3-spanid", span_id)];
    let single = |rest: &str| vec![("b3", format!("{ids}{rest}"))];
    let multi = |more: &[(&'static str, &str)]| {
        let all = several.iter().chain(more);
        all.map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let alone = |name, value: &str| vec![(name, value.to_owned())];
    for (fields, wanted) in [
        (single(""), true), // up to us
        (single("-1"), true),
        (single("-d"), true),
        (single("-0"), false),
        (alone("b3", "1"), true),
        (alone("b3", "d"), true),
        (alone("b3", "0"), false),
        (multi(&[]), true),
        (multi(&[("x-b3-sampled", "1")]), true),
        (multi(&[("x-b3-flags", "1")]), true),
        (multi(&[("x-b3-sampled", "0")]), false),
        (alone("x-b3-sampled", "1"), true),
        (alone("x-b3-flags", "1"), true),
        (alone("x-b3-sampled", "0"), false),
        (vec![], true),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            headers.insert(*name, value.parse().unwrap());
        }
        for (tail, kept) in [(Tail::new(), wanted), (Tail::new().unsampled_callers(), true)] {
            let propagators = "b3,b3multi".parse().unwrap();
            let fixture = with(tail.keep_errors(), |builder| {
                builder.sampler(AlwaysOff).propagators(propagators)
            });
            let span = fixture.request(&headers);
            assert_eq!(span.is_recording(), kept, "{fields:?}");
            fixture.answer(span, 500);
            assert_eq!(fixture.ended().len(), usize::from(kept), "{fields:?}");
        }
    }
}

#[test]
fn a_sampled_caller_without_a_threshold_gets_one_only_by_a_rule() {
    let fixture = with(Tail::new().keep_errors(), |builder| {
        builder.sampler(ParentBased::root(AlwaysOn))
    });
    for status in [500, 200] {
        let span = fixture.request(&caller(1, "03", "a=1"));
        assert_eq!(span.tracestate().unwrap().to_string(), "a=1");
        fixture.below(span.context(), "child").end();
        fixture.answer(span, status);
    }
    let states: Vec<_> = fixture
        .ended()
        .iter()
        .map(|span| span.tracestate.to_string())
        .collect();
    assert_eq!(states, ["ot=th:0,a=1", "ot=th:0,a=1", "a=1", "a=1"]);
}

#[test]
fn the_threshold_of_the_sampler_is_on_all_spans() {
    let fixture = with(Tail::new().keep_errors(), |builder| {
        builder.sampler(ParentBased::root(AlwaysOff).remote_sampled(FollowParent))
    });
    let span = fixture.request(&caller(1, "03", "ot=th:0001;x:1,a=1"));
    fixture.below(span.context(), "child").end();
    fixture.answer(span, 200);
    for span in fixture.ended() {
        assert_eq!(span.tracestate.to_string(), "ot=th:0001;x:1,a=1");
    }
    assert_eq!(fixture.tail_stats().kept_by_sampler, 1);
}

/// Sums of adjusted counts, and the variances of those estimates.
struct Sums {
    all: f64,
    errors: f64,
    children: f64,
    variance: f64,
    error_variance: f64,
}

fn sums(spans: &[SpanData]) -> Sums {
    let mut sums = Sums {
        all: 0.0,
        errors: 0.0,
        children: 0.0,
        variance: 0.0,
        error_variance: 0.0,
    };
    for span in spans {
        let count = count(span);
        if span.name == "child" {
            sums.children += count;
            continue;
        }
        let variance = (1.0 - 1.0 / count) * count * count;
        sums.all += count;
        sums.variance += variance;
        if span.status.is_error() {
            sums.errors += count;
            sums.error_variance += variance;
        }
    }
    sums
}

#[test]
fn the_adjusted_counts_sum_up_to_the_truth_with_one_percent_of_errors() {
    let fixture = with(Tail::new().keep_errors(), |builder| {
        builder.sampler(Probability::new(0.05).unwrap())
    });
    for n in 0..20_000 {
        let span = fixture.request(&caller(n, "03", ""));
        fixture.below(span.context(), "child").end();
        fixture.answer(span, if n % 100 == 0 { 500 } else { 200 });
    }
    let sums = sums(&fixture.ended());
    assert_eq!(sums.errors, 200.0); // exactly: each of them is kept
    assert_eq!(sums.all, sums.children);
    let error = (sums.all - 20_000.0).abs() / sums.variance.sqrt();
    assert!(error < 4.0 && sums.variance > 0.0, "{}: {error}", sums.all);
}

#[test]
fn under_pressure_less_is_recorded_and_the_counts_stay_right() {
    let fixture = with(Tail::new().keep_errors().max_spans(1000), |builder| {
        builder.sampler(Probability::new(0.01).unwrap())
    });
    let (mut truth, mut lowest) = (0.0, 1.0_f64);
    for wave in 0..40 {
        let open: Vec<_> = (0..2000)
            .map(|n| fixture.request(&caller(wave * 2000 + n, "03", "")))
            .collect();
        lowest = lowest.min(fixture.tail_stats().record_ratio);
        for (n, span) in open.into_iter().enumerate() {
            let fails = n % 4 == 0;
            truth += f64::from(u8::from(fails));
            fixture.answer(span, if fails { 500 } else { 200 });
        }
        assert_eq!(fixture.tail_stats().pending_spans, 0);
    }
    let stats = fixture.tail_stats();
    assert_eq!((stats.evicted, stats.record_ratio), (0, 1.0));
    assert!(lowest < 0.2, "{lowest}");
    let sums = sums(&fixture.ended());
    let error = (sums.errors - truth).abs() / sums.error_variance.sqrt();
    assert!(
        error < 4.0 && sums.error_variance > 0.0,
        "{} of {truth}: {error}",
        sums.errors
    );
    let error = (sums.all - 80_000.0).abs() / sums.variance.sqrt();
    assert!(error < 4.0, "{}: {error}", sums.all);
}

#[test]
fn a_share_of_the_matches_is_counted_right() {
    let tail = Tail::new().keep_some(Probability::new(0.25).unwrap(), |segment| {
        segment.spans().iter().any(|span| span.status.is_error())
    });
    let fixture = with(tail, |builder| builder.sampler(Probability::new(0.02).unwrap()));
    for n in 0..10_000 {
        let span = fixture.request(&caller(n, "03", ""));
        fixture.answer(span, if n % 2 == 0 { 500 } else { 200 });
    }
    let spans = fixture.ended();
    let sums = sums(&spans);
    let error = (sums.errors - 5000.0).abs() / sums.error_variance.sqrt();
    assert!(error < 4.0, "{}: {error}", sums.errors);
    assert!(
        spans
            .iter()
            .filter(|span| span.status.is_error())
            .all(|span| th(span) == Some("c"))
    );
}

#[test]
fn an_eviction_follows_the_sampler_and_matches_lose_their_count_until_a_clean_tick() {
    let fixture = with(Tail::new().keep_errors().max_spans(4), |builder| {
        builder.sampler(AlwaysOn)
    });
    // Of the largest randomness, so that pressure is no reason not to record them.
    let start = |n| {
        fixture.clock.advance(Duration::from_millis(1));
        fixture.request(&caller(n, "03", "ot=rv:ffffffffffffff"))
    };
    let roots: Vec<_> = (0..5).map(start).collect();
    let stats = fixture.tail_stats();
    assert_eq!((stats.evicted, stats.pending_spans), (1, 4));
    for root in roots {
        fixture.answer(root, 500);
    }
    let ended = fixture.ended();
    let counts: Vec<_> = ended.iter().map(th).collect();
    // The first one was evicted: it is as the sampler said.
    assert_eq!(counts, [Some("0"), None, None, None, None]);
    for (after, expected) in [(SECOND, None), (SECOND, Some("0"))] {
        fixture.clock.advance(after);
        failed(fixture.job("error"));
        let span = fixture.one();
        assert_eq!(th(&span), expected);
    }
}

#[test]
fn a_span_that_needs_no_room_takes_none_from_others() {
    let fixture = with(Tail::new().keep_errors().max_spans(4), |builder| {
        builder.sampler(AlwaysOn)
    });
    let root = fixture.job("root");
    let stream = fixture.below(root.context(), "stream");
    failed(root);
    let waiting: Vec<_> = (0..4)
        .map(|n| fixture.request(&caller(n, "03", "ot=rv:ffffffffffffff")))
        .collect();
    assert_eq!(fixture.tail_stats().pending_spans, 4);
    // The parent is decided, or nobody knows it.
    drop(fixture.below(stream.context(), "part"));
    let elsewhere = Context::new().with_span(
        trace(99),
        SpanId::new(99).unwrap(),
        Flags::SAMPLED | Flags::RECORDING,
    );
    drop(fixture.below(elsewhere, "elsewhere"));
    let stats = fixture.tail_stats();
    assert_eq!((stats.evicted, stats.pending, stats.pending_spans), (0, 4, 4));
    // One that needs room gets it.
    drop(fixture.below(waiting[3].context(), "child"));
    assert_eq!(fixture.tail_stats().evicted, 1);
    drop((stream, waiting));
    let ended = fixture.ended();
    let count = |name: &str| ended.iter().filter(|span| span.name == name).count();
    assert_eq!((count("part"), count("elsewhere"), count("GET")), (1, 1, 4));
}

#[test]
fn what_is_evicted_is_kept_if_it_matches_by_then() {
    let fixture = off(Tail::new().keep_errors().max_spans(1000).max_bytes(20_000));
    let root = fixture.job("root");
    failed(fixture.below(root.context(), "failed"));
    let mut other = fixture.job("other");
    for n in 0..20 {
        other.set_attribute(format!("key{n}"), "x".repeat(2000));
    }
    let late = fixture.below(root.context(), "late");
    drop(other);
    // Over the bytes: the oldest goes, and says by then that it has failed. `other` had ended before.
    drop(late);
    let child = fixture.below(root.context(), "large");
    let stats = fixture.tail_stats();
    assert!(stats.pending_bytes <= 20_000, "{stats:?}");
    drop((child, root));
    let names: Vec<_> = fixture.ended().iter().map(|span| span.name.to_string()).collect();
    assert_eq!(names, ["failed", "late", "large", "root"]);
}

/// As long as one may be: 32 members of 512 bytes.
fn long_tracestate() -> String {
    let members = (0..32).map(|n| format!("{}{n:02}={}", "k".repeat(254), "v".repeat(256)));
    members.collect::<Vec<_>>().join(",")
}

#[test]
fn a_long_tracestate_counts_as_memory() {
    const MOST: usize = 100_000;
    let list = long_tracestate();
    let fixture = off(Tail::new().keep_errors().max_bytes(MOST));
    let headers = |n| caller(n, "03", &list);
    // What a root sends on, and a child that has ended and was told of it.
    let root = fixture.request(&headers(0));
    let held = fixture.tail_stats().pending_bytes;
    assert!(held >= list.len(), "{held}");
    let guard = root.captured().attach();
    fixture.tracer.span("child").start().end();
    drop(guard);
    let more = fixture.tail_stats().pending_bytes - held;
    assert!(more >= list.len(), "{more}");
    fixture.answer(root, 200);
    assert_eq!(fixture.tail_stats().pending_bytes, 0);
    // Open ones, whose spans have not ended, are within the bound too.
    let open: Vec<_> = (1..50).map(|n| fixture.request(&headers(n))).collect();
    let stats = fixture.tail_stats();
    assert!(
        stats.pending_bytes <= MOST && stats.pending_bytes > MOST / 2,
        "{stats:?}"
    );
    drop(open);
    assert_eq!(fixture.tail_stats().pending_bytes, 0);
}

#[test]
fn what_is_remembered_of_kept_traces_is_bounded() {
    let list = long_tracestate();
    let fixture = off(Tail::new()
        .keep_if(|_| true)
        .max_bytes(100_000)
        .max_spans_per_segment(5000));
    let late: Vec<_> = (0..100)
        .map(|n| {
            let root = fixture.request(&caller(n, "03", &list));
            let late = fixture.below(root.context(), "late");
            fixture.answer(root, 200);
            late
        })
        .collect();
    assert_eq!(fixture.ended().len(), 100);
    drop(late);
    let ended = fixture.ended().len();
    assert!((1..=6).contains(&ended), "{ended}"); // 100 000 bytes are six lists
}

#[test]
fn an_old_segment_is_decided_by_what_is_known() {
    let fixture = off(Tail::new()
        .keep_errors()
        .slower_than(SECOND * 20)
        .max_age(SECOND * 30));
    let stream = fixture.job("stream");
    let failing = fixture.job("failing");
    failed(fixture.below(failing.context(), "failed"));
    fixture.clock.advance(SECOND * 31);
    let idle = fixture.job("next"); // whoever starts a span does the work
    let names_of = |spans: &[SpanData]| spans.iter().map(|span| span.name.to_string()).collect::<Vec<_>>();
    let stats = fixture.tail_stats();
    assert_eq!((stats.cut, stats.kept_by_rule, stats.pending), (2, 2, 1));
    fixture.below(stream.context(), "message").end();
    drop((failing, idle));
    assert_eq!(names_of(&fixture.ended()), ["failed", "message", "failing"]);
    // The state lasts as long as the root is open.
    for _ in 0..5 {
        fixture.clock.advance(SECOND * 40);
        fixture.below(stream.context(), "message").end();
    }
    assert_eq!(fixture.ended().len(), 5);
    drop(stream);
    assert_eq!(fixture.one().name, "stream");
}

#[test]
fn the_end_of_a_span_is_enough_for_what_is_old_to_be_decided() {
    let fixture = off(Tail::new()
        .keep_errors()
        .keep_if(|segment| segment.root().is_some())
        .max_age(SECOND * 30));
    let stream = fixture.job("stream");
    failed(fixture.below(stream.context(), "failed"));
    let other = fixture.job("other");
    let child = fixture.below(other.context(), "child");
    fixture.clock.advance(SECOND * 29);
    drop(child);
    assert_eq!(fixture.tail_stats().cut, 0);
    fixture.clock.advance(SECOND * 2);
    drop(other);
    // The one that has ended is old as well, but its end counts.
    let stats = fixture.tail_stats();
    assert_eq!((stats.cut, stats.kept_by_rule, stats.pending), (1, 2, 0));
    drop(stream);
    assert_eq!(names(&fixture.ended()), ["child", "other", "failed", "stream"]);
}

#[test]
fn an_endless_root_is_bounded() {
    for (tail, kept) in [
        (Tail::new().keep_errors().max_spans_per_segment(10), 0),
        (Tail::new().keep_if(|_| true).max_spans_per_segment(10), 5000),
    ] {
        let fixture = off(tail);
        let root = fixture.job("endless");
        for _ in 0..5000 {
            let child = fixture.below(root.context(), "child");
            fixture.below(child.context(), "grandchild").end();
        }
        let stats = fixture.tail_stats();
        assert_eq!((stats.cut, stats.pending_spans), (1, 0));
        let ended = fixture.ended();
        assert_eq!(ended.iter().filter(|span| span.name == "child").count(), kept);
        assert_eq!(ended.len(), kept * 2);
    }
}

#[test]
fn a_burst_of_open_spans_is_bounded() {
    let fixture = off(Tail::new().keep_errors().max_spans(500));
    let open: Vec<_> = (0..100_000).map(|_| fixture.job("job")).collect();
    let stats = fixture.tail_stats();
    assert!(
        stats.pending_spans <= 500 && stats.record_ratio < 0.01,
        "{stats:?}"
    );
    // Nearly all of them are not even recorded.
    assert!(open.iter().filter(|span| span.is_recording()).count() < 2000);
    drop(open);
    let stats = fixture.tail_stats();
    assert_eq!(
        (stats.pending_spans, stats.pending_bytes, stats.pending),
        (0, 0, 0)
    );
    assert!(fixture.ended().is_empty());
}

#[test]
fn a_flush_decides_what_waits_and_after_a_shutdown_nothing_is_held() {
    let fixture = off(Tail::new().keep_errors());
    let root = fixture.job("root");
    failed(fixture.below(root.context(), "failed"));
    let quiet = fixture.job("quiet");
    assert_eq!(names(&fixture.ended()), ["failed"]);
    assert_eq!(fixture.tail_stats().cut, 2);
    drop(root);
    failed(quiet); // too late: it was decided
    assert_eq!(names(&fixture.ended()), ["root"]);
    fixture.tracer.shutdown_blocking(AGES).unwrap();
    assert!(!fixture.job("after").is_recording());
    assert_eq!(fixture.tail_stats().begun, 2);
}

#[test]
fn a_flush_leaves_alone_what_begins_meanwhile() {
    let tracer = Arc::new(OnceLock::<(Tracer, ManualClock)>::new());
    let begun = Arc::new(Mutex::new(Vec::new()));
    let (seen, more) = (Arc::clone(&tracer), Arc::clone(&begun));
    // With segments as large as that there is one shard, which a flush is not past when the next one begins.
    let tail = Tail::new().max_spans_per_segment(5000);
    let fixture = off(tail.keep_if(move |_| {
        let (tracer, clock) = seen.get().unwrap();
        let mut begun = more.lock().unwrap();
        // One each time would go on for ever, and the test is to end if it does.
        if begun.len() < 200 {
            clock.advance(Duration::from_nanos(1));
            let next = || tracer.span("next").parent(Context::new()).start();
            begun.push(std::thread::scope(|scope| scope.spawn(next).join().unwrap()));
        }
        true
    }));
    assert!(
        tracer
            .set((fixture.tracer.clone(), fixture.clock.clone()))
            .is_ok()
    );
    let root = fixture.job("root");
    fixture.below(root.context(), "child").end();
    assert_eq!(names(&fixture.ended()), ["child"]);
    let stats = fixture.tail_stats();
    assert_eq!((stats.cut, stats.pending), (1, 1));
    assert_eq!(begun.lock().unwrap().len(), 1);
    fixture.tracer.shutdown_blocking(AGES).unwrap();
}

#[test]
fn the_rules_of_a_flush_take_of_its_time() {
    struct Stuck(mpsc::Receiver<()>);
    impl Exporter for Stuck {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            let _ = self.0.recv(); // until the test is over
            Ok(())
        }
    }
    let clock = ManualClock::new();
    let slow = clock.clone();
    let tail = Tail::new().keep_if(move |_| {
        slow.advance(AGES);
        true
    });
    let (release, stuck) = mpsc::channel();
    let tracer = Tracer::builder("shop")
        .clock(clock)
        .tail(tail)
        .export(Stuck(stuck))
        .build()
        .unwrap();
    let root = tracer.span("root").parent(Context::new()).start();
    tracer.span("child").parent(root.context()).start().end();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| tell.send(tracer.flush_blocking(AGES)).unwrap());
        let result = told.recv_timeout(AGES / 4);
        drop(release);
        assert!(result.is_ok_and(|flushed| flushed.is_err_and(|error| error.is_timeout())));
    });
}

#[test]
fn children_that_are_asked_about_stay_in_the_tail() {
    let asked = ParentBased::root(AlwaysOff).local_sampled(AlwaysOff);
    let fixture = with(Tail::new().keep_errors(), |builder| builder.sampler(asked));
    let root = fixture.job("root");
    failed(fixture.below(root.context(), "child"));
    drop(root);
    assert_eq!(names(&fixture.ended()), ["child", "root"]);
}

#[test]
fn what_the_sampler_keeps_below_a_dropped_root_is_exported() {
    for (fails, expected) in [
        (false, &["grandchild", "child", "late"][..]),
        (true, &["grandchild", "child", "root", "late"]),
    ] {
        let sampler = ParentBased::root(AlwaysOff).local_not_sampled(AlwaysOn);
        let fixture = with(Tail::new().keep_errors(), |builder| builder.sampler(sampler));
        let mut root = fixture.job("root");
        let child = fixture.below(root.context(), "child");
        assert!(child.context().flags().contains(Flags::SAMPLED));
        child.in_scope(|| fixture.tracer.span("grandchild").start().end());
        drop(child);
        let late = fixture.below(root.context(), "late");
        if fails {
            root.set_error("declined");
        }
        drop((root, late));
        let ended = fixture.ended();
        assert_eq!(names(&ended), expected);
        assert!(ended.iter().all(|span| th(span) == Some("0")), "{ended:?}");
        let stats = fixture.tail_stats();
        assert_eq!(
            (stats.kept_by_rule, stats.discarded),
            (fails.into(), (!fails).into())
        );
    }
}

#[test]
fn what_the_sampler_drops_below_a_sampled_root_is_exported_only_after_a_match() {
    for (fails, expected) in [(false, &["root"][..]), (true, &["child", "root", "late"])] {
        let sampler = ParentBased::root(AlwaysOn).local_sampled(AlwaysOff);
        let fixture = with(Tail::new().keep_errors(), |builder| builder.sampler(sampler));
        let root = fixture.job("root");
        let mut child = fixture.below(root.context(), "child");
        assert!(child.is_recording() && !child.context().flags().contains(Flags::SAMPLED));
        if fails {
            child.set_error("declined");
        }
        drop(child);
        let parent = root.context();
        drop(root);
        let late = fixture.below(parent, "late");
        assert_eq!(late.is_recording(), fails);
        drop(late);
        let ended = fixture.ended();
        assert_eq!(names(&ended), expected);
        assert!(ended.iter().all(|span| th(span) == Some("0")), "{ended:?}");
    }
}

#[test]
fn spans_with_a_share_of_their_own_are_counted_right() {
    let share = |p| Probability::new(p).unwrap();
    for (of_roots, of_children, threshold) in [(1.0, 0.1, "e666"), (0.05, 0.25, "c"), (0.5, 0.05, "f3333")] {
        let sampler = ParentBased::root(AlwaysOff)
            .remote_sampled(share(of_roots))
            .local_sampled(share(of_children))
            .local_not_sampled(share(of_children));
        let fixture = with(Tail::new().keep_errors(), |builder| builder.sampler(sampler));
        for n in 0..20_000 {
            let span = fixture.request(&caller(n, "03", ""));
            fixture.below(span.context(), "child").end();
            fixture.answer(span, if n % 100 == 0 { 500 } else { 200 });
        }
        let ended = fixture.ended();
        let (mut sum, mut variance, mut matched) = (0.0, 0.0, 0);
        for child in ended.iter().filter(|span| span.name == "child") {
            let count = count(child);
            sum += count;
            variance += (1.0 - 1.0 / count) * count * count;
            match th(child) {
                Some("0") => matched += 1,
                own => assert_eq!(own, Some(threshold)),
            }
        }
        assert_eq!(matched, 200); // all of the errors' traces
        let error = (sum - 20_000.0).abs() / f64::sqrt(variance);
        assert!(error < 4.0 && variance > 0.0, "{threshold}: {sum}: {error}");
        assert_eq!(sums(&ended).errors, 200.0);
    }
}

#[test]
fn local_delegates_decide_about_children() {
    let sampler = ParentBased::root(AlwaysOn).local_sampled(AlwaysOff);
    let fixture = Fixture::with(|builder| builder.sampler(sampler));
    let root = fixture.job("root");
    let child = fixture.below(root.context(), "child");
    assert!(root.is_recording() && !child.is_recording());
    assert!(!child.context().flags().contains(Flags::SAMPLED));
    drop(root);
    let sampler = ParentBased::root(AlwaysOff).local_not_sampled(AlwaysOn);
    let fixture = Fixture::with(|builder| builder.sampler(sampler));
    let root = fixture.job("root");
    fixture.below(root.context(), "child").end();
    drop(root);
    let child = fixture.one();
    assert_eq!((&*child.name, th(&child)), ("child", Some("0")));
}

#[test]
fn what_ends_while_the_rules_run_is_not_lost() {
    let open = Arc::new(Mutex::new(None::<(Tracer, Span)>));
    let meanwhile = Arc::clone(&open);
    let fixture = off(Tail::new().keep_if(move |segment| {
        let (tracer, span) = meanwhile.lock().unwrap().take().unwrap();
        let parent = span.context();
        // On a thread of its own, as what a rule starts is not recorded.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tracer.span("started meanwhile").parent(parent).start().end();
                drop(span);
            });
        });
        segment.spans().len() == 1
    }));
    let root = fixture.job("root");
    let child = fixture.below(root.context(), "open");
    *open.lock().unwrap() = Some((fixture.tracer.clone(), child));
    drop(root);
    assert_eq!(names(&fixture.ended()), ["root", "started meanwhile", "open"]);
    assert_eq!(fixture.tail_stats().pending_bytes, 0);
}

#[test]
fn threads_that_fight_for_room_lose_nothing() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 2000;
    /// Local roots that each thread holds open: together they have more spans than there is room for.
    const OPEN: usize = 80;
    /// More than what is open of spans of kept segments can ever be, so that none of those is forgotten for another.
    const APART: u64 = 96;

    let kept = Arc::new(Mutex::new(HashMap::new()));
    let seen = Arc::clone(&kept);
    let tail = Tail::new()
        .keep_if(move |segment| {
            let failed = segment.spans().iter().find(|span| span.status.is_error());
            if let Some(span) = failed {
                *seen.lock().unwrap().entry(span.trace_id).or_insert(0) += 1;
            }
            failed.is_some()
        })
        .max_spans(600)
        .max_spans_per_segment(6);
    let fixture = off(tail);
    let work = |thread| {
        let (mut open, mut recorded) = (VecDeque::new(), Vec::new());
        for round in 0..ROUNDS {
            // Of the largest randomness, so that pressure is no reason not to record it: somebody has to go.
            let headers = caller(thread * ROUNDS + round, "03", "ot=rv:ffffffffffffff");
            let root = fixture.request(&headers);
            let mut note = |context: Context, is_recording: bool| {
                if is_recording {
                    recorded.push((context.trace_id().unwrap(), context.span_id().unwrap()));
                }
            };
            note(root.context(), root.is_recording());
            let fails = round % APART == 0;
            let count = match (fails, round / APART % 2) {
                (true, 0) => 8, // more than a segment may have
                (true, _) => 3,
                (false, _) => (round + thread) % 6,
            };
            let mut children = Vec::new();
            for n in 0..count {
                let child = fixture.below(root.context(), "child");
                note(child.context(), child.is_recording());
                if fails && n == 0 {
                    failed(child);
                } else {
                    children.push(child);
                }
            }
            open.push_back((root, children));
            if open.len() > OPEN {
                let (root, children) = open.pop_front().unwrap();
                fixture.answer(root, 200);
                drop(children); // late ones
            }
            if round % 50 == 0 {
                fixture.clock.advance(SECOND);
            }
        }
        for (root, children) in open {
            drop(children);
            fixture.answer(root, 200);
        }
        recorded
    };
    let recorded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });

    let stats = fixture.tail_stats();
    assert_eq!(
        (
            stats.pending,
            stats.pending_spans,
            stats.pending_bytes,
            stats.panics
        ),
        (0, 0, 0, 0)
    );
    assert!(stats.evicted > 0 && stats.cut > 0, "{stats:?}");
    let kept = kept.lock().unwrap();
    assert!(
        kept.len() > 50 && kept.values().all(|judged| *judged == 1),
        "{kept:?}"
    );
    assert_eq!(stats.kept_by_rule, kept.len() as u64);

    let mut expected: Vec<_> = recorded
        .into_iter()
        .filter(|(trace, _)| kept.contains_key(trace))
        .collect();
    let exported = fixture.ended();
    assert!(exported.iter().all(|span| span.flags.contains(Flags::SAMPLED)));
    let mut exported: Vec<_> = exported
        .iter()
        .map(|span| (span.trace_id, span.span_id))
        .collect();
    expected.sort_unstable();
    exported.sort_unstable();
    assert_eq!(exported, expected);
}
