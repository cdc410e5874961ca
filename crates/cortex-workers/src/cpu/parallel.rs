use super::progress::Progress;
use crate::job::Work;
use crate::panics::Relay;
use crate::stop::Stop;
use crate::task_cx::TaskCx;
use crate::worker::Closures;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What a CPU pool does with an input, on rayon's threads.
///
/// A thread of the pool in front waits meanwhile. It is that, and not a job of rayon without a waiting thread, as everything else then is
/// as for any other task: what it is admitted by, how it ends, and how it is accounted for. The price is a stack that waits, and two more
/// wake-ups: on a busy machine of two processors 22 us for an empty task, against 8 for a bare `spawn_fifo`. What is worth being divided
/// takes milliseconds.
pub(crate) struct Parallel<Q, F, T> {
    input: Q,
    with: F,
    how: How<Q, F, T>,
    /// Gone if the pool has ended; who has a call keeps no threads.
    threads: Weak<rayon::ThreadPool>,
    pub(super) progress: Option<Progress>,
}

/// Runs within rayon.
pub(super) type How<Q, F, T> = fn(Q, F, &Round<'_>) -> Result<T, Stop>;

/// A task saw that it was to stop.
pub(crate) struct Stopped {
    pub(super) why: Stop,
    pub(super) ran: Duration,
}

impl<Q, F, T> Parallel<Q, F, T> {
    pub(super) const fn new(input: Q, with: F, how: How<Q, F, T>, threads: Weak<rayon::ThreadPool>) -> Self {
        Self {
            input,
            with,
            how,
            threads,
            progress: None,
        }
    }
}

impl<Q, F, T> Work<Closures> for Parallel<Q, F, T>
where
    Q: Send + 'static,
    F: Send + 'static,
    T: Send + 'static,
{
    type Answer = T;
    type Failure = Stopped;
    type Back = Q;

    fn run(self, _: &mut Closures, cx: &TaskCx<'_>) -> Result<T, Stopped> {
        let Self {
            input,
            with,
            how,
            threads,
            progress,
        } = self;
        let round = Round {
            cx,
            progress,
            done: AtomicUsize::new(0),
            has_panicked: AtomicBool::new(false),
            relay: Relay::default(),
        };
        let run = || {
            let _attached = cx.ticket.span.attach(cx.context());
            let _noted = round.relay.here();
            how(input, with, &round)
        };
        let _noted = round.relay.there();
        let result = match threads.upgrade() {
            Some(threads) => threads.install(run),
            None => run(), // on the thread of a caller, as the pool has ended
        };
        result.map_err(|why| Stopped {
            why,
            ran: Duration::from_nanos(cx.clock.nanos().saturating_sub(cx.taken)),
        })
    }

    fn back(self) -> Q {
        self.input
    }
}

/// What the chunks of a task share.
pub(super) struct Round<'a> {
    cx: &'a TaskCx<'a>,
    progress: Option<Progress>,
    done: AtomicUsize,
    /// A chunk has; the others need not be begun.
    has_panicked: AtomicBool,
    relay: Relay,
}

impl Round<'_> {
    /// Does a chunk of so many items, unless the task is to stop.
    fn chunk<T>(&self, items: usize, total: usize, work: impl FnOnce() -> T) -> Result<T, Stop> {
        if self.has_panicked.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled); // nobody sees it
        }
        self.cx.check()?;
        let mut fuse = Fuse(Some(&self.has_panicked));
        let _attached = self.cx.ticket.span.attach(self.cx.context());
        let _noted = self.relay.here();
        let result = work();
        self.done.fetch_add(items, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            progress.now_and_then(self.cx.clock.nanos(), &self.done, total);
        }
        fuse.0 = None;
        Ok(result)
    }

    fn end(&self, total: usize) {
        if let Some(progress) = &self.progress {
            progress.end(total);
        }
    }
}

/// Takes note of a panic.
struct Fuse<'a>(Option<&'a AtomicBool>);

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if let Some(has_panicked) = self.0 {
            has_panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// How many items there are to a chunk: enough chunks for all threads to be busy to the end, and to stop soon.
fn chunk_of(total: usize) -> usize {
    (total / (rayon::current_num_threads() * 64)).clamp(1, 1024)
}

#[expect(clippy::unnecessary_wraps, reason = "one of several that a task is done by")]
pub(super) fn run<F, T>(closure: F, (): (), round: &Round<'_>) -> Result<T, Stop>
where
    F: FnOnce(&TaskCx<'_>) -> T,
{
    Ok(closure(round.cx))
}

pub(super) fn map<T, R, F>(items: Vec<T>, map: F, round: &Round<'_>) -> Result<Vec<R>, Stop>
where
    T: Send,
    R: Send,
    F: Fn(T) -> R + Sync,
{
    let total = items.len();
    let parts = chunks(items, chunk_of(total), round, |part: Vec<T>| {
        part.into_iter().map(&map).collect::<Vec<R>>()
    })?;
    let mut answers = Vec::with_capacity(total);
    answers.extend(parts.into_iter().flatten());
    Ok(answers)
}

pub(super) fn map_chunks<T, R, F>(
    items: Vec<T>,
    (chunk, map): (usize, F),
    round: &Round<'_>,
) -> Result<Vec<R>, Stop>
where
    T: Send,
    R: Send,
    F: Fn(Vec<T>) -> R + Sync,
{
    chunks(items, chunk, round, map)
}

pub(super) fn reduce<T, R, I, F, C>(
    items: Vec<T>,
    (identity, fold, combine): (I, F, C),
    round: &Round<'_>,
) -> Result<R, Stop>
where
    T: Send,
    R: Send,
    I: Fn() -> R + Sync + Send,
    F: Fn(R, T) -> R + Sync,
    C: Fn(R, R) -> R + Sync + Send,
{
    let total = items.len();
    let answer = items
        .into_par_iter()
        .chunks(chunk_of(total))
        .map(|part| {
            let items = part.len();
            round.chunk(items, total, || part.into_iter().fold(identity(), &fold))
        })
        .try_reduce(&identity, |one, other| Ok(combine(one, other)))?;
    round.end(total);
    Ok(answer)
}

fn chunks<T, R>(
    items: Vec<T>,
    chunk: usize,
    round: &Round<'_>,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Result<Vec<R>, Stop>
where
    T: Send,
    R: Send,
{
    let total = items.len();
    let answers = items
        .into_par_iter()
        .chunks(chunk)
        .map(|part| round.chunk(part.len(), total, || work(part)))
        .collect::<Result<Vec<R>, Stop>>()?;
    round.end(total);
    Ok(answers)
}
