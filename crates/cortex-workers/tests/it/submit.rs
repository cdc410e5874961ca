use crate::support::{at_rest, closures, occupy};
use cortex_compress::{CompressionLayer, Job, Offload};
use cortex_core::{Clock, Context, Deadline};
use cortex_testkit::ManualClock;
use cortex_workers::{Drain, Overflow};
use std::time::Duration;

#[test]
fn what_is_refused_comes_back_and_never_waits() {
    let clock = ManualClock::new();
    for overflow in [Overflow::Wait, Overflow::Reject, Overflow::CallerRuns] {
        let pool = closures(|builder| builder.queue(1).overflow(overflow).clock(clock.clone()));
        let door = occupy(&pool, 1);
        let (done, hear) = std::sync::mpsc::channel();
        let told = done.clone();
        assert!(pool.submit(move || told.send("queued").unwrap()).is_ok());
        let full = pool.submit(move || done.send("later").unwrap()).unwrap_err();
        door.open();
        assert_eq!(hear.recv(), Ok("queued"));
        at_rest(&pool);
        assert!(pool.submit(full).is_ok());
        assert_eq!(hear.recv(), Ok("later"));

        let late = Context::new().with_deadline(Deadline::after(clock.now(), Duration::ZERO));
        let attached = late.attach();
        assert!(pool.submit(|| ()).is_err());
        drop(attached);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(pool.shutdown(Drain::unlimited())).is_complete());
        assert!(pool.submit(|| ()).is_err());
    }
}

#[test]
fn a_pool_is_an_offload_of_compress() {
    let pool = closures(|builder| builder.queue(0));
    let jobs = pool.clone();
    let offload = move |job: Job| jobs.submit(job);
    let door = occupy(&pool, 1);
    let refused = Offload::submit(&offload, Box::new(|| ()));
    assert!(refused.is_err());
    door.open();
    at_rest(&pool);
    let (done, hear) = std::sync::mpsc::channel();
    assert!(Offload::submit(&offload, Box::new(move || done.send(()).unwrap())).is_ok());
    assert_eq!(hear.recv(), Ok(()));
    drop(CompressionLayer::new().offload(move |job| pool.submit(job)));
}
