//! Trace context over other carriers and in other formats, from one tracer to the next.

use std::collections::{BTreeMap, HashMap};

use cortex_core::{Clock, Flags};
use cortex_trace::propagation::{Environment, Extractor, Injector, Propagators, extract};
use cortex_trace::{
    AlwaysOff, AlwaysOn, ParentBased, ServerEnd, ServerSpan, ServerStart, SpanKind, Tail, Tracer,
    TracerBuilder,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::support::{AGES, Fixture};

fn speaking(propagators: &str) -> Fixture {
    let propagators: Propagators = propagators.parse().unwrap();
    Fixture::with(|builder| builder.propagators(propagators))
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    lines.collect()
}

fn receive(tracer: &Tracer, headers: &HeaderMap, clock: &impl Clock) -> ServerSpan {
    let start = ServerStart {
        method: &Method::GET,
        path: "/",
        start: clock.now(),
    };
    tracer.server(headers, start)
}

/// Sends through a carrier, and receives what was sent.
fn round_trip<C: Injector + Extractor>(mut carrier: C) {
    let fixture = Fixture::new();
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE".parse().unwrap();
    let root = fixture.tracer.span("publish").start();
    let sent = fixture.tracer.span("send").kind(SpanKind::Producer);
    let sent = sent.parent(root.context()).tracestate(state).start();
    sent.inject(&mut carrier);
    let remote = extract(&carrier).unwrap();
    assert_eq!(Some(remote.span_id()), sent.context().span_id());
    assert_eq!(remote.flags(), Flags::SAMPLED | Flags::RANDOM);
    assert_eq!(Some(remote.tracestate()), sent.tracestate());
    let received = fixture
        .tracer
        .span("receive")
        .kind(SpanKind::Consumer)
        .remote(remote)
        .start();
    assert_eq!(received.context().trace_id(), root.context().trace_id());
}

#[test]
fn every_carrier_carries() {
    round_trip(HeaderMap::new());
    round_trip(HashMap::<String, String>::new());
    round_trip(BTreeMap::<Box<str>, Vec<u8>>::new());
    round_trip(Vec::<(String, String)>::new());
    // A message with headers of somebody else, and those of a former journey.
    round_trip(vec![
        ("Content-Type".to_owned(), "text/plain".to_owned()),
        ("Traceparent".to_owned(), "stale".to_owned()),
        ("traceparent".to_owned(), "stale".to_owned()),
    ]);
    let stale =
        ["Traceparent", "TraceState", "Content-Type"].map(|name| (name.to_owned(), "stale".to_owned()));
    round_trip(HashMap::from(stale.clone()));
    round_trip(BTreeMap::from(stale));
}

#[test]
fn maps_are_read_in_the_spelling_of_the_sender() {
    let multi: Propagators = "b3multi".parse().unwrap();
    let mut map: HashMap<_, _> = [
        ("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"),
        ("X-B3-SpanId", "e457b5a2e4d86bd1"),
        ("X-B3-Sampled", "1"),
    ]
    .into();
    let remote = multi.extract(&map).unwrap();
    assert_eq!(remote.trace_id().to_string(), "80f198ee56343ba864fe8b2a57d3eff7");
    assert!(remote.flags().contains(Flags::SAMPLED));
    // Which of two traces is meant cannot be guessed.
    map.insert("x-b3-traceid", "00000000000000000000000000000007");
    assert!(multi.extract(&map).is_none());
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut map = BTreeMap::from([("Traceparent", traceparent)]);
    assert!(extract(&map).is_some());
    map.insert("traceparent", traceparent);
    assert!(extract(&map).is_none());
}

#[test]
fn a_program_continues_the_trace_of_who_started_it() {
    let fixture = Fixture::new();
    let span = fixture.tracer.span("run job").start();
    let mut command = std::process::Command::new("job");
    span.inject(&mut command);
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let remote = extract(&Environment::new(variables)).unwrap();
    assert_eq!(Some(remote.span_id()), span.context().span_id());
}

#[test]
fn a_tracer_speaks_the_formats_it_is_told() {
    for (sender, receiver, sent, understood) in [
        ("", "tracecontext", "traceparent tracestate", true),
        ("", "b3", "traceparent tracestate", false),
        ("b3", "b3", "b3", true),
        ("b3", "b3multi", "b3", true),
        ("b3multi", "b3", "x-b3-sampled x-b3-spanid x-b3-traceid", true),
        ("jaeger", "", "uber-trace-id", false),
        (
            "jaeger,tracecontext",
            "jaeger",
            "traceparent tracestate uber-trace-id",
            true,
        ),
        (
            "tracecontext",
            "b3,jaeger,tracecontext",
            "traceparent tracestate",
            true,
        ),
        ("none", "tracecontext,b3,jaeger", "", false),
        ("tracecontext,b3", "none", "b3 traceparent tracestate", false),
    ] {
        let (sending, receiving) = (speaking(sender), speaking(receiver));
        let mut carried = HeaderMap::new();
        let call = sending.tracer.span("call").start();
        call.inject(&mut carried);
        let mut names: Vec<&str> = carried.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), sent, "{sender}");
        drop(receive(&receiving.tracer, &carried, &receiving.clock));
        let server = receiving.one();
        let continues = server.parent_span_id == call.context().span_id() && server.parent_is_remote;
        assert_eq!(continues, understood, "{sender} to {receiver}");
    }
}

