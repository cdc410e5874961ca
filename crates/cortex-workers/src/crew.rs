use crate::bell::Bell;
use crate::error::Panic;
use crate::event::{Event, Failure};
use crate::hub::Next;
use crate::job::{Ran, drop_quietly, quietly};
use crate::joins::Thread;
use crate::panics;
use crate::random::Random;
use crate::shared::Shared;
use crate::task_cx::TaskCx;
use crate::worker::{AfterPanic, StopReason, Worker, WorkerCx};
use std::io;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

/// Why the first state of a worker could not be made.
pub(crate) enum NotMade<E> {
    Failed(E),
    Panicked(Panic),
}

/// Hears whether the first state of a worker could be made.
pub(crate) type Begun<W> = Box<dyn FnOnce(Result<(), NotMade<<W as Worker>::Error>>) + Send>;

/// Starts the thread of a seat.
///
/// # Errors
///
/// The operating system starts none.
pub(crate) fn start<W: Worker>(
    shared: &Arc<Shared<W>>,
    seat: usize,
    begun: Option<Begun<W>>,
) -> io::Result<()> {
    let mut builder = std::thread::Builder::new().name(format!("{}-{seat}", shared.name));
    if let Some(size) = shared.settings.stack_size {
        builder = builder.stack_size(size);
    }
    let own = Arc::clone(shared);
    let start = || Thread::start(builder, move || work(&own, seat, begun));
    shared.joins.start(seat, start)
}

fn work<W: Worker>(shared: &Arc<Shared<W>>, seat: usize, mut begun: Option<Begun<W>>) {
    shared.enter_thread();
    #[cfg(feature = "affinity")]
    let core = shared.place(&shared.settings.placement, seat);
    #[cfg(not(feature = "affinity"))]
    let core = None;
    let bell = Arc::new(Bell::new());
    shared.hub.begin(seat, &bell);
    let random = Random::of_thread(shared.settings.seed, seat);
    let mut backoff = Backoff::new(shared.settings.respawn, random);
    let mut generation = 0;
    let ended = loop {
        let cx = WorkerCx {
            pool: &shared.name,
            index: seat,
            generation,
            core,
        };
        let state = match panics::catch(|| W::init(&cx)) {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(error)) => Err(NotMade::Failed(error)),
            Err(panic) => Err(NotMade::Panicked(panic)),
        };
        let reason = match state {
            Ok(state) => {
                shared.hub.made(seat, shared.clock.nanos(), generation > 0);
                shared.tell(|| Event::WorkerStarted {
                    thread: seat,
                    generation,
                });
                if let Some(begun) = begun.take() {
                    begun(Ok(()));
                }
                let since = shared.clock.nanos();
                if let Some(why) = serve(shared, seat, &bell, state) {
                    break Some(why);
                }
                backoff.ran_for(Duration::from_nanos(shared.clock.nanos().saturating_sub(since)));
                Failure::TaskPanicked
            }
            Err(error) => {
                if let Some(begun) = begun.take() {
                    begun(Err(error));
                    break None;
                }
                let failure = match error {
                    NotMade::Failed(_) => Failure::Init,
                    NotMade::Panicked(_) => Failure::InitPanicked,
                };
                drop_quietly(error);
                shared.handle(shared.hub.fail(seat, shared.clock.nanos(), None));
                failure
            }
        };
        generation += 1;
        let delay = backoff.next();
        shared.tell(|| Event::WorkerFailed {
            thread: seat,
            reason,
            retry_after: delay,
        });
        if let Some(why) = wait(shared, seat, delay) {
            break Some(why);
        }
    };
    if let Some(reason) = ended {
        shared.tell(|| Event::WorkerEnded { thread: seat, reason });
    }
    shared.joins.leave(seat);
    let (is_last, after) = shared.hub.leave(seat, shared.clock.nanos());
    shared.handle(after);
    shared.joins.sweep();
    if is_last && shared.ending.has_begun() {
        shared.end_threads();
    }
}

/// Works until there is no more to do for this thread, and returns why, or until the state is lost.
fn serve<W: Worker>(shared: &Arc<Shared<W>>, seat: usize, bell: &Bell, mut state: W) -> Option<StopReason> {
    let mut now = shared.clock.nanos();
    let mut ran = None;
    loop {
        let (next, after) = shared.hub.next(seat, now, ran.take());
        shared.handle(after);
        match next {
            Next::Run(task) => {
                let cx = TaskCx {
                    ticket: task.ticket(),
                    clock: &*shared.clock,
                    taken: now,
                };
                let site = task.ticket().site;
                let how = task.run(&mut state, &cx);
                drop_quietly(task); // an answer that nobody waits for
                let began = std::mem::replace(&mut now, shared.clock.nanos());
                if let Some(site) = site {
                    site.note(now.saturating_sub(began), now);
                }
                if how == Ran::Panicked && !is_kept(&mut state) {
                    shared.handle(shared.hub.fail(seat, now, Some(how)));
                    drop_quietly(state);
                    return None;
                }
                ran = Some(how);
            }
            Next::Sleep => {
                bell.wait();
                now = shared.clock.nanos();
            }
            Next::End(why) => {
                end(state, why);
                return Some(why);
            }
        }
    }
}

fn is_kept<W: Worker>(state: &mut W) -> bool {
    let mut after = AfterPanic::Rebuild;
    quietly(|| after = state.after_panic());
    after == AfterPanic::Keep
}

fn end<W: Worker>(state: W, why: StopReason) {
    quietly(|| state.teardown(why));
}

/// Waits before a state is made again; says why it is not to be made any more, if so.
fn wait<W: Worker>(shared: &Arc<Shared<W>>, seat: usize, delay: Duration) -> Option<StopReason> {
    let until = crate::ticket::later(shared.clock.nanos(), delay);
    loop {
        if let Some(why) = shared.hub.is_over(seat) {
            return Some(why);
        }
        let left = until.saturating_sub(shared.clock.nanos());
        if left == 0 {
            return None;
        }
        park_timeout(Duration::from_nanos(left));
    }
}

/// How long a worker waits until it makes its state again: about twice as long each time, and as at first once it has
/// run well.
struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    const fn new((first, longest): (Duration, Duration), random: Random) -> Self {
        Self {
            first,
            longest,
            next: first,
            random,
        }
    }

    /// A worker that has run for so long is well.
    const WELL: Duration = Duration::from_mins(1);

    fn ran_for(&mut self, time: Duration) {
        if time >= Self::WELL {
            self.next = self.first;
        }
    }

    fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = self.next.saturating_mul(2).min(self.longest);
        self.random.around(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_anew_after_a_good_run() {
        let ms = Duration::from_millis;
        let mut same = Random::of_thread(3, 0);
        let mut backoff = Backoff::new((ms(10), ms(50)), same.clone());
        for delay in [10, 20, 40, 50, 50] {
            assert_eq!(backoff.next(), same.around(ms(delay)));
        }
        backoff.ran_for(Duration::from_secs(59));
        assert_eq!(backoff.next(), same.around(ms(50)));
        backoff.ran_for(Duration::from_mins(1));
        assert_eq!(backoff.next(), same.around(ms(10)));
    }
}
