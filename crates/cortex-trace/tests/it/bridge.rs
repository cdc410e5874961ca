//! Spans of the `tracing` crate on their way to an exporter.

use std::fmt::{self, Write};
use std::sync::{Arc, Barrier, Mutex, OnceLock, mpsc};
use std::time::Duration;

use cortex_core::{Clock, Context, Deadline, Flags, FutureExt, SpanId, TraceId};
use cortex_trace::propagation::{Baggage, Remote, TraceState};
use cortex_trace::{
    AlwaysOff, AlwaysOn, Captured, ExportError, Exporter, InMemory, Link, ParentBased, SampleParams, Sampler,
    SamplingIntent, ServerStart, SetParentError, SpanData, SpanExt, SpanKind, Status, Tail, TraceLayer,
    Tracer, Value, with_remote_parent,
};
use expect_test::expect;
use http::{HeaderMap, Method};
use proptest::prelude::*;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{
    Dispatch, Instrument, Level, Span, debug, debug_span, error, event, info, info_span, instrument, warn,
};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Identity, SubscriberExt};
use tracing_subscriber::{Layer, registry, reload};

use crate::support::{Fixture, block_on};

impl Fixture {
    /// Runs `work` with the layer, and returns the spans that ended.
    fn bridged(&self, work: impl FnOnce()) -> Vec<SpanData> {
        self.layered(self.tracer.layer(), work)
    }

    fn layered(&self, layer: TraceLayer, work: impl FnOnce()) -> Vec<SpanData> {
        tracing::subscriber::with_default(registry().with(layer), work);
        assert_eq!(Context::current(), Context::new(), "something stayed current");
        self.ended()
    }
}

/// Returns the spans that `work` makes.
fn spans(work: impl FnOnce()) -> Vec<SpanData> {
    Fixture::new().bridged(work)
}

/// Returns the one span that `work` makes.
fn one(work: impl FnOnce()) -> SpanData {
    let mut spans = spans(work);
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap()
}

/// Shows everything but what is random.
fn shown(spans: &[SpanData]) -> String {
    let mut out = String::new();
    for span in spans {
        let parent = spans
            .iter()
            .find(|other| Some(other.span_id) == span.parent_span_id);
        let parent = parent.map_or("-", |parent| &parent.name);
        let (kind, took) = (span.kind, span.duration());
        writeln!(
            out,
            "{} < {parent} {kind:?} {took:?} {:?}",
            span.name, span.status
        )
        .unwrap();
        for attribute in &span.attributes {
            writeln!(out, "    {} = {:?}", attribute.key, attribute.value).unwrap();
        }
        for event in &span.events {
            write!(out, "    {:?}:", event.name).unwrap();
            for attribute in &event.attributes {
                write!(out, " {}={}", attribute.key, attribute.value).unwrap();
            }
            out.push('\n');
        }
    }
    out
}

fn remote(flags: Flags) -> Remote {
    remote_with(flags, TraceState::EMPTY)
}

fn remote_with(flags: Flags, tracestate: TraceState) -> Remote {
    let ids = TraceId::new(0x4bf9).zip(SpanId::new(0x00f0)).unwrap();
    Remote::new(ids.0, ids.1, flags, tracestate)
}

#[derive(Debug)]
struct Failed(Option<Box<Self>>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "no stock" } else { "disk full" })
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.as_deref().map(|error| error as _)
    }
}

