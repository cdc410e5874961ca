//! Collectors that refuse, hang, die and flood.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use cortex_core::Context;
use cortex_trace::{Otlp, OtlpError, OtlpErrorKind, Stats, Tracer, TracerBuilder};

use super::collector::{Collector, Reply, Speaks, assert_adds_up};
use super::relay::Relay;
use crate::support::AGES;

pub(super) const BOTH: [Speaks; 2] = [Speaks::Http, Speaks::Grpc];

/// A builder whose queue moves only when somebody asks.
pub(super) fn patient() -> TracerBuilder {
    Tracer::builder("shop").batch_delay(Duration::from_hours(1))
}

pub(super) fn end_spans(tracer: &Tracer, count: usize) {
    for _ in 0..count {
        tracer.span("work").parent(Context::new()).start().end();
    }
}

fn last_error(tracer: &Tracer) -> Option<OtlpErrorKind> {
    let (_, error) = tracer.last_errors().next()?;
    let error = std::error::Error::source(&error)?.downcast_ref::<OtlpError>()?;
    Some(error.kind().clone())
}

/// Sends three spans, then one more, and returns the numbers and what went wrong.
pub(super) fn send(otlp: Otlp) -> (Stats, Option<OtlpErrorKind>) {
    let tracer = patient().export(otlp).build().unwrap();
    end_spans(&tracer, 3);
    tracer.flush_blocking(AGES).unwrap();
    assert_adds_up(tracer.stats());
    let error = last_error(&tracer);
    end_spans(&tracer, 1);
    tracer.shutdown_blocking(AGES).unwrap();
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.enqueued, stats.in_flight, stats.panics), (4, 0, 0));
    (stats, error)
}

#[test]
fn busy_collectors_are_asked_again() {
    let http = |status, headers: &[_]| Reply::Http(status, headers.to_vec(), vec![]);
    let grpc = |code| Reply::Grpc(vec![], vec![("grpc-status", code)]);
    // RESOURCE_EXHAUSTED with a RetryInfo of no time at all.
    let exhausted = Reply::Grpc(
        vec![],
        vec![
            ("grpc-status", "8"),
            (
                "grpc-status-details-bin",
                "CAgaKgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbw",
            ),
        ],
    );
    for (speaks, replies) in [
        (Speaks::Http, vec![http(503, &[("retry-after", "0")])]),
        (
            Speaks::Http,
            vec![
                http(429, &[]),
                http(502, &[]),
                http(504, &[("retry-after", "soon")]),
            ],
        ),
        (Speaks::Http, vec![Reply::Die, Reply::Die]),
        (Speaks::Grpc, vec![grpc("14"), grpc("4"), exhausted]),
        (Speaks::Grpc, vec![http(503, &[("retry-after", "0")])]),
        (Speaks::Grpc, vec![Reply::Die, Reply::DieInBody]),
    ] {
        let attempts = replies.len() + 1;
        let collector = Collector::start(speaks, replies.clone());
        let (stats, error) = send(collector.exporter());
        assert_eq!((stats.exported, error), (4, None), "{replies:?}");
        for _ in 0..attempts {
            assert_eq!(collector.next().spans(), 3);
        }
        assert_eq!(collector.next().spans(), 1);
        assert_eq!(collector.others(), 0);
    }
}

#[test]
fn refusals_are_final() {
    let http = |status, headers: &[_], body: &str| Reply::Http(status, headers.to_vec(), body.into());
    let grpc = |code| Reply::Grpc(vec![], vec![("grpc-status", code), ("grpc-message", "no%21")]);
    for (speaks, reply) in [
        (Speaks::Http, http(400, &[("content-type", "text/plain")], "no")),
        (Speaks::Http, http(401, &[("retry-after", "0")], "")),
        (Speaks::Http, http(413, &[], "")),
        (Speaks::Http, http(500, &[], "")),
        (Speaks::Http, http(307, &[("location", "/elsewhere")], "")),
        (Speaks::Grpc, http(404, &[], "")),
        (Speaks::Grpc, grpc("3")),
        (Speaks::Grpc, grpc("8")),
        (Speaks::Grpc, grpc("16")),
        (Speaks::Grpc, Reply::Http(200, vec![], vec![])), // no status at all
    ] {
        let collector = Collector::start(speaks, [reply.clone()]);
        let (stats, error) = send(collector.exporter());
        assert_eq!((stats.exported, stats.failed), (1, 3), "{reply:?}");
        assert!(
            matches!(
                error,
                Some(OtlpErrorKind::Refused { .. } | OtlpErrorKind::RefusedGrpc { .. })
            ),
            "{error:?}"
        );
        assert_eq!(collector.others(), 2, "{reply:?}");
    }
}

#[test]
fn a_partial_success_is_counted_and_not_sent_again() {
    for speaks in BOTH {
        for (said, rejected) in [(2, 2), (99, 3), (0, 0), (-5, 0)] {
            let collector = Collector::start(speaks, [speaks.rejects(said, "too old")]);
            let (stats, error) = send(collector.exporter());
            assert_eq!((stats.exported, stats.rejected), (4 - rejected, rejected));
            assert_eq!(stats.failed, 0);
            let expected = OtlpErrorKind::Rejected {
                items: rejected,
                message: "too old".into(),
            };
            assert_eq!(error, (rejected > 0).then_some(expected));
            assert_eq!(collector.others(), 2);
        }
    }
    let json = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}"#;
    let reply = Reply::Http(200, vec![("content-type", "application/json")], json.to_vec());
    let collector = Collector::start(Speaks::Http, [reply]);
    let (stats, _) = send(Otlp::http_json(&collector.url()).unwrap());
    assert_eq!((stats.exported, stats.rejected), (2, 2));
}

