use crate::support::{Door, at_rest, poll_once};
use cortex_core::{Clock, Context, Deadline, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_workers::{
    AfterPanic, Delivery, Drain, Error, Fed, Overflow, Pool, Priority, Receipt, Source, TaskCx, Worker,
    WorkerCx, feed,
};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Answer,
    FailOnce,
    PanicOnce,
}

#[derive(Clone, Debug)]
struct Parcel {
    id: usize,
    deed: Deed,
    attempt: usize,
    door: Option<Door>,
}

impl Parcel {
    fn new(id: usize, deed: Deed) -> Self {
        Self {
            id,
            deed,
            attempt: 0,
            door: None,
        }
    }
}

/// Its state is lost with each panic if the pool is called fragile.
struct Carrier {
    is_fragile: bool,
}

impl Worker for Carrier {
    type Request = Parcel;
    type Response = (usize, Context, Priority);
    type Error = &'static str;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, &'static str> {
        Ok(Self {
            is_fragile: cx.pool() == "fragile",
        })
    }

    fn run(&mut self, parcel: Parcel, cx: &TaskCx<'_>) -> Result<Self::Response, &'static str> {
        if let Some(door) = parcel.door {
            door.pass();
        }
        match (parcel.deed, parcel.attempt) {
            (Deed::FailOnce, 0) => Err("nobody at home"),
            (Deed::PanicOnce, 0) => std::panic::resume_unwind(Box::new("a dog")),
            _ => Ok((parcel.id, Context::current(), cx.priority())),
        }
    }

    fn after_panic(&mut self) -> AfterPanic {
        if self.is_fragile {
            AfterPanic::Rebuild
        } else {
            AfterPanic::Keep
        }
    }
}

/// A queue in memory that delivers again what was not done.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    ready: VecDeque<Parcel>,
    context: Context,
    out: usize,
    /// There will be no more.
    is_over: bool,
    /// It breaks once nothing is ready.
    breaks: bool,
    acks_break: bool,
    acked: Vec<(usize, Context, Priority)>,
    returned: Vec<(usize, String)>,
    waker: Option<Waker>,
}

impl Store {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().expect("nobody panics there")
    }

    fn of(parcels: impl IntoIterator<Item = Parcel>) -> Self {
        let store = Self::default();
        store.shelf().ready.extend(parcels);
        store
    }
}

struct Slip(Store, Parcel);

impl Source<Carrier> for Store {
    type Receipt = Slip;
    type Error = &'static str;

    async fn next(&mut self) -> Result<Option<Delivery<Carrier, Slip>>, &'static str> {
        poll_fn(|cx| {
            let mut rack = self.shelf();
            if let Some(parcel) = rack.ready.pop_front() {
                rack.out += 1;
                let context = rack.context;
                drop(rack);
                let slip = Slip(self.clone(), parcel.clone());
                let delivery = Delivery::new(parcel, slip)
                    .context(context)
                    .priority(Priority::Low);
                return Poll::Ready(Ok(Some(delivery)));
            }
            if rack.breaks {
                return Poll::Ready(Err("the road is closed"));
            }
            if rack.is_over && rack.out == 0 {
                return Poll::Ready(Ok(None));
            }
            rack.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Receipt<Carrier> for Slip {
    type Error = &'static str;

    async fn ack(self, answer: (usize, Context, Priority)) -> Result<(), &'static str> {
        let mut rack = self.0.shelf();
        rack.out -= 1;
        rack.acked.push(answer);
        let waker = rack.waker.take();
        let is_broken = rack.acks_break;
        drop(rack);
        waker.into_iter().for_each(Waker::wake);
        if is_broken { Err("no ink") } else { Ok(()) }
    }

    async fn nak(self, why: Error<Parcel, &'static str>) -> Result<(), &'static str> {
        let Self(store, mut parcel) = self;
        let mut rack = store.shelf();
        rack.out -= 1;
        rack.returned.push((parcel.id, why.to_string()));
        if let Some(back) = why.into_work() {
            assert_eq!(back.id, parcel.id);
        }
        parcel.attempt += 1;
        if parcel.attempt < 3 {
            rack.ready.push_back(parcel);
        }
        let waker = rack.waker.take();
        drop(rack);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }
}

fn carriers(threads: usize, queue: usize) -> Pool<Carrier> {
    let builder = Pool::<Carrier>::builder("carriers").threads(threads).queue(queue);
    builder.build_blocking().expect("the settings make sense")
}

#[tokio::test]
async fn what_failed_or_panicked_is_returned_and_delivered_again() {
    let deeds = [
        Deed::Answer,
        Deed::FailOnce,
        Deed::Answer,
        Deed::PanicOnce,
        Deed::Answer,
    ];
    let mut store = Store::of((0..100).map(|id| Parcel::new(id, deeds[id % 5])));
    store.shelf().is_over = true;
    let pool = carriers(3, 4);
    let fed = feed(&pool, &mut store).await.unwrap();
    assert_eq!((fed.answered, fed.returned), (100, 40));
    let rack = store.shelf();
    let mut ids: Vec<usize> = rack.acked.iter().map(|(id, ..)| *id).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..100), "each once");
    for (id, why) in &rack.returned {
        let expected = match deeds[id % 5] {
            Deed::FailOnce => "run a task: nobody at home",
            Deed::PanicOnce => "run a task: it panicked: a dog",
            Deed::Answer => "none",
        };
        assert_eq!(why, expected);
    }
    drop(rack);
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.completed, tasks.failed, tasks.panicked), (100, 20, 20));
}