#[test]
fn instrumented_functions_work_unchanged() {
    #[instrument(skip(secret), fields(shelf = 3, free = Empty))]
    fn restock(items: u64, secret: &str) -> usize {
        Span::current().record("free", secret.len());
        reserve(items).unwrap_or_default();
        info!(items, "restocked");
        secret.len()
    }
    #[instrument(ret, err, level = "info")]
    fn reserve(items: u64) -> Result<u64, Failed> {
        if items > 9 { Err(Failed(None)) } else { Ok(items) }
    }
    #[instrument(err(Debug), skip_all, name = "load cart", fields(otel.kind = "client"))]
    async fn load(items: u64) -> Result<(), Failed> {
        async { warn!("slow") }.instrument(debug_span!("inner")).await;
        reserve(items)?;
        Ok(())
    }
    let spans = spans(|| {
        restock(12, "abc");
        block_on(load(2)).unwrap();
        block_on(load(20)).unwrap_err();
    });
    assert_eq!(spans.iter().filter(|span| span.is_local_root()).count(), 3);
    expect![[r#"
        reserve < restock Internal 0ns Error { description: "disk full" }
            items = Int(12)
            "exception": level=ERROR target=it::bridge exception.message=disk full
        restock < - Internal 0ns Unset
            items = Int(12)
            shelf = Int(3)
            free = Int(3)
            "restocked": level=INFO target=it::bridge items=12
        inner < load cart Internal 0ns Unset
            "slow": level=WARN target=it::bridge
        reserve < load cart Internal 0ns Unset
            items = Int(2)
            "event": level=INFO target=it::bridge return=2
        load cart < - Client 0ns Unset
        inner < load cart Internal 0ns Unset
            "slow": level=WARN target=it::bridge
        reserve < load cart Internal 0ns Error { description: "disk full" }
            items = Int(20)
            "exception": level=ERROR target=it::bridge exception.message=disk full
        load cart < - Client 0ns Error { description: "Failed(None)" }
            "exception": level=ERROR target=it::bridge exception.message=Failed(None)
    "#]]
    .assert_eq(&shown(&spans));
}

#[test]
fn fields_have_the_meaning_that_people_know() {
    let text = |text: &'static str| Status::Error {
        description: text.into(),
    };
    let kinds = [
        ("server", SpanKind::Server),
        ("CLIENT", SpanKind::Client),
        ("Producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
        ("internal", SpanKind::Internal),
        ("waiter", SpanKind::Internal),
    ];
    for (field, kind) in kinds {
        assert_eq!(one(|| drop(info_span!("x", otel.kind = field))).kind, kind);
        assert_eq!(one(|| drop(info_span!("x", otel.kind = %field))).kind, kind);
        assert_eq!(
            one(|| {
                info_span!("x", otel.kind = Empty).record("otel.kind", field);
            })
            .kind,
            kind
        );
    }
    let statuses: [(&dyn Fn() -> Span, Status); 10] = [
        (&|| info_span!("x"), Status::Unset),
        (&|| info_span!("x", otel.status_code = "ok"), Status::Ok),
        (&|| info_span!("x", otel.status_code = ?Status::Ok), Status::Ok),
        (&|| info_span!("x", otel.status_code = "ERROR"), text("")),
        (&|| info_span!("x", otel.status_code = "unset"), Status::Unset),
        (
            &|| info_span!("x", otel.status_code = "ok", otel.status_description = "no"),
            Status::Ok,
        ),
        (&|| info_span!("x", otel.status_description = "no"), text("no")),
        (&|| info_span!("x", otel.status_message = %"no"), text("no")),
        (
            &|| info_span!("x", otel.status_message = "no", otel.status_code = "error"),
            text("no"),
        ),
        (
            &|| {
                let span = info_span!("x", otel.status_description = "no", otel.status_code = Empty);
                span.record("otel.status_code", "error");
                span
            },
            text("no"),
        ),
    ];
    for (make, status) in statuses {
        let span = one(|| drop(make()));
        assert_eq!((&span.status, span.attributes.len()), (&status, 0));
    }
    assert_eq!(
        one(|| drop(info_span!("x", otel.name = "GET /items/{id}"))).name,
        "GET /items/{id}"
    );
    assert_eq!(one(|| drop(info_span!("x", otel.name = %7))).name, "7");
    let span = one(|| {
        info_span!("x", otel.name = Empty, http.route = "/items/{id}").record("otel.name", "later");
    });
    assert_eq!(span.name, "later");
    assert_eq!(span.attribute("http.route"), Some(&"/items/{id}".into()));
}

#[test]
fn values_keep_their_types() {
    let span = one(|| {
        let span = info_span!(
            "x",
            int = -1, unsigned = 7_u64, large = u64::MAX, huge = u128::MAX, float = 0.5, yes = true, text = "a",
            debug = ?"a", display = %"a", none = Empty, later = 1,
        );
        span.record("later", "two");
    });
    expect![[r#"
        x < - Internal 0ns Unset
            int = Int(-1)
            unsigned = Int(7)
            large = Str("18446744073709551615")
            huge = Str("340282366920938463463374607431768211455")
            float = Float(0.5)
            yes = Bool(true)
            text = Str("a")
            debug = Str("\"a\"")
            display = Str("a")
            later = Str("two")
    "#]]
    .assert_eq(&shown(&[span]));
}

#[test]
fn events_become_events_of_their_span() {
    let spans = spans(|| {
        let outer = info_span!("outer");
        let _entered = outer.enter();
        info!(items = 3, ok = true, "restocked {}", "apples");
        debug!("too fine");
        event!(name: "cache.miss", Level::INFO, key = 7_u64);
        info!(error = "declined", "with a message");
        info!(log.line = 3, log.target = "x", message = 7);
        info!(parent: None, "of nobody");
        let inner = info_span!("inner");
        info!(parent: &inner, "of the inner one");
        error!("lost");
        error!(parent: &inner, cause = &Failed(Some(Box::new(Failed(None)))) as &dyn std::error::Error, "failed");
    });
    expect![[r#"
        inner < outer Internal 0ns Error { description: "" }
            exception.message = Str("no stock")
            exception.stacktrace = Str("disk full")
            "of the inner one": level=INFO target=it::bridge
            "failed": level=ERROR target=it::bridge exception.message=no stock exception.stacktrace=disk full cause=no stock
        outer < - Internal 0ns Error { description: "" }
            "restocked apples": level=INFO target=it::bridge items=3 ok=true
            "cache.miss": level=INFO target=it::bridge key=7
            "with a message": level=INFO target=it::bridge error=declined
            "7": level=INFO target=it::bridge log.line=3 log.target=x
            "lost": level=ERROR target=it::bridge
    "#]].assert_eq(&shown(&spans));
}

#[test]
fn records_of_the_log_crate_have_their_own_target() {
    let span = one(|| {
        info_span!("x").in_scope(|| {
            let level = tracing_log::log::Level::Warn;
            let mut record = tracing_log::log::Record::builder();
            record.level(level).target("hyper::client").line(Some(7));
            tracing_log::format_trace(&record.args(format_args!("slow")).build()).unwrap();
            info!(target: "log", { log.level = 5 }, "of an application");
        });
    });
    let event = |at: usize| {
        let attributes = span.events[at].attributes.iter();
        let shown = attributes.map(|attribute| format!("{}={}", attribute.key, attribute.value));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(event(0), ["level=WARN", "target=hyper::client"]);
    assert_eq!(event(1), ["level=INFO", "target=log", "log.level=5"]);
}

#[test]
fn an_ok_is_final() {
    let span = one(|| {
        let span = info_span!("x", otel.status_code = Empty, otel.status_description = Empty);
        span.set_status(Status::Ok);
        span.record("otel.status_code", "error");
        span.record("otel.status_description", "broken");
        span.set_status(Status::Unset);
        span.in_scope(|| error!("failed"));
    });
    assert_eq!(span.status, Status::Ok);
}

#[test]
fn an_error_without_a_message_is_an_exception() {
    let spans = spans(|| {
        info_span!("text").in_scope(|| error!(error = "declined"));
        info_span!("dyn").in_scope(|| {
            error!(error = &Failed(Some(Box::new(Failed(None)))) as &dyn std::error::Error);
        });
        info_span!("field", exception = &Failed(None) as &dyn std::error::Error).in_scope(|| {});
        info_span!("fine", otel.status_code = "ok").in_scope(|| error!(error = "declined"));
        info_span!("first").in_scope(|| {
            error!("one");
            error!(error = "two");
        });
    });
    expect![[r#"
        text < - Internal 0ns Error { description: "declined" }
            "exception": level=ERROR target=it::bridge exception.message=declined
        dyn < - Internal 0ns Error { description: "no stock" }
            exception.message = Str("no stock")
            exception.stacktrace = Str("disk full")
            "exception": level=ERROR target=it::bridge exception.message=no stock exception.stacktrace=disk full
        field < - Internal 0ns Unset
            exception.message = Str("disk full")
            exception = Str("disk full")
        fine < - Internal 0ns Ok
            "exception": level=ERROR target=it::bridge exception.message=declined
        first < - Internal 0ns Error { description: "two" }
            "one": level=ERROR target=it::bridge
            "exception": level=ERROR target=it::bridge exception.message=two
    "#]].assert_eq(&shown(&spans));
}

#[test]
fn only_events_that_matter_enough_are_kept() {
    for (level, kept) in [
        (LevelFilter::OFF, 0),
        (LevelFilter::ERROR, 1),
        (LevelFilter::INFO, 3),
        (LevelFilter::TRACE, 4),
    ] {
        let fixture = Fixture::new();
        let spans = fixture.layered(fixture.tracer.layer().events(level), || {
            let _entered = info_span!("x").entered();
            error!("e");
            warn!("w");
            info!("i");
            debug!("d");
        });
        assert_eq!(spans[0].events.len(), kept, "{level}");
        assert_eq!(spans[0].status.is_error(), kept > 0);
    }
}

#[test]
fn a_location_is_added_on_request() {
    let fixture = Fixture::new();
    let make = || drop(info_span!("x", a = 1));
    let line = line!() - 1;
    let spans = fixture.layered(fixture.tracer.layer().location(true), make);
    let attribute = |key| spans[0].attribute(key).unwrap().to_string();
    assert!(attribute("code.file.path").ends_with("bridge.rs"));
    assert!(attribute("code.module.name").ends_with("bridge"));
    assert_eq!(attribute("code.line.number"), line.to_string());
    assert_eq!(attribute("a"), "1");
}

#[test]
fn the_current_context_is_that_of_the_entered_span() {
    spans(|| {
        let outer = info_span!("outer");
        let context = outer.context();
        assert_eq!(Context::current(), Context::new());
        outer.in_scope(|| {
            assert_eq!(Context::current(), context);
            let inner = info_span!("inner").entered();
            assert_eq!(Context::current(), inner.context());
            assert_eq!(Context::current().trace_id(), context.trace_id());
            assert!(
                Context::current()
                    .flags()
                    .contains(Flags::SAMPLED | Flags::RECORDING)
            );
        });
        let elsewhere = std::thread::spawn(move || outer.in_scope(Context::current));
        assert_eq!(elsewhere.join().unwrap(), context);
    });
}

#[test]
fn exits_out_of_order_bring_back_the_right_context() {
    spans(|| {
        let [a, b, c] = [info_span!("a"), info_span!("b"), info_span!("c")];
        let (in_a, in_b, in_c) = (a.enter(), b.enter(), c.enter());
        let again = a.enter();
        assert_eq!(Context::current(), a.context());
        drop(in_b);
        assert_eq!(Context::current(), a.context());
        drop(again);
        assert_eq!(Context::current(), c.context());
        drop(in_a);
        assert_eq!(Context::current(), c.context());
        drop(in_c);
        assert_eq!(Context::current(), Context::new());
    });
}

#[test]
fn what_was_attached_inside_stays_when_a_span_below_is_left() {
    let (context, _) = numbered(9);
    spans(|| {
        let [a, b] = [info_span!("a"), info_span!("b")];
        let (in_a, in_b) = (a.enter(), b.enter());
        let guard = context.attach();
        drop(in_a);
        assert_eq!(Context::current(), context);
        drop(guard);
        assert_eq!(Context::current(), b.context());
        drop(in_b);
        assert_eq!(Context::current(), Context::new());
    });
}

fn numbered(n: u64) -> (Context, Deadline) {
    let clock = cortex_testkit::ManualClock::new();
    let ids = TraceId::new(n.into()).zip(SpanId::new(n)).unwrap();
    let deadline = Deadline::after(clock.now(), Duration::from_secs(n));
    let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED | Flags::RECORDING);
    (context.with_deadline(deadline), deadline)
}

#[test]
fn the_parent_is_explicit_or_current_or_nobody() {
    let spans = spans(|| {
        let outer = info_span!("outer").entered();
        let other = info_span!(parent: None, "other");
        assert_ne!(other.context().trace_id(), outer.context().trace_id());
        info_span!(parent: &other, "explicit").in_scope(|| info_span!("below").in_scope(|| {}));
        info_span!("contextual").in_scope(|| {});
    });
    let parent = |name| named(&spans, name).parent_span_id;
    let id = |name| Some(named(&spans, name).span_id);
    assert_eq!((parent("outer"), parent("other")), (None, None));
    assert_eq!(
        (parent("explicit"), parent("below")),
        (id("other"), id("explicit"))
    );
    assert_eq!(parent("contextual"), id("outer"));
    assert_eq!(named(&spans, "below").trace_id, named(&spans, "other").trace_id);
}

#[test]
fn deadlines_go_down_and_before_the_first_one_too() {
    let (late, at_nine) = numbered(9);
    let (soon, at_two) = numbered(2);
    spans(|| {
        for (context, deadline) in [(late, at_nine), (soon, at_two), (late, at_nine)] {
            let _guard = context.attach();
            info_span!("x").in_scope(|| {
                assert_eq!(Context::current().deadline(), Some(deadline));
                assert_eq!(Context::current().trace_id(), context.trace_id());
            });
        }
        info_span!("without").in_scope(|| assert_eq!(Context::current().deadline(), None));
        let _guard = late.attach();
        info_span!(parent: None, "nobody").in_scope(|| assert_eq!(Context::current().deadline(), None));
    });
}

#[test]
fn a_span_inside_of_a_server_span_is_its_child() {
    let fixture = Fixture::new();
    let start = ServerStart {
        method: &Method::GET,
        path: "/",
        start: fixture.clock.now(),
    };
    let server = fixture.tracer.server(&HeaderMap::new(), start);
    let spans = fixture.bridged(|| {
        block_on(
            async { info_span!("handler").in_scope(|| drop(fixture.tracer.span("direct").start())) }
                .with_context(server.context()),
        );
    });
    assert_eq!(
        named(&spans, "handler").parent_span_id,
        server.context().span_id()
    );
    assert_eq!(
        named(&spans, "direct").parent_span_id,
        Some(named(&spans, "handler").span_id)
    );
    assert_eq!(
        Some(named(&spans, "direct").trace_id),
        server.context().trace_id()
    );
}

#[test]
fn an_unsampled_parent_has_unsampled_children_in_its_trace() {
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let spans = fixture.bridged(|| {
        let outer = info_span!("outer", otel.name = "named").entered();
        let inner = info_span!("inner").entered();
        assert_eq!(inner.context().trace_id(), outer.context().trace_id());
        assert_ne!(inner.context().span_id(), outer.context().span_id());
        assert_eq!(inner.context().flags(), Flags::RANDOM);
        error!("lost");
        inner.set_attribute("key", 1);
        inner.set_status(Status::Ok);
    });
    assert_eq!(spans, []);
}

#[test]
fn the_sampler_decides_before_a_field_is_visited_and_once_per_trace() {
    struct ByName(Mutex<mpsc::Sender<(String, SpanKind)>>);
    impl Sampler for ByName {
        fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
            let asked = self.0.lock().unwrap();
            asked.send((params.name.to_owned(), params.kind)).unwrap();
            match params.name {
                "GET /wanted" => AlwaysOn.intent(params),
                _ => SamplingIntent::Never,
            }
        }
    }
    struct Visited(mpsc::Sender<()>);
    impl fmt::Debug for Visited {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.send(()).map_err(|_| fmt::Error)
        }
    }
    let (asked, questions) = mpsc::channel();
    let (visited, visits) = mpsc::channel();
    let visited = Visited(visited);
    let fixture = Fixture::with(|builder| builder.sampler(ByName(Mutex::new(asked))));
    let spans = fixture.bridged(|| {
        info_span!("GET /other", a = ?visited).in_scope(|| info_span!("child", a = ?visited).in_scope(|| {}));
        assert!(visits.try_recv().is_err());
        info_span!("x", otel.name = "GET /wanted", otel.kind = "server", a = ?visited).in_scope(|| {
            info_span!("child", a = ?visited).in_scope(|| {});
        });
    });
    assert_eq!(visits.try_iter().count(), 2);
    assert_eq!(spans.len(), 2);
    let questions: Vec<_> = questions.try_iter().collect();
    assert_eq!(
        questions,
        [
            ("GET /other".into(), SpanKind::Internal),
            ("GET /wanted".into(), SpanKind::Server)
        ]
    );
}

#[test]
fn a_remote_parent_is_asked_about_first() {
    let fixture = Fixture::with(|builder| builder.sampler(ParentBased::root(AlwaysOff)));
    let spans = fixture.bridged(|| {
        let sampled = with_remote_parent(remote(Flags::SAMPLED), || info_span!("sampled", a = 1));
        sampled.in_scope(|| info_span!("child").in_scope(|| {}));
        with_remote_parent(remote(Flags::NONE), || drop(info_span!("unsampled")));
        with_remote_parent(None, || drop(info_span!("no parent")));
        let unused = with_remote_parent(
            remote(Flags::SAMPLED),
            || info_span!(parent: &sampled, "explicit"),
        );
        drop((unused, info_span!("after it")));
        let panicked = std::panic::catch_unwind(|| {
            with_remote_parent(remote(Flags::SAMPLED), || {
                std::panic::resume_unwind(Box::new("seeded"))
            });
        });
        assert!(panicked.is_err());
        drop(info_span!("after a panic"));
    });
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["child", "explicit", "sampled"]);
    let span = named(&spans, "sampled");
    assert_eq!(span.parent_span_id, Some(remote(Flags::NONE).span_id()));
    assert!(span.parent_is_remote && span.trace_id == remote(Flags::NONE).trace_id());
    assert_eq!(span.attribute("a"), Some(&Value::Int(1)));
}

#[test]
fn a_remote_parent_can_be_set_until_somebody_knows_the_span() {
    let fixture = Fixture::new();
    let spans = fixture.bridged(|| {
        let span = info_span!("fresh", a = 1, otel.kind = "server");
        assert_eq!(span.set_remote_parent(remote(Flags::SAMPLED)), Ok(()));
        span.in_scope(|| info!("inside"));
        for known in [
            |span: &Span| span.in_scope(|| {}),
            |span: &Span| assert_ne!(span.context(), Context::new()),
            |span: &Span| drop(info_span!(parent: span, "child")),
        ] {
            let span = info_span!("known");
            known(&span);
            let result = span.set_remote_parent(remote(Flags::SAMPLED));
            assert_eq!(result, Err(SetParentError::AlreadyStarted));
        }
        let span = info_span!("dropped");
        assert_eq!(span.set_remote_parent(remote(Flags::NONE)), Ok(()));
        assert!(!span.context().flags().contains(Flags::RECORDING));
    });
    let span = named(&spans, "fresh");
    assert_eq!((span.kind, span.parent_is_remote), (SpanKind::Server, true));
    assert_eq!(span.trace_id, remote(Flags::NONE).trace_id());
    assert_eq!((span.attributes.len(), span.events.len()), (1, 1));
    assert!(spans.iter().all(|span| span.name != "dropped"));

    let fixture = Fixture::with(|builder| builder.sampler(ParentBased::root(AlwaysOff)));
    let spans = fixture.bridged(|| {
        let span = info_span!("woken", a = 1, b = Empty);
        assert_eq!(span.set_remote_parent(remote(Flags::SAMPLED)), Ok(()));
        span.record("b", 2);
    });
    assert_eq!((&*spans[0].name, spans[0].attributes.len()), ("woken", 1));

    let error = Span::none()
        .set_remote_parent(remote(Flags::SAMPLED))
        .unwrap_err();
    assert_eq!(error.to_string(), "set the parent of a span that is not traced");
    assert_eq!(Span::none().context(), Context::new());
}

#[test]
fn a_remote_parent_does_not_change_the_deadline() {
    let fixture = Fixture::new();
    fixture.bridged(|| {
        let (own, own_deadline) = numbered(1);
        let (others, others_deadline) = numbered(2);
        assert_ne!(own_deadline, others_deadline);
        let with_one = {
            let _guard = Context::new().with_deadline(own_deadline).attach();
            info_span!("with one")
        };
        let inside = {
            let _guard = own.attach();
            info_span!("inside")
        };
        let without = info_span!("without");
        let _guard = others.attach();
        for span in [&with_one, &inside, &without] {
            span.set_remote_parent(remote(Flags::SAMPLED)).unwrap();
            span.set_remote_parent(remote(Flags::SAMPLED)).unwrap();
        }
        assert_eq!(with_one.context().deadline(), Some(own_deadline));
        assert_eq!(inside.context().deadline(), Some(own_deadline));
        assert_eq!(without.context().deadline(), None);
    });
}

/// Returns what a call from here takes along.
fn called(tracer: &Tracer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let uri = http::Uri::from_static("http://stock.internal/7");
    tracer.client(&Method::GET, &uri).inject(&mut headers);
    headers
}

fn tracestate(headers: &HeaderMap) -> &str {
    headers
        .get("tracestate")
        .map_or("-", |value| value.to_str().unwrap())
}

#[test]
fn a_tracestate_goes_where_its_span_goes() {
    let state: TraceState = "congo=x,ot=th:0".parse().unwrap();
    let caller = || remote_with(Flags::SAMPLED, state.clone());
    let tracers = [
        Tracer::builder("shop").build().unwrap(),
        Tracer::propagate_only(),
        Tracer::builder("shop")
            .sampler(ParentBased::root(AlwaysOff).remote_sampled(AlwaysOff))
            .build()
            .unwrap(),
    ];
    for (tracer, expected) in tracers
        .iter()
        .zip(["congo=x,ot=th:0", "congo=x,ot=th:0", "congo=x"])
    {
        let sent = || {
            let headers = called(tracer);
            let parent = headers["traceparent"].to_str().unwrap().to_owned();
            (parent[3..35].to_owned(), tracestate(&headers).to_owned())
        };
        let trace = remote(Flags::NONE).trace_id().to_string();
        let here = (trace, expected.to_owned());
        let subscriber = registry().with(tracer.layer());
        tracing::subscriber::with_default(subscriber, || {
            let span = with_remote_parent(caller(), || info_span!("consume"));
            assert_eq!(Captured::current().tracestate(), None);
            span.in_scope(|| {
                assert_eq!(sent(), here);
                info_span!("child").in_scope(|| assert_eq!(sent(), here));
                info_span!(parent: None, "another trace").in_scope(|| assert_ne!(sent().0, here.0));
                assert_eq!(sent(), here);
            });
            info_span!(parent: &span, "explicit").in_scope(|| {
                assert_eq!(sent(), here);
                info_span!("below it").in_scope(|| assert_eq!(sent(), here));
            });
            let assigned = info_span!("set");
            assigned.set_remote_parent(caller()).unwrap();
            assigned.in_scope(|| assert_eq!(sent(), here));
            let elsewhere = std::thread::scope(|scope| {
                let dispatch = tracing::dispatcher::get_default(Dispatch::clone);
                let (span, sent) = (&span, &sent);
                let thread =
                    scope.spawn(move || tracing::dispatcher::with_default(&dispatch, || span.in_scope(sent)));
                thread.join().unwrap()
            });
            assert_eq!(elsewhere, here);
            // Left out of order, each takes its own along.
            let other = with_remote_parent(remote(Flags::SAMPLED), || info_span!("without"));
            let (first, second) = (span.enter(), other.enter());
            drop(first);
            drop(info_span!("in the other"));
            drop(second);
            let (first, second) = (other.enter(), span.enter());
            drop(first);
            assert_eq!(sent(), here);
            drop(second);
            assert_eq!(Captured::current().tracestate(), None);
        });
        assert_eq!(Context::current(), Context::new());
    }
}

#[test]
fn a_local_root_publishes_its_threshold() {
    let tracer = Tracer::builder("shop")
        .sampler(cortex_trace::Probability::new(1.0).unwrap())
        .build()
        .unwrap();
    tracing::subscriber::with_default(registry().with(tracer.layer()), || {
        info_span!("root").in_scope(|| {
            assert_eq!(tracestate(&called(&tracer)), "ot=th:0");
            info_span!("child").in_scope(|| assert_eq!(tracestate(&called(&tracer)), "ot=th:0"));
        });
    });
}

#[test]
fn baggage_stays_beside_a_tracestate() {
    let state: TraceState = "congo=x".parse().unwrap();
    let tracer = Tracer::propagate_only();
    tracing::subscriber::with_default(registry().with(tracer.layer()), || {
        let caller = remote_with(Flags::SAMPLED, state);
        let outside = Captured::default().with_baggage("tier=gold".parse().unwrap());
        let span = outside.in_scope(|| with_remote_parent(caller, || info_span!("consume")));
        for (around, expected) in [(outside, "tier=gold"), (Captured::default(), "")] {
            around.in_scope(|| {
                let inside = || {
                    (
                        tracestate(&called(&tracer)).to_owned(),
                        Baggage::current().to_string(),
                    )
                };
                assert_eq!(span.in_scope(inside), ("congo=x".to_owned(), expected.to_owned()));
                assert_eq!(inside(), ("-".to_owned(), expected.to_owned()));
            });
        }
    });
}

#[test]
fn the_sampler_is_asked_the_same_about_a_parent_that_is_set() {
    struct Asked(Mutex<mpsc::Sender<String>>, SamplingIntent);
    impl Sampler for Asked {
        fn intent(&self, params: &SampleParams<'_>) -> SamplingIntent {
            let asked = self.0.lock().unwrap();
            let question = format!("{} {:?} {:?}", params.name, params.kind, params.route);
            asked.send(question).unwrap();
            if params.parent.is_some() {
                SamplingIntent::Keep
            } else {
                self.1
            }
        }
    }
    for first in [SamplingIntent::Keep, SamplingIntent::Never] {
        let (sender, asked) = mpsc::channel();
        let fixture = Fixture::with(|builder| builder.sampler(Asked(Mutex::new(sender), first)));
        let spans = fixture.bridged(|| {
            let named = info_span!(
                "fn",
                otel.name = "GET x",
                otel.kind = "server",
                http.route = "/x/{id}"
            );
            let plain = info_span!("plain", otel.kind = "client");
            let routed = info_span!("routed", http.route = "/y");
            for span in [&named, &plain, &routed, &named] {
                assert_eq!(span.set_remote_parent(remote(Flags::SAMPLED)), Ok(()));
            }
        });
        let named = r#"GET x Server Some("/x/{id}")"#;
        let (plain, routed) = ("plain Client None", r#"routed Internal Some("/y")"#);
        let questions: Vec<_> = asked.try_iter().collect();
        assert_eq!(questions, [named, plain, routed, named, plain, routed, named]);
        let kinds = ["GET x", "plain", "routed"].map(|name| self::named(&spans, name).kind);
        assert_eq!(kinds, [SpanKind::Server, SpanKind::Client, SpanKind::Internal]);
    }
}

#[test]
fn a_tail_forgets_spans_that_became_others() {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            std::panic::resume_unwind(Box::new("seeded"))
        }
    }
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff).tail(Tail::new().keep_errors()));
    let stats = || {
        let stats = fixture.tracer.tail_stats().unwrap();
        (stats.begun, stats.pending, stats.pending_spans)
    };
    let spans = fixture.bridged(|| {
        let span = info_span!("consume", a = 1);
        assert_eq!(stats(), (1, 1, 1));
        span.set_remote_parent(remote(Flags::SAMPLED)).unwrap();
        assert_eq!(stats(), (1, 1, 1));
        span.in_scope(|| {
            let child = info_span!("child");
            assert_eq!(stats(), (1, 1, 2));
            child.set_remote_parent(remote(Flags::SAMPLED)).unwrap();
            assert_eq!(stats(), (2, 2, 2));
            drop(child);
            assert_eq!(stats(), (2, 1, 1));
            assert!(span.set_remote_parent(remote(Flags::SAMPLED)).is_err());
            assert_eq!(stats(), (2, 1, 1));
            error!("failed");
        });
        drop(span);
        assert_eq!(stats(), (2, 0, 0));
        let panics = || drop(info_span!(parent: None, "lost", a = ?Panics));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(stats(), (2, 0, 0));
    });
    assert_eq!((spans.len(), &*spans[0].name), (1, "consume"));
    assert_eq!(spans[0].trace_id, remote(Flags::NONE).trace_id());
    let stats = fixture.tracer.tail_stats().unwrap();
    assert_eq!((stats.kept_by_rule, stats.discarded), (1, 1));
}

#[test]
fn links_follow_from() {
    let fixture = Fixture::new();
    let mut cause = None;
    let spans = fixture.bridged(|| {
        let first = info_span!("first");
        cause = first.context().span_id();
        let second = info_span!("second");
        second.follows_from(&first);
        second.add_link(remote(Flags::SAMPLED).into());
        second.add_link(Link::to(first.context()).unwrap());
        let crowded = info_span!("crowded");
        for _ in 0..130 {
            crowded.follows_from(first.id());
        }
    });
    let links = &named(&spans, "second").links;
    let ids: Vec<_> = links
        .iter()
        .map(|link| (Some(link.span_id), link.is_remote))
        .collect();
    let elsewhere = Some(remote(Flags::NONE).span_id());
    assert_eq!(ids, [(cause, false), (elsewhere, true), (cause, false)]);
    let crowded = named(&spans, "crowded");
    assert_eq!((crowded.links.len(), crowded.dropped_links), (128, 2));
}

#[test]
fn a_span_ends_when_it_was_left() {
    let fixture = Fixture::new();
    let second = Duration::from_secs(1);
    let spans = fixture.bridged(|| {
        let span = info_span!("entered twice");
        for _ in 0..2 {
            fixture.clock.advance(second);
            span.in_scope(|| fixture.clock.advance(second));
        }
        fixture.clock.advance(second);
        drop(span);
        let never = info_span!("never entered");
        fixture.clock.advance(second);
        drop(never);
    });
    assert_eq!(named(&spans, "entered twice").duration(), 4 * second);
    assert_eq!(named(&spans, "never entered").duration(), second);
}

#[test]
fn there_is_an_end_to_what_a_span_holds() {
    let span = one(|| {
        let span =
            info_span!("x", a = "x".repeat(10_000), b = %"ä".repeat(10_000), otel.name = "n".repeat(10_000));
        for n in 0..200 {
            span.set_attribute(n.to_string(), n);
            span.in_scope(|| info!("{}", "m".repeat(10_000)));
        }
    });
    assert_eq!((span.attributes.len(), span.dropped_attributes), (128, 74));
    assert_eq!((span.events.len(), span.dropped_events), (128, 72));
    assert_eq!(span.attribute("a").unwrap().to_string().len(), 4096);
    assert_eq!((span.name.len(), span.events[0].name.len()), (4096, 4096));
    assert_eq!(span.attribute("b").unwrap().to_string(), "ä".repeat(2048));
}

#[test]
fn two_hundred_fields_are_counted() {
    // No macro takes as many, but a callsite may be made by hand; keys given later than at the start count too.
    let span = one(|| {
        let span = info_span!(
            "x",
            f00 = 0,
            f01 = 1,
            f02 = 2,
            f03 = 3,
            f04 = 4,
            f05 = 5,
            f06 = 6,
            f07 = 7,
            f08 = 8,
            f09 = 9,
            f10 = 10,
            f11 = 11,
            f12 = 12,
            f13 = 13,
            f14 = 14,
            f15 = 15,
            f16 = 16,
            f17 = 17,
            f18 = 18,
            f19 = 19,
            f20 = 20,
            f21 = 21,
            f22 = 22,
            f23 = 23,
            f24 = 24,
            f25 = 25,
            f26 = 26,
            f27 = 27,
            f28 = 28,
            f29 = 29,
            f30 = 30,
        );
        (31..200).for_each(|n| span.set_attribute(format!("f{n}"), n));
    });
    assert_eq!((span.attributes.len(), span.dropped_attributes), (128, 72));
    assert_eq!(span.attribute("f30"), Some(&Value::Int(30)));
}

#[test]
fn filtered_spans_are_stepped_over() {
    let fixture = Fixture::new();
    let layer = fixture
        .tracer
        .layer()
        .with_filter(filter_fn(|metadata| metadata.name() != "hidden"));
    // A second layer sees everything, so that the hidden spans exist.
    let subscriber = registry().with(layer).with(Identity::new());
    tracing::subscriber::with_default(subscriber, || {
        let outer = info_span!("outer");
        let hidden = outer.in_scope(|| info_span!("hidden"));
        info_span!(parent: &hidden, "explicit").in_scope(|| {});
        info!(parent: &hidden, "event");
        let _outer = outer.enter();
        hidden.in_scope(|| info_span!("contextual").in_scope(|| info!("inside")));
        info_span!(parent: None, "hidden").in_scope(|| {
            drop(info_span!(parent: &Span::current(), "orphan"));
        });
    });
    let spans = fixture.ended();
    let outer = named(&spans, "outer");
    for name in ["explicit", "contextual"] {
        assert_eq!(named(&spans, name).parent_span_id, Some(outer.span_id), "{name}");
    }
    assert_eq!(
        (outer.events.len(), named(&spans, "contextual").events.len()),
        (1, 1)
    );
    assert_eq!(spans.len(), 4, "{spans:?}");
}

#[test]
fn a_layer_can_be_reloaded_while_spans_are_open() {
    let (old, new) = (Fixture::new(), Fixture::new());
    let (layer, handle) = reload::Layer::new(old.tracer.layer());
    tracing::subscriber::with_default(registry().with(layer), || {
        let before = info_span!("before");
        let entered = before.enter();
        handle.reload(new.tracer.layer()).unwrap();
        info_span!("after").in_scope(|| {});
        drop(entered);
        assert_eq!(Context::current(), Context::new());
    });
    assert_eq!(named(&new.ended(), "after").name, "after");
    assert_eq!(old.ended(), []); // it went with its layer

    let fixture = Fixture::new();
    let (filter, handle) = reload::Layer::new(LevelFilter::OFF);
    tracing::subscriber::with_default(
        registry().with(fixture.tracer.layer().with_filter(filter)),
        || {
            drop(info_span!("off"));
            handle.reload(LevelFilter::INFO).unwrap();
            drop(info_span!("on"));
        },
    );
    assert_eq!(fixture.one().name, "on");
}

#[test]
fn two_subscribers_do_not_mix() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let inside = registry().with(other.tracer.layer());
    let spans = one.bridged(|| {
        let outer = info_span!("outer").entered();
        tracing::subscriber::with_default(inside, || {
            let inner = info_span!("inner").entered();
            drop(outer);
            assert_eq!(Context::current(), inner.context());
        });
        assert_eq!(Context::current(), Context::new());
    });
    assert_eq!(spans.len(), 1);
    assert_eq!(other.one().parent_span_id, Some(spans[0].span_id));
}

#[test]
fn spans_are_closed_by_whoever_has_them_last() {
    let fixture = Fixture::new();
    let spans = fixture.bridged(|| {
        let span = info_span!("shared");
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (span, barrier) = (span.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    let entered = span.entered();
                    barrier.wait();
                    let context = Context::current();
                    entered.set_attribute("n", n);
                    drop(entered);
                    (context, Context::current())
                })
            })
            .collect();
        let context = span.context();
        drop(span);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), (context, Context::new()));
        }
    });
    assert_eq!(spans.len(), 1);
}

