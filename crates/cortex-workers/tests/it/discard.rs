//! What becomes of requests that are discarded: somebody gets each of them, once.

use crate::support::{Door, assert_balanced, at_rest, closures, occupy, poll_once};
use cortex_core::{Clock, Deadline, SystemClock};
use cortex_testkit::ManualClock;
use cortex_workers::{
    Builder, Delivery, Discard, Drain, DrainReport, Error, Event, Observer, Overflow, Pool, Receipt, Source,
    TaskCx, Worker, WorkerCx, feed,
};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Notes letters; the first one waits at a door.
struct Post;

#[derive(Clone, Debug)]
struct Letter {
    number: usize,
    door: Option<Door>,
    noted: Arc<Mutex<Vec<usize>>>,
}

impl Worker for Post {
    type Request = Letter;
    type Response = usize;
    type Error = Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Infallible> {
        Ok(Self)
    }

    fn run(&mut self, letter: Letter, _: &TaskCx<'_>) -> Result<usize, Infallible> {
        if let Some(door) = letter.door {
            door.pass();
        }
        letter
            .noted
            .lock()
            .expect("nobody panics there")
            .push(letter.number);
        Ok(letter.number)
    }
}

/// What was handed over.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(usize, Discard)>>>);

impl Kept {
    fn keep(&self, letter: &Letter, why: Discard) {
        self.0
            .lock()
            .expect("nobody panics there")
            .push((letter.number, why));
    }

    /// Waits until so many were handed over, and takes them.
    fn await_all(&self, count: usize) -> Vec<(usize, Discard)> {
        while self.0.lock().expect("nobody panics there").len() < count {
            std::thread::yield_now();
        }
        self.take()
    }

    fn take(&self) -> Vec<(usize, Discard)> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics there"))
    }
}

/// A pool of one worker, which is occupied until the door is opened, and what hands over.
fn post(set: impl FnOnce(Builder<Post>) -> Builder<Post>) -> (Pool<Post>, Kept, Door) {
    let (kept, door) = (Kept::default(), Door::default());
    let keeping = kept.clone();
    let builder = Pool::<Post>::builder("post").threads(1);
    let builder = builder.on_discard(move |letter, why| keeping.keep(&letter, why));
    let pool = set(builder).build_blocking().expect("the settings make sense");
    let first = Letter {
        door: Some(door.clone()),
        ..letter(0)
    };
    pool.call(first).detach().expect("there is a place");
    door.await_arrivals(1);
    (pool, kept, door)
}

fn letter(number: usize) -> Letter {
    Letter {
        number,
        door: None,
        noted: Arc::default(),
    }
}

fn shut_down<W: Worker>(pool: &Pool<W>, drain: Drain) -> DrainReport {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("there is one");
    runtime.block_on(pool.shutdown(drain))
}

#[test]
fn at_the_end_all_that_was_not_begun_is_handed_over() {
    let (pool, kept, door) = post(|builder| builder);
    let mut awaited = pool.call(letter(1));
    assert!(poll_once(&mut awaited).is_pending());
    pool.call(letter(2)).detach().unwrap();
    pool.run(|_, _| ()).detach().unwrap();
    let mut closure = pool.run(|_, _| 7);
    assert!(poll_once(&mut closure).is_pending());
    let mut ending = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut ending).is_pending());
    assert_eq!(
        kept.await_all(2),
        [(1, Discard::Shutdown), (2, Discard::Shutdown)]
    );
    let Err(Error::Discarded { reason, work: None }) = awaited.wait() else {
        panic!("it was handed over");
    };
    assert_eq!(reason, Discard::Shutdown);
    let closure = closure.wait().unwrap_err().into_work();
    assert!(closure.is_some(), "it can't be kept");
    door.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(ending).discarded, 4);
    assert_balanced(&pool.snapshot());
}

