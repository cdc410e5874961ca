//! The bulkhead against one that is slow and obviously right: a list of those who wait, which is looked through from the start.

use crate::support::Log;
use crate::tokio_clock::TokioClock;
use cortex_resilience::Reason;
use cortex_resilience::bulkhead::{Acquire, Bulkhead, Permit, Priority};
use proptest::prelude::*;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::advance;

/// Milliseconds.
type Time = u64;

#[derive(Clone, Copy, Debug)]
enum Step {
    Try,
    Acquire(Priority),
    Release(usize),
    Cancel(usize),
    Advance(Time),
    Resize(usize),
    /// Polls all who wait.
    Look,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    limit: usize,
    queue: usize,
    max_wait: Option<Time>,
    older_than: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Waits,
    Granted,
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    id: usize,
    priority: Priority,
    since: Time,
    standing: Standing,
}

#[derive(Debug)]
struct Model {
    set: Settings,
    now: Time,
    running: usize,
    /// All who have not heard yet, in the order in which they came.
    waiters: Vec<Waiter>,
}

impl Model {
    fn waiting(&self) -> impl DoubleEndedIterator<Item = &Waiter> {
        self.waiters
            .iter()
            .filter(|waiter| waiter.standing == Standing::Waits)
    }

    fn set_standing(&mut self, id: usize, standing: Standing) {
        let waiter = self.waiters.iter_mut().find(|waiter| waiter.id == id);
        waiter.expect("it waits").standing = standing;
    }

    fn is_free(&self) -> bool {
        self.running < self.set.limit && self.waiting().next().is_none()
    }

    fn fill(&mut self) {
        while self.running < self.set.limit {
            let Some(highest) = self.waiting().map(|waiter| waiter.priority).max() else {
                return;
            };
            let is_turn = |waiter: &&Waiter| waiter.priority == highest;
            let oldest = *self.waiting().find(is_turn).expect("there is one");
            let newest = *self.waiting().rfind(is_turn).expect("there is one");
            let is_loaded = self.set.older_than.is_some_and(|age| {
                self.waiting().count() * 2 > self.set.queue || self.now - oldest.since >= age
            });
            let next = if is_loaded { newest } else { oldest };
            self.set_standing(next.id, Standing::Granted);
            self.running += 1;
        }
    }

    /// Lets somebody come; says whether it waits, or else has a permit or none.
    fn acquire(&mut self, id: usize, priority: Priority) -> Standing {
        if self.is_free() {
            self.running += 1;
            return Standing::Granted;
        }
        if self.waiting().count() == self.set.queue {
            let lowest = self.waiting().map(|waiter| waiter.priority).min();
            let Some(lowest) = lowest.filter(|lowest| *lowest < priority) else {
                return Standing::Refused;
            };
            let newest = self.waiting().rfind(|waiter| waiter.priority == lowest);
            self.set_standing(newest.expect("there is one").id, Standing::Refused);
        }
        self.waiters.push(Waiter {
            id,
            priority,
            since: self.now,
            standing: Standing::Waits,
        });
        Standing::Waits
    }

    fn cancel(&mut self, id: usize) {
        let place = self.waiters.iter().position(|waiter| waiter.id == id);
        let waiter = self.waiters.remove(place.expect("it waits"));
        if waiter.standing == Standing::Granted {
            self.running -= 1;
            self.fill();
        }
    }
}

type Held<'a> = Permit<'a, Log, TokioClock>;
type Place<'a> = (usize, Pin<Box<Acquire<'a, Log, TokioClock>>>);

fn poll<'a>(place: &mut Place<'a>) -> Poll<Result<Held<'a>, Reason>> {
    let poll = place.1.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    poll.map_err(|rejected| rejected.reason())
}

/// Polls all who wait, and compares what they hear.
fn look<'a>(model: &mut Model, places: &mut Vec<Place<'a>>, held: &mut Vec<Held<'a>>) {
    places.retain_mut(|place| {
        let index = model.waiters.iter().position(|waiter| waiter.id == place.0);
        let index = index.expect("it has not heard");
        let waiter = model.waiters[index];
        let is_late = model
            .set
            .max_wait
            .is_some_and(|wait| waiter.since + wait <= model.now);
        let expected = match waiter.standing {
            Standing::Granted => Some(Ok(())),
            Standing::Refused => Some(Err(Reason::Full)),
            Standing::Waits if is_late => Some(Err(Reason::QueueTimeout)),
            Standing::Waits => None,
        };
        let heard = match poll(place) {
            Poll::Pending => None,
            Poll::Ready(Err(reason)) => Some(Err(reason)),
            Poll::Ready(Ok(permit)) => {
                held.push(permit);
                Some(Ok(()))
            }
        };
        assert_eq!(heard, expected, "{waiter:?} at {}", model.now);
        if heard.is_some() {
            model.waiters.remove(index);
        }
        heard.is_none()
    });
}