#[test]
fn many_spans_are_open_at_once() {
    const MANY: usize = 20_000;
    let fixture = Fixture::with(|builder| builder.queue_capacity(4 * MANY));
    let subscriber = Dispatch::new(registry().with(fixture.tracer.layer()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&subscriber, || {
                    let spans: Vec<_> = (0..MANY).map(|n| info_span!("one of many", n)).collect();
                    let contexts: Vec<_> = spans.iter().map(SpanExt::context).collect();
                    for (span, context) in spans.iter().zip(&contexts).rev() {
                        span.in_scope(|| assert_eq!(Context::current(), *context));
                    }
                });
            });
        }
    });
    let spans = fixture.ended();
    let mut numbers: Vec<_> = spans
        .iter()
        .map(|span| span.attribute("n").unwrap().to_string())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!((spans.len(), numbers.len()), (2 * MANY, MANY));
}

#[test]
fn values_that_misbehave_harm_nobody() {
    struct Logs;
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info_span!("inside of a value").in_scope(|| info!("also"));
            Span::current().set_attribute("from.inside", 1);
            f.write_str("logged")
        }
    }
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            std::panic::resume_unwind(Box::new("seeded"))
        }
    }
    struct Endless;
    impl fmt::Debug for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("and so on ")?;
            }
        }
    }
    let spans = spans(|| {
        let span = info_span!("x", a = ?Logs, later = Empty, endless = ?Endless);
        let entered = span.enter();
        span.record("later", tracing::field::debug(Logs));
        info!(value = ?Logs, "event");
        // A root: the registry would keep the parent of what never got as far as to be closed.
        let panics = || {
            drop(info_span!(parent: None, "lost", a = ?Panics));
        };
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(std::panic::catch_unwind(|| info!(a = ?Panics, "lost")).is_err());
        assert_eq!(Context::current(), span.context());
        drop(entered);
    });
    let span = named(&spans, "x");
    assert_eq!(span.attribute("a"), Some(&"logged".into()));
    assert_eq!(span.attribute("later"), Some(&"logged".into()));
    assert_eq!(span.attribute("from.inside"), Some(&Value::Int(1)));
    assert_eq!(span.attribute("endless").unwrap().to_string().len(), 4096);
    assert_eq!(span.events.len(), 1);
    // While a span or an event is made, `tracing` hides a scoped subscriber from the values.
    let inside = spans.iter().filter(|span| span.name == "inside of a value");
    assert_eq!(inside.count(), 1);
}

