//! What threads do to one another, in every order that they may run in.
//!
//! By loom alone: shuttle, whose random schedules are longer, would bring some twenty crates more, old versions of `rand`
//! among them. What is too long for loom the stress test does with threads of the system (`cargo xtask stress`), which
//! has clocks, panics and observers besides.

use crate::bell::Bell;
use crate::cancel::{self, Cancel, CancelToken};
use crate::gate::{Gate, Member};
use crate::hub::{Hub, Next, Offered, Task};
use crate::job::{Closure, Entry, Job, Unstarted, Work};
use crate::overflow::Overflow;
use crate::priority::Priority;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::task_cx::TaskCx;
use crate::ticket::Ticket;
use cortex_core::{Context, SystemClock};
use loom::sync::Arc as LoomArc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::{Arc, Weak};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

fn settings(threads: usize, capacity: usize) -> Settings {
    Settings {
        least: threads,
        most: threads,
        capacity,
        overflow: Overflow::Wait,
        ageing: None,
        idle: None,
        run_timeout: None,
        stuck_after: None,
        max_stuck: None,
        respawn: (Duration::ZERO, Duration::ZERO),
        seed: 0,
        grace: Duration::ZERO,
        stack_size: None,
        #[cfg(feature = "affinity")]
        placement: crate::placement::Placement::default(),
        is_observed: false,
        is_traced: false,
    }
}

type Count = LoomArc<AtomicUsize>;

fn ticket() -> Ticket {
    Ticket::new(Priority::Normal, Context::new(), 0)
}

fn counting(ran: &Count, is_awaited: bool) -> Arc<Job<(), impl Work<(), Answer = ()> + use<>>> {
    let ran = LoomArc::clone(ran);
    let work = move |(): &mut (), _: &TaskCx<'_>| {
        ran.fetch_add(1, Ordering::Relaxed);
    };
    Arc::new(Job::new(ticket(), Closure(work), None, is_awaited))
}

/// Works as a thread of a pool does; says whether it was the last.
fn work(hub: &Hub<()>, seat: usize) -> bool {
    let bell = Arc::new(Bell::new());
    hub.begin(seat, &bell);
    hub.made(seat, 0, false);
    let mut ran = None;
    loop {
        let (next, mut after) = hub.next(seat, 0, ran.take());
        after.tell();
        match next {
            Next::Run(task) => {
                let cx = TaskCx {
                    ticket: task.ticket(),
                    clock: &SystemClock,
                    taken: 0,
                };
                ran = Some(task.run(&mut (), &cx));
            }
            Next::Sleep => bell.wait(),
            Next::End(_) => break,
        }
    }
    let (is_last, mut after) = hub.leave(seat, 0);
    after.tell();
    is_last
}

