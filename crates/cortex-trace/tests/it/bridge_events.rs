//! Whose events those of the `tracing` crate are.

use std::time::Duration;

use cortex_core::{Clock, Context, Deadline};
use cortex_trace::{
    AlwaysOff, Attribute, Captured, ServerEnd, ServerSpan, ServerStart, SpanData, Status, Tail, Traced,
};
use http::{HeaderMap, Method};
use tracing::{debug, error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use crate::support::Fixture;

impl Fixture {
    fn serve_at(&self, path: &str) -> ServerSpan {
        let start = ServerStart {
            method: &Method::GET,
            path,
            start: self.clock.now(),
        };
        self.tracer.server(&HeaderMap::new(), start)
    }

    fn answer_well(&self, mut span: ServerSpan) {
        span.finish(ServerEnd {
            status: Some(200),
            end: self.clock.now(),
            error: None,
        });
    }

    /// Runs `work` with the layer, and returns the spans that ended.
    fn traced(&self, work: impl FnOnce()) -> Vec<SpanData> {
        tracing::subscriber::with_default(registry().with(self.tracer.layer()), work);
        self.ended()
    }
}

fn events(span: &SpanData) -> Vec<&str> {
    span.events.iter().map(|event| &*event.name).collect()
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).unwrap()
}

fn failed(description: &'static str) -> Status {
    Status::Error {
        description: description.into(),
    }
}

#[test]
fn a_handler_without_a_span_speaks_for_the_request() {
    let fixture = Fixture::new();
    let spans = fixture.traced(|| {
        let span = fixture.serve_at("/items");
        {
            let _guard = span.captured().attach();
            info!(shelf = 7, password = "hunter2", "looked");
            debug!("not interesting");
            std::thread::scope(|scope| {
                let (job, dispatch) = (Traced::new(()), tracing::dispatcher::get_default(Clone::clone));
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        job.run(|()| error!("on another thread"));
                    });
                });
            });
        }
        info!("outside of it");
        fixture.answer_well(span);
    });
    assert_eq!(events(&spans[0]), ["looked", "on another thread"]);
    assert_eq!(spans[0].status, failed(""));
    let attributes = &spans[0].events[0].attributes;
    let value = |key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        found.map(|attribute| attribute.value.to_string())
    };
    assert_eq!(value("shelf").as_deref(), Some("7"));
    assert_eq!(value("password").as_deref(), Some("[redacted]"));
}

#[test]
fn the_tail_keeps_a_request_whose_handler_logs_an_error() {
    let tail = Tail::new().keep_errors();
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff).tail(tail));
    let spans = fixture.traced(|| {
        for (path, is_wrong) in [("/fine", false), ("/wrong", true)] {
            let span = fixture.serve_at(path);
            {
                let _guard = span.context().attach();
                if is_wrong {
                    error!(error = &std::io::Error::other("disk full") as &dyn std::error::Error);
                } else {
                    warn!("slow");
                }
            }
            fixture.answer_well(span);
        }
    });
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].attribute("url.path").unwrap().to_string(), "/wrong");
    assert_eq!(spans[0].status, failed("disk full"));
    let message = spans[0].attribute("exception.message").unwrap();
    assert_eq!(message.to_string(), "disk full");
}

#[test]
fn the_job_of_a_request_says_nothing_about_the_worker() {
    let fixture = Fixture::new();
    let spans = fixture.traced(|| {
        let request = fixture.serve_at("/items");
        let direct = Traced::with(request.captured().clone(), "the text of one request");
        let bridged = info_span!("elsewhere").in_scope(|| Traced::new("the text of another one"));
        info_span!("worker").in_scope(|| {
            direct.run(|text| error!("{text}"));
            bridged.run(|text| error!("{text}"));
            info!("own");
        });
        fixture.answer_well(request);
    });
    let worker = named(&spans, "worker");
    assert_eq!((events(worker), &worker.status), (vec!["own"], &Status::Unset));
    let request = named(&spans, "GET");
    assert_eq!(events(request), ["the text of one request"]);
    assert_eq!(request.status, failed(""));
    assert!(named(&spans, "elsewhere").events.is_empty());
}

#[test]
fn spans_of_both_kinds_take_turns() {
    let fixture = Fixture::new();
    let spans = fixture.traced(|| {
        let request = fixture.serve_at("/items");
        let _guard = request.captured().attach();
        info_span!("inside").in_scope(|| {
            info!("of the inner one");
            let direct = fixture.tracer.span("direct").start();
            direct.in_scope(|| info!("of the direct one"));
            let later = Deadline::at(fixture.clock.now() + Duration::from_secs(1));
            let _guard = Context::current().with_deadline(later).attach();
            info!("with another deadline");
            let _guard = Captured::default().attach();
            error!("of nobody");
        });
        info!("of the request");
        fixture.answer_well(request);
        error!("too late");
    });
    for (name, expected) in [
        ("GET", &["of the request"][..]),
        ("inside", &["of the inner one", "with another deadline"]),
        ("direct", &["of the direct one"]),
    ] {
        assert_eq!(events(named(&spans, name)), expected, "{name}");
    }
}

#[test]
fn what_is_said_in_two_ways_is_in_order() {
    let fixture = Fixture::new();
    let spans = fixture.traced(|| {
        let mut span = fixture.tracer.span("restock").start();
        let step = || fixture.clock.advance(Duration::from_secs(1));
        span.in_scope(|| info!("first"));
        step();
        span.add_event_with("second", [Attribute::new("items", 3)]);
        step();
        span.in_scope(|| info!("third"));
        step();
    });
    assert_eq!(events(&spans[0]), ["first", "second", "third"]);
    let after = spans[0].events[2].time.duration_since(spans[0].start);
    assert_eq!(after.unwrap(), Duration::from_secs(2));
    assert_eq!(spans[0].duration(), Duration::from_secs(3));
}

#[test]
fn what_is_left_to_a_span_is_bounded() {
    let fixture = Fixture::new();
    let spans = fixture.traced(|| {
        let span = fixture.tracer.span("endless").start();
        span.in_scope(|| {
            (0..130).for_each(|_| info!("again"));
            error!("at last");
        });
    });
    assert_eq!((spans[0].events.len(), spans[0].dropped_events), (128, 3));
    assert_eq!(spans[0].status, failed(""));
}

#[test]
fn a_request_that_is_not_recorded_has_no_events() {
    struct NotVisited;
    impl std::fmt::Debug for NotVisited {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a field was visited")
        }
    }
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let other = Fixture::new();
    let spans = fixture.traced(|| {
        let span = fixture.serve_at("/items");
        let of_others = other.serve_at("/items");
        for context in [span.context(), of_others.context()] {
            let _guard = context.attach();
            error!(value = ?NotVisited);
        }
        fixture.answer_well(span);
        other.answer_well(of_others);
    });
    assert!(spans.is_empty());
    assert!(other.one().events.is_empty());
}