#[test]
fn an_exporter_makes_no_spans() {
    struct Chatty {
        subscriber: Arc<OnceLock<Dispatch>>,
        exports: mpsc::Sender<(usize, Context)>,
    }
    impl Exporter for Chatty {
        fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
            let subscriber = self.subscriber.get().unwrap();
            let context = tracing::dispatcher::with_default(subscriber, || {
                info_span!("export").in_scope(|| {
                    info!("exporting");
                    Context::current()
                })
            });
            self.exports
                .send((batch.len(), context))
                .map_err(ExportError::new)
        }
    }
    let (sender, exports) = mpsc::channel();
    let dispatch = Arc::new(OnceLock::new());
    let exporter = Chatty {
        subscriber: Arc::clone(&dispatch),
        exports: sender,
    };
    let tracer = Tracer::builder("shop").export(exporter).build().unwrap();
    let subscriber = Dispatch::new(registry().with(tracer.layer()));
    dispatch.set(subscriber.clone()).unwrap();
    tracing::dispatcher::with_default(&subscriber, || drop(info_span!("one")));
    for _ in 0..3 {
        tracer.flush_blocking(crate::support::AGES).unwrap();
    }
    assert_eq!(exports.try_iter().collect::<Vec<_>>(), [(1, Context::new())]);
    assert_eq!(tracer.stats().enqueued, 1);
}

