//! Reads the caller's baggage and writes it into the headers of an outgoing request, beside the SDK's propagator.
//!
//! The members are what requests have: identifiers, an escape, a property.

use std::hint::black_box;

use axum::http::header::{HeaderMap, HeaderValue};
use cortex_trace::propagation;
use criterion::Criterion;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::{Context as OtelContext, StringValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::BaggagePropagator;

const BAGGAGE: &str = "userId=alice,serverNode=DF%2028,isProduction=false;internal,tenant=acme-7";

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut received = HeaderMap::new();
    received.insert("baggage", HeaderValue::from_static(BAGGAGE));
    let propagator = BaggagePropagator::new();
    // As it came, and with a look at a member, without which ours need not be read.
    for (name, look) in [("baggage", false), ("baggage-read", true)] {
        let mut group = criterion.benchmark_group(name);
        let mut ours = HeaderMap::new();
        group.bench_function("cortex", |b| {
            b.iter(|| {
                let baggage = propagation::extract_baggage(black_box(&received));
                if look {
                    let node = baggage.get(black_box("serverNode"));
                    assert_eq!(node.as_deref(), Some("DF 28"));
                }
                propagation::inject_baggage(&baggage, &mut ours);
            });
        });
        let mut theirs = HeaderMap::new();
        group.bench_function("opentelemetry", |b| {
            b.iter(|| {
                let extractor = HeaderExtractor(black_box(&received));
                let context = propagator.extract_with_context(&OtelContext::new(), &extractor);
                if look {
                    let node = context.baggage().get(black_box("serverNode"));
                    assert_eq!(node.map(StringValue::as_str), Some("DF 28"));
                }
                propagator.inject_context(&context, &mut HeaderInjector(&mut theirs));
            });
        });
        // Empty when a filter left one of them out. Theirs have no order.
        for sent in [ours, theirs].iter().filter(|sent| !sent.is_empty()) {
            let sorted = |list: &str| {
                let mut members: Vec<_> = list.split(',').map(str::to_owned).collect();
                members.sort_unstable();
                members
            };
            let sent = sent["baggage"].to_str().expect("it is text");
            assert_eq!(sorted(sent), sorted(BAGGAGE));
        }
    }
}