/// Wakes a thread of the model.
struct Alarm(thread::Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer.
fn wait<P: Work<()>>(job: &Job<(), P>) -> Result<P::Answer, ()> {
    let waker = Waker::from(Arc::new(Alarm(thread::current())));
    loop {
        match job.poll(&task::Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer.map_err(drop),
            Poll::Pending => thread::park(),
        }
    }
}

/// Starts a pool of so many threads.
fn crew(threads: usize, capacity: usize) -> (Arc<Hub<()>>, Vec<thread::JoinHandle<bool>>) {
    let hub = Arc::new(Hub::new(settings(threads, capacity)));
    let seats = hub.reserve(threads);
    let join = seats.into_iter().map(|seat| {
        let hub = Arc::clone(&hub);
        thread::spawn(move || work(&hub, seat))
    });
    let join = join.collect();
    (hub, join)
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn end(hub: &Hub<()>, within: Duration) {
    let (_, mut after) = hub.close(0, within);
    after.tell();
}

/// A wake-up that is lost would leave a task undone, and all threads asleep.
#[test]
fn model_every_task_is_done_once() {
    model(|| {
        let (hub, threads) = crew(2, 4);
        let ran = Count::default();
        for _ in 0..2 {
            let task: Task<()> = counting(&ran, false);
            let (offered, mut after) = hub.offer(Arc::clone(&task), Overflow::Wait, true);
            after.tell();
            assert_eq!(offered, Offered::In);
        }
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    });
}

/// Who waits for a place comes in when a worker makes one.
#[test]
fn model_who_waits_comes_in() {
    model(|| {
        let (hub, threads) = crew(1, 0);
        let ran = Count::default();
        let jobs = [(); 2].map(|()| counting(&ran, true));
        for job in &jobs {
            let task: Task<()> = Arc::clone(job) as Task<()>;
            let (offered, mut after) = hub.offer(Arc::clone(&task), Overflow::Wait, true);
            after.tell();
            assert!(matches!(offered, Offered::In | Offered::Waits));
        }
        for job in jobs {
            assert!(wait(&*job).is_ok());
        }
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    });
}

/// A task is taken, or taken back.
#[test]
fn model_a_cancelled_task_runs_or_does_not() {
    model(|| {
        let (hub, threads) = crew(1, 1);
        let ran = Count::default();
        let job = counting(&ran, true);
        let task: Task<()> = Arc::clone(&job) as Task<()>;
        let (_, mut after) = hub.offer(Arc::clone(&task), Overflow::Reject, false);
        after.tell();
        let (withdrawn, mut after) = hub.withdraw(&task);
        after.tell();
        let withdrawn = withdrawn.is_some();
        if withdrawn {
            job.leave();
        } else {
            job.ticket().tell(Stop::Cancelled);
            job.leave();
        }
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        let ran = ran.load(Ordering::Relaxed);
        assert!(if withdrawn { ran == 0 } else { ran <= 1 });
        let totals = hub.totals();
        assert_eq!((totals.submitted, totals.completed + totals.cancelled), (1, 1));
        assert!(!withdrawn || totals.cancelled == 1);
    });
}

/// A task of a model, below a token.
struct Below<P: Work<()>> {
    hub: Arc<Hub<()>>,
    job: Weak<Job<(), P>>,
}

impl<P: Work<()>> Cancel for Below<P> {
    fn cancel(&self) {
        if let Some(job) = self.job.upgrade() {
            cancel::cancel(&self.hub, &job, 0, |mut after| after.tell(), |_| ());
        }
    }
}

/// Whoever has a token cancelled while a worker takes the task, runs it and answers: the caller has an answer, the task counts once, and
/// nothing is left below the token.
#[test]
fn model_a_token_is_cancelled_at_any_time() {
    model(|| {
        let (hub, threads) = crew(1, 1);
        let token = CancelToken::new();
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        let ran = Count::default();
        let job = counting(&ran, true);
        let (_, mut after) = hub.offer(Arc::clone(&job) as Task<()>, Overflow::Reject, false);
        after.tell();
        let below = Below {
            hub: Arc::clone(&hub),
            job: Arc::downgrade(&job),
        };
        match token.enrol(Box::new(below)) {
            Ok(enrolment) => job.enrolled(enrolment),
            Err(late) => late.cancel(),
        }
        let answer = wait(&*job).is_ok();
        canceller.join().unwrap();
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!answer || ran.load(Ordering::Relaxed) == 1);
        let totals = hub.totals();
        assert_eq!((totals.submitted, totals.completed + totals.cancelled), (1, 1));
        assert_eq!(
            answer,
            totals.completed == 1,
            "it counts as what the caller has heard"
        );
        assert_eq!(token.heirs(), 0);
    });
}

/// A child that is made while its parent is cancelled is cancelled, too.
#[test]
fn model_no_child_escapes() {
    model(|| {
        let token = CancelToken::new();
        let canceller = {
            let token = token.clone();
            thread::spawn(move || token.cancel())
        };
        let child = token.child();
        canceller.join().unwrap();
        assert!(child.is_cancelled());
        drop(child);
        assert_eq!(token.heirs(), 0);
    });
}

/// A task that is offered while the pool ends is done, refused or discarded, and the caller hears which.
#[test]
fn model_whoever_comes_at_the_end_has_an_answer() {
    model(|| {
        let (hub, threads) = crew(1, 1);
        let ran = Count::default();
        let ending = {
            let hub = Arc::clone(&hub);
            thread::spawn(move || end(&hub, Duration::ZERO))
        };
        let job = counting(&ran, true);
        let task: Task<()> = Arc::clone(&job) as Task<()>;
        let (offered, mut after) = hub.offer(Arc::clone(&task), Overflow::Wait, true);
        after.tell();
        if offered == Offered::Refused(Unstarted::Closed) {
            job.end(Unstarted::Closed);
        }
        let answer = wait(&*job).is_ok();
        ending.join().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!answer || ran.load(Ordering::Relaxed) == 1);
        let totals = hub.totals();
        let ended = totals.completed + totals.shut_down + totals.discarded + totals.rejected;
        assert_eq!((totals.submitted, ended), (1, 1));
        assert_eq!(
            answer,
            totals.completed == 1,
            "it counts as what the caller has heard"
        );
    });
}