#[test]
fn a_pool_has_not_ended_before_all_is_handed_over() {
    let clock = ManualClock::new();
    let (slow, kept) = (Door::default(), Kept::default());
    let (inside, keeping) = (slow.clone(), kept.clone());
    let (pool, _, door) = post(|builder| {
        let builder = builder.clock(clock.clone()).grace(100 * SECOND);
        builder.on_discard(move |letter, why| {
            inside.pass();
            keeping.keep(&letter, why);
        })
    });
    for number in 1..=2 {
        pool.call(letter(number)).detach().unwrap();
    }
    let mut ending = Box::pin(pool.shutdown(Drain::within(SECOND)));
    assert!(poll_once(&mut ending).is_pending());
    std::thread::scope(|scope| {
        clock.advance(SECOND);
        scope.spawn(|| pool.tick());
        slow.await_arrivals(1);
        door.open();
        while pool.snapshot().threads.live > 0 {
            std::thread::yield_now();
        }
        pool.tick();
        assert!(poll_once(&mut ending).is_pending(), "somebody still hands over");
        slow.open();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(&mut ending).discarded, 2);
    });
    assert_eq!(kept.take(), [(1, Discard::Shutdown), (2, Discard::Shutdown)]);
}

/// Whoever ends the pool, and the clock of all pools, go on while requests are handed over; the time of the end goes on, too.
#[test]
fn who_hands_over_holds_up_nobody_else() {
    let (clock, slow) = (ManualClock::new(), Door::default());
    let inside = slow.clone();
    let (pool, _, door) = post(|builder| {
        let builder = builder.clock(clock.clone()).queue(1);
        builder.on_discard(move |_, _| inside.pass())
    });
    pool.call(letter(1)).detach().unwrap();
    let mut impatient = pool.call(letter(2)).overflow(Overflow::Timeout(SECOND));
    assert!(poll_once(&mut impatient).is_pending());
    impatient.detach().unwrap();
    clock.advance(SECOND);
    pool.tick(); // comes back
    slow.await_arrivals(1);
    let mut ending = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut ending).is_pending());
    door.open();
    while pool.snapshot().threads.live > 0 {
        std::thread::yield_now();
    }
    let report = loop {
        clock.advance(SECOND);
        pool.tick();
        if let Poll::Ready(report) = poll_once(&mut ending) {
            break report;
        }
    };
    assert_eq!(report.discarded, 1);
    assert!((1..=2).contains(&report.leaked), "{report}"); // its own may be about to be gone
    assert!(!report.is_complete());
    slow.open();
}

/// The thread that looks at the clock does so for all pools.
#[test]
fn a_deadline_comes_while_another_pool_hands_over() {
    let slow = Door::default();
    let inside = slow.clone();
    let (pool, _, door) = post(|builder| {
        let builder = builder.queue(1).on_discard(move |_, _| inside.pass());
        builder.overflow(Overflow::Timeout(Duration::from_millis(1)))
    });
    pool.call(letter(1)).detach().unwrap();
    let mut impatient = pool.call(letter(2));
    assert!(poll_once(&mut impatient).is_pending());
    impatient.detach().unwrap();
    slow.await_arrivals(1);
    let other = closures(|builder| builder);
    let occupied = occupy(&other, 1);
    let deadline = Deadline::after(SystemClock.now(), Duration::from_millis(5));
    let late = other.run(|_, _| ()).deadline(deadline).wait();
    assert!(matches!(late, Err(Error::Deadline { .. })));
    for door in [slow, door, occupied] {
        door.open();
    }
}

#[test]
fn what_makes_room_is_handed_over_if_nobody_awaits_it() {
    let (pool, kept, door) = post(|builder| builder.queue(1).overflow(Overflow::DropOldest));
    pool.call(letter(1)).detach().unwrap();
    let mut awaited = pool.call(letter(2));
    assert!(poll_once(&mut awaited).is_pending());
    assert_eq!(kept.take(), [(1, Discard::Overflow)]);
    pool.call(letter(3)).detach().unwrap();
    let Err(Error::Discarded {
        reason,
        work: Some(letter),
    }) = awaited.wait()
    else {
        panic!("whoever awaits it gets it back");
    };
    assert_eq!((reason, letter.number), (Discard::Overflow, 2));
    assert_eq!(kept.take(), []);
    door.open();
    assert_eq!(at_rest(&pool).tasks.discarded, 2);
}

