//! Secrets in spans, and in logs on their way to a collector.

use std::error::Error;
use std::fmt;

use cortex_trace::{SpanData, SpanKind, Status, TraceLayer};
use tracing::field::Empty;
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use crate::support::Fixture;

const HIDDEN: &str = "[redacted]";

/// What nobody may look at.
struct Secret;

impl fmt::Debug for Secret {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("somebody looks");
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("somebody looks");
    }
}

impl Error for Secret {}

fn one(change: impl FnOnce(TraceLayer) -> TraceLayer, work: impl FnOnce()) -> SpanData {
    let fixture = Fixture::new();
    let layer = change(fixture.tracer.layer());
    tracing::subscriber::with_default(registry().with(layer), work);
    fixture.one()
}

fn hidden(span: &SpanData) -> Vec<&str> {
    let events = span.events.iter().flat_map(|event| &event.attributes);
    let all = span.attributes.iter().chain(events);
    all.filter(|attribute| attribute.value.to_string() == HIDDEN)
        .map(|attribute| &*attribute.key)
        .collect()
}

#[test]
fn secrets_of_spans_and_their_events_are_not_even_formatted() {
    let span = one(
        |layer| layer,
        || {
            let span = info_span!("login", user = "ann", token = ?Secret, "set-cookie" = Empty);
            span.record("set-cookie", tracing::field::debug(Secret));
            let _entered = span.entered();
            let error: &(dyn Error + 'static) = &Secret;
            info!(password = ?Secret, db.Secret = error, api_key = 7, pwd = true, tokens = 3, "signed in");
        },
    );
    let expected = ["token", "set-cookie", "password", "db.Secret", "api_key", "pwd"];
    assert_eq!(hidden(&span), expected);
    assert_eq!(span.attribute("user").unwrap().to_string(), "ann");
    assert_eq!(span.events[0].name, "signed in");
}

#[test]
fn more_names_can_be_hidden_and_fewer() {
    let work = || {
        info_span!(
            "pay",
            card_number = 1,
            password = 2,
            name = 3,
            otel.name = "order"
        )
        .in_scope(|| {});
    };
    assert_eq!(hidden(&one(|layer| layer, work)), ["password"]);
    let more = one(|layer| layer.redact(["CARD-NUMBER"]), work);
    assert_eq!(hidden(&more), ["card_number", "password"]);
    let only = one(|layer| layer.redact_only(["name"]), work);
    assert_eq!(hidden(&only), ["name"]);
    assert_eq!(only.name, "order"); // a field with a meaning is no attribute
    assert!(hidden(&one(|layer| layer.redact_only([""; 0]), work)).is_empty());
}

#[test]
fn no_more_than_five_fields_have_a_meaning_that_is_shown() {
    let names = [
        "name",
        "kind",
        "status_code",
        "status_description",
        "status_message",
        "otel.scope",
    ];
    let span = one(
        |layer| layer.redact(names),
        || {
            let span = info_span!(
                "login",
                otel.name = "order",
                otel.kind = "server",
                otel.status_code = "error",
                otel.status_message = "no",
                otel.token = ?Secret,
                otel.scope = ?Secret,
                otel.kind.name = ?Secret,
                otel.password = Empty,
            );
            span.record("otel.password", tracing::field::debug(Secret));
            span.in_scope(|| info!(otel.secret = ?Secret, otel.name = ?Secret, "an event has none"));
        },
    );
    let expected = [
        "otel.token",
        "otel.scope",
        "otel.kind.name",
        "otel.password",
        "otel.secret",
        "otel.name",
    ];
    assert_eq!(hidden(&span), expected);
    assert_eq!((&*span.name, span.kind), ("order", SpanKind::Server));
    let description = "no".into();
    assert_eq!(span.status, Status::Error { description });
}

#[test]
fn what_samplers_are_told_is_hidden_too() {
    let span = one(
        |layer| layer.redact(["route"]),
        || drop(info_span!("serve", http.route = ?Secret)),
    );
    assert_eq!(hidden(&span), ["http.route"]);
}
