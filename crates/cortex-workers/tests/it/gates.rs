use crate::support::{Door, at_rest, occupy, poll_once};
use cortex_workers::{BuildError, Builder, Closures, Drain, Error, Gate, Overflow, Pool, Priority};
use std::sync::atomic::{AtomicU64, Ordering};

fn sharing(
    gate: &Gate,
    reserved: usize,
    set: impl FnOnce(Builder<Closures>) -> Builder<Closures>,
) -> Pool<Closures> {
    let builder = Pool::<Closures>::builder("test").threads(1).gate(gate, reserved);
    set(builder).build_blocking().expect("the settings make sense")
}

/// Offers tasks until one is refused; returns how many were not.
fn fill(pool: &Pool<Closures>) -> usize {
    let offer = || pool.run(|_, _| ()).overflow(Overflow::Reject).detach();
    std::iter::from_fn(|| offer().ok()).take(1000).count()
}

#[test]
fn each_pool_has_its_own_places_and_the_rest_is_shared() {
    let gate = Gate::new(6);
    let (first, second) = (sharing(&gate, 1, |it| it), sharing(&gate, 2, |it| it.queue(4)));
    assert_eq!((gate.places(), gate.free()), (6, 3));
    let doors = [occupy(&first, 1), occupy(&second, 1)];
    assert_eq!(gate.free(), 3, "what an idle worker takes at once needs no place");
    assert_eq!(fill(&first), 4, "its own, and the rest");
    assert_eq!(fill(&second), 2, "what is left to it");
    let refused = first.run(|_, _| ()).overflow(Overflow::Reject).wait();
    assert!(matches!(refused, Err(Error::Full(_))));
    doors.each_ref().into_iter().for_each(Door::open);
    let _ = [at_rest(&first), at_rest(&second)];
    while gate.free() < 3 {
        std::thread::yield_now();
    }
    let door = occupy(&second, 1);
    assert_eq!(fill(&second), 4, "no more than its own queue has");
    door.open();
}

#[test]
fn a_place_that_one_pool_gives_back_is_for_who_waits_in_another() {
    let gate = Gate::new(1);
    let (first, second) = (sharing(&gate, 0, |it| it), sharing(&gate, 0, |it| it));
    let (door, other) = (occupy(&first, 1), occupy(&second, 1));
    let mut holds = first.run(|_, _| ());
    assert!(poll_once(&mut holds).is_pending());
    let mut waits = second.run(|_, _| 5);
    assert!(poll_once(&mut waits).is_pending());
    assert_eq!(second.snapshot().queue.waiting, 1);
    drop(holds);
    let queue = second.snapshot().queue;
    assert_eq!((queue.queued, queue.waiting), ([0, 1, 0], 0), "it was cancelled");
    let mut back = first.run(|_, _| 6).priority(Priority::High);
    assert!(poll_once(&mut back).is_pending());
    other.open();
    assert_eq!(waits.wait().unwrap(), 5);
    while first.snapshot().queue.waiting > 0 {
        std::thread::yield_now();
    }
    door.open();
    assert_eq!(back.wait().unwrap(), 6);
    at_rest(&first);
    assert_eq!(gate.free(), 1);
}

/// Who has many that wait does not take back what it gives.
#[test]
fn pools_get_places_by_turns() {
    let gate = Gate::new(1);
    let (first, second) = (sharing(&gate, 0, |it| it), sharing(&gate, 0, |it| it));
    let occupied = occupy(&second, 1);
    let doors: Vec<_> = (0..5).map(|_| Door::default()).collect();
    let calls = doors.iter().cloned();
    let mut calls: Vec<_> = calls.map(|door| first.run(move |_, _| door.pass())).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
        doors[0].await_arrivals(1);
    }
    assert_eq!(first.snapshot().queue.waiting, 3);
    let mut waits = second.run(|_, _| 5);
    assert!(poll_once(&mut waits).is_pending());
    for taken in 1..=2 {
        assert_eq!(second.snapshot().queue.waiting, 1);
        doors[taken - 1].open();
        doors[taken].await_arrivals(1);
    }
    let queue = second.snapshot().queue;
    assert_eq!((queue.queued, queue.waiting), ([0, 1, 0], 0));
    occupied.open();
    assert_eq!(waits.wait().unwrap(), 5);
    doors.iter().for_each(Door::open);
    assert!(calls.into_iter().all(|call| call.wait().is_ok()));
    at_rest(&first);
    assert_eq!(gate.free(), 1);
}

