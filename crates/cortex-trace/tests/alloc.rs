//! The unsampled path costs no allocation and reads no clock.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Instant, SystemTime};

use cortex_core::{Clock, SystemClock};
use cortex_testkit::CountingAllocator;
use cortex_trace::propagation::{extract, inject};
use cortex_trace::{AlwaysOff, AlwaysOn, ParentBased, Probability, ServerEnd, ServerStart, Tail, Tracer};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

#[cfg(feature = "bridge")]
#[path = "alloc/bridge.rs"]
mod bridge;
#[path = "alloc/burst.rs"]
mod burst;
#[cfg(feature = "tower")]
#[path = "alloc/layer.rs"]
mod layer;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Fails the test that reads it.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Instant {
        panic!("the clock was read")
    }

    fn wall(&self) -> SystemTime {
        panic!("the clock was read")
    }
}

fn tracers() -> Vec<Tracer> {
    let never = || Tracer::builder("shop").clock(NoClock);
    vec![
        Tracer::propagate_only(),
        never().sampler(AlwaysOff).build().unwrap(),
        never()
            .sampler(AlwaysOff)
            .known_methods([Method::GET])
            .build()
            .unwrap(),
        never()
            .sampler(ParentBased::root(Probability::new(0.0).unwrap()))
            .build()
            .unwrap(),
    ]
}

fn unsampled(tracestate: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("host", "shop.example".parse().unwrap());
    headers.insert(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02"
            .parse()
            .unwrap(),
    );
    if let Some(tracestate) = tracestate {
        // As in a server, where all values are slices of what was read from the socket.
        let head = bytes::Bytes::from(format!("tracestate: {tracestate}\r\n"));
        let value = head.slice("tracestate: ".len()..head.len() - 2);
        headers.insert("tracestate", HeaderValue::from_maybe_shared(value).unwrap());
    }
    headers
}

fn serve(tracer: &Tracer, headers: &HeaderMap, now: Instant) {
    let start = ServerStart {
        method: &Method::GET,
        path: "/items/7?page=2",
        start: now,
    };
    let uri = Uri::from_static("http://stock.internal/7");
    let mut span = tracer.server(headers, start);
    {
        let _guard = span.context().attach();
        let mut inner = tracer.span("load").start();
        inner.set_attribute("rows", 3);
        inner.set_attribute("name", "value");
        inner.add_event("cache miss");
        inner.set_error("timeout");
        tracer.client(&Method::GET, &uri).set_error("timeout");
        inner.set_response_status(StatusCode::BAD_GATEWAY);
    }
    assert!(!span.is_recording());
    span.set_route("/items/{id}");
    span.set_attribute("network.protocol.version", "1.1");
    span.finish(ServerEnd {
        status: Some(500),
        end: now,
        error: Some("timeout"),
    });
}

#[test]
fn an_unsampled_request_allocates_nothing() {
    let now = SystemClock.now();
    for tracer in tracers() {
        for headers in [HeaderMap::new(), unsampled(None)] {
            let ((), usage) = ALLOCATOR.measure(|| serve(&tracer, &headers, now));
            assert_eq!((usage.allocations, usage.freed), (0, 0), "{tracer:?}");
        }
    }
}

