//! What is recorded of requests and other work.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use cortex_core::{Clock, Context, Deadline, Flags, FutureExt, SpanId, TraceId};
use cortex_trace::propagation::{self, Remote, TraceState};
use cortex_trace::{
    AlwaysOff, AlwaysOn, Attribute, Decision, ParentBased, Probability, SampleParams, Sampler,
    SamplingIntent, ServerEnd, ServerSpan, ServerStart, SpanData, SpanKind, Status, Tracer, Value,
};
use expect_test::{Expect, expect};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

use crate::support::{Fixture, block_on};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

fn from_caller(flags: &str, tracestate: &str) -> HeaderMap {
    headers(&[
        ("traceparent", &format!("{CALLER}-{flags}")),
        ("tracestate", tracestate),
    ])
}

impl Fixture {
    fn server(&self, headers: &HeaderMap, path: &str) -> ServerSpan {
        let start = ServerStart {
            method: &Method::GET,
            path,
            start: self.clock.now(),
        };
        self.tracer.server(headers, start)
    }

    fn finish(&self, mut span: ServerSpan, status: u16) {
        span.finish(ServerEnd {
            status: Some(status),
            end: self.clock.now(),
            error: None,
        });
    }
}

fn sent(context: &Context, tracestate: Option<&TraceState>) -> (String, String) {
    let mut headers = HeaderMap::new();
    propagation::inject(context, tracestate, &mut headers);
    let text = |name| {
        headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    (text("traceparent"), text("tracestate"))
}

/// The readable part of a span: ids are random.
fn shown(span: &SpanData) -> String {
    let mut shown = format!(
        "{:?} {} {:?} {:?}\n",
        span.kind,
        span.name,
        span.duration(),
        span.status
    );
    for Attribute { key, value } in &span.attributes {
        writeln!(shown, "  {key} = {value}").unwrap();
    }
    shown
}

fn check(span: &SpanData, expected: &Expect) {
    expected.assert_eq(&shown(span));
}

#[test]
fn a_request_is_recorded_by_the_conventions() {
    let fixture = Fixture::new();
    let received = headers(&[("host", "shop.example:8080"), ("user-agent", "curl/8.5")]);
    let wall = fixture.clock.wall();
    let mut span = fixture.server(&received, "/items/7?page=2&sig=secret");
    assert!(span.is_recording());
    fixture.clock.advance(Duration::from_millis(12));
    span.set_route("/items/{id}");
    span.set_attribute("network.protocol.version", "1.1");
    fixture.finish(span, 200);
    let span = fixture.one();
    assert_eq!((span.start, span.end), (wall, wall + Duration::from_millis(12)));
    assert!(span.is_local_root() && span.parent_span_id.is_none() && !span.parent_is_remote);
    assert_eq!(span.flags, Flags::SAMPLED | Flags::RANDOM | Flags::RECORDING);
    check(
        &span,
        &expect![[r#"
        Server GET /items/{id} 12ms Unset
          http.request.method = GET
          url.path = /items/7
          url.query = page=2&sig=REDACTED
          server.address = shop.example
          server.port = 8080
          user_agent.original = curl/8.5
          network.protocol.version = 1.1
          url.scheme = http
          http.route = /items/{id}
          http.response.status_code = 200
    "#]],
    );
}

#[test]
fn the_other_end_of_a_connection_is_recorded_and_is_not_taken_for_the_client() {
    let fixture = Fixture::new();
    for (peer, address) in [
        ("192.0.2.7:50000", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:50000", "192.0.2.7"),
        ("[2001:db8::7]:50000", "2001:db8::7"),
    ] {
        let mut span = fixture.server(&headers(&[]), "/");
        span.record_peer(peer.parse().unwrap());
        fixture.finish(span, 200);
        let span = fixture.one();
        let text = |key| span.attribute(key).map(ToString::to_string);
        let keys = ["network.peer.address", "network.peer.port", "client.address"];
        let port = "50000".to_owned();
        assert_eq!(keys.map(text), [Some(address.to_owned()), Some(port), None]);
    }

    let unsampled = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let mut span = unsampled.server(&headers(&[]), "/");
    span.record_peer("192.0.2.7:50000".parse().unwrap());
    unsampled.finish(span, 200);
    assert!(unsampled.ended().is_empty());
}

#[test]
fn how_a_request_ends_decides_its_status() {
    for (status, error, kind) in [
        (204, None, None),
        (404, None, None),
        (499, None, None),
        (500, None, Some("500")),
        (503, Some("shed"), Some("shed")),
        (200, Some("aborted"), Some("aborted")),
    ] {
        let fixture = Fixture::new();
        let mut span = fixture.server(&HeaderMap::new(), "/");
        span.finish(ServerEnd {
            status: Some(status),
            end: fixture.clock.now(),
            error,
        });
        let span = fixture.one();
        assert_eq!(span.status.is_error(), kind.is_some(), "{status}");
        assert_eq!(span.attribute("error.type"), kind.map(Value::constant).as_ref());
        assert_eq!(
            span.attribute("http.response.status_code"),
            Some(&Value::from(status))
        );
    }
}

#[test]
fn a_request_that_is_not_finished_was_cancelled() {
    let fixture = Fixture::new();
    let span = fixture.server(&HeaderMap::new(), "/slow");
    fixture.clock.advance(Duration::from_secs(3));
    drop(span);
    check(
        &fixture.one(),
        &expect![[r#"
        Server GET 3s Error { description: "" }
          http.request.method = GET
          url.path = /slow
          url.scheme = http
          error.type = cancelled
    "#]],
    );
}

#[test]
fn unknown_methods_do_not_make_names() {
    let fixture = Fixture::new();
    let method = Method::from_bytes(b"PURGE").unwrap();
    let start = ServerStart {
        method: &method,
        path: "/cache",
        start: fixture.clock.now(),
    };
    let mut span = fixture.tracer.server(&headers(&[("host", "[::1]")]), start);
    span.set_attribute("url.scheme", "https");
    span.set_route("/cache");
    fixture.finish(span, 405);
    check(
        &fixture.one(),
        &expect![[r#"
        Server HTTP /cache 0ns Unset
          http.request.method = _OTHER
          http.request.method_original = PURGE
          url.path = /cache
          server.address = ::1
          url.scheme = https
          http.route = /cache
          http.response.status_code = 405
    "#]],
    );
}

#[test]
fn the_known_methods_can_be_replaced() {
    let purge = Method::from_bytes(b"PURGE").unwrap();
    let built = Fixture::with(|builder| builder.known_methods([Method::GET, purge.clone()]));
    let read = Fixture::with(|builder| {
        let variable = |name| (name == "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS").then(|| "GET,PURGE".into());
        builder.variables(variable).unwrap()
    });
    for fixture in [built, read] {
        let uri = Uri::from_static("http://cache.internal/7");
        for (method, name, recorded, original) in [
            (&purge, "PURGE", "PURGE", None),
            (&Method::GET, "GET", "GET", None),
            (&Method::POST, "HTTP", "_OTHER", Some("POST")),
        ] {
            let start = ServerStart {
                method,
                path: "/7",
                start: fixture.clock.now(),
            };
            let mut server = fixture.tracer.server(&HeaderMap::new(), start);
            server.set_route("/{key}");
            fixture.finish(server, 204);
            fixture.tracer.client(method, &uri).end();
            let ended = fixture.ended();
            assert_eq!(ended[0].name, format!("{name} /{{key}}"));
            assert_eq!(ended[1].name, name);
            for span in &ended {
                let text = |key| span.attribute(key).map(ToString::to_string);
                assert_eq!(text("http.request.method").as_deref(), Some(recorded));
                assert_eq!(text("http.request.method_original").as_deref(), original);
            }
        }
    }
}

//= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
//= type=test
//# The value of property parent-id MUST be set to a value representing the ID of the current operation.
#[test]
fn a_callers_trace_goes_on_with_a_span_of_our_own() {
    for (flags, recorded) in [
        ("00", false),
        ("01", true),
        ("02", false),
        ("03", true),
        ("ff", true),
    ] {
        let fixture = Fixture::new();
        let span = fixture.server(&from_caller(flags, "congo=t61rcWkgMzE"), "/");
        let context = span.context();
        assert_eq!(
            context.trace_id(),
            "4bf92f3577b34da6a3ce929d0e0e4736".parse().ok()
        );
        assert_ne!(context.span_id(), "00f067aa0ba902b7".parse().ok());
        assert_eq!(span.is_recording(), recorded);
        assert_eq!(context.flags().contains(Flags::RECORDING), recorded);
        assert_eq!(context.flags().contains(Flags::SAMPLED), recorded);
        assert_eq!(span.tracestate().unwrap().to_string(), "congo=t61rcWkgMzE");
        fixture.finish(span, 200);
        let ended = fixture.ended();
        assert_eq!(ended.len(), usize::from(recorded));
        for span in ended {
            assert_eq!(span.parent_span_id, "00f067aa0ba902b7".parse().ok());
            assert!(span.parent_is_remote && span.is_local_root());
            assert_eq!(span.tracestate.to_string(), "congo=t61rcWkgMzE");
        }
    }
}

//= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
//= type=test
//# If the flag is set in the incoming traceparent header, it MUST also be set in all outgoing traceparent headers which use the same trace-id.
//= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
//= type=test
//# If the flag is unset in the incoming traceparent header, it MUST also be unset in any outgoing traceparent headers which use the same trace-id.
//= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
//= type=test
//# When at least the right-most 7 bytes of the trace-id are randomly (or pseudo-randomly) generated, the random-trace-id flag SHOULD be set to 1.
#[test]
fn the_random_flag_is_copied_or_of_a_new_trace() {
    let tracers = [
        Tracer::propagate_only(),
        Fixture::new().tracer,
        Fixture::with(|builder| builder.sampler(AlwaysOff)).tracer,
        Fixture::with(|builder| builder.sampler(AlwaysOn)).tracer,
    ];
    for tracer in tracers {
        for (flags, random) in [
            (Some("00"), false),
            (Some("01"), false),
            (Some("02"), true),
            (None, true),
        ] {
            let received = flags.map(|flags| from_caller(flags, "")).unwrap_or_default();
            let start = ServerStart {
                method: &Method::GET,
                path: "/",
                start: cortex_core::SystemClock.now(),
            };
            let server = tracer.server(&received, start);
            let child = tracer.span("call").parent(server.context()).start();
            for context in [server.context(), child.context()] {
                assert_eq!(
                    context.flags().contains(Flags::RANDOM),
                    random,
                    "{tracer:?} {flags:?}"
                );
            }
        }
    }
}

//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//= type=test
//# If the value of the traceparent field wasn't changed before propagation, tracestate MUST NOT be modified as well.
#[test]
fn propagate_only_passes_through() {
    let tracer = Tracer::propagate_only();
    for flags in ["00", "01", "02", "03"] {
        let start = ServerStart {
            method: &Method::GET,
            path: "/",
            start: cortex_core::SystemClock.now(),
        };
        let span = tracer.server(&from_caller(flags, "a=1,ot=th:e"), start);
        assert!(!span.is_recording() && !span.context().flags().contains(Flags::RECORDING));
        let expected = (format!("{CALLER}-{flags}"), "a=1,ot=th:e".to_owned());
        assert_eq!(sent(&span.context(), span.tracestate()), expected);
        let child = tracer.span("call").parent(span.context()).start();
        assert_eq!(child.context(), span.context());
    }
    let (first, second) = (tracer.span("a").start(), tracer.span("b").start());
    assert!(first.context().trace_id().is_some() && first.context().span_id().is_some());
    assert_ne!(first.context().trace_id(), second.context().trace_id());
}

//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//= type=test
//# Vendors SHOULD clean up tracestate collection on traceparent restart.
#[test]
fn a_border_service_restarts_traces() {
    let fixture = Fixture::with(|builder| builder.sampler(ParentBased::root(AlwaysOn)).restart_traces());
    let span = fixture.server(&from_caller("00", "congo=t61rcWkgMzE"), "/");
    assert!(span.is_recording());
    assert_eq!(span.tracestate().unwrap().to_string(), "ot=th:0");
    fixture.finish(span, 200);
    let span = fixture.one();
    assert_ne!(
        Some(span.trace_id),
        "4bf92f3577b34da6a3ce929d0e0e4736".parse().ok()
    );
    assert_eq!((span.parent_span_id, span.parent_is_remote), (None, false));
    let [link] = &span.links[..] else {
        panic!("{span:?}")
    };
    assert_eq!(Some(link.span_id), "00f067aa0ba902b7".parse().ok());
    assert_eq!(
        (link.flags, link.tracestate.to_string()),
        (Flags::NONE, "congo=t61rcWkgMzE".to_owned())
    );

    let span = fixture.server(&HeaderMap::new(), "/");
    fixture.finish(span, 200);
    assert!(fixture.one().links.is_empty());
}

#[test]
fn the_threshold_is_published_and_exported() {
    let half = || Probability::new(0.5).unwrap();
    let fixture = Fixture::with(|builder| builder.sampler(half()));
    let kept = fixture.server(&from_caller("00", "ot=rv:80000000000000,a=1"), "/");
    assert_eq!(
        kept.tracestate().unwrap().to_string(),
        "ot=th:8;rv:80000000000000,a=1"
    );
    fixture.finish(kept, 200);
    assert_eq!(
        fixture.one().tracestate.to_string(),
        "ot=th:8;rv:80000000000000,a=1"
    );

    let dropped = fixture.server(&from_caller("01", "ot=th:4;rv:7fffffffffffff,a=1"), "/");
    assert!(!dropped.is_recording() && !dropped.context().flags().contains(Flags::SAMPLED));
    assert_eq!(
        dropped.tracestate().unwrap().to_string(),
        "ot=rv:7fffffffffffff,a=1"
    );
}

#[test]
fn the_adjusted_counts_sum_up_to_the_truth() {
    let sampler = Probability::new(0.1).unwrap();
    let mut sum = 0.0;
    for n in 1..=20_000_u64 {
        // Multiples of an odd constant visit the 56 bits evenly, and the same way in every run.
        let id = TraceId::new(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1 << 100).unwrap();
        if let Decision::RecordAndSample { threshold } =
            SampleParams::new(id, "x", SpanKind::Internal).decide(&sampler)
        {
            sum += threshold.unwrap().adjusted_count();
        }
    }
    assert!((sum - 20_000.0_f64).abs() < 200.0, "{sum}");
}

#[test]
fn the_sampler_is_asked_once_per_local_root() {
    #[derive(Clone)]
    struct Asked(cortex_testkit::Recorder<String>);
    impl Sampler for Asked {
        fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
            let parent = params.parent.map(Remote::span_id);
            self.0
                .record(format!("{} {:?} {parent:?}", params.name, params.kind));
            AlwaysOn.intent(params)
        }
    }
    let asked = Asked(cortex_testkit::Recorder::new());
    let fixture = Fixture::with(|builder| builder.sampler(asked.clone()));
    let server = fixture.server(&from_caller("00", ""), "/");
    let outer = fixture.tracer.span("outer").parent(server.context()).start();
    let inner = outer.in_scope(|| fixture.tracer.span("inner").start());
    drop((inner, outer, server));
    let remote = propagation::extract(&from_caller("01", "")).unwrap();
    fixture
        .tracer
        .span("receive")
        .kind(SpanKind::Consumer)
        .remote(remote)
        .start()
        .end();
    fixture.tracer.span("job").start().end();
    expect![[r#"
        [
            "GET Server Some(SpanId(00f067aa0ba902b7))",
            "receive Consumer Some(SpanId(00f067aa0ba902b7))",
            "job Internal None",
        ]"#]]
    .assert_eq(&format!("{:#?}", asked.0.take()));
    assert_eq!(fixture.ended().len(), 5);
}

#[test]
fn spans_nest_by_the_current_context() {
    let fixture = Fixture::new();
    let outer = fixture.tracer.span("outer").start();
    outer.in_scope(|| {
        let inner = fixture.tracer.span("inner").start();
        block_on(
            async {
                fixture.tracer.span("innermost").start().end();
            }
            .with_context(inner.context()),
        );
    });
    assert_eq!(Context::current(), Context::new());
    let outer_id = outer.context().span_id();
    drop(outer);
    let [innermost, inner, outer] = &fixture.ended()[..] else {
        panic!()
    };
    assert_eq!(
        (&*innermost.name, &*inner.name, &*outer.name),
        ("innermost", "inner", "outer")
    );
    assert_eq!(innermost.parent_span_id, Some(inner.span_id));
    assert_eq!(inner.parent_span_id, outer_id);
    assert_eq!((outer.parent_span_id, Some(outer.span_id)), (None, outer_id));
    assert!(outer.is_local_root() && !inner.is_local_root() && !inner.parent_is_remote);
    assert!(
        [innermost, inner]
            .iter()
            .all(|span| span.trace_id == outer.trace_id)
    );
}

#[test]
fn below_an_unsampled_span_ids_go_on_and_nothing_is_recorded() {
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let outer = fixture.tracer.span("outer").start();
    let mut inner = outer.in_scope(|| fixture.tracer.span("inner").start());
    assert_eq!(inner.context().trace_id(), outer.context().trace_id());
    assert_ne!(inner.context().span_id(), outer.context().span_id());
    assert!(!inner.is_recording());
    inner.set_attribute("a", 1);
    inner.add_event("b");
    inner.set_error("c");
    inner.set_response_status(StatusCode::IM_A_TEAPOT);
    drop((inner, outer));
    assert!(fixture.ended().is_empty());
}

#[test]
fn the_deadline_is_inherited() {
    let fixture = Fixture::new();
    let deadline = Deadline::after(fixture.clock.now(), Duration::from_secs(1));
    let _guard = Context::new().with_deadline(deadline).attach();
    let server = fixture.server(&HeaderMap::new(), "/");
    let child = fixture.tracer.span("child").parent(server.context()).start();
    for context in [
        server.context(),
        child.context(),
        fixture.tracer.span("root").start().context(),
        Tracer::propagate_only().span("root").start().context(),
    ] {
        assert_eq!(context.deadline(), Some(deadline));
    }
}

#[test]
fn the_deadline_of_an_explicit_parent_without_a_trace_counts() {
    let fixture = Fixture::new();
    let [soon, late] = [1, 9].map(|n| Deadline::after(fixture.clock.now(), Duration::from_secs(n)));
    let _guard = Context::new().with_deadline(soon).attach();
    for tracer in [&fixture.tracer, &Tracer::propagate_only()] {
        let below = |parent| tracer.span("root").parent(parent).start().context();
        assert_eq!(below(Context::new()).deadline(), None);
        assert_eq!(below(Context::new().with_deadline(late)).deadline(), Some(late));
        assert_eq!(below(Context::current()).deadline(), Some(soon));
    }
}

#[test]
fn times_follow_the_monotonic_clock() {
    let fixture = Fixture::new();
    let wall = fixture.clock.wall();
    let start = fixture.clock.now();
    fixture.clock.advance(Duration::from_millis(5)); // the request waited before anybody looked at it
    let mut span = fixture.tracer.span("slow").start();
    let server = fixture.tracer.server(
        &HeaderMap::new(),
        ServerStart {
            method: &Method::GET,
            path: "/",
            start,
        },
    );
    fixture.clock.set_wall(SystemTime::UNIX_EPOCH);
    fixture.clock.advance(Duration::from_millis(10));
    span.add_event("half-way");
    fixture.clock.advance(Duration::from_millis(10));
    drop(span);
    fixture.finish(server, 200);
    let [slow, server] = &fixture.ended()[..] else {
        panic!()
    };
    assert_eq!(
        (slow.start, slow.duration()),
        (wall + Duration::from_millis(5), Duration::from_millis(20))
    );
    assert_eq!(slow.events[0].time, wall + Duration::from_millis(15));
    assert_eq!(
        (server.start, server.duration()),
        (wall, Duration::from_millis(25))
    );

    let earlier = fixture.clock.now();
    fixture.clock.advance(Duration::from_secs(1));
    let mut backwards = fixture.server(&HeaderMap::new(), "/");
    backwards.finish(ServerEnd {
        status: Some(200),
        end: earlier,
        error: None,
    });
    assert_eq!(fixture.one().duration(), Duration::ZERO);
}

#[test]
fn attributes_events_and_texts_are_bounded() {
    let fixture = Fixture::new();
    let mut span = fixture.tracer.span("x".repeat(5000)).start();
    for n in 0..200 {
        span.set_attribute(format!("key {n}"), n);
        span.add_event_with("event", (0..130).map(|n| Attribute::new(format!("key {n}"), n)));
    }
    span.set_attribute("key 0", "ä".repeat(3000));
    span.set_attribute("key 1", true);
    drop(span);
    let span = fixture.one();
    assert_eq!((span.attributes.len(), span.dropped_attributes), (128, 72));
    assert_eq!((span.events.len(), span.dropped_events), (128, 72));
    assert_eq!(
        (span.events[0].attributes.len(), span.events[0].dropped_attributes),
        (128, 2)
    );
    assert_eq!(span.attribute("key 0"), Some(&Value::from("ä".repeat(2048))));
    assert_eq!(span.attribute("key 1"), Some(&Value::Bool(true)));
    assert_eq!(span.name.len(), 4096);
}

#[test]
fn a_cut_text_ends_between_characters() {
    let fixture = Fixture::new();
    let mut span = fixture.tracer.span("x").start();
    span.set_attribute("odd", format!("x{}", "ä".repeat(3000)));
    drop(span);
    assert_eq!(fixture.one().attribute("odd").unwrap().to_string().len(), 4095);
}

#[test]
fn an_outgoing_request_is_recorded_by_the_conventions() {
    let fixture = Fixture::new();
    for (uri, status) in [
        (
            "https://user:secret@stock.internal/items/7?sig=secret&page=2",
            StatusCode::OK,
        ),
        ("http://[::1]:8080/", StatusCode::NOT_FOUND),
    ] {
        let mut span = fixture.tracer.client(&Method::GET, &uri.parse().unwrap());
        span.set_response_status(status);
    }
    let mut span = fixture
        .tracer
        .client(&Method::POST, &Uri::from_static("/relative"));
    span.set_error("connect");
    span.end();
    let all: String = fixture.ended().iter().map(shown).collect();
    expect![[r#"
        Client GET 0ns Unset
          http.request.method = GET
          server.address = stock.internal
          server.port = 443
          url.full = https://REDACTED:REDACTED@stock.internal/items/7?sig=REDACTED&page=2
          http.response.status_code = 200
        Client GET 0ns Error { description: "" }
          http.request.method = GET
          server.address = ::1
          server.port = 8080
          url.full = http://[::1]:8080/
          http.response.status_code = 404
          error.type = 404
        Client POST 0ns Error { description: "" }
          http.request.method = POST
          url.full = /relative
          error.type = connect
    "#]]
    .assert_eq(&all);
}

#[test]
fn a_client_span_is_what_the_callee_sees() {
    let fixture = Fixture::new();
    let server = fixture.server(&from_caller("01", "congo=t61rcWkgMzE"), "/");
    let call = fixture
        .tracer
        .span("GET")
        .kind(SpanKind::Client)
        .parent(server.context());
    let call = call.tracestate(server.tracestate().cloned().unwrap()).start();
    let mut out = headers(&[("traceparent", "stale"), ("tracestate", "stale=1")]);
    call.inject(&mut out);
    let seen = propagation::extract(&out).unwrap();
    assert_eq!(Some(seen.span_id()), call.context().span_id());
    assert_eq!(Some(seen.trace_id()), server.context().trace_id());
    assert_eq!(seen.flags(), Flags::SAMPLED);
    assert_eq!(seen.tracestate(), server.tracestate().unwrap());
}

#[test]
fn a_remote_parent_never_records_here() {
    let ids = TraceId::new(1).zip(SpanId::new(2)).unwrap();
    let remote = Remote::new(ids.0, ids.1, Flags::SAMPLED | Flags::RECORDING, TraceState::EMPTY);
    assert_eq!(remote.flags(), Flags::SAMPLED);
}

#[test]
fn an_error_is_told_by_kind() {
    let fixture = Fixture::new();
    let mut span = fixture.tracer.span("charge").start();
    span.set_error("declined");
    assert!(format!("{span:?} {:?}", fixture.tracer).contains("is_recording: true"));
    drop(span);
    let span = fixture.one();
    assert!(matches!(&span.status, Status::Error { description } if description.is_empty()));
    assert_eq!(span.attribute("error.type"), Some(&Value::constant("declined")));
}