#[tokio::test]
async fn a_panic_returns_the_one_job_that_had_it_while_the_worker_is_made_anew() {
    for overflow in [Overflow::Wait, Overflow::Reject] {
        let (clock, delay) = (ManualClock::new(), Duration::from_millis(1));
        let builder = Pool::<Carrier>::builder("fragile").threads(1).queue(8);
        let builder = builder.overflow(overflow).respawn(delay, delay);
        let pool = builder.clock(clock.clone()).build().await.unwrap();
        let mut store = Store::of([Parcel::new(0, Deed::PanicOnce)]);
        let view = store.clone();
        let mut feeding = Box::pin(feed(&pool, &mut store));
        assert!(poll_once(&mut feeding).is_pending());
        while pool.snapshot().threads.failing == 0 {
            std::thread::yield_now();
        }
        // The rest comes when there is no worker, until the clock goes on.
        let rest = (1..100).map(|id| Parcel::new(id, Deed::Answer));
        view.shelf().ready.extend(rest);
        view.shelf().is_over = true;
        assert!(poll_once(&mut feeding).is_pending());
        assert_eq!(pool.snapshot().queue.queued, [0, 0, 4]);
        // It may not have looked at the clock yet.
        while pool.snapshot().threads.failing > 0 {
            clock.advance(delay);
            std::thread::yield_now();
        }
        let fed = feeding.await.unwrap();
        assert_eq!((fed.answered, fed.returned), (100, 1));
        assert_eq!(at_rest(&pool).threads.respawned, 1);
    }
}

#[tokio::test]
async fn a_queue_that_others_have_filled_returns_nothing_and_loses_nothing() {
    for overflow in [Overflow::Reject, Overflow::DropOldest] {
        let builder = Pool::<Carrier>::builder("carriers").threads(1).queue(2);
        let pool = builder.overflow(overflow).build().await.unwrap();
        let door = Door::default();
        let mut first = Parcel::new(0, Deed::Answer);
        first.door = Some(door.clone());
        let mut others = vec![pool.call(first)];
        assert!(poll_once(&mut others[0]).is_pending());
        door.await_arrivals(1);
        for id in 1..3 {
            others.push(pool.call(Parcel::new(id, Deed::Answer)));
            assert!(poll_once(&mut others[id]).is_pending());
        }
        let mut store = Store::of((0..10).map(|id| Parcel::new(id, Deed::Answer)));
        let view = store.clone();
        view.shelf().is_over = true;
        let mut feeding = Box::pin(feed(&pool, &mut store));
        assert!(poll_once(&mut feeding).is_pending());
        assert_eq!(pool.snapshot().queue.waiting, 1);
        door.open();
        let fed = feeding.await.unwrap();
        assert_eq!((fed.answered, fed.returned), (10, 0), "{overflow:?}");
        for other in others {
            other.await.unwrap();
        }
    }
}

