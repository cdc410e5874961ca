use std::time::Duration;

use axum::routing::get;
use cortex_core::{Context, Flags, FutureExt, SpanId, TraceId};
use cortex_http::client::ErrorKind;
use cortex_http::{Client, Routes, Server};
use cortex_trace::propagation::{Baggage, TraceState};
use cortex_trace::{Captured, InMemory, SpanData, Traced, Tracer};
use http::HeaderMap;

use super::support::{closing_after, url};
use crate::support::within;

fn recording(service: &'static str) -> (Tracer, InMemory) {
    let kept = InMemory::new();
    let tracer = Tracer::builder(service).export(kept.clone()).build();
    (tracer.expect("a thread can be started"), kept)
}

async fn spans(tracer: &Tracer, kept: &InMemory) -> Vec<SpanData> {
    tracer
        .shutdown(Duration::from_mins(1))
        .await
        .expect("it is in memory");
    kept.spans()
}

fn attribute(span: &SpanData, key: &str) -> String {
    span.attribute(key).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn the_span_of_the_server_hangs_below_that_of_the_call() {
    let (ours, our_spans) = recording("shop");
    let (theirs, their_spans) = recording("stock");
    let routes = Routes::new().route("/stock/{id}", get(|| async { "seven" }));
    let running = Server::new(routes)
        .tracer(theirs.clone())
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let addr = running.local_addr();
    let client = Client::builder().tracer(ours.clone()).build().unwrap();

    let order = ours.span("order").start();
    let context = order.context();
    let call = client.get(format!("http://user:secret@{addr}/stock/7?sig=secret&page=2"));
    let response = call.with_context(context).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "seven");
    drop(order);
    running.shutdown();
    within(running.join()).await;

    let ours = spans(&ours, &our_spans).await;
    let theirs = spans(&theirs, &their_spans).await;
    let call = ours
        .iter()
        .find(|span| span.name == "GET")
        .expect("the call's span");
    assert_eq!(Some(call.trace_id), context.trace_id());
    assert_eq!(call.parent_span_id, context.span_id());
    assert_eq!(
        (theirs[0].trace_id, theirs[0].parent_span_id),
        (call.trace_id, Some(call.span_id))
    );
    assert_eq!(attribute(call, "http.request.method"), "GET");
    assert_eq!(attribute(call, "http.response.status_code"), "200");
    assert_eq!(attribute(call, "server.address"), "127.0.0.1");
    assert_eq!(attribute(call, "server.port"), addr.port().to_string());
    assert_eq!(attribute(call, "network.protocol.version"), "1.1");
    let url = attribute(call, "url.full");
    assert!(
        url.contains("/stock/7") && url.contains("page=2") && !url.contains("secret"),
        "{url}"
    );
}

#[tokio::test]
async fn a_call_that_fails_has_a_span_that_says_how() {
    let (tracer, kept) = recording("shop");
    let client = Client::builder().tracer(tracer.clone()).build().unwrap();
    let addr = closing_after(b"nonsense\r\n\r\n").await;
    let error = client.get(url(addr, "/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let spans = spans(&tracer, &kept).await;
    assert_eq!(attribute(&spans[0], "error.type"), "protocol");
}

#[tokio::test]
async fn tracestate_and_baggage_go_along_to_those_who_may_have_them() {
    let tell = async |headers: HeaderMap| {
        let value = |name: &str| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("-")
                .to_owned()
        };
        format!(
            "{} {} {}",
            value("traceparent"),
            value("tracestate"),
            value("baggage")
        )
    };
    let running = Server::new(Routes::new().route("/", get(tell)))
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let ids = (TraceId::new(0x4bf9).unwrap(), SpanId::new(0xf0).unwrap());
    let captured = Captured::new(Context::new().with_span(ids.0, ids.1, Flags::SAMPLED))
        .with_tracestate("vendor=value".parse::<TraceState>().unwrap())
        .with_baggage("tenant=7".parse::<Baggage>().unwrap());
    let ask = async |client: Client| {
        let call = async { client.get(url(running.local_addr(), "/")).await };
        let response = Traced::with(captured.clone(), Box::pin(call)).await.unwrap();
        response.into_body().text().await.unwrap()
    };
    let told = ask(Client::builder().build().unwrap()).await;
    let expected = format!("00-{:032x}-", 0x4bf9);
    assert!(told.starts_with(&expected), "{told}");
    assert!(told.ends_with(" vendor=value tenant=7"), "{told}");
    let wary = Client::builder().propagate_to(|host| host.ends_with(".internal"));
    assert_eq!(ask(wary.build().unwrap()).await, "- - -");
}

#[tokio::test]
async fn without_a_tracer_no_trace_is_begun() {
    let tell = async |headers: HeaderMap| format!("{}", headers.contains_key("traceparent"));
    let routes = Routes::new().route("/", get(tell));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let sent = async |client: Client| {
        let response = client.get(url(running.local_addr(), "/")).await.unwrap();
        response.into_body().text().await.unwrap()
    };
    assert_eq!(sent(Client::builder().build().unwrap()).await, "false");
    let (tracer, _) = recording("shop");
    assert_eq!(
        sent(Client::builder().tracer(tracer).build().unwrap()).await,
        "true"
    );
    // Whoever asks for ids gets them.
    let ids = Client::builder().tracer(Tracer::propagate_only());
    assert_eq!(sent(ids.build().unwrap()).await, "true");
}

#[tokio::test]
async fn an_answer_can_be_passed_on_as_it_comes() {
    let (tracer, kept) = recording("shop");
    let big = Routes::new().route("/big", get(|| async { "again and ".repeat(100_000) }));
    let stock = Server::new(big)
        .tracer(tracer.clone())
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let client = Client::builder().tracer(tracer.clone()).build().unwrap();
    let behind = url(stock.local_addr(), "/big");
    let pass = async move || {
        let (client, behind) = (client.clone(), behind.clone());
        client
            .get(behind)
            .await
            .expect("it answers")
            .map(axum::body::Body::new)
    };
    let front = Routes::new().route("/front", get(pass));
    let front = Server::new(front)
        .tracer(tracer.clone())
        .start("127.0.0.1:0")
        .await
        .unwrap();

    let outside = Client::builder().build().unwrap();
    let response = outside.get(url(front.local_addr(), "/front")).await.unwrap();
    assert_eq!(response.into_body().bytes().await.unwrap().len(), 1_000_000);
    for running in [front, stock] {
        running.shutdown();
        within(running.join()).await;
    }
    // One trace, from the one server over the call to the other.
    let spans = spans(&tracer, &kept).await;
    let named = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let (front, call, stock) = (named("GET /front"), named("GET"), named("GET /big"));
    assert_eq!(call.parent_span_id, Some(front.span_id));
    assert_eq!(stock.parent_span_id, Some(call.span_id));
    assert!([call, stock].iter().all(|span| span.trace_id == front.trace_id));
}
