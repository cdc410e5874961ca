//! Records whose spans are exported, kept for the next spans.
//!
//! A record is made on one thread and done with on another, its exporter's. To allocate it anew each time is what
//! allocators are slowest at: the memory comes from another thread's hands, and is in no cache.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use super::Record;

/// How many are kept for all threads: two full batches.
const KEPT: usize = 1024;
/// How many a thread takes for itself at once.
const AT_ONCE: usize = 32;
/// The most attributes that a kept record has room for.
const ATTRIBUTES: usize = 16;

#[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
static SPARE: Mutex<Vec<Box<Record>>> = Mutex::new(Vec::new());

thread_local! {
    #[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
    static OWN: RefCell<Vec<Box<Record>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a blank record.
#[inline]
pub(crate) fn take() -> Box<Record> {
    // Fails in the destructors of a thread that ends, and if an allocator makes spans.
    let own = OWN.try_with(|own| {
        own.try_borrow_mut()
            .ok()
            .and_then(|mut own| own.pop().or_else(|| refill(&mut own)))
    });
    own.ok().flatten().unwrap_or_else(|| Box::new(Record::BLANK))
}

#[cold]
#[expect(clippy::vec_box, reason = "a box is what goes from hand to hand")]
fn refill(own: &mut Vec<Box<Record>>) -> Option<Box<Record>> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let rest = spare.len().saturating_sub(AT_ONCE);
    own.extend(spare.drain(rest..));
    drop(spare);
    own.pop()
}

/// Keeps blank records, but not too many, nor those that hold much memory.
pub(crate) fn keep(records: impl IntoIterator<Item = Box<Record>>) {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let room = KEPT.saturating_sub(spare.len());
    let small = |record: &Record| record.data().attributes.capacity() <= ATTRIBUTES;
    spare.extend(records.into_iter().filter(|record| small(record)).take(room));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::{Attribute, Link, SpanData, Status};
    use cortex_core::{Clock, Context, SystemClock};

    fn used() -> Box<Record> {
        let mut record = take();
        let now = SystemClock.now();
        record.begin(now, SystemClock.wall()).status = Status::Ok;
        record.set_attribute("password", "hunter2");
        record.set_name("somebody else's".into());
        record.end(now);
        record
    }

    #[test]
    fn nothing_of_a_span_shows_in_the_next_one() {
        let mut record = used();
        let span = record.take_data();
        assert_eq!((&*span.name, span.attributes.len()), ("somebody else's", 1));
        record.reuse(span);
        assert_eq!(*record.data(), SpanData::BLANK);
        assert!(record.data().attributes.capacity() > 0);
        keep([record]);
        assert_eq!(*take().data(), SpanData::BLANK);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        keep((0..2 * KEPT).map(|_| Box::new(Record::BLANK)));
        let kept = || SPARE.lock().unwrap().len();
        assert!(kept() <= KEPT, "{}", kept());

        let large = SpanData {
            attributes: (0..=ATTRIBUTES)
                .map(|n| Attribute::new(n.to_string(), 0))
                .collect(),
            links: Link::to(Context::current()).into_iter().collect(),
            ..SpanData::BLANK
        };
        let mut record = Box::new(Record::BLANK);
        record.reuse(large);
        // Others take and keep at the same time, but nothing that large.
        keep([record]);
        let largest = SPARE
            .lock()
            .unwrap()
            .iter()
            .map(|record| record.data().attributes.capacity())
            .max();
        assert!(largest.unwrap_or(0) <= ATTRIBUTES);
    }
}
