//! What `tracing` says about spans that it has not made, on its way to them.

use std::borrow::Cow;
use std::sync::{OnceLock, PoisonError};
use std::time::Instant;

use cortex_core::SpanId;

use super::recording::EVENTS;
use crate::bridge::EventFields;
use crate::bridge::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// Spans per group.
const WAYS: usize = if cfg!(cortex_loom) { 2 } else { 8 };
/// Each span has one group where its inbox may be.
const GROUPS: usize = if cfg!(cortex_loom) { 1 } else { 1024 };

/// The inboxes of the recorded spans of a tracer that are under way: room for about 8192, in 500 kB that are taken when
/// the first one starts.
///
/// A span is one piece of somebody's memory, and only its context is current, anywhere and in many places. So what
/// happens there is left here, and the span fetches it at its end.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    groups: OnceLock<Box<[Group]>>,
}

/// The inboxes of spans whose ids fall together.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Group {
    /// Zero, which no span has, is free. Freed only under the lock of the inbox.
    ids: [AtomicU64; WAYS],
    inboxes: [Mutex<Inbox>; WAYS],
}

/// Which inbox a span has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    way: u8,
    span: SpanId,
}

/// What has happened in a span.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) events: Vec<Logged>,
    /// How many did not fit.
    pub(crate) dropped: u32,
    /// The last of those that did not fit and told of an error, which is not counted: what it says about the span fits.
    pub(crate) last_error: Option<Box<Logged>>,
}

/// An event of `tracing`.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) name: Cow<'static, str>,
    pub(crate) time: Instant,
    pub(crate) fields: EventFields,
    pub(crate) is_error: bool,
}

impl Inboxes {
    /// Gives a span that starts an inbox; none if all that it may have are taken.
    pub(crate) fn open(&self, span: SpanId) -> Option<Place> {
        let groups = self.groups.get_or_init(new_groups);
        let group = &groups[group_of(span)];
        // Acquire: what was there before is fetched.
        let take = |id: &AtomicU64| {
            id.load(Ordering::Relaxed) == 0
                && id
                    .compare_exchange(0, span.get(), Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
        };
        let way = group.ids.iter().position(take)?;
        Some(Place {
            way: u8::try_from(way).ok()?,
            span,
        })
    }

    /// Says whether a span has an inbox.
    pub(crate) fn has(&self, span: SpanId) -> bool {
        self.find(span).is_some()
    }

    /// Leaves an event to a span, unless that has ended or has no inbox.
    pub(crate) fn leave(&self, span: SpanId, logged: Logged) {
        let Some((id, inbox)) = self.find(span) else {
            return;
        };
        let mut inbox = lock(inbox);
        if id.load(Ordering::Relaxed) != span.get() {
            return; // it ended meanwhile
        }
        if inbox.events.len() < EVENTS {
            inbox.events.push(logged);
        } else {
            let dropped = if logged.is_error || logged.fields.error.is_some() {
                inbox.last_error.replace(Box::new(logged))
            } else {
                Some(Box::new(logged))
            };
            inbox.dropped = inbox.dropped.saturating_add(u32::from(dropped.is_some()));
            drop(inbox);
            drop(dropped); // what foreign code has made
        }
    }

    /// Returns what was left to a span that ends.
    pub(crate) fn close(&self, place: Place) -> Inbox {
        let way = usize::from(place.way);
        let Some(group) = self.groups.get().map(|groups| &groups[group_of(place.span)]) else {
            return Inbox::default();
        };
        let mut inbox = lock(&group.inboxes[way]);
        group.ids[way].store(0, Ordering::Release);
        std::mem::take(&mut *inbox)
    }

    fn find(&self, span: SpanId) -> Option<(&AtomicU64, &Mutex<Inbox>)> {
        let group = &self.groups.get()?[group_of(span)];
        let is_its = |id: &AtomicU64| id.load(Ordering::Acquire) == span.get();
        let way = group.ids.iter().position(is_its)?;
        Some((&group.ids[way], &group.inboxes[way]))
    }
}

impl Inbox {
    pub(crate) const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.dropped == 0
    }
}

/// Ids are random.
fn group_of(span: SpanId) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "it is less than that")]
    let group = (span.get() % GROUPS as u64) as usize;
    group
}

#[cold]
fn new_groups() -> Box<[Group]> {
    std::iter::repeat_with(Group::default).take(GROUPS).collect()
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, cortex_loom))]
mod model {
    //! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-trace --features bridge --lib --release model`

    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    fn id(n: u64) -> SpanId {
        SpanId::new(n).expect("not zero")
    }

    fn logged(name: &'static str) -> Logged {
        Logged {
            name: Cow::Borrowed(name),
            time: cortex_core::Clock::now(&cortex_core::SystemClock),
            fields: EventFields::default(),
            is_error: false,
        }
    }

    fn names(inbox: &Inbox) -> Vec<&str> {
        inbox.events.iter().map(|event| &*event.name).collect()
    }

    /// The groups are there: what makes them is of the standard library, which is not modelled.
    fn ready() -> Arc<Inboxes> {
        let inboxes = Inboxes::default();
        inboxes.groups.get_or_init(new_groups);
        Arc::new(inboxes)
    }

