//! A tail, threads that make local traces, and somebody who flushes and shuts down meanwhile. The store of the tail has
//! plain locks, so there is no order of memory to model; what is left are the gaps between two locks.

use std::collections::HashSet;
use std::sync::mpsc::channel;

use cortex_core::Context;
use cortex_trace::{AlwaysOff, Tail};

use crate::support::{AGES, Fixture};

const THREADS: usize = 4;
const ROUNDS: usize = 3000;

#[test]
fn spans_that_end_while_everything_is_drained_and_shut_down_are_exported_or_counted_once() {
    let fixture = Fixture::with(|builder| {
        builder
            .queue_capacity(1 << 20)
            .sampler(AlwaysOff)
            .tail(Tail::new().keep_if(|_| true).max_spans(100_000))
    });
    let (tracer, (steps, stepped)) = (&fixture.tracer, channel());
    let recorded: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let steps = steps.clone();
                scope.spawn(move || {
                    let mut recorded = 0;
                    for round in 0..ROUNDS {
                        let root = tracer.span("root").parent(Context::new()).start();
                        let context = root.context();
                        let first = tracer.span("first").parent(context).start();
                        if round % 100 == thread {
                            steps.send(round).unwrap();
                        }
                        let second = tracer.span("second").parent(first.context()).start();
                        let spans = [&root, &first, &second];
                        recorded += spans.iter().filter(|span| span.is_recording()).count() as u64;
                        // Children before the root, or after it.
                        if round % 2 == 0 {
                            drop((second, first, root));
                        } else {
                            drop((root, first, second));
                        }
                    }
                    recorded
                })
            })
            .collect();
        drop(steps);
        for (step, _) in stepped.iter().enumerate() {
            if step % 4 == 0 {
                tracer.flush_blocking(AGES).unwrap();
            }
            if step == THREADS * ROUNDS / 100 * 2 / 3 {
                tracer.shutdown_blocking(AGES).unwrap();
                break;
            }
        }
        // Then the threads go on without a tail that takes anything in.
        assert!(stepped.iter().count() > 0);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    let tail = tracer.tail_stats().unwrap();
    assert_eq!((tail.pending, tail.pending_spans, tail.pending_bytes), (0, 0, 0));
    assert_eq!(tail.begun, tail.kept_by_rule, "{tail:?}");
    assert_eq!((tail.evicted, tail.panics), (0, 0));
    let stats = tracer.stats();
    assert_eq!(stats.enqueued, recorded.iter().sum::<u64>(), "{stats:?}");
    assert_eq!(
        stats.enqueued,
        stats.exported + stats.dropped_after_shutdown,
        "{stats:?}"
    );
    let exported = fixture.taken();
    assert_eq!(exported.len() as u64, stats.exported);
    let ids: HashSet<_> = exported.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), exported.len());
    assert!(stats.exported > 0 && tail.cut > 0, "{tail:?}");
}
