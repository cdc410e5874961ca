use super::slot::Slot;
use crate::observer::EncodePath;
use crate::one_shot::{OneShot, Outcome};
use crate::pool::Lease;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A whole body on its way to be encoded.
#[derive(Debug)]
pub(crate) enum Work {
    /// For one response, and whether it is always the same bytes; the cache gets it afterwards if it has a place there.
    Alone(OneShot, bool, Option<Slot>),
    /// For all responses that have the same body.
    Together(Joined),
}

/// How a body was encoded.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    /// This response had it done; it did not only wait for another one.
    pub(crate) own: bool,
    /// It is always the same bytes: whoever began it may go by another entity tag than this response does.
    pub(crate) constant: bool,
}

impl Work {
    /// `constant` says that it is always the same bytes, `slot` where it belongs.
    pub(crate) fn alone(lease: Lease, input: Bytes, constant: bool, slot: Option<Slot>) -> Self {
        Self::Alone(OneShot::new(lease, input), constant, slot)
    }

    /// Has a body encoded by whoever is at it already, or begins; nothing if there is no lease to be had then.
    ///
    /// Two that begin at the same time are one: it pays where encoding takes longer than to wait for it.
    pub(crate) fn together(
        slot: Slot,
        constant: bool,
        input: Bytes,
        lease: impl FnOnce() -> Option<Lease>,
    ) -> Option<Self> {
        let (cache, key, epoch) = (slot.cache.clone(), slot.key.clone(), slot.epoch);
        let flight = cache.join(&key, epoch, || {
            let job = OneShot::new(lease()?, input.clone());
            Some(Arc::new(Flight::new(slot, constant, job)))
        })?;
        Some(Self::Together(Joined::new(flight, input)))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        let task = cx.waker();
        match self {
            Self::Alone(job, constant, slot) => job.poll(cx, task).map(|outcome| {
                if let Some(slot) = slot.take() {
                    slot.put(&outcome, *constant);
                }
                Done {
                    outcome,
                    own: true,
                    constant: *constant,
                }
            }),
            Self::Together(joined) => joined.poll(cx),
        }
    }

    /// Returns by which way it went, and how many nanoseconds it took if somebody observes; nothing while others have a
    /// part in it.
    pub(crate) fn spent(&self) -> (EncodePath, u64) {
        match self {
            Self::Alone(job, ..) => job.spent(),
            Self::Together(joined) => joined.spent,
        }
    }

    pub(crate) const fn input(&self) -> &Bytes {
        match self {
            Self::Alone(job, ..) => job.input(),
            Self::Together(joined) => &joined.input,
        }
    }

    pub(crate) fn into_input(self) -> Bytes {
        match self {
            Self::Alone(job, ..) => job.into_input(),
            Self::Together(mut joined) => std::mem::take(&mut joined.input),
        }
    }
}

/// A body that is encoded once for all responses that have it.
///
/// It belongs to none of them: whichever is polled brings it on, so that none waits for a client that has gone, or for
/// a task that nobody polls. It ends with the last of them.
pub(super) struct Flight {
    slot: Slot,
    constant: bool,
    core: Arc<Core>,
}