#[test]
fn the_oldest_is_dropped_for_the_new_one_in_the_same_pool() {
    let gate = Gate::new(1);
    let first = sharing(&gate, 0, |it| it.overflow(Overflow::DropOldest));
    let door = occupy(&first, 1);
    let mut calls = [1, 2].map(|number| first.run(move |_, _| number));
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    let [older, newer] = calls;
    assert!(matches!(older.wait(), Err(Error::Discarded { .. })));
    assert_eq!(gate.free(), 0);
    door.open();
    assert_eq!(newer.wait().unwrap(), 2);
    at_rest(&first);
    assert_eq!(gate.free(), 1);
}

#[tokio::test]
async fn a_pool_that_ends_gives_back_all_it_had() {
    let gate = Gate::new(3);
    let (first, second) = (sharing(&gate, 2, |it| it), sharing(&gate, 0, |it| it));
    let doors = [occupy(&first, 1), occupy(&second, 1)];
    assert_eq!((fill(&first), fill(&second)), (3, 0));
    let mut waits = second.run(|_, _| 5);
    assert!(poll_once(&mut waits).is_pending());
    let mut ending = Box::pin(first.shutdown(Drain::now()));
    assert!(poll_once(&mut ending).is_pending());
    assert_eq!(
        second.snapshot().queue.waiting,
        0,
        "what was queued there is discarded"
    );
    doors.each_ref().into_iter().for_each(Door::open);
    ending.await;
    assert_eq!(waits.await.unwrap(), 5);
    at_rest(&second);
    assert_eq!(gate.free(), 3, "its own, too");
    assert_eq!(sharing(&gate, 3, |it| it).run(|_, _| 8).await.unwrap(), 8);
}

#[test]
fn more_than_there_is_cannot_be_reserved() {
    let gate = Gate::new(3);
    let _first = sharing(&gate, 2, |it| it);
    let builder = Pool::<Closures>::builder("greedy").threads(1).gate(&gate, 2);
    let error = builder.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "accept `gate` = 2: no more than other pools have left of the gate"
    );
    assert!(matches!(builder.build_blocking(), Err(BuildError::Invalid(_))));
}

#[cfg(feature = "rayon")]
#[test]
fn pools_that_divide_work_share_places_with_others() {
    let gate = Gate::new(1);
    let cpu = cortex_workers::CpuPool::builder("cpu").threads(1).gate(&gate, 0);
    let (cpu, pool) = (cpu.build_blocking().unwrap(), sharing(&gate, 0, |it| it));
    let (door, other) = (occupy(cpu.front(), 1), occupy(&pool, 1));
    assert_eq!(fill(&pool), 1);
    let mut sums = cpu.map(vec![1, 2], |number| number + 1).submitter(4);
    assert!(poll_once(&mut sums).is_pending());
    assert_eq!(cpu.snapshot().queue.waiting, 1);
    other.open();
    door.open();
    assert_eq!(sums.wait().unwrap(), [2, 3]);
}

/// A place that nobody is told of would leave calls that wait for ever.
#[test]
fn no_place_is_lost_between_pools() {
    let gate = Gate::new(4);
    let pools: Vec<_> = [0, 1, 2]
        .map(|reserved| sharing(&gate, reserved, |it| it.queue(3)))
        .into();
    let done = AtomicU64::new(0);
    // One whose worker never comes for a place: what waits there depends on being told.
    let idle = sharing(&gate, 0, |it| it.queue(3));
    let door = occupy(&idle, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                let mut call = idle.run(|_, _| ());
                assert!(poll_once(&mut call).is_pending());
                while idle.snapshot().queue.queued != [0, 1, 0] {
                    std::thread::yield_now();
                }
            }
        });
        for seed in 0..6_usize {
            let (pools, done) = (&pools, &done);
            scope.spawn(move || {
                for round in 0..500_usize {
                    let pool = &pools[(seed + round) % 3];
                    let mut call = pool
                        .run(move |_, _| round)
                        .submitter(u64::try_from(seed % 2).unwrap());
                    if round % 7 == 0 {
                        drop(poll_once(&mut call)); // and so is the call
                    } else {
                        assert_eq!(call.wait().unwrap(), round);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), 6 * (500 - 72));
    door.open();
    at_rest(&idle);
    for pool in &pools {
        at_rest(pool);
        assert_eq!(pool.snapshot().queue.waiting, 0);
    }
    while gate.free() < 1 {
        std::thread::yield_now();
    }
}