#[test]
fn a_tracestate_is_not_copied() {
    let now = SystemClock.now();
    let headers = unsampled(Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"));
    for tracer in tracers() {
        let ((), usage) = ALLOCATOR.measure(|| serve(&tracer, &headers, now));
        // What counts the references to it, for all that goes on below.
        assert_eq!((usage.allocations, usage.retained()), (1, 0), "{tracer:?}");
    }
}

#[test]
fn other_formats_are_read_without_an_allocation() {
    let now = SystemClock.now();
    let received = [
        ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"),
        (
            "uber-trace-id",
            "4bf92f3577b34da6a3ce929d0e0e4736:f067aa0ba902b7:0:0",
        ),
        ("x-b3-sampled", "0"),
    ];
    for (name, value) in received {
        let headers: HeaderMap = [(name.parse().unwrap(), value.parse().unwrap())]
            .into_iter()
            .collect();
        let builder = Tracer::builder("shop")
            .clock(NoClock)
            .sampler(ParentBased::root(AlwaysOn));
        let tracer = builder.propagators("jaeger,b3".parse().unwrap()).build().unwrap();
        let ((), usage) = ALLOCATOR.measure(|| serve(&tracer, &headers, now));
        assert_eq!((usage.allocations, usage.freed), (0, 0), "{name}");
    }
}

#[test]
fn extracting_allocates_nothing_and_injecting_once_per_header() {
    let headers = unsampled(None);
    let (remote, usage) = ALLOCATOR.measure(|| extract(&headers));
    assert!(remote.is_some());
    assert_eq!(usage.allocations, 0);

    let span = Tracer::propagate_only().span("call").start();
    let mut sent = headers.clone();
    let ((), usage) = ALLOCATOR.measure(|| inject(&span.context(), None, &mut sent));
    assert_eq!(usage.allocations, 1);
    assert_ne!(sent["traceparent"], headers["traceparent"]);
}

#[test]
fn a_recorded_request_gives_back_what_it_takes() {
    // Proves that the tests above can fail.
    let tracer = Tracer::builder("shop").build().unwrap();
    let start = ServerStart {
        method: &Method::GET,
        path: "/",
        start: SystemClock.now(),
    };
    let ((), usage) = ALLOCATOR.measure(|| drop(tracer.server(&HeaderMap::new(), start)));
    assert!(usage.allocations > 0);
    assert_eq!(usage.retained(), 0);
}

#[test]
fn a_tail_holds_no_more_than_its_bounds() {
    let build = |tail: Tail| {
        Tracer::builder("shop")
            .sampler(AlwaysOff)
            .tail(tail)
            .build()
            .unwrap()
    };
    // A root that never ends, whose spans are kept, and a million of them.
    let tracer = build(Tail::new().keep_if(|_| true).max_spans(1000));
    let ((), usage) = ALLOCATOR.measure(|| {
        let root = tracer.span("endless").start();
        for _ in 0..1_000_000 {
            let child = tracer.span("child").parent(root.context()).start();
            assert!(child.is_recording());
        }
    });
    assert!(usage.retained() < 1 << 20, "{}", usage.retained());
    // A million local traces that all wait for their end.
    let tracer = build(Tail::new().keep_errors().max_spans(1000));
    let ((), usage) = ALLOCATOR.measure(|| {
        let mut held = Vec::new();
        for _ in 0..1_000_000 {
            let span = tracer.span("waits").start();
            if span.is_recording() {
                held.push(span);
            }
        }
        assert!((500..20_000).contains(&held.len()), "{}", held.len());
        assert!(tracer.tail_stats().unwrap().pending_spans <= 1000);
    });
    assert!(usage.retained() < 1 << 20, "{}", usage.retained());
    let stats = tracer.tail_stats().unwrap();
    assert_eq!((stats.pending_spans, stats.pending_bytes), (0, 0));
}

/// What carrying costs: nothing where nothing is carried, and little where something is.
mod carrier {
    use std::pin::pin;
    use std::task::{Context as Polling, Waker};

    use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId};
    use cortex_trace::propagation::{Baggage, TraceState};
    use cortex_trace::{AlwaysOff, Captured, ServerSpan, ServerStart, Traced, Tracer};
    use http::{HeaderMap, Method};

    use super::ALLOCATOR;

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
            work(&tracer, span.captured());
        });
        assert_eq!((usage.allocations, usage.freed), (0, 0));
    }

    #[test]
    fn baggage_is_copied_once_and_shared_by_everything_below() {
        let tracer = unsampled();
        let headers = received("userId=alice,serverNode=DF%2028");
        let (span, usage) = ALLOCATOR.measure(|| server(&tracer, &headers));
        assert_eq!(usage.allocations, 3); // the text, and what counts the references to it, and to all that is carried
        let (captured, usage) = ALLOCATOR.measure(|| span.captured().clone());
        assert_eq!(usage.allocations, 0);
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
            let captured = span.captured().clone();
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
        let context =
            Context::new().with_span(TraceId::new(1).unwrap(), SpanId::new(1).unwrap(), Flags::NONE);
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
}
