//! A filter among other layers.

use cortex_testkit::Recorder;
use cortex_trace::{Filter, JsonLogs, TextLogs};
use tracing::{debug, info, info_span};
use tracing_subscriber::layer::SubscriberExt;

use crate::log_support::writer;

/// Returns what `work`, which may change the filter, logs in either format.
fn logged(directives: &str, work: impl FnOnce(&Filter)) -> [String; 2] {
    let (json, text) = (Recorder::new(), Recorder::new());
    let filter = Filter::new(directives).unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(filter.clone())
        .with(JsonLogs::new(writer(&json)))
        .with(TextLogs::new(writer(&text)));
    tracing::subscriber::with_default(subscriber, || work(&filter));
    [json.text(), text.text()]
}

fn messages(text: &str) -> Vec<&str> {
    ["one", "two", "three", "four"]
        .into_iter()
        .filter(|message| text.contains(message))
        .collect()
}

#[test]
fn one_filter_decides_for_all_layers() {
    let [json, text] = logged("info", |filter| {
        let work = |first: &str, second: &str| {
            info!("{first}");
            debug!("{second}");
        };
        work("one", "two");
        filter.set("debug").unwrap();
        work("three", "four");
        assert!(filter.set("shop=loud").is_err());
        filter.set("off").unwrap();
        work("one", "two");
    });
    assert_eq!(messages(&json), ["one", "three", "four"]);
    assert_eq!(messages(&text), ["one", "three", "four"]);
    assert_eq!((json.lines().count(), text.lines().count()), (3, 3));
}

#[test]
fn spans_can_decide_and_only_then_are_they_looked_at() {
    let [json, _] = logged("info", |filter| {
        let open = info_span!("checkout", user = "ann").entered();
        filter.set("warn,[checkout{user=ann}]=debug").unwrap();
        debug!("one"); // the span was there before the filter
        drop(open);
        let inside = info_span!("checkout", user = "ann");
        inside.in_scope(|| debug!("two"));
        info_span!("checkout", user = "bob").in_scope(|| debug!("three"));
        debug!("four");
        filter.set("off").unwrap();
        inside.in_scope(|| debug!("four"));
    });
    assert_eq!(messages(&json), ["two"]);
}