#[test]
fn jobs_are_taken_while_there_are_places() {
    let pool = carriers(1, 4);
    pool.pause();
    let mut store = Store::of((0..10).map(|id| Parcel::new(id, Deed::Answer)));
    let view = store.clone();
    view.shelf().is_over = true;
    let mut feeding = Box::pin(feed(&pool, &mut store));
    assert!(poll_once(&mut feeding).is_pending());
    assert_eq!(view.shelf().out, 2);
    assert_eq!(view.shelf().ready.len(), 8);
    assert_eq!(pool.snapshot().queue.queued, [0, 0, 2]);
    pool.resume();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fed = runtime.block_on(feeding).unwrap();
    assert_eq!((fed.answered, fed.returned), (10, 0));
    assert!(
        view.shelf()
            .acked
            .iter()
            .all(|(.., priority)| *priority == Priority::Low)
    );
}

#[tokio::test]
async fn a_shutdown_ends_it_and_returns_what_was_not_done() {
    // Idle, it is woken by the shutdown.
    let (pool, mut store) = (carriers(1, 4), Store::default());
    let inner = pool.clone();
    let feeding = tokio::spawn(async move { feed(&inner, &mut store).await });
    tokio::task::yield_now().await;
    assert!(pool.shutdown(Drain::unlimited()).await.is_complete());
    assert_eq!(feeding.await.unwrap(), Ok(Fed::default()));

    let (pool, door) = (carriers(1, 4), Door::default());
    let mut store = Store::of((0..10).map(|id| Parcel::new(id, Deed::Answer)));
    store.shelf().ready[0].door = Some(door.clone());
    let view = store.clone();
    let mut feeding = Box::pin(feed(&pool, &mut store));
    assert!(poll_once(&mut feeding).is_pending());
    door.await_arrivals(1);
    let mut end = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut end).is_pending());
    let fed = feeding.await.unwrap();
    door.open();
    assert_eq!(fed.answered, 0);
    {
        let rack = view.shelf();
        assert_eq!(rack.out, 0, "each receipt was told");
        assert_eq!(rack.ready.len(), 10, "nothing is lost");
        let (mut stopped, mut discarded) = (0, 0);
        for (_, why) in &rack.returned {
            stopped += usize::from(why == "run a task: the pool was shut down while it ran");
            discarded += usize::from(why.contains("it was discarded"));
        }
        assert_eq!(stopped, 1);
        assert!(discarded >= 2 && discarded + stopped == rack.returned.len());
    }
    assert_eq!(end.await.stopped, 1);
}

#[tokio::test]
async fn an_error_of_the_source_or_of_a_receipt_ends_it_once_the_rest_is_told() {
    let pool = carriers(1, 16);
    let mut store = Store::of((0..5).map(|id| Parcel::new(id, Deed::Answer)));
    store.shelf().breaks = true;
    assert_eq!(feed(&pool, &mut store).await, Err("the road is closed"));
    assert_eq!(store.shelf().acked.len(), 5);
    assert_eq!(store.shelf().out, 0);

    let mut store = Store::of((0..5).map(|id| Parcel::new(id, Deed::Answer)));
    store.shelf().acks_break = true;
    assert_eq!(feed(&pool, &mut store).await, Err("no ink"));
    assert_eq!(store.shelf().out, 0);
    assert!(!store.shelf().acked.is_empty());
}

#[tokio::test]
async fn the_context_of_a_job_goes_along_and_its_deadline_counts() {
    let clock = ManualClock::new();
    let builder = Pool::<Carrier>::builder("carriers")
        .threads(1)
        .clock(clock.clone());
    let pool = builder.build().await.unwrap();
    let ids = (TraceId::new(3).unwrap(), SpanId::new(4).unwrap());
    let context = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
    let mut store = Store::of([Parcel::new(1, Deed::Answer)]);
    store.shelf().context = context;
    store.shelf().is_over = true;
    feed(&pool, &mut store).await.unwrap();
    assert_eq!(store.shelf().acked, [(1, context, Priority::Low)]);

    let late = context.with_deadline(Deadline::after(clock.now(), Duration::ZERO));
    let mut store = Store::of([Parcel::new(2, Deed::Answer)]);
    store.shelf().context = late;
    store.shelf().is_over = true;
    let fed = feed(&pool, &mut store).await.unwrap();
    assert_eq!((fed.answered, fed.returned), (0, 3));
    let why = "run a task: the deadline came before it was offered to the pool";
    assert!(store.shelf().returned.iter().all(|(_, said)| said == why));
}
