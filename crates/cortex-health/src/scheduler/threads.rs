use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread without work stays.
pub(crate) const LINGER: Duration = Duration::from_mins(1);

/// Enough for a lookup of a name and a TLS handshake; a quarter of what threads get otherwise.
const STACK: usize = 512 << 10;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The threads of the blocking checks: made when a job comes and none is idle, and gone after a while without one.
///
/// Nobody waits for them. There are at most `most`, one for each check, and a check has at most one job under way: so a
/// job never waits for one that hangs.
#[derive(Debug)]
pub(crate) struct Threads {
    pool: Arc<Pool>,
    most: usize,
    linger: Duration,
}

#[derive(Debug, Default)]
struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last that became idle is the first to get a job, so that those that there are too many of stay idle.
    idle: Vec<(u64, Sender<Job>)>,
    /// Jobs for threads that have told of their last end and are not idle yet.
    waiting: VecDeque<Job>,
    alive: usize,
    made: u64,
    is_closed: bool,
}

impl Threads {
    pub(crate) fn new(most: usize, linger: Duration) -> Self {
        Self {
            pool: Arc::default(),
            most,
            linger,
        }
    }

    /// Runs the job now, on a thread that is idle, a new one, or one that is about to be idle.
    ///
    /// # Errors
    ///
    /// There is no thread for it; the job is dropped.
    pub(crate) fn run(&self, mut job: Job) -> io::Result<()> {
        let number = {
            let mut state = self.pool.lock();
            while let Some((_, sender)) = state.idle.pop() {
                match sender.send(job) {
                    Ok(()) => return Ok(()),
                    Err(back) => job = back.0, // it cannot leave without the lock, so this is for a thread that died
                }
            }
            if state.alive >= self.most {
                state.waiting.push_back(job);
                return Ok(());
            }
            state.alive += 1;
            state.made += 1;
            state.made
        };
        let worker = Worker {
            pool: Arc::clone(&self.pool),
            number,
            linger: self.linger,
        };
        // The closure has the worker even if it is never called: its drop counts the thread out.
        thread::Builder::new()
            .name("health-check".into())
            .stack_size(STACK)
            .spawn(move || worker.work(job))
            .map(drop)
    }

    #[cfg(test)]
    pub(crate) fn alive(&self) -> usize {
        self.pool.lock().alive
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.is_closed = true;
        state.idle.clear(); // wakes them
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting); // outside of the lock: it is code of others
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("alive", &self.alive)
            .field("idle", &self.idle.len())
            .finish_non_exhaustive()
    }
}

/// One thread.
struct Worker {
    pool: Arc<Pool>,
    number: u64,
    linger: Duration,
}

impl Worker {
    fn work(self, job: Job) {
        let mut next = Some(job);
        while let Some(job) = next {
            // What a check does is caught further in; this is for what its values do when they are dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
            next = self.rest();
        }
    }

    /// Waits for the next job; `None`: it is time to leave.
    fn rest(&self) -> Option<Job> {
        let jobs = match self.offer()? {
            Next::Job(job) => return Some(job),
            Next::Wait(jobs) => jobs,
        };
        match jobs.recv_timeout(self.linger) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let mut state = self.pool.lock();
                let before = state.idle.len();
                state.idle.retain(|(number, _)| *number != self.number);
                if state.idle.len() < before {
                    return None;
                }
                drop(state);
                jobs.recv().ok() // taken off the list at the same moment: its job is here, or it was closed
            }
        }
    }

    fn offer(&self) -> Option<Next> {
        let mut state = self.pool.lock();
        if state.is_closed {
            return None;
        }
        if let Some(job) = state.waiting.pop_front() {
            return Some(Next::Job(job));
        }
        let (sender, jobs) = mpsc::channel();
        state.idle.push((self.number, sender));
        Some(Next::Wait(jobs))
    }
}

enum Next {
    Job(Job),
    Wait(Receiver<Job>),
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pool.lock().alive -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::{Clock, SystemClock};
    use std::thread::ThreadId;

    fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let start = SystemClock.now();
        while !condition() {
            let waited = SystemClock.now().saturating_duration_since(start);
            assert!(waited < Duration::from_secs(30), "waited too long: {what}");
            thread::yield_now();
        }
    }

    fn idle(threads: &Threads) -> usize {
        threads.pool.lock().idle.len()
    }

    /// Runs a job that says on which thread, and waits until that thread is idle.
    fn thread_of_a_job(threads: &Threads) -> ThreadId {
        let (send, ran) = mpsc::channel();
        let job = move || send.send(thread::current().id()).expect("the test waits");
        threads.run(Box::new(job)).expect("there is a thread");
        let thread = ran.recv().expect("it runs");
        until("it is idle", || idle(threads) == threads.alive());
        thread
    }

    #[test]
    fn a_thread_is_used_again() {
        let threads = Threads::new(2, LINGER);
        assert_eq!(threads.alive(), 0, "made before there was work");
        let first = thread_of_a_job(&threads);
        for _ in 0..100 {
            assert_eq!(thread_of_a_job(&threads), first);
        }
        assert_eq!(threads.alive(), 1);
    }

    #[test]
    fn a_job_that_hangs_keeps_its_own_thread_alone() {
        let threads = Threads::new(2, LINGER);
        let (release, released) = mpsc::channel::<()>();
        let hung = move || _ = released.recv();
        threads.run(Box::new(hung)).unwrap();
        for _ in 0..100 {
            let (send, ran) = mpsc::channel();
            threads.run(Box::new(move || send.send(()).unwrap())).unwrap();
            ran.recv().unwrap();
            until("the other is idle", || idle(&threads) == 1);
        }
        assert_eq!(threads.alive(), 2);
        drop(release);
        until("both are idle", || idle(&threads) == 2);
    }

    #[test]
    fn idle_threads_leave() {
        let threads = Threads::new(1, Duration::from_millis(1));
        for _ in 0..20 {
            let (send, ran) = mpsc::channel();
            threads.run(Box::new(move || send.send(()).unwrap())).unwrap();
            ran.recv().unwrap(); // also a job that comes while the thread is about to leave is run
        }
        until("all have left", || threads.alive() == 0);
        assert_eq!(idle(&threads), 0);
    }

    #[test]
    fn the_end_wakes_the_idle_and_leaves_the_hung_alone() {
        let threads = Threads::new(2, LINGER);
        thread_of_a_job(&threads);
        let (release, released) = mpsc::channel::<()>();
        let (send, begun) = mpsc::channel();
        let hung = move || {
            send.send(()).unwrap();
            let _ = released.recv();
        };
        threads.run(Box::new(hung)).unwrap();
        begun.recv().unwrap();
        thread_of_a_job_beside(&threads);
        let pool = Arc::clone(&threads.pool);
        drop(threads);
        until("the idle one has left", || pool.lock().alive == 1);
        drop(release);
        until("the other one has left", || pool.lock().alive == 0);
    }

    fn thread_of_a_job_beside(threads: &Threads) {
        let (send, ran) = mpsc::channel();
        let job = move || send.send(()).expect("the test waits");
        threads.run(Box::new(job)).expect("there is a thread");
        ran.recv().expect("it runs");
    }

    #[test]
    fn there_are_never_too_many() {
        let threads = Threads::new(1, LINGER);
        let (send, ran) = mpsc::channel();
        for number in 0..1000 {
            let send = send.clone();
            threads.run(Box::new(move || send.send(number).unwrap())).unwrap();
            assert_eq!(ran.recv().unwrap(), number); // told before its thread is idle
            assert_eq!(threads.alive(), 1);
        }
        until("it is idle", || idle(&threads) == 1);
        assert_eq!(threads.pool.lock().made, 1);
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let threads = Threads::new(2, LINGER);
        let first = thread_of_a_job(&threads);
        threads.run(Box::new(|| panic!("in a job"))).unwrap();
        until("it is idle again", || idle(&threads) == 1);
        assert_eq!(thread_of_a_job(&threads), first);
    }
}