#[test]
fn two_exporters_get_each_span() {
    let memory = InMemory::new();
    let fixture = Fixture::with(|builder| builder.export(memory.clone()));
    fixture.bridged(|| drop(info_span!("x")));
    assert_eq!(memory.take().len(), 1);
    assert!(format!("{:?}", fixture.tracer.layer()).starts_with("TraceLayer"));
}

/// What a thread can do with its spans.
#[derive(Clone, Copy, Debug)]
enum Step {
    New,
    NewBelow(usize),
    Enter(usize),
    Exit(usize),
    Close(usize),
    Attach,
    Detach,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::New),
        1 => any::<usize>().prop_map(Step::NewBelow),
        4 => any::<usize>().prop_map(Step::Enter),
        3 => any::<usize>().prop_map(Step::Exit),
        2 => any::<usize>().prop_map(Step::Close),
        1 => Just(Step::Attach),
        1 => Just(Step::Detach),
    ];
    proptest::collection::vec(step, 0..60)
}

/// Decides the same for every trace.
struct Always(SamplingIntent);
impl Sampler for Always {
    fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
        self.0
    }
}

proptest! {
    #[test]
    fn the_current_context_is_that_of_a_naive_model(steps in steps(), sampled: bool) {
        let sampler = if sampled { SamplingIntent::Keep } else { SamplingIntent::Drop };
        let fixture = Fixture::with(|builder| builder.sampler(Always(sampler)));
        let mut recorded = 0;
        let mut result = Ok(());
        let ended = fixture.bridged(|| result = run(&steps, &mut recorded));
        result?;
        prop_assert_eq!(ended.len(), recorded);
    }
}

