use crate::support::{at_rest, closures, occupy, poll_once};
use cortex_workers::{Closures, Error, Overflow, Pool, Priority, TaskCx};
use std::sync::{Arc, Mutex};

/// Takes note of whose tasks have run, in order.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<u64>>>);

impl Order {
    fn task(&self, of: u64) -> impl FnOnce(&mut Closures, &TaskCx<'_>) + Send + use<> {
        let order = self.clone();
        move |_: &mut Closures, _: &TaskCx<'_>| order.0.lock().expect("nobody panics there").push(of)
    }

    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics there"))
    }
}

/// Offers tasks until one is refused; returns how many were not.
fn flood(pool: &Pool<Closures>, of: u64) -> usize {
    let offer = || pool.run(|_, _| ()).submitter(of).detach();
    std::iter::from_fn(|| offer().ok()).take(1000).count()
}

#[test]
fn submitters_get_their_turns_in_the_queue() {
    let pool = closures(|builder| builder);
    let (door, order) = (occupy(&pool, 1), Order::default());
    let offer = |of: u64| pool.run(order.task(of)).submitter(of).detach().unwrap();
    (0..50).for_each(|_| offer(1));
    offer(2);
    offer(2);
    pool.run(order.task(0)).detach().unwrap();
    pool.run(order.task(0)).detach().unwrap();
    door.open();
    at_rest(&pool);
    while pool.snapshot().tasks.completed < 55 {
        std::thread::yield_now();
    }
    assert_eq!(order.take()[..7], [1, 2, 0, 1, 2, 0, 1]);
}

#[test]
fn each_fills_half_of_what_is_free() {
    let pool = closures(|builder| builder.queue(16).overflow(Overflow::Reject));
    let door = occupy(&pool, 1);
    let accepted = [1, 2, 3, 4, 5].map(|of| flood(&pool, of));
    assert_eq!(accepted, [8, 4, 2, 1, 1], "each half of what was free");
    assert!(matches!(pool.run(|_, _| ()).wait(), Err(Error::Full(_))));
    assert_eq!(flood(&pool, 6), 0, "it is full");
    door.open();
    at_rest(&pool);
    let door = occupy(&pool, 1);
    while pool.run(|_, _| ()).detach().is_ok() {}
    assert_eq!(
        pool.snapshot().queue.queued,
        [0, 16, 0],
        "who has no name may fill it"
    );
    door.open();
}

#[test]
fn submitters_get_their_turns_where_calls_wait_for_a_place() {
    let pool = closures(|builder| builder.queue(2));
    let (door, order) = (occupy(&pool, 1), Order::default());
    let mut calls = Vec::new();
    for of in [0, 0, 1, 1, 1, 1, 2, 2] {
        let call = pool.run(order.task(of));
        let mut call = if of == 0 { call } else { call.submitter(of) };
        assert!(poll_once(&mut call).is_pending());
        calls.push(call);
    }
    assert_eq!(pool.snapshot().queue.waiting, 6);
    door.open();
    for call in calls {
        call.wait().unwrap();
    }
    let order = order.take();
    let first = order.iter().position(|&of| of == 2).unwrap();
    assert!(
        first <= 4,
        "after the two that were there and one of each other: {order:?}"
    );
}

#[test]
fn who_waits_for_its_share_holds_up_nobody() {
    let pool = closures(|builder| builder.queue(4));
    let door = occupy(&pool, 1);
    let mut calls: Vec<_> = (0..9).map(|_| pool.run(|_, _| ()).submitter(1)).collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.queue.queued, snapshot.queue.waiting), ([0, 2, 0], 7));
    let reject = Overflow::Reject;
    pool.run(|_, _| ())
        .submitter(2)
        .overflow(reject)
        .detach()
        .unwrap();
    pool.run(|_, _| ()).overflow(reject).detach().unwrap();
    assert_eq!(pool.snapshot().queue.queued, [0, 4, 0]);
    door.open();
    for call in calls {
        call.wait().unwrap();
    }
    at_rest(&pool);
}

#[test]
fn who_floods_drops_its_own_oldest() {
    let pool = closures(|builder| builder.queue(4).overflow(Overflow::DropOldest));
    let door = occupy(&pool, 1);
    let mut quiet = pool.run(|_, _| 7).submitter(2);
    assert!(poll_once(&mut quiet).is_pending());
    assert_eq!(flood(&pool, 1), 1000, "none is refused");
    let snapshot = pool.snapshot();
    assert_eq!(
        (snapshot.queue.queued, snapshot.tasks.discarded),
        ([0, 3, 0], 998)
    );
    door.open();
    assert_eq!(quiet.wait().unwrap(), 7);
    at_rest(&pool);
}

#[test]
fn the_oldest_that_is_dropped_is_of_the_lowest_priority_whoever_offers() {
    let pool = closures(|builder| builder.queue(4).overflow(Overflow::DropOldest).ageing(None));
    let door = occupy(&pool, 1);
    let low = |_| pool.run(|_, _| ()).priority(Priority::Low);
    let mut lows: Vec<_> = (0..3).map(low).collect();
    for call in &mut lows {
        assert!(poll_once(call).is_pending());
    }
    let high = || pool.run(|_, _| ()).priority(Priority::High).submitter(1);
    let mut highs = [high(), high()];
    for call in &mut highs {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!(pool.snapshot().queue.queued, [2, 0, 2]);
    assert!(poll_once(&mut lows[0]).is_ready(), "the oldest of those");
    door.open();
    assert!(highs.into_iter().all(|call| call.wait().is_ok()));
}
