//! What is installed once in a process: the panic hook that says where tasks panic.

use cortex_workers::{BuildError, Closures, Error, Panic, Pool, TaskCx, Worker, WorkerCx, locate_panics};
use std::convert::Infallible;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Mutex;

/// Whom the hook that was there before has heard panic.
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn heard() -> Vec<String> {
    std::mem::take(&mut *HEARD.lock().expect("nobody panics there"))
}

/// Runs a closure that panics; returns what is said of it.
fn panic_of(pool: &Pool<Closures>, task: fn(&mut Closures, &TaskCx<'_>)) -> Panic {
    panicked(pool.run(task).wait()).expect("it panicked")
}

fn panicked<T, Q>(answer: Result<T, Error<Q>>) -> Option<Panic> {
    match answer {
        Err(Error::Panicked(panic)) => Some(panic),
        _ => None,
    }
}

struct Stateless;

impl Worker for Stateless {
    type Request = Infallible;
    type Response = Infallible;
    type Error = Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Infallible> {
        panic!("no state")
    }

    fn run(&mut self, request: Infallible, _: &TaskCx<'_>) -> Result<Infallible, Infallible> {
        match request {}
    }
}

/// One test, as there is one hook.
#[test]
fn panics_say_where_they_were_and_the_hook_before_hears_all_as_before() {
    let first = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload_as_str().unwrap_or("no text").to_owned();
        HEARD.lock().expect("nobody panics there").push(text);
        first(info);
    }));
    let pool = Pool::<Closures>::builder("places")
        .threads(1)
        .build_blocking()
        .unwrap();
    let early = panic_of(&pool, |_, _| panic!("early"));
    assert_eq!((early.message(), early.location()), ("early", None));
    assert_eq!(heard(), ["early"], "the pool alone has changed nothing");

    locate_panics();
    locate_panics();
    let (line, found) = (line!(), panic_of(&pool, |_, _| panic!("{} of {}", 1, 2)));
    assert_eq!(found.message(), "1 of 2");
    let place = format!("{}:{line}:", file!());
    let location = found.location().unwrap();
    assert!(location.starts_with(&place), "{location}, not {place}");
    assert_eq!(heard(), ["1 of 2"], "once");

    let no_text = panic_of(&pool, |_, _| std::panic::panic_any(7_u8));
    assert_eq!(no_text.message(), "a value that is no text");
    assert!(no_text.location().unwrap().starts_with(file!()));

    // What a task catches is its own affair, and what is resumed came by no hook.
    let caught = |_: &mut Closures, _: &TaskCx<'_>| {
        assert!(catch_unwind(|| panic!("caught")).is_err());
    };
    pool.run(caught).wait().unwrap();
    let resumed = panic_of(&pool, |_, _| resume_unwind(Box::new("caught")));
    assert_eq!((resumed.message(), resumed.location()), ("caught", None));
    let other = panic_of(&pool, |_, _| {
        assert!(catch_unwind(|| panic!("inner")).is_err());
        resume_unwind(Box::new("outer"));
    });
    assert_eq!((other.message(), other.location()), ("outer", None));

    let made: Result<Pool<Stateless>, _> = Pool::builder("none").threads(1).build_blocking();
    let Err(BuildError::Panicked(panic)) = made else {
        panic!("it has no state");
    };
    assert!(panic.location().is_some());

    heard();
    let elsewhere = std::thread::spawn(|| panic!("elsewhere")).join().unwrap_err();
    assert_eq!(elsewhere.downcast_ref(), Some(&"elsewhere"));
    assert_eq!(
        heard(),
        ["elsewhere"],
        "others are none of our business, and heard as before"
    );
    #[cfg(feature = "rayon")]
    those_on_the_threads_of_rayon_do_so();
    drop(std::panic::take_hook());
}

#[cfg(feature = "rayon")]
fn those_on_the_threads_of_rayon_do_so() {
    let place = |error: Option<Panic>| error.expect("it panicked").location().map(str::to_owned);
    let builder = cortex_workers::CpuPool::builder("places").threads(2);
    let cpu = builder.build_blocking().expect("the settings make sense");
    let chunks = cpu.map_chunks(vec![1, 2, 3, 4], 1, |chunk| {
        assert_ne!(chunk, [3]); // one alone: of several that panic at once the place may be that of none
    });
    let chunks = place(panicked(chunks.wait()));
    assert!(chunks.expect("it is known").starts_with(file!()));
    let run = cpu.run(|_| -> u8 { panic!("in a closure") });
    assert!(place(panicked(run.wait())).is_some());
    let resumed = cpu.run(|_| -> u8 { resume_unwind(Box::new("in a closure")) });
    assert_eq!(place(panicked(resumed.wait())), None);
}