/// Does the steps, and compares with a list of what was made current, where leaving removes the last such entry.
fn run(steps: &[Step], recorded: &mut usize) -> Result<(), TestCaseError> {
    let mut open: Vec<(Span, Context)> = Vec::new();
    let mut entered: Vec<(Option<tracing::Id>, Context)> = Vec::new();
    let mut guards = Vec::new();
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    for (n, step) in steps.iter().enumerate() {
        let current = entered.last().map_or(Context::new(), |(_, context)| *context);
        match *step {
            Step::New => {
                let span = info_span!("x");
                let context = span.context();
                *recorded += usize::from(context.flags().contains(Flags::RECORDING));
                if current.trace_id().is_some() {
                    prop_assert_eq!(context.trace_id(), current.trace_id());
                }
                open.push((span, context));
            }
            Step::NewBelow(at) if !open.is_empty() => {
                let (parent, expected) = open[at % open.len()].clone();
                let span = info_span!(parent: &parent, "x");
                let context = span.context();
                *recorded += usize::from(context.flags().contains(Flags::RECORDING));
                prop_assert_eq!(context.trace_id(), expected.trace_id());
                open.push((span, context));
            }
            Step::Enter(at) if !open.is_empty() => {
                let (span, context) = &open[at % open.len()];
                subscriber.enter(&span.id().unwrap());
                entered.push((span.id(), *context));
            }
            // Attached contexts are left in order, as their documentation asks for: only what is above can go.
            Step::Exit(at) => {
                let floor = entered
                    .iter()
                    .rposition(|(id, _)| id.is_none())
                    .map_or(0, |at| at + 1);
                if floor < entered.len() {
                    let id = entered[floor + at % (entered.len() - floor)].0.clone();
                    let last = entered.iter().rposition(|(other, _)| *other == id).unwrap();
                    entered.remove(last);
                    subscriber.exit(&id.unwrap());
                }
            }
            Step::Close(at) if !open.is_empty() => {
                let at = at % open.len();
                let id = open[at].0.id();
                if entered.iter().all(|(other, _)| *other != id) {
                    open.swap_remove(at);
                }
            }
            Step::Attach => {
                let (context, _) = numbered(n as u64 + 1);
                guards.push(context.attach());
                entered.push((None, context));
            }
            Step::Detach if entered.last().is_some_and(|(id, _)| id.is_none()) => {
                guards.pop();
                entered.pop();
            }
            _ => {}
        }
        let expected = entered.last().map_or(Context::new(), |(_, context)| *context);
        prop_assert_eq!(Context::current(), expected);
    }
    while let Some((id, _)) = entered.pop() {
        match id {
            Some(id) => subscriber.exit(&id),
            None => drop(guards.pop()),
        }
    }
    Ok(())
}

