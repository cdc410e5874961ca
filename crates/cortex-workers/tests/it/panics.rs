use crate::support::{at_rest, closures};
use cortex_workers::{AfterPanic, BuildError, Error, Pool, StopReason, TaskCx, Worker, WorkerCx};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Panics where it is told to.
struct Fragile {
    generation: u32,
}

#[derive(Debug)]
enum Ask {
    Generation,
    Panic,
    BombInAnswer,
}

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

impl Worker for Fragile {
    type Request = Ask;
    type Response = (u32, Option<Bomb>);
    type Error = String;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, String> {
        match cx.pool() {
            "panics in init" => panic!("no state"),
            "fails in init" => Err("no disk".to_owned()),
            _ => Ok(Self {
                generation: cx.generation(),
            }),
        }
    }

    fn run(&mut self, ask: Ask, _: &TaskCx<'_>) -> Result<(u32, Option<Bomb>), String> {
        match ask {
            Ask::Generation => Ok((self.generation, None)),
            Ask::Panic => panic!("as {} was asked", self.generation),
            Ask::BombInAnswer => Ok((self.generation, Some(Bomb))),
        }
    }

    fn after_panic(&mut self) -> AfterPanic {
        if self.generation < 2 {
            AfterPanic::Rebuild
        } else {
            AfterPanic::Keep
        }
    }

    fn teardown(self, _: StopReason) {
        panic!("at the end, too");
    }
}

fn fragile(name: &str) -> Result<Pool<Fragile>, BuildError<String>> {
    let builder = Pool::<Fragile>::builder(name).threads(1);
    builder
        .respawn(Duration::from_nanos(1), Duration::from_nanos(1))
        .build_blocking()
}

#[test]
fn a_state_is_made_anew_or_kept_as_the_worker_says() {
    let pool = fragile("fragile").unwrap();
    for generation in [0, 1, 2, 2] {
        let text = format!("as {generation} was asked");
        assert!(
            matches!(pool.call(Ask::Panic).wait(), Err(Error::Panicked(panic)) if panic.message() == text)
        );
        // In back-off the only worker is no worker.
        let next = loop {
            match pool.call(Ask::Generation).wait() {
                Err(Error::NoWorkers(_)) => std::thread::yield_now(),
                answer => break answer.unwrap().0,
            }
        };
        assert_eq!(next, (generation + 1).min(2));
    }
    let snapshot = at_rest(&pool);
    assert_eq!((snapshot.threads.respawned, snapshot.tasks.panicked), (2, 4));
}

#[test]
fn a_pool_whose_workers_cannot_begin_is_not_built() {
    assert!(matches!(fragile("fails in init"), Err(BuildError::Init(text)) if text == "no disk"));
    let error = fragile("panics in init").unwrap_err();
    assert_eq!(
        error.to_string(),
        "build a pool: a worker panicked as it began: no state"
    );
}

#[test]
fn an_answer_that_panics_when_nobody_wants_it_harms_nobody() {
    let pool = fragile("fragile").unwrap();
    pool.call(Ask::BombInAnswer).detach().unwrap();
    assert_eq!(
        pool.call(Ask::Generation).wait().unwrap().0,
        0,
        "the state is whole"
    );
    assert_eq!(at_rest(&pool).tasks.completed, 2);
}

#[test]
fn work_that_panics_when_it_is_cancelled_harms_nobody() {
    let pool = closures(|builder| builder);
    let door = crate::support::occupy(&pool, 1);
    let bomb = Bomb;
    let mut call = pool.run(move |_, _| {
        let _bomb = &bomb;
    });
    assert!(crate::support::poll_once(&mut call).is_pending());
    drop(call);
    door.open();
    pool.run(|_, _| ()).wait().unwrap();
}

#[test]
fn a_panic_that_has_no_text_is_one_too() {
    let pool = closures(|builder| builder);
    let count = Arc::new(AtomicU32::new(0));
    let payload = Arc::clone(&count);
    let error = pool
        .run(move |_, _| std::panic::panic_any(payload))
        .wait()
        .unwrap_err();
    assert!(matches!(error, Error::Panicked(panic) if panic.message() == "a value that is no text"));
    assert_eq!(count.fetch_add(1, Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&count), 1, "the payload is dropped");
}