#[test]
fn a_success_that_breaks_off_is_a_success_if_its_status_was_told() {
    let collector = Collector::start(Speaks::Http, [Reply::DieInBody]);
    let (stats, error) = send(collector.exporter());
    assert_eq!((stats.exported, error), (4, None));
    assert_eq!(collector.others(), 2);
}

#[test]
fn a_success_whose_body_hangs_is_not_sent_again() {
    let collector = Collector::start(Speaks::Http, [Reply::HangInBody]);
    let (stats, error) = send(collector.exporter().timeout(Duration::from_millis(200)));
    assert_eq!((stats.exported, error), (4, None));
    assert_eq!(collector.others(), 2);
}

#[test]
fn a_connection_that_died_without_a_sign_is_given_up() {
    for speaks in BOTH {
        let collector = Collector::start(speaks, []);
        let relay = Relay::start(collector.address());
        let otlp = match speaks {
            Speaks::Http => Otlp::http(&relay.url()),
            Speaks::Grpc => Otlp::grpc(&relay.url()),
        };
        let otlp = otlp.unwrap().backoff(Duration::from_millis(1));
        let tracer = patient()
            .export(otlp.timeout(Duration::from_millis(500)))
            .build()
            .unwrap();
        end_spans(&tracer, 1);
        tracer.flush_blocking(AGES).unwrap();
        assert_eq!((collector.next().spans(), relay.connections()), (1, 1));
        relay.freeze();
        end_spans(&tracer, 2);
        tracer.flush_blocking(AGES).unwrap();
        assert_eq!(assert_adds_up(tracer.stats()).exported, 3);
        assert_eq!(collector.next().spans(), 2);
        assert!(relay.connections() > 1);
    }
}

#[test]
fn a_flood_is_cut_off() {
    for (status, failed) in [(200, 0), (400, 3)] {
        let collector = Collector::start(Speaks::Http, [Reply::Flood(status, 10 << 20)]);
        let (stats, error) = send(collector.exporter());
        assert_eq!((stats.exported, stats.failed), (4 - failed, failed));
        if let Some(OtlpErrorKind::Refused { message, .. }) = error {
            assert_eq!(message.len(), 256);
        }
    }
    let collector = Collector::start(Speaks::Grpc, [Reply::Flood(200, 10 << 20)]);
    let (stats, _) = send(collector.exporter());
    assert_eq!((stats.exported, stats.failed), (1, 3)); // the status would have come last
}

#[test]
fn a_collector_that_hangs_costs_its_timeout() {
    for speaks in BOTH {
        let collector = Collector::start(speaks, [Reply::Hang]);
        let short = Duration::from_millis(50);
        let (stats, error) = send(collector.exporter().timeout(short).retry_for(short));
        assert_eq!((stats.exported, stats.failed), (1, 3));
        assert_eq!(error, Some(OtlpErrorKind::TimedOut));

        // Long enough for an answer on a machine that has other things to do.
        let collector = Collector::start(speaks, [Reply::Hang]);
        let (stats, _) = send(collector.exporter().timeout(Duration::from_secs(1)));
        assert_eq!(stats.exported, 4); // it was better the second time
    }
}

#[test]
fn nobody_there_is_counted() {
    for speaks in BOTH {
        let nobody = Nobody::new();
        let url = nobody.url();
        let otlp = match speaks {
            Speaks::Http => Otlp::http(&url),
            Speaks::Grpc => Otlp::grpc(&url),
        };
        // The second attempt would come too late, so that there is none, and no wait.
        let otlp = otlp.unwrap().backoff(Duration::from_hours(1));
        let (stats, error) = send(otlp.retry_for(Duration::from_secs(10)));
        assert_eq!((stats.exported, stats.failed), (0, 4));
        assert_eq!(error, Some(OtlpErrorKind::Transport));
    }
}

/// A port where nobody listens, and nobody else can: it is one end of a connection.
pub(super) struct Nobody {
    end: TcpStream,
    _other: TcpListener,
}

impl Nobody {
    pub(super) fn new() -> Self {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            end: TcpStream::connect(other.local_addr().unwrap()).unwrap(),
            _other: other,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.end.local_addr().unwrap())
    }
}

#[test]
fn a_burst_is_bounded_while_the_collector_hangs() {
    let collector = Collector::start(Speaks::Http, vec![Reply::Hang; 99]);
    let builder = patient().queue_capacity(64).batch_size(16);
    let tracer = builder.export(collector.exporter()).build().unwrap();
    end_spans(&tracer, 16);
    assert_eq!(collector.next().spans(), 16); // and hangs there
    end_spans(&tracer, 10_000);
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.in_flight, stats.dropped_queue_full), (80, 9936));
    tracer.shutdown_blocking(Duration::ZERO).unwrap_err();
    tracer.shutdown_blocking(AGES).unwrap(); // aborted, it ends by itself
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.failed, stats.in_flight), (80, 0));
    assert_eq!(last_error(&tracer), Some(OtlpErrorKind::Aborted));
}