async fn compare(set: Settings, steps: Vec<Step>) {
    let small = |number: usize| u32::try_from(number).expect("it is small");
    let mut builder = Bulkhead::builder("test")
        .max_concurrent(small(set.limit))
        .queue(small(set.queue))
        .clock(TokioClock)
        .observe(Log::new());
    let has_queue = set.queue > 0;
    if let Some(wait) = set.max_wait.filter(|_| has_queue) {
        builder = builder.max_wait(Duration::from_millis(wait));
    }
    if let Some(age) = set.older_than.filter(|_| has_queue) {
        builder = builder.adaptive_lifo(Duration::from_millis(age));
    }
    let bulkhead = builder.build().expect("the settings make sense");
    let mut model = Model {
        set,
        now: 0,
        running: 0,
        waiters: Vec::new(),
    };
    let (mut held, mut places) = (Vec::<Held<'_>>::new(), Vec::<Place<'_>>::new());
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Try => {
                let is_free = model.is_free();
                model.running += usize::from(is_free);
                let permit = bulkhead.try_acquire();
                assert_eq!(permit.is_ok(), is_free);
                held.extend(permit);
            }
            Step::Acquire(priority) => {
                let expected = model.acquire(id, priority);
                let mut place = (id, Box::pin(bulkhead.acquire().priority(priority)));
                let is_at_once = expected == Standing::Waits && model.set.max_wait == Some(0);
                match (poll(&mut place), expected) {
                    (Poll::Ready(Ok(permit)), Standing::Granted) => held.push(permit),
                    (Poll::Ready(Err(Reason::Full)), Standing::Refused) => {}
                    (Poll::Ready(Err(Reason::QueueTimeout)), _) if is_at_once => model.cancel(id),
                    (Poll::Pending, Standing::Waits) if !is_at_once => places.push(place),
                    other => panic!("{other:?} for {step:?} at {}", model.now),
                }
            }
            Step::Release(which) if !held.is_empty() => {
                drop(held.remove(which % held.len()));
                model.running -= 1;
                model.fill();
            }
            Step::Cancel(which) if !places.is_empty() => {
                let (id, place) = places.remove(which % places.len());
                drop(place);
                model.cancel(id);
            }
            Step::Release(_) | Step::Cancel(_) => {}
            Step::Advance(time) => {
                advance(Duration::from_millis(time)).await;
                model.now += time;
                look(&mut model, &mut places, &mut held);
            }
            Step::Resize(limit) => {
                bulkhead.resize(small(limit)).expect("it is not zero");
                model.set.limit = limit;
                model.fill();
            }
            Step::Look => look(&mut model, &mut places, &mut held),
        }
        let snapshot = bulkhead.snapshot();
        let waiting = model.waiting().count();
        assert_eq!(
            (snapshot.in_use, snapshot.waiting, snapshot.max_concurrent),
            (small(model.running), small(waiting), small(model.set.limit)),
            "after {step:?}"
        );
    }
    drop((held, places));
    let snapshot = bulkhead.snapshot();
    assert_eq!((snapshot.in_use, snapshot.waiting), (0, 0));
}

fn step() -> impl Strategy<Value = Step> {
    use Priority::{Critical, High, Low, Normal};
    let priority = prop::sample::select(vec![Low, Normal, Normal, Normal, High, Critical]);
    prop_oneof![
        1 => Just(Step::Try),
        6 => priority.prop_map(Step::Acquire),
        4 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (0_u64..30).prop_map(Step::Advance),
        1 => (1_usize..5).prop_map(Step::Resize),
        2 => Just(Step::Look),
    ]
}

proptest! {
    #[test]
    fn model_of_a_bulkhead(
        limit in 1_usize..4,
        queue in 0_usize..6,
        max_wait in prop::option::of(0_u64..50),
        older_than in prop::option::of(0_u64..50),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(compare(Settings { limit, queue, max_wait, older_than }, steps));
    }
}