/// A pool has ended once the last thread has gone and what was left is handed over, and somebody sees that.
#[test]
fn model_a_pool_ends_when_what_is_left_was_handed_over() {
    model(|| {
        let hub = Arc::new(Hub::new(settings(1, 1)));
        let (handed, ran) = (Count::default(), Count::default());
        let threads = hub.reserve(1).into_iter().map(|seat| {
            let hub = Arc::clone(&hub);
            let done = [LoomArc::clone(&handed), LoomArc::clone(&ran)];
            thread::spawn(move || {
                let is_last = work(&hub, seat);
                let is_done = |count: &Count| count.load(Ordering::Relaxed) == 1;
                assert!(!is_last || done.iter().any(is_done), "handed over or run");
                is_last
            })
        });
        let threads: Vec<_> = threads.collect();
        let (_, mut after) = hub.offer(counting(&ran, false), Overflow::Wait, true);
        after.tell();
        let (_, mut after) = hub.close(0, Duration::ZERO);
        let hands_over = after.hands_over;
        after.tell();
        if hands_over {
            handed.store(1, Ordering::Relaxed);
            hub.handed_over();
        }
        let mut has_ended = hub.is_deserted();
        for thread in threads {
            has_ended |= thread.join().unwrap();
        }
        assert!(has_ended);
        assert_eq!(hands_over, ran.load(Ordering::Relaxed) == 0);
    });
}

/// The answer wakes whoever registered, however late, and whoever has gone is not waited for.
#[test]
fn model_an_answer_is_heard_or_dropped() {
    for leaves in [false, true] {
        model(move || {
            let ran = Count::default();
            let job = counting(&ran, true);
            job.ticket().set_phase(crate::ticket::Phase::Taken);
            let worker = {
                let job = Arc::clone(&job);
                thread::spawn(move || {
                    let cx = TaskCx {
                        ticket: job.ticket(),
                        clock: &SystemClock,
                        taken: 0,
                    };
                    job.run(&mut (), &cx)
                })
            };
            if leaves {
                job.ticket().tell(Stop::Cancelled);
                job.leave();
            } else {
                assert!(wait(&*job).is_ok());
            }
            worker.join().unwrap();
            assert!(leaves || ran.load(Ordering::Relaxed) == 1);
        });
    }
}

