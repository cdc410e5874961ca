//! What carrying costs: nothing where nothing is carried, and little where something is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::pin::pin;
use std::task::{Context as Polling, Waker};

use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId};
use cortex_testkit::CountingAllocator;
use cortex_trace::propagation::{Baggage, TraceState};
use cortex_trace::{AlwaysOff, Captured, ServerSpan, ServerStart, Traced, Tracer};
use http::{HeaderMap, Method};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

fn server(tracer: &Tracer, headers: &HeaderMap) -> ServerSpan {
    let start = ServerStart {
        method: &Method::GET,
        path: "/items/7",
        start: SystemClock.now(),
    };
    tracer.server(headers, start)
}

fn unsampled() -> Tracer {
    Tracer::builder("shop").sampler(AlwaysOff).build().unwrap()
}

fn received(baggage: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", "shop.example".parse().unwrap());
    headers.insert(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
            .parse()
            .unwrap(),
    );
    headers.insert("baggage", baggage.parse().unwrap());
    headers
}

/// Moves around as a request does: attached, captured, polled, with spans below each other.
fn work(tracer: &Tracer, captured: &Captured) {
    let _guard = captured.attach();
    let inner = tracer.span("load").start();
    inner.in_scope(|| {
        let mut future = pin!(Traced::new(async {
            let deepest = tracer.span("query").start();
            deepest.in_scope(Captured::current)
        }));
        let polled = future.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
        assert!(polled.is_ready());
    });
    Traced::new(7).run(|seven| assert_eq!(seven, 7));
}

#[test]
fn where_nothing_is_carried_nothing_is_allocated() {
    let tracer = unsampled();
    let headers = HeaderMap::new();
    let ((), usage) = ALLOCATOR.measure(|| {
        let span = server(&tracer, &headers);
        work(&tracer, &span.captured());
    });
    assert_eq!((usage.allocations, usage.freed), (0, 0));
}

#[test]
fn baggage_is_copied_once_and_shared_by_everything_below() {
    let tracer = unsampled();
    let headers = received("userId=alice,serverNode=DF%2028");
    let (span, usage) = ALLOCATOR.measure(|| server(&tracer, &headers));
    assert_eq!(usage.allocations, 2); // the text, and what counts its references
    let (captured, usage) = ALLOCATOR.measure(|| span.captured());
    assert_eq!(usage.allocations, 1);
    let ((), usage) = ALLOCATOR.measure(|| work(&tracer, &captured));
    assert_eq!((usage.allocations, usage.freed), (0, 0));
    let (user, usage) = ALLOCATOR.measure(|| captured.baggage().get("userId").map(|user| user.len()));
    assert_eq!((user, usage.allocations), (Some(5), 0));
}

#[test]
fn what_is_carried_is_given_back() {
    let tracer = unsampled();
    let headers = received("userId=alice, broken, serverNode=DF%2028");
    let ((), usage) = ALLOCATOR.measure(|| {
        let span = server(&tracer, &headers);
        let captured = span.captured();
        assert_eq!(captured.baggage().len(), 2);
        for _ in 0..100 {
            work(&tracer, &captured);
            work(
                &tracer,
                &captured.clone().with_baggage("other=1".parse().unwrap()),
            );
        }
    });
    assert!(usage.allocations > 0);
    assert_eq!(usage.retained(), 0);
}

#[test]
fn hostile_baggage_takes_bounded_memory() {
    let lines = vec![vec![b'a'; 64 << 10]; 64];
    let many = vec![b"k=v, \xff ,".repeat(8 << 10); 64];
    for lines in [lines, many] {
        let (baggage, usage) = ALLOCATOR.measure(|| {
            let baggage = Baggage::from_lines(lines.iter().map(Vec::as_slice));
            assert!(baggage.len() <= 64);
            baggage
        });
        assert!(usage.allocated < 64 << 10, "{usage:?}");
        drop(baggage);
    }
}

#[test]
fn a_guard_that_is_forgotten_leaks_only_until_the_thread_ends() {
    let context = Context::new().with_span(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), Flags::NONE);
    let state: TraceState = "a=1".parse().unwrap();
    let captured = Captured::new(context).with_tracestate(state);
    let baggage: Baggage = "b=2".parse().unwrap();
    let mut live = Vec::new();
    for _ in 0..3 {
        let captured = captured.clone().with_baggage(baggage.clone());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                #[expect(clippy::mem_forget, reason = "the subject of this test")]
                std::mem::forget(captured.attach());
                assert_eq!(Baggage::current(), baggage);
            });
            thread.join().unwrap();
        });
        live.push(captured);
    }
    for captured in live {
        // The last one: to drop it frees what it carries.
        let ((), usage) = ALLOCATOR.measure(|| drop(captured));
        assert!(usage.freed > 0);
    }
}
