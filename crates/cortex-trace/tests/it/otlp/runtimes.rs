//! Flush and shutdown within a deadline, on every kind of runtime, against collectors that do not answer.

use std::time::Duration;

use cortex_trace::{Otlp, Tracer};

use super::collector::{Collector, Reply, Speaks, assert_adds_up};
use super::faults::Nobody;
use crate::support::{AGES, block_on};

/// Short, because it is waited for.
const DEADLINE: Duration = Duration::from_millis(50);

async fn flush_and_shutdown() {
    for speaks in [Speaks::Http, Speaks::Grpc] {
        let hanging = Collector::start(speaks, vec![Reply::Hang; 99]);
        let nobody = Nobody::new();
        let dead = match speaks {
            Speaks::Http => Otlp::http(&nobody.url()),
            Speaks::Grpc => Otlp::grpc(&nobody.url()),
        };
        for otlp in [hanging.exporter(), dead.unwrap()] {
            let tracer = Tracer::builder("shop").export(otlp).build().unwrap();
            tracer.span("work").start().end();
            assert!(tracer.flush(DEADLINE).await.unwrap_err().is_timeout());
            tracer.span("work").start().end();
            assert!(tracer.shutdown(DEADLINE).await.unwrap_err().is_timeout());
            // The thread was told to abort: it ends long before its requests would.
            tracer.shutdown(AGES).await.unwrap();
            let stats = assert_adds_up(tracer.stats());
            assert_eq!((stats.failed, stats.in_flight), (2, 0));
        }

        let well = Collector::start(speaks, []);
        let tracer = Tracer::builder("shop").export(well.exporter()).build().unwrap();
        tracer.span("work").start().end();
        tracer.flush(AGES).await.unwrap();
        assert_eq!(tracer.stats().exported, 1);
        tracer.span("work").start().end();
        tracer.shutdown(AGES).await.unwrap();
        assert_eq!(assert_adds_up(tracer.stats()).exported, 2);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn on_a_current_thread_runtime() {
    flush_and_shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn on_a_runtime_with_one_worker() {
    tokio::spawn(flush_and_shutdown()).await.unwrap();
}

#[test]
fn on_no_runtime() {
    block_on(flush_and_shutdown());
}

#[tokio::test(flavor = "current_thread")]
async fn blocking_the_only_thread_of_a_runtime() {
    let hanging = Collector::start(Speaks::Grpc, vec![Reply::Hang; 99]);
    let tracer = Tracer::builder("shop")
        .export(hanging.exporter())
        .build()
        .unwrap();
    tracer.span("work").start().end();
    assert!(tracer.flush_blocking(DEADLINE).unwrap_err().is_timeout());
    assert!(tracer.shutdown_blocking(DEADLINE).unwrap_err().is_timeout());
    tracer.shutdown_blocking(AGES).unwrap();

    let well = Collector::start(Speaks::Grpc, []);
    let tracer = Tracer::builder("shop").export(well.exporter()).build().unwrap();
    tracer.span("work").start().end();
    tracer.flush_blocking(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(tracer.stats().exported, 1);
}
