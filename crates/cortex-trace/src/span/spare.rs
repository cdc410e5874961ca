//! Records whose spans are exported, kept for the next spans, which make them blank.
//!
//! A record is made on one thread and done with on another, its exporter's. To allocate it anew each time is what
//! allocators are slowest at: the memory comes from another thread's hands, and is in no cache.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::{Record, SpanData};
use crate::tail::size;

/// How many are kept for all threads: two full batches.
const KEPT: usize = 1024;
/// How many a thread takes for itself at once.
const AT_ONCE: usize = 8;
/// The most bytes that a kept record holds, with what is left in it of its span.
const BYTES: usize = 2048;

static SPARE: Spare = Spare::new();

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own(Vec::new())) };
}

/// Returns a blank record.
#[inline]
pub(crate) fn take() -> Box<Record> {
    // Fails in the destructors of a thread that ends, and if an allocator makes spans.
    let own = OWN.try_with(|own| {
        let mut own = own.try_borrow_mut().ok()?;
        own.0.pop().or_else(|| SPARE.refill(&mut own.0))
    });
    own.ok().flatten().unwrap_or_else(|| Box::new(Record::BLANK))
}

/// Puts a finished span into a record.
pub(crate) fn pack(span: SpanData) -> Box<Record> {
    let mut record = take();
    record.put_data(span);
    record
}

/// Takes a finished span out of its record, which this thread keeps.
pub(crate) fn unpack(mut record: Box<Record>) -> SpanData {
    let span = record.take_data();
    let _ = OWN.try_with(|own| {
        if let Ok(mut own) = own.try_borrow_mut()
            && own.0.len() < AT_ONCE
        {
            own.0.push(record);
        }
    });
    span
}

/// Keeps records whose spans are done with for the next ones.
#[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
pub(crate) fn keep(records: &mut Vec<Box<Record>>) {
    SPARE.keep(records);
    records.clear();
}

/// Those of a thread, which gives them back at its end.
#[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
struct Own(Vec<Box<Record>>);

impl Drop for Own {
    fn drop(&mut self) {
        SPARE.keep(&mut self.0);
    }
}

/// Those of all threads.
struct Spare {
    #[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
    records: Mutex<Vec<Box<Record>>>,
}

impl Spare {
    const fn new() -> Self {
        Self {
            records: Mutex::new(Vec::new()),
        }
    }

    /// Hands a thread some; none while somebody else is at it, whom a span does not wait for.
    #[cold]
    #[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
    fn refill(&self, own: &mut Vec<Box<Record>>) -> Option<Box<Record>> {
        let mut records = match self.records.try_lock() {
            Ok(records) => records,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let rest = records.len().saturating_sub(AT_ONCE);
        own.extend(records.drain(rest..));
        drop(records);
        for record in &mut *own {
            record.fetch();
        }
        own.pop()
    }

    /// Takes records over, but not too many, nor those that hold much memory. The others stay with the caller, to be
    /// freed without a lock.
    #[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
    fn keep(&self, done: &mut Vec<Box<Record>>) {
        done.retain(|record| size::of(record.data()) <= BYTES);
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(records.len());
        let rest = done.len().saturating_sub(room);
        if records.capacity() == 0 {
            records.reserve_exact(KEPT);
        }
        records.extend(done.drain(rest..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::TraceState;
    use crate::span::{Attribute, Link, SpanData, SpanEvent, SpanKind, Status};
    use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId};
    use std::time::Duration;

    /// A span in which everything is something.
    fn used(mut record: Box<Record>) -> Box<Record> {
        let now = SystemClock.now();
        let ids = TraceId::new(7).zip(SpanId::new(9)).expect("not zero");
        let link = Link::to(Context::new().with_span(ids.0, ids.1, Flags::SAMPLED)).expect("it has a span");
        let data = record.begin(now, SystemClock.wall());
        *data = SpanData {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: Some(ids.1),
            parent_is_remote: true,
            flags: Flags::SAMPLED,
            tracestate: "a=b".parse().expect("it is valid"),
            name: "somebody else's".into(),
            kind: SpanKind::Server,
            start: SystemClock.wall(),
            end: SystemClock.wall(),
            attributes: vec![Attribute::new("password", "hunter2")],
            dropped_attributes: 1,
            events: vec![SpanEvent {
                name: "event".into(),
                time: SystemClock.wall(),
                attributes: Vec::new(),
                dropped_attributes: 0,
            }],
            dropped_events: 1,
            links: vec![link],
            dropped_links: 1,
            status: Status::Ok,
        };
        record.end(now);
        record
    }

    /// A record that holds about so many bytes.
    fn of_size(bytes: usize) -> Box<Record> {
        let mut record = Box::new(Record::BLANK);
        let name = String::with_capacity(bytes - size::of(record.data()));
        record.put_data(SpanData {
            name: name.into(),
            ..SpanData::BLANK
        });
        record
    }

    fn small() -> Box<Record> {
        Box::new(Record::BLANK)
    }

    #[test]
    fn nothing_of_a_span_shows_in_the_next_one() {
        let spare = Spare::new();
        spare.keep(&mut vec![used(Box::new(Record::BLANK))]);
        let record = spare.refill(&mut Vec::new()).unwrap();
        assert!(record.is_blank());
        assert_eq!(record.data().tracestate, TraceState::EMPTY);
        assert!(record.data().attributes.capacity() > 0, "its memory is kept");
    }

    #[test]
    fn a_span_that_goes_from_record_to_record_keeps_its_end() {
        let mut record = used(Box::new(Record::BLANK));
        let (started, wall) = (SystemClock.now(), SystemClock.wall());
        record.begin(started, wall);
        record.end(started + Duration::from_secs(7));
        let span = unpack(record);
        assert_eq!(span.end, wall + Duration::from_secs(7));
        let left = OWN.with(|own| own.borrow().0.iter().all(|record| record.is_blank()));
        assert!(left && OWN.with(|own| !own.borrow().0.is_empty()));
        let packed = pack(span.clone());
        assert_eq!(unpack(packed), span);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        let spare = Spare::new();
        let kept = || spare.records.lock().unwrap().len();
        spare.keep(&mut vec![of_size(BYTES), of_size(BYTES + 1), small()]);
        assert_eq!(kept(), 2);
        let mut many = (0..KEPT).map(|_| small()).collect::<Vec<_>>();
        spare.keep(&mut many);
        assert_eq!((kept(), many.len()), (KEPT, 2));
    }

    #[test]
    fn a_thread_takes_few_at_once_and_waits_for_nobody() {
        let spare = Spare::new();
        spare.keep(&mut (0..=AT_ONCE).map(|_| small()).collect());
        let mut own = Vec::new();
        {
            let _held = spare.records.lock().unwrap();
            assert!(spare.refill(&mut own).is_none());
        }
        assert!(spare.refill(&mut own).is_some());
        assert_eq!((own.len(), spare.records.lock().unwrap().len()), (AT_ONCE - 1, 1));
    }
}