/// A call looks for its answer when it has offered its task, and registers whom to wake only if there is none: the answer may come
/// before, between or after. Who has looked last is woken.
#[test]
fn model_whoever_looks_once_it_has_offered_is_woken() {
    model(|| {
        let (hub, threads) = crew(1, 1);
        let ran = Count::default();
        let job = counting(&ran, true);
        let (_, mut after) = hub.offer(Arc::clone(&job) as Task<()>, Overflow::Wait, true);
        after.tell();
        let first = job.poll(&task::Context::from_waker(Waker::noop()));
        assert!(first.is_ready() || wait(&*job).is_ok());
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

/// A worker that is retired hands on what it was woken for.
#[test]
fn model_who_is_retired_keeps_nobody_waiting() {
    model(|| {
        let (hub, threads) = crew(2, 4);
        let resizing = {
            let hub = Arc::clone(&hub);
            thread::spawn(move || hub.resize(1, 1).tell())
        };
        let ran = Count::default();
        let job = counting(&ran, true);
        let (offered, mut after) = hub.offer(Arc::clone(&job) as Task<()>, Overflow::Wait, true);
        after.tell();
        assert_eq!(offered, Offered::In);
        assert!(wait(&*job).is_ok());
        resizing.join().unwrap();
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(hub.there(), 0);
    });
}

/// Whoever resumes wakes as many as there is work for.
#[test]
fn model_what_was_paused_is_done() {
    model(|| {
        let (hub, threads) = crew(2, 4);
        hub.pause(true).tell();
        let ran = Count::default();
        for _ in 0..2 {
            let (_, mut after) = hub.offer(counting(&ran, false), Overflow::Wait, true);
            after.tell();
        }
        hub.pause(false).tell();
        end(&hub, Duration::MAX);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    });
}

/// A hub that shares places with another one.
struct Sharing(Hub<()>);

impl Member for Sharing {
    fn admit(self: Arc<Self>) {
        self.0.admit().tell();
    }
}

/// Makes two pools that share places, each with somebody who works there, and is busy.
fn sharing(gate: &Gate) -> [Arc<Sharing>; 2] {
    [(); 2].map(|()| {
        let sharing = Arc::new(Sharing(Hub::new(settings(1, 4))));
        sharing.0.reserve(1);
        let member: Weak<dyn Member> = Arc::downgrade(&sharing) as Weak<dyn Member>;
        sharing
            .0
            .join_gate(gate.join(0, member).expect("nothing is reserved"));
        sharing
    })
}

/// A place that one pool gives back while another one comes to wait for it is not lost.
#[test]
fn model_a_shared_place_is_handed_on() {
    model(|| {
        let gate = Gate::new(1);
        let [one, other] = sharing(&gate);
        let ran = Count::default();
        let [first, second] = [(); 2].map(|()| counting(&ran, true) as Task<()>);
        let (offered, mut after) = one.0.offer(Arc::clone(&first), Overflow::Wait, true);
        after.tell();
        assert_eq!(offered, Offered::In);
        let leaving = {
            let (one, first) = (Arc::clone(&one), Arc::clone(&first));
            thread::spawn(move || {
                let (withdrawn, mut after) = one.0.withdraw(&first);
                after.tell();
                assert!(withdrawn.is_some());
            })
        };
        let (_, mut after) = other.0.offer(Arc::clone(&second), Overflow::Wait, true);
        after.tell();
        leaving.join().unwrap();
        assert_eq!(second.ticket().phase(), crate::ticket::Phase::Queued);
        assert_eq!(gate.free(), 0);
        let (_, mut after) = other.0.withdraw(&second);
        after.tell();
        assert_eq!(gate.free(), 1);
    });
}

/// Of two pools that come for the place that one of them gives back one has it, and the other one next.
#[test]
fn model_a_shared_place_goes_to_one_and_then_to_the_other() {
    model(|| {
        let gate = Gate::new(1);
        let [one, other] = sharing(&gate);
        let ran = Count::default();
        let [first, second, third] = [(); 3].map(|()| counting(&ran, true) as Task<()>);
        for (task, expected) in [(&first, Offered::In), (&third, Offered::Waits)] {
            let (offered, mut after) = one.0.offer(Arc::clone(task), Overflow::Wait, true);
            after.tell();
            assert_eq!(offered, expected);
        }
        let withdraw = |hub: &Hub<()>, task: &Task<()>| {
            let (withdrawn, mut after) = hub.withdraw(task);
            after.tell();
            assert!(withdrawn.is_some());
        };
        let leaving = {
            let (one, first) = (Arc::clone(&one), Arc::clone(&first));
            thread::spawn(move || withdraw(&one.0, &first))
        };
        let (_, mut after) = other.0.offer(Arc::clone(&second), Overflow::Wait, true);
        after.tell();
        leaving.join().unwrap();
        let is_queued = |task: &Task<()>| task.ticket().phase() == crate::ticket::Phase::Queued;
        let mut both = [(&other, &second), (&one, &third)];
        both.sort_by_key(|(_, task)| !is_queued(task));
        assert_eq!(both.map(|(_, task)| is_queued(task)), [true, false]);
        withdraw(&both[0].0.0, both[0].1);
        assert!(is_queued(both[1].1), "it is told");
        withdraw(&both[1].0.0, both[1].1);
        assert_eq!(gate.free(), 1);
    });
}