#[test]
fn a_span_that_a_thread_never_left_is_not_current_in_its_last_destructors() {
    struct Last(mpsc::Sender<(Context, bool)>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0
                .send((Context::current(), Baggage::current().is_empty()))
                .expect("somebody listens");
        }
    }
    thread_local!(static LAST: std::cell::OnceCell<Last> = const { std::cell::OnceCell::new() });
    let fixture = Fixture::new();
    for tracestate in [None, Some("congo=t61rcWkgMzE")] {
        let (sender, seen) = mpsc::channel();
        let dispatch = Dispatch::new(registry().with(fixture.tracer.layer()));
        let thread = std::thread::spawn(move || {
            LAST.with(|last| assert!(last.set(Last(sender)).is_ok())); // before the bridge: so it goes after it
            let _default = tracing::dispatcher::set_default(&dispatch);
            let parent = tracestate.map(|list| {
                let ids = TraceId::new(7).zip(SpanId::new(9)).unwrap();
                Remote::new(ids.0, ids.1, Flags::SAMPLED, list.parse().unwrap())
            });
            let outer = with_remote_parent(parent, || info_span!("outer"));
            Box::leak(Box::new(outer.entered()));
            Box::leak(Box::new(info_span!("inner").entered()));
            assert!(Context::current().span_id().is_some());
        });
        thread.join().unwrap();
        assert_eq!(seen.recv().unwrap(), (Context::new(), true));
    }
}