#[test]
fn what_waits_for_a_place_and_nobody_awaits_is_handed_over() {
    let clock = ManualClock::new();
    let (pool, kept, door) = post(|builder| builder.queue(1).clock(clock.clone()));
    pool.call(letter(1)).detach().unwrap();
    let mut impatient = pool.call(letter(2)).overflow(Overflow::Timeout(SECOND));
    assert!(poll_once(&mut impatient).is_pending());
    impatient.detach().unwrap();
    let mut patient = pool.call(letter(3));
    assert!(poll_once(&mut patient).is_pending());
    patient.detach().unwrap();
    let mut awaited = pool.call(letter(4));
    assert!(poll_once(&mut awaited).is_pending());
    assert_eq!(kept.take(), []);
    clock.advance(SECOND);
    pool.tick();
    assert_eq!(kept.await_all(1), [(2, Discard::Overflow)]);
    let mut ending = Box::pin(pool.shutdown(Drain::unlimited()));
    assert!(poll_once(&mut ending).is_pending());
    assert_eq!(kept.await_all(1), [(3, Discard::Shutdown)]);
    assert!(matches!(awaited.wait(), Err(Error::Closed(letter)) if letter.number == 4));
    door.open();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(ending).discarded, 0);
    assert_balanced(&pool.snapshot());
}

#[test]
fn what_no_thread_can_be_started_for_is_handed_over() {
    let kept = Kept::default();
    let keeping = kept.clone();
    let builder = Pool::<Post>::builder("post")
        .threads(0..=1)
        .stack_size(usize::MAX / 4);
    let builder = builder.on_discard(move |letter, why| keeping.keep(&letter, why));
    let pool = builder.build_blocking().unwrap();
    pool.call(letter(1)).detach().unwrap();
    assert_eq!(kept.take(), [(1, Discard::NoWorkers)]);
    assert!(matches!(pool.call(letter(2)).wait(), Err(Error::NoWorkers(letter)) if letter.number == 2));
    assert_eq!((kept.take(), at_rest(&pool).tasks.rejected), (vec![], 2));
}

#[test]
fn what_hands_over_may_panic() {
    let kept = Kept::default();
    let keeping = kept.clone();
    let (pool, _, door) = post(|builder| {
        builder.on_discard(move |letter, why| {
            assert_ne!(letter.number, 1, "on purpose");
            keeping.keep(&letter, why);
        })
    });
    for number in 1..=2 {
        pool.call(letter(number)).detach().unwrap();
    }
    drop(pool);
    door.open();
    assert_eq!(kept.await_all(1), [(2, Discard::Shutdown)]);
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Observer for Heard {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().expect("nobody panics there").push(*event);
    }
}

#[test]
fn the_newest_is_discarded_and_comes_back_to_whoever_offers_it() {
    let heard = Heard::default();
    let (pool, kept, door) = post(|builder| {
        let builder = builder.observe(heard.clone());
        builder.queue(1).overflow(Overflow::DropNewest)
    });
    pool.call(letter(1)).detach().unwrap();
    heard.0.lock().unwrap().clear();
    let newest = |answer: Result<(), Error<Letter>>| matches!(answer, Err(Error::Discarded { reason: Discard::Overflow, work: Some(letter) }) if letter.number == 2);
    assert!(newest(pool.call(letter(2)).detach()));
    assert!(newest(pool.call(letter(2)).wait().map(drop)));
    let Poll::Ready(answer) = poll_once(&mut pool.call(letter(2))) else {
        panic!("it does not wait");
    };
    assert!(newest(answer.map(drop)));
    let events = std::mem::take(&mut *heard.0.lock().unwrap());
    let discarded = |event: &Event| {
        matches!(
            event,
            Event::Discarded {
                reason: Discard::Overflow,
                ..
            }
        )
    };
    assert!(events.len() == 3 && events.iter().all(discarded), "{events:?}");
    door.open();
    let tasks = at_rest(&pool).tasks;
    assert_eq!((tasks.discarded, tasks.rejected, tasks.completed), (3, 0, 2));
    assert_eq!(kept.take(), []);

    let pool = closures(|builder| builder.queue(0).overflow(Overflow::DropNewest));
    let door = occupy(&pool, 1);
    assert!(pool.submit(|| ()).is_err(), "it comes back");
    door.open();
    at_rest(&pool);
}

