use crate::support::closures;
use cortex_workers::{
    Builder, Closures, Cores, Event, InvalidSetting, Observer, Pool, TaskCx, ThreadSetting, Worker, WorkerCx,
};
use rustix::thread::sched_getaffinity;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::{Arc, Barrier, Mutex};

/// Returns the cores that this thread may run on.
fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("it is readable");
    (0..1024).filter(|&core| set.is_set(core)).collect()
}

fn niceness() -> i32 {
    rustix::process::getpriority_process(None).expect("it is readable")
}

/// Answers with the core that it was told, and where it is allowed to run.
struct Placed(Option<usize>);

impl Worker for Placed {
    type Request = Arc<Barrier>;
    type Response = (Option<usize>, Vec<usize>);
    type Error = Infallible;

    fn init(cx: &WorkerCx<'_>) -> Result<Self, Infallible> {
        Ok(Self(cx.core()))
    }

    fn run(&mut self, all: Arc<Barrier>, _: &TaskCx<'_>) -> Result<Self::Response, Infallible> {
        all.wait(); // so that each thread answers once
        Ok((self.0, cores()))
    }
}

fn placed(threads: usize, cores: Cores) -> Vec<(Option<usize>, Vec<usize>)> {
    let builder = Pool::<Placed>::builder("placed").threads(threads).affinity(cores);
    let pool = builder.build_blocking().expect("the settings make sense");
    let all = Arc::new(Barrier::new(threads));
    let answers = pool.call_batch(vec![all; threads]).wait();
    let answers = answers.into_iter().map(|answer| answer.expect("it is answered"));
    let mut answers: Vec<_> = answers.collect();
    answers.sort_unstable();
    answers
}

#[test]
fn each_thread_is_bound_to_one_core_by_turns_and_knows_which() {
    let all = cores();
    let bound = placed(all.len() + 1, Cores::All);
    let mut expected: Vec<_> = all
        .iter()
        .chain(&all[..1])
        .map(|&core| (Some(core), vec![core]))
        .collect();
    expected.sort_unstable();
    assert_eq!(bound, expected);
    let last = *all.last().unwrap();
    assert_eq!(
        placed(2, Cores::Set(vec![last])),
        [(Some(last), vec![last]), (Some(last), vec![last])]
    );
    assert_eq!(placed(1, Cores::None), [(None, all)]);
}

#[test]
fn threads_that_are_nice_are_and_no_others() {
    let before = niceness();
    let pool = closures(|builder| builder.niceness(7));
    assert_eq!(pool.run(|_, _| niceness()).wait().unwrap(), 7);
    assert_eq!(niceness(), before);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Observer for Log {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().expect("nobody panics there").push(*event);
    }
}

#[test]
fn what_cannot_be_set_is_told_of_and_the_thread_works() {
    let log = Log::default();
    let absent = Cores::Set(vec![1023]);
    let pool = closures(|builder| builder.affinity(absent).observe(log.clone()));
    assert_eq!(pool.run(|_, _| cores()).wait().unwrap(), cores());
    let events = log.0.lock().unwrap();
    assert!(matches!(
        events[0],
        Event::ThreadNotSet {
            thread: 0,
            setting: ThreadSetting::Affinity,
            error: ErrorKind::InvalidInput,
            ..
        }
    ));
    assert!(matches!(events[1], Event::WorkerStarted { .. }));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |set: fn(Builder<Closures>) -> Builder<Closures>| {
        let error: InvalidSetting = set(Pool::builder("none")).check().unwrap_err();
        error.to_string()
    };
    assert_eq!(
        refused(|builder| builder.affinity(Cores::Set(Vec::new()))),
        "accept `affinity` = []: one or more numbers below 1024"
    );
    assert_eq!(
        refused(|builder| builder.affinity(Cores::Set(vec![0, 1024]))),
        "accept `affinity` = [0, 1024]: one or more numbers below 1024"
    );
    assert_eq!(
        refused(|builder| builder.niceness(20)),
        "accept `niceness` = 20: -20 to 19"
    );
}

#[cfg(feature = "rayon")]
#[test]
fn the_threads_that_compute_are_bound_not_those_that_wait_for_them() {
    let last = *cores().last().unwrap();
    let builder = cortex_workers::CpuPool::builder("cpu").threads(1);
    let builder = builder.affinity(Cores::Set(vec![last])).niceness(3);
    let cpu = builder.build_blocking().unwrap();
    assert_eq!(
        cpu.run(|_| (cores(), niceness())).wait().unwrap(),
        (vec![last], 3)
    );
    assert_eq!(
        cpu.front().run(|_, _| (cores(), niceness())).wait().unwrap(),
        (cores(), niceness())
    );
}
