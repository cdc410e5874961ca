//! Spans made inside of others, by a subscriber of the whole process: while any thread has a scoped one, `tracing` hides
//! subscribers from what they call, so this needs a process of its own.

use std::fmt;
use std::process::Command;
use std::time::Duration;

use cortex_trace::{InMemory, SpanExt, Tracer};
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_value_may_make_spans_itself() {
    const ALONE: &str = "CORTEX_TRACE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return make_spans_inside_of_spans();
    }
    let test = format!(
        "{}::a_value_may_make_spans_itself",
        module_path!().split_once("::").unwrap().1
    );
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", &test]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

fn make_spans_inside_of_spans() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let span = info_span!("inside");
            span.in_scope(|| info!("inside"));
            f.write_str(if span.context().span_id().is_some() {
                "seen"
            } else {
                "hidden"
            })
        }
    }
    let memory = InMemory::new();
    let tracer = Tracer::builder("shop").export(memory.clone()).build().unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(tracer.layer())).unwrap();
    let work = || {
        let span = info_span!("outside", a = ?Chatty, b = tracing::field::Empty);
        span.record("b", tracing::field::debug(Chatty));
        span.in_scope(|| info!(c = ?Chatty, "outside"));
    };
    std::thread::spawn(work).join().unwrap();
    tracer.shutdown_blocking(Duration::from_mins(2)).unwrap();
    let spans = memory.take();
    let outside: Vec<_> = spans.iter().filter(|span| span.name == "outside").collect();
    assert_eq!((spans.len(), outside.len()), (4, 1));
    let seen = Some(&"seen".into());
    assert_eq!(
        (outside[0].attribute("a"), outside[0].attribute("b")),
        (seen, seen)
    );
    assert_eq!(outside[0].events.len(), 1);
}