impl Flight {
    fn new(slot: Slot, constant: bool, job: OneShot) -> Self {
        Self {
            slot,
            constant,
            core: Arc::new(Core(Mutex::new(State {
                stage: Stage::Idle(job),
                waiting: BTreeMap::new(),
                joined: 0,
                driver: 0,
                woken: false,
            }))),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.slot.cache.leave(&self.slot.key, self);
        // The job may hold a waker that holds the core. Dropped outside of the lock: gives an encoder back.
        let left = std::mem::replace(&mut self.core.state().stage, Stage::Over(Outcome::Failed));
        drop(left);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

struct Core(Mutex<State>);

struct State {
    stage: Stage,
    /// By number.
    waiting: BTreeMap<u64, Waker>,
    /// How many have joined so far: their numbers.
    joined: u64,
    /// The number of the one that brought the job on last.
    driver: u64,
    /// The job wants to go on; asked for while it was driven.
    woken: bool,
}

enum Stage {
    Idle(OneShot),
    /// One of the responses is at it now.
    Driven,
    Over(Outcome),
}

impl State {
    /// Takes out the wakers of those that are to go on: of the one that brought the job on last, whose task is at it,
    /// and of another one, as that one may be one that is not polled any more.
    ///
    /// Not of all: with each slice they would only find that another one is at it.
    fn call(&mut self) -> Vec<Waker> {
        let last = self.waiting.remove(&self.driver);
        let other = self.waiting.pop_first().map(|(_, waker)| waker);
        last.into_iter().chain(other).collect()
    }
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a waker out. It has to be dropped outside of the lock: it may be the last that holds a task, and the task
    /// another part in the same work.
    fn forget(&self, number: u64) -> Option<Waker> {
        self.state().waiting.remove(&number)
    }

    /// Lets another one go on in the place of one that goes, which may have been called.
    fn pass_on(&self) {
        let mut state = self.state();
        let next = match state.stage {
            Stage::Idle(_) => state.waiting.pop_first(),
            Stage::Driven | Stage::Over(_) => None,
        };
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }

    /// Ends a turn of the one that drives, and wakes the others if there is something for them.
    fn put_down(&self, next: Stage) {
        let mut state = self.state();
        let woken = std::mem::take(&mut state.woken);
        let waiting = match next {
            Stage::Over(_) => std::mem::take(&mut state.waiting).into_values().collect(),
            _ if woken => state.call(),
            _ => Vec::new(),
        };
        state.stage = next;
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Core {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state();
        if let Stage::Driven = state.stage {
            state.woken = true; // nobody else can go on before
            return;
        }
        let called = state.call();
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

/// The part of one response in a [`Flight`].
pub(crate) struct Joined {
    flight: Arc<Flight>,
    number: u64,
    input: Bytes,
    spent: (EncodePath, u64),
}

impl Joined {
    fn new(flight: Arc<Flight>, input: Bytes) -> Self {
        let mut state = flight.core.state();
        state.joined += 1;
        let number = state.joined;
        drop(state);
        Self {
            flight,
            number,
            input,
            spent: (EncodePath::Sliced, 0),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        let core = &self.flight.core;
        drop(core.forget(self.number));
        let mut state = core.state();
        let mut job = match std::mem::replace(&mut state.stage, Stage::Driven) {
            Stage::Over(outcome) => {
                state.stage = Stage::Over(outcome.clone());
                return Poll::Ready(Done {
                    outcome,
                    own: false,
                    constant: self.flight.constant,
                });
            }
            other => {
                state.waiting.insert(self.number, cx.waker().clone());
                match other {
                    Stage::Idle(job) => {
                        state.driver = self.number;
                        job
                    }
                    _ => return Poll::Pending,
                }
            }
        };
        drop(state);
        let mut turn = Turn {
            core,
            then: Some(Stage::Over(Outcome::Failed)),
        };
        let waker = Waker::from(Arc::clone(core));
        let polled = job.poll(&mut Context::from_waker(&waker), cx.waker());
        let (path, nanos) = job.spent();
        // Of all who had a part in it, the one that ends it tells.
        self.spent = (path, if polled.is_ready() { nanos } else { 0 });
        match polled {
            Poll::Pending => {
                turn.then = Some(Stage::Idle(job));
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                let constant = self.flight.constant;
                self.flight.slot.put(&outcome, constant);
                turn.then = Some(Stage::Over(outcome.clone()));
                Poll::Ready(Done {
                    outcome,
                    own: true,
                    constant,
                })
            }
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        drop(self.flight.core.forget(self.number));
        self.flight.core.pass_on();
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A turn at driving, which ends even if the encoder panics: the others send the identity then.
struct Turn<'a> {
    core: &'a Core,
    then: Option<Stage>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(next) = self.then.take() {
            self.core.put_down(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::VariantCache;
    use crate::coding::Coding;
    use crate::encoder::Size;
    use crate::offload::Job;
    use crate::shared::Shared;
    use crate::turn;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant, SystemTime};

    /// Takes several slices in any coding, and is worth a job.
    const LENGTH: usize = 250_000;

    fn body() -> Bytes {
        static BODY: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
        let make = || {
            (0..25_000_u32)
                .flat_map(|number| format!("{{\"id\":{number}}},").into_bytes())
                .take(LENGTH)
                .collect()
        };
        BODY.get_or_init(make).clone()
    }

    #[derive(Clone, Default)]
    struct Jobs(Arc<Mutex<Vec<Job>>>);

    impl Jobs {
        fn run(&self) -> usize {
            let jobs = std::mem::take(&mut *self.0.lock().unwrap());
            let count = jobs.len();
            for job in jobs {
                job();
            }
            count
        }
    }

    struct Bench {
        shared: Arc<Shared>,
        cache: VariantCache,
        coding: Coding,
        jobs: Jobs,
    }

    impl Bench {
        fn all(away: bool) -> impl Iterator<Item = Self> {
            Coding::ALL.iter().map(move |&coding| {
                let mut shared = Shared::new();
                shared.set_clock(Arc::new(ManualClock::new()));
                let jobs = Jobs::default();
                if away {
                    let queue = jobs.clone();
                    shared.offload = Some(Arc::new(move |job: Job| -> Result<(), Job> {
                        queue.0.lock().unwrap().push(job);
                        Ok(())
                    }));
                }
                Self {
                    shared: Arc::new(shared),
                    cache: VariantCache::weighted(1 << 20),
                    coding,
                    jobs,
                }
            })
        }

        fn join(&self) -> Work {
            let slot = Slot {
                cache: self.cache.clone(),
                key: self.cache.key(b"/"),
                epoch: self.cache.epoch(),
                choice: self.coding.into(),
                length: LENGTH as u64,
            };
            let size = Size::Whole(LENGTH);
            Work::together(slot, false, body(), || {
                Lease::take(&self.shared, self.coding.into(), None, size)
            })
            .unwrap()
        }

        /// All is given back, and nothing remembered that is not in the cache.
        fn must_be_quiet(&self, encoders: usize) {
            assert_eq!(self.cache.under_way(), (0, 0), "{}", self.coding);
            assert_eq!(self.shared.budget.used(), 0, "{}", self.coding);
            assert_eq!(self.shared.pool.count(self.coding), encoders, "{}", self.coding);
        }
    }

    /// A task: its part in the work, and whether it was woken.
    struct Task {
        work: Option<Work>,
        woken: Arc<Woken>,
        done: Option<Done>,
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn new(bench: &Bench) -> Self {
            Self {
                work: Some(bench.join()),
                woken: Arc::new(Woken(AtomicUsize::new(1))),
                done: None,
            }
        }

        /// Polls it if it was woken; tells whether it was.
        fn turn(&mut self) -> bool {
            let Some(work) = &mut self.work else { return false };
            if self.woken.0.swap(0, Ordering::Relaxed) == 0 {
                return false;
            }
            let waker = Waker::from(Arc::clone(&self.woken));
            if let Poll::Ready(done) = work.poll(&mut Context::from_waker(&waker)) {
                self.done = Some(done);
                self.work = None;
            }
            true
        }

        fn bytes(&self) -> &Bytes {
            match &self.done {
                Some(Done {
                    outcome: Outcome::Smaller(data),
                    ..
                }) => data,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Goes on by fifty microseconds each time it is asked.
    #[derive(Debug)]
    struct Ticking(ManualClock);

    impl Clock for Ticking {
        fn now(&self) -> Instant {
            self.0.advance(Duration::from_micros(50));
            self.0.now()
        }

        fn wall(&self) -> SystemTime {
            self.0.wall()
        }
    }

    /// A server may drive it and other responses in one poll of a task, whose time is one.
    #[test]
    fn what_a_task_does_for_all_is_time_of_that_task() {
        for mut bench in Bench::all(false) {
            let clock = Arc::new(Ticking(ManualClock::new()));
            let shared = Arc::get_mut(&mut bench.shared).unwrap();
            shared.set_clock(Arc::<Ticking>::clone(&clock));
            let mut task = Task::new(&bench);
            let waker = Waker::from(Arc::clone(&task.woken));
            while task.turn() {}
            assert!(!task.bytes().is_empty());
            assert!(turn::spent(&waker, clock.nanos()) > 0, "{}", bench.coding);
            assert_eq!(turn::spent(Waker::noop(), clock.nanos()), 0);
        }
    }

    #[test]
    fn all_that_want_the_same_wait_for_one_job() {
        for bench in Bench::all(true) {
            let mut tasks: Vec<_> = (0..5).map(|_| Task::new(&bench)).collect();
            for task in &mut tasks {
                assert!(task.turn() && task.done.is_none());
            }
            assert_eq!(bench.jobs.run(), 1);
            for task in &mut tasks {
                assert!(task.turn(), "woken");
            }
            let first = tasks[0].bytes();
            assert!(tasks.iter().all(|task| task.bytes() == first));
            let own = tasks.iter().filter(|task| task.done.as_ref().unwrap().own);
            assert_eq!(own.count(), 1);
            assert_eq!(bench.cache.stats().entries, 1);
            bench.must_be_quiet(1);
        }
    }

    #[test]
    fn whoever_goes_leaves_the_work_to_the_others() {
        for away in [true, false] {
            for bench in Bench::all(away) {
                for gone in [&[0][..], &[2], &[0, 1]] {
                    for turns in 0..3 {
                        bench.cache.clear();
                        let mut tasks: Vec<_> = (0..3).map(|_| Task::new(&bench)).collect();
                        for _ in 0..turns {
                            for task in &mut tasks {
                                task.turn();
                            }
                        }
                        for &task in gone {
                            tasks[task].work = None;
                        }
                        while tasks.iter().any(|task| task.work.is_some()) {
                            let jobs = bench.jobs.run();
                            let turned = tasks
                                .iter_mut()
                                .filter_map(|task| task.turn().then_some(()))
                                .count();
                            assert!(
                                jobs + turned > 0,
                                "{}: all wait, {gone:?} after {turns}",
                                bench.coding
                            );
                        }
                        bench.jobs.run();
                        bench.must_be_quiet(1);
                        assert_eq!(bench.cache.stats().entries, 1);
                    }
                }
            }
        }
    }

    #[test]
    fn one_that_is_not_polled_any_more_holds_nobody_up() {
        for bench in Bench::all(false) {
            for before in 0..3 {
                bench.cache.clear();
                let mut tasks: Vec<_> = (0..3).map(|_| Task::new(&bench)).collect();
                let mut stalled = tasks.remove(0);
                for task in tasks.iter_mut().take(before) {
                    assert!(task.turn(), "they wait");
                }
                assert!(stalled.turn(), "it begins, or brings it on, and has to go on");
                for _ in 0..1000 {
                    for task in &mut tasks {
                        task.turn();
                    }
                }
                assert_eq!(tasks[0].bytes(), tasks[1].bytes());
                assert!(stalled.turn() && stalled.bytes() == tasks[0].bytes());
            }
        }
    }

    #[test]
    fn each_slice_wakes_few_and_the_end_all() {
        const PARTS: usize = 1000;
        for bench in Bench::all(false) {
            let mut alone = Task::new(&bench);
            let mut slices = 0;
            while alone.turn() {
                slices += 1;
            }
            assert!(slices > 3, "{}", bench.coding);
            bench.cache.clear();
            let mut tasks: Vec<_> = (0..PARTS).map(|_| Task::new(&bench)).collect();
            let mut turns = 0;
            loop {
                let turned = tasks.iter_mut().map(Task::turn).filter(|turned| *turned).count();
                turns += turned;
                if turned == 0 {
                    break;
                }
            }
            assert!(tasks.iter().all(|task| task.bytes() == alone.bytes()));
            // Each for its first turn and for the end, and two for each slice.
            assert!(
                turns <= 2 * slices + 2 * PARTS,
                "{}: {turns} for {slices}",
                bench.coding
            );
        }
    }

    #[test]
    fn whoever_was_called_and_goes_calls_another_one() {
        for bench in Bench::all(false) {
            let mut tasks: Vec<_> = (0..3).map(|_| Task::new(&bench)).collect();
            for task in &mut tasks {
                assert!(task.turn() && task.done.is_none());
            }
            // All that were called go, again and again, until one is left.
            while tasks.len() > 1 {
                let called = |task: &Task| task.woken.0.load(Ordering::Relaxed) > 0;
                let at = tasks.iter().position(called).expect("somebody is called");
                drop(tasks.remove(at));
            }
            while tasks[0].work.is_some() {
                assert!(tasks[0].turn(), "{}", bench.coding);
            }
            assert!(!tasks[0].bytes().is_empty());
            bench.must_be_quiet(1);
        }
    }

    /// A task that is held by its waker alone.
    struct Orphan(#[expect(dead_code, reason = "it is there to be dropped")] Mutex<Option<Work>>);

    impl Wake for Orphan {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_that_takes_another_part_in_the_work_with_it_is_dropped_outside_of_the_lock() {
        for bench in Bench::all(true) {
            let mut other = bench.join();
            let mut cx = Context::from_waker(Waker::noop());
            assert!(other.poll(&mut cx).is_pending());
            let mut work = bench.join();
            let waker = Waker::from(Arc::new(Orphan(Mutex::new(Some(other)))));
            assert!(work.poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            assert!(
                work.poll(&mut cx).is_pending(),
                "where another waker takes its place"
            );
            let waker = Waker::from(Arc::new(Orphan(Mutex::new(Some(bench.join())))));
            assert!(work.poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            drop(work);
            bench.jobs.run();
            bench.must_be_quiet(1);
        }
    }

    #[test]
    fn when_all_go_nothing_is_left() {
        for away in [true, false] {
            for bench in Bench::all(away) {
                let mut tasks: Vec<_> = (0..3).map(|_| Task::new(&bench)).collect();
                for task in &mut tasks {
                    task.turn();
                }
                drop(tasks);
                bench.must_be_quiet(1);
                bench.jobs.run();
                assert_eq!(bench.cache.stats().entries, 0);
                // The next one begins anew.
                let mut task = Task::new(&bench);
                while task.work.is_some() {
                    task.turn();
                    bench.jobs.run();
                }
                assert!(task.done.as_ref().unwrap().own && task.bytes().len() < LENGTH);
                bench.must_be_quiet(1);
            }
        }
    }

    #[test]
    fn a_panic_is_the_end_for_one_and_the_identity_for_the_others() {
        for mut bench in Bench::all(false) {
            let shared = Arc::make_mut(&mut bench.shared);
            shared.offload = Some(Arc::new(|_: Job| -> Result<(), Job> { panic!("no queue") }));
            let mut tasks: Vec<_> = (0..3).map(|_| Task::new(&bench)).collect();
            let panicked = catch_unwind(AssertUnwindSafe(|| tasks[0].turn()));
            assert!(panicked.is_err());
            drop(tasks.remove(0));
            for task in &mut tasks {
                assert!(task.turn());
                assert!(matches!(
                    task.done,
                    Some(Done {
                        outcome: Outcome::Failed,
                        own: false,
                        ..
                    })
                ));
            }
            assert_eq!(bench.cache.stats().entries, 0);
            assert_eq!((bench.cache.under_way(), bench.shared.budget.used()), ((0, 0), 0));
        }
    }

    #[test]
    fn threads_that_begin_at_the_same_time_all_get_the_same() {
        for bench in Bench::all(false) {
            for _ in 0..3 {
                bench.cache.clear();
                let bench = &bench;
                let results: Vec<_> = std::thread::scope(|scope| {
                    let threads: Vec<_> = (0..6)
                        .map(|number| {
                            scope.spawn(move || {
                                let mut work = bench.join();
                                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                                if number % 3 == 0 {
                                    // This one goes after its first turn.
                                    let first = poll_fn(|cx| Poll::Ready(work.poll(cx)));
                                    let _ = runtime.block_on(first);
                                    return None;
                                }
                                Some(runtime.block_on(poll_fn(|cx| work.poll(cx))))
                            })
                        })
                        .collect();
                    threads
                        .into_iter()
                        .filter_map(|thread| thread.join().unwrap())
                        .collect()
                });
                assert_eq!(results.len(), 4);
                for done in &results {
                    let Outcome::Smaller(data) = &done.outcome else {
                        panic!("{done:?}");
                    };
                    assert!(data.len() < LENGTH);
                }
                assert_eq!(bench.cache.under_way(), (0, 0));
                assert_eq!(bench.shared.budget.used(), 0);
            }
        }
    }
}
