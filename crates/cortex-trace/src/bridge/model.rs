//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-trace --features bridge --lib --release model`

use cortex_core::{Context, Flags, SpanId, TraceId};
use loom::sync::Arc;
use loom::thread;

use super::spans::{AlreadySeen, Spans};
use crate::span::{Record, SpanData, Value};

/// Three ids that like the same cell.
const A: u64 = 2;
const B: u64 = 4;
const C: u64 = 6;

/// With two switches of threads against their will: enough for every race between two.
fn check(run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(run);
}

/// A context in which every word tells which one it is.
fn numbered(n: u64) -> Context {
    let trace = u128::from(n) << 64 | u128::from(!n);
    let ids = TraceId::new(trace).zip(SpanId::new(n)).expect("it is there");
    Context::new().with_span(ids.0, ids.1, Flags::RANDOM)
}

fn recorded(n: u64) -> Context {
    let context = numbered(n);
    let ids = context.trace_id().zip(context.span_id()).expect("it is there");
    context.with_span(ids.0, ids.1, Flags::SAMPLED | Flags::RECORDING)
}

fn record(n: u64) -> Option<Box<Record>> {
    let context = recorded(n);
    Some(Box::new(Record::over(SpanData {
        trace_id: context.trace_id().expect("it is there"),
        span_id: context.span_id().expect("it is there"),
        flags: context.flags(),
        ..SpanData::BLANK
    })))
}

/// Closes a span; returns whose record it had, and what was noted in it.
fn close(spans: &Spans, id: u64) -> (u64, Vec<Value>) {
    let mut record = spans.remove(id).expect("it is there");
    let span = record.take_data();
    let notes = span.attributes.into_iter().map(|attribute| attribute.value);
    (span.span_id.get(), notes.collect())
}

#[test]
fn model_who_asks_for_a_span_that_closes_never_gets_another_one() {
    check(|| {
        let spans = Arc::new(Spans::default());
        spans.insert(A, &numbered(1), None).unwrap();
        let reader = {
            let spans = Arc::clone(&spans);
            thread::spawn(move || [spans.context(A), spans.context(A)])
        };
        spans.remove(A);
        spans.insert(B, &numbered(2), None).unwrap(); // in the same cell
        for seen in reader.join().unwrap() {
            assert!(seen.is_none_or(|seen| seen == numbered(1)), "{seen:?}");
        }
        assert_eq!((spans.context(A), spans.context(B)), (None, Some(numbered(2))));
    });
}

#[test]
fn model_spans_that_want_one_cell_are_all_found_and_leave_nothing() {
    check(|| {
        let spans = Arc::new(Spans::default());
        // The first level is there: what makes levels is of the standard library, which is not modelled.
        spans.insert(A, &numbered(1), None).unwrap();
        spans.remove(A);
        let threads = [(B, 2), (C, 3)].map(|(id, n)| {
            let spans = Arc::clone(&spans);
            thread::spawn(move || {
                assert!(spans.insert(id, &numbered(n), None).is_ok());
                assert_eq!(spans.context(id), Some(numbered(n)));
                assert!(spans.remove(id).is_none());
                assert_eq!(spans.context(id), None);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(spans.taken(), 0);
    });
}

#[test]
fn model_a_context_that_was_seen_stays() {
    check(|| {
        let spans = Arc::new(Spans::default());
        spans.insert(A, &numbered(1), None).unwrap();
        let changer = {
            let spans = Arc::clone(&spans);
            thread::spawn(move || spans.find(A).unwrap().change(&numbered(2), |_| ()))
        };
        let seen = spans.context(A).unwrap();
        let expected = match changer.join().unwrap() {
            Ok(()) => numbered(2),
            Err(AlreadySeen) => numbered(1),
        };
        assert_eq!((seen, spans.context(A)), (expected, Some(expected)));
    });
}

#[test]
fn model_what_is_recorded_while_a_span_closes_is_in_it_or_refused() {
    check(|| {
        let spans = Arc::new(Spans::default());
        spans.insert(A, &recorded(1), record(1)).unwrap();
        let writer = {
            let spans = Arc::clone(&spans);
            thread::spawn(move || {
                let open = spans.find(A);
                open.and_then(|open| open.record(|record| record.set_attribute("note", 7)))
                    .is_some()
            })
        };
        let first = close(&spans, A);
        spans.insert(B, &recorded(2), record(2)).unwrap(); // in the same cell
        let noted = writer.join().unwrap();
        let notes = if noted { vec![Value::from(7)] } else { Vec::new() };
        assert_eq!(first, (1, notes));
        assert_eq!(close(&spans, B), (2, Vec::new()));
        assert_eq!(spans.taken(), 0);
    });
}

#[test]
fn model_a_record_that_replaces_another_one_is_the_one_that_is_exported() {
    check(|| {
        let spans = Arc::new(Spans::default());
        spans.insert(A, &recorded(1), record(1)).unwrap();
        let reader = {
            let spans = Arc::clone(&spans);
            thread::spawn(move || {
                let open = spans.find(A).unwrap();
                (open.context().unwrap(), open.is_recording())
            })
        };
        let changed = spans
            .find(A)
            .unwrap()
            .change(&recorded(2), |recording| *recording = record(2));
        let (seen, is_recording) = reader.join().unwrap();
        let expected = if changed.is_ok() { 2 } else { 1 };
        assert_eq!((seen, is_recording), (recorded(expected), true));
        assert_eq!(close(&spans, A), (expected, Vec::new()));
    });
}