#[test]
fn a_b3_caller_may_decide_without_a_trace_or_leave_it_open() {
    const IDS: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1";
    for (value, by_always, by_never) in [
        ("0", false, false),
        ("1", true, true),
        ("d", true, true),
        (IDS, true, false),
        (&format!("{IDS}-0"), false, false),
        (&format!("{IDS}-1"), true, true),
        (&format!("{IDS}-d"), true, true),
        ("hello", true, false),
    ] {
        let propagators: Propagators = "b3".parse().unwrap();
        let received = headers(&[("b3", value)]);
        let always = Fixture::with(|b| b.propagators(propagators).sampler(ParentBased::root(AlwaysOn)));
        let never = Fixture::with(|b| b.propagators(propagators).sampler(ParentBased::root(AlwaysOff)));
        for (fixture, expected) in [(&always, by_always), (&never, by_never)] {
            let span = receive(&fixture.tracer, &received, &fixture.clock);
            assert_eq!(span.is_recording(), expected, "{value}");
            assert_eq!(
                span.context().flags().contains(Flags::SAMPLED),
                expected,
                "{value}"
            );
            let continues = span
                .context()
                .trace_id()
                .is_some_and(|id| IDS.starts_with(&id.to_string()));
            assert_eq!(continues, value.len() > 5, "{value}");
        }
    }
}

#[test]
fn strangers_decide_nothing_at_the_border() {
    for value in ["0", "1"] {
        let restarting = Fixture::with(|builder| {
            let builder = builder.propagators("b3".parse().unwrap()).restart_traces();
            builder.sampler(ParentBased::root(AlwaysOn))
        });
        let span = receive(&restarting.tracer, &headers(&[("b3", value)]), &restarting.clock);
        assert!(span.is_recording(), "{value}");
    }
}

#[test]
fn a_tracer_that_only_propagates_does_so_in_its_formats() {
    let tracer = Tracer::propagate_only_with("b3".parse().unwrap());
    let clock = cortex_testkit::ManualClock::new();
    for (value, sampled) in [
        ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1", '1'),
        ("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0", '0'),
        ("1", '1'),
        ("0", '0'),
    ] {
        let server = receive(&tracer, &headers(&[("b3", value)]), &clock);
        let mut sent = HeaderMap::new();
        tracer
            .span("call")
            .parent(server.context())
            .start()
            .inject(&mut sent);
        let sent = sent["b3"].to_str().unwrap();
        assert!(sent.ends_with(sampled), "{value}: {sent}");
        assert!(value.len() == 1 || sent == value, "{value}: {sent}");
    }
}

#[test]
fn a_debug_flag_goes_on_as_sampled() {
    let clock = cortex_testkit::ManualClock::new();
    for (list, received, sent_on) in [
        ("b3", ("b3", "{trace}-{span}-d"), ("b3", "{trace}-{span}-1")),
        ("b3", ("b3", "{trace}-{span}"), ("b3", "{trace}-{span}-0")),
        ("b3multi", ("b3", "{trace}-{span}-d"), ("x-b3-sampled", "1")),
        (
            "jaeger",
            ("uber-trace-id", "{trace}:{span}:0:3"),
            ("uber-trace-id", "{trace}:{span}:0:1"),
        ),
    ] {
        let fill = |text: &str| {
            let text = text.replace("{trace}", "80f198ee56343ba864fe8b2a57d3eff7");
            text.replace("{span}", "e457b5a2e4d86bd1")
        };
        let tracer = Tracer::propagate_only_with(list.parse().unwrap());
        let server = receive(&tracer, &headers(&[(received.0, &fill(received.1))]), &clock);
        let mut sent = HeaderMap::new();
        let call = tracer.span("call").parent(server.context()).start();
        call.inject(&mut sent);
        assert_eq!(sent[sent_on.0], fill(sent_on.1), "{list}");
        assert_eq!(sent.get("x-b3-flags"), None);
    }
}

#[test]
fn what_is_recorded_does_not_keep_the_head_of_the_request() {
    // With a threshold that the sampler has no reason to change.
    let head = bytes::Bytes::from(format!("ot=th:0,b=2{}", "x".repeat(64 << 10)));
    let mut received = headers(&[(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )]);
    received.insert(
        "tracestate",
        HeaderValue::from_maybe_shared(head.slice(..11)).unwrap(),
    );

    let fixtures = [
        Fixture::with(|builder| builder.sampler(AlwaysOn)),
        Fixture::with(|builder| builder.sampler(AlwaysOn).tail(Tail::new())),
        Fixture::with(|builder| builder.sampler(AlwaysOn).tail(Tail::new().keep_if(|_| true))),
    ];
    let kept = fixtures.each_ref().map(|fixture| {
        let mut span = receive(&fixture.tracer, &received, &fixture.clock);
        fixture.tracer.span("child").parent(span.context()).start().end();
        span.finish(ServerEnd {
            status: Some(200),
            end: fixture.clock.now(),
            error: None,
        });
        fixture.ended()
    });
    let restarting = Fixture::with(TracerBuilder::restart_traces);
    drop(receive(&restarting.tracer, &received, &restarting.clock));

    let linked = restarting.one();
    for kept in &kept {
        assert_eq!(kept[1].tracestate.to_string(), "ot=th:0,b=2");
    }
    assert_eq!(linked.links[0].tracestate.to_string(), "ot=th:0,b=2");
    drop(received);
    assert!(
        head.is_unique(),
        "a span that waits for its exporter, or what a tail knows, shares the memory of the request"
    );
    for fixture in fixtures {
        fixture.tracer.shutdown_blocking(AGES).unwrap();
    }
}
