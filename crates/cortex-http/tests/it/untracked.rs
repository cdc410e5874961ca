//! Spans of the `tracing` crate for which there was no room.

use std::sync::atomic::{AtomicU64, Ordering};

use cortex_http::Limits;
use cortex_trace::{InMemory, Tracer};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{Data, LookupSpan};

use crate::support::Shop;

/// Gives spans the ids that have all the same few places in the table, so that it takes 40 to fill them, not a million.
#[derive(Default)]
struct Crowding(AtomicU64);

impl Subscriber for Crowding {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        Id::from_u64(1 + (n << 20))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        true // no handle is cloned here
    }
}

impl<'a> LookupSpan<'a> for Crowding {
    type Data = Data<'a>;

    fn span_data(&'a self, _: &Id) -> Option<Data<'a>> {
        None
    }
}

#[tokio::test]
async fn a_scrape_says_for_how_many_spans_there_was_no_room() {
    let builder = Tracer::builder("shop").export(InMemory::new());
    let tracer = builder.build().unwrap();
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer.clone())).await;
    let shown = || {
        let text = shop.registry.to_text();
        let sample = text.lines().find(|line| line.starts_with("cortex_trace_"));
        sample.map(str::to_owned)
    };
    assert_eq!(shown().as_deref(), Some("cortex_trace_untracked_spans_total 0.0"));
    let subscriber = Crowding::default().with(tracer.layer());
    tracing::subscriber::with_default(subscriber, || {
        let open: Vec<_> = (0..100).map(|_| info_span!("open")).collect();
        drop(open);
    });
    let untracked = tracer.stats().untracked;
    assert!((1..100).contains(&untracked), "{untracked}");
    assert_eq!(
        shown(),
        Some(format!("cortex_trace_untracked_spans_total {untracked}.0"))
    );
    shop.close().await;
}