/// A source of three letters, which hears what became of them.
#[derive(Clone, Default)]
struct Office(usize, Arc<Mutex<Vec<usize>>>);

struct Slip(Office);

impl Source<Post> for Office {
    type Receipt = Slip;
    type Error = Infallible;

    async fn next(&mut self) -> Result<Option<Delivery<Post, Slip>>, Infallible> {
        self.0 += 1;
        let next = Delivery::new(letter(self.0), Slip(self.clone()));
        Ok((self.0 <= 3).then_some(next))
    }
}

impl Receipt<Post> for Slip {
    type Error = Infallible;

    async fn ack(self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    async fn nak(self, why: Error<Letter>) -> Result<(), Infallible> {
        let letter = why.into_work().expect("it comes back");
        self.0.1.lock().expect("nobody panics there").push(letter.number);
        Ok(())
    }
}

#[test]
fn what_a_source_has_given_goes_back_to_it_alone() {
    let (pool, kept, door) = post(|builder| builder);
    let mut office = Office::default();
    let returned = Arc::clone(&office.1);
    let mut feeding = Box::pin(feed(&pool, &mut office));
    assert!(poll_once(&mut feeding).is_pending());
    pool.call(letter(4)).detach().unwrap();
    let mut ending = Box::pin(pool.shutdown(Drain::now()));
    assert!(poll_once(&mut ending).is_pending());
    assert!(matches!(poll_once(&mut feeding), Poll::Ready(Ok(fed)) if fed.returned == 3));
    assert_eq!(*returned.lock().unwrap(), [1, 2, 3]);
    assert_eq!(kept.await_all(1), [(4, Discard::Shutdown)]);
    door.open();
}

/// Several threads offer letters in all ways while the pool ends: each is noted, comes back, or is handed over, and none twice.
#[test]
fn no_request_is_lost_and_none_is_there_twice() {
    const EACH: usize = 500;
    for drain in [Drain::now(), Drain::within(Duration::from_millis(1))] {
        let kept = Kept::default();
        let keeping = kept.clone();
        let builder = Pool::<Post>::builder("post").threads(2).queue(8);
        let builder = builder.on_discard(move |letter, why| keeping.keep(&letter, why));
        let pool = builder.build_blocking().unwrap();
        let (noted, returned) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (pool, noted, returned) = (&pool, &noted, &returned);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let letter = Letter {
                            number: thread * EACH + number,
                            door: None,
                            noted: Arc::clone(noted),
                        };
                        let policies = [Overflow::Wait, Overflow::DropOldest, Overflow::DropNewest];
                        let call = pool.call(letter).overflow(policies[number % 3]);
                        let error = match number % 2 {
                            0 => call.detach().err(),
                            _ => call.wait().err(),
                        };
                        let back = error.and_then(Error::into_work);
                        returned.lock().unwrap().extend(back.map(|letter| letter.number));
                    }
                });
            }
            while pool.snapshot().tasks.submitted < 2 * EACH as u64 {
                std::thread::yield_now();
            }
            shut_down(&pool, drain);
        });
        let mut all = std::mem::take(&mut *noted.lock().unwrap());
        all.extend(std::mem::take(&mut *returned.lock().unwrap()));
        all.extend(kept.take().into_iter().map(|(number, _)| number));
        all.sort_unstable();
        assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>());
        assert_balanced(&pool.snapshot());
    }
}