    #[test]
    fn model_what_is_left_to_a_span_is_never_of_the_next_one_in_its_place() {
        loom::model(|| {
            let inboxes = ready();
            let first = inboxes.open(id(1)).unwrap();
            let speaker = {
                let inboxes = Arc::clone(&inboxes);
                thread::spawn(move || inboxes.leave(id(1), logged("of the first")))
            };
            let left = inboxes.close(first);
            let second = inboxes.open(id(2)).unwrap();
            assert_eq!(second.way, first.way);
            inboxes.leave(id(2), logged("of the second"));
            speaker.join().unwrap();
            assert!(matches!(&names(&left)[..], [] | ["of the first"]), "{left:?}");
            assert_eq!(names(&inboxes.close(second)), ["of the second"]);
        });
    }

    #[test]
    fn model_spans_that_start_together_have_inboxes_of_their_own() {
        loom::model(|| {
            let inboxes = ready();
            let threads = [(1, "one"), (2, "two")].map(|(n, name)| {
                let inboxes = Arc::clone(&inboxes);
                thread::spawn(move || {
                    let place = inboxes.open(id(n)).unwrap();
                    inboxes.leave(id(n), logged(name));
                    assert_eq!(names(&inboxes.close(place)), [name]);
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(!inboxes.has(id(1)) && !inboxes.has(id(2)));
        });
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use cortex_core::{Clock, SystemClock};

    fn id(n: u64) -> SpanId {
        SpanId::new(n).expect("not zero")
    }

    fn logged(name: &'static str, is_error: bool) -> Logged {
        Logged {
            name: Cow::Borrowed(name),
            time: SystemClock.now(),
            fields: EventFields::default(),
            is_error,
        }
    }

    fn names(inbox: &Inbox) -> Vec<&str> {
        inbox.events.iter().map(|event| &*event.name).collect()
    }

    #[test]
    fn each_span_gets_what_was_left_to_it_and_nothing_after_its_end() {
        let inboxes = Inboxes::default();
        inboxes.leave(id(7), logged("too early", true));
        let seven = inboxes.open(id(7)).unwrap();
        let other = inboxes.open(id(7 + GROUPS as u64)).unwrap();
        inboxes.leave(id(7), logged("a", false));
        inboxes.leave(other.span, logged("b", false));
        inboxes.leave(id(8), logged("of nobody", true));
        assert!(inboxes.has(id(7)) && !inboxes.has(id(8)));
        assert_eq!(names(&inboxes.close(seven)), ["a"]);
        inboxes.leave(id(7), logged("too late", true));
        let again = inboxes.open(id(7)).unwrap();
        assert!(inboxes.close(again).is_empty());
        assert_eq!(names(&inboxes.close(other)), ["b"]);
    }

    #[test]
    fn there_is_an_end_to_spans_and_to_events() {
        let inboxes = Inboxes::default();
        let together = |n: usize| id(7 + (n * GROUPS) as u64);
        let places: Vec<_> = (0..WAYS).map(|n| inboxes.open(together(n)).unwrap()).collect();
        assert!(inboxes.open(together(WAYS)).is_none());
        for _ in 0..EVENTS {
            inboxes.leave(together(0), logged("fits", false));
        }
        for (name, is_error) in [("no", false), ("first", true), ("last", true), ("none", false)] {
            inboxes.leave(together(0), logged(name, is_error));
        }
        let inbox = inboxes.close(places[0]);
        assert_eq!((inbox.events.len(), inbox.dropped), (EVENTS, 3));
        assert_eq!(&*inbox.last_error.unwrap().name, "last");
        assert!(inboxes.open(together(WAYS)).is_some());
    }

    #[test]
    fn threads_that_say_something_meet_the_end_of_a_span() {
        const EACH: usize = 10_000;
        let inboxes = &Inboxes::default();
        let span = |round: usize| id(1 + (round * GROUPS) as u64);
        let heard: usize = std::thread::scope(|scope| {
            let speakers = [1, 2].map(|_| {
                scope.spawn(move || {
                    for round in 0..EACH {
                        inboxes.leave(span(round), logged("event", false));
                    }
                })
            });
            let mut heard = 0;
            for round in 0..EACH {
                let place = inboxes.open(span(round)).expect("it is the only one");
                inboxes.leave(span(round), logged("own", false));
                let inbox = inboxes.close(place);
                assert!(names(&inbox).contains(&"own"));
                heard += inbox.events.len() - 1;
            }
            for speaker in speakers {
                speaker.join().expect("it does not panic");
            }
            heard
        });
        assert!(heard <= 2 * EACH);
        let groups = inboxes.groups.get().unwrap();
        let ids = groups.iter().flat_map(|group| &group.ids);
        assert!(ids.into_iter().all(|id| id.load(Ordering::Relaxed) == 0));
        let all = groups.iter().flat_map(|group| &group.inboxes);
        assert!(all.into_iter().all(|inbox| lock(inbox).is_empty()));
    }
}
