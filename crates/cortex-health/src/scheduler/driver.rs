use super::herald::Herald;
use super::machine::Machine;
use super::plan::{Action, Effects, Finding, Moment, Plan, after};
use super::run::{Ticket, look, run_async, run_blocking};
use super::threads::{LINGER, Threads};
use super::waiters::{Waiter, Waiters};
use crate::check::Check;
use crate::context::CheckCtx;
use crate::history::{Transition, Transitions};
use crate::observer::{Event, Observer, RunResult};
use crate::report::Report;
use crate::running::Running;
use crate::shared::{Mailbox, Shared};
use crate::source::{Glance, Source};
use cortex_core::{Clock, SystemClock};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The longest sleep of the scheduler: it gives a sign of life each time, several of them in a lease.
const BEAT: Duration = Duration::from_secs(1);

/// Who wakes so much too late was stopped, with the whole process, and not merely waiting for a processor.
const STOPPED: Duration = Duration::from_secs(1);

/// So many messages at most are taken before the scheduler does what is due and gives a sign of life.
const BATCH: usize = 256;

/// What wakes the scheduler.
#[derive(Debug)]
pub(crate) enum Message {
    /// A run is gone; `None` if it was dropped without a result.
    Ended {
        check: usize,
        run: u64,
        finding: Option<Finding>,
    },
    /// Somebody wants a result that is not from before.
    RunNow {
        check: usize,
        waiter: Waiter,
    },
    Stop,
}

/// Starts the thread; the observer is told from the first event on.
pub(crate) fn start(
    shared: &Arc<Shared>,
    runtime: &Handle,
    observer: Option<&Arc<dyn Observer>>,
) -> io::Result<Running> {
    shared.take()?;
    if let Some(observer) = observer {
        shared.observe(observer);
    }
    let (moved, runtime) = (Arc::clone(shared), runtime.clone());
    let (alive, ended) = mpsc::channel();
    thread::Builder::new()
        .name("cortex-health".into())
        .stack_size(256 << 10)
        .spawn(move || {
            let mut herald = Herald::new(&moved, &alive);
            Driver::new(moved, runtime, move |events| herald.tell(&events)).run();
            drop(alive); // last: whoever waits for the end finds all of it done
        })
        .inspect_err(|_| {
            if let Some(observer) = observer {
                shared.forget(observer);
            }
            shared.release();
        })?;
    shared.begin_to_answer();
    Ok(Running::new(shared.messages.clone(), ended))
}

/// Does what the machine says.
pub(super) struct Driver {
    shared: Arc<Shared>,
    runtime: Handle,
    machine: Machine,
    /// The last of them.
    transitions: Transitions,
    receiver: Receiver<Message>,
    waiters: Waiters,
    /// For how long the scheduler could not run.
    lost: Duration,
    /// By check: what ends the last run.
    aborts: Vec<Abort>,
    threads: Threads,
    /// By check: why its run could not begin.
    refusals: Vec<Option<String>>,
    /// Takes what log and observers are to hear, and does not wait for them.
    tell: Tell,
}

type Tell = Box<dyn FnMut(Vec<Event>) + Send>;

/// Ends a run: a task is dropped, a thread may look.
#[derive(Default)]
struct Abort {
    task: Option<AbortHandle>,
    cancelled: Arc<AtomicBool>,
}

impl Abort {
    fn abort(&self) {
        self.cancelled.store(true, Ordering::Relaxed); // a hint: it guards no memory
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Driver {
    /// Makes the driver of a health that was taken for it.
    pub(super) fn new(
        shared: Arc<Shared>,
        runtime: Handle,
        tell: impl FnMut(Vec<Event>) + Send + 'static,
    ) -> Self {
        let Mailbox { receiver, in_flight } = shared.take_mailbox();
        let plans = shared.checks.iter().map(plan);
        let entries = shared.snapshot().entries.clone();
        let (graph, at) = (Arc::clone(&shared.graph), moment(&shared));
        let mut machine = Machine::new(plans.zip(entries), graph, shared.seed, at);
        machine.inherit(&in_flight, at);
        let is_blocking = |check: &&Check| matches!(check.source, Source::Blocking(_));
        let blocking = shared.checks.iter().filter(is_blocking).count();
        Self {
            machine,
            transitions: Transitions::default(),
            waiters: Waiters::new(shared.checks.len()),
            lost: Duration::ZERO,
            aborts: shared.checks.iter().map(|_| Abort::default()).collect(),
            threads: Threads::new(blocking, LINGER),
            refusals: vec![None; shared.checks.len()],
            tell: Box::new(tell),
            shared,
            runtime,
            receiver,
        }
    }

    fn run(mut self) {
        let _end = CloseOnDrop(Arc::clone(&self.shared)); // also where this thread panics
        let mut message = None;
        while self.step(message.take()) {
            message = self.wait(self.next_wake());
        }
        self.abort_all();
        self.shared.end_lease(self.shared.clock.now());
    }

    /// Runs until each check has a result, or until the timeout, and publishes nothing.
    pub(super) fn run_once(mut self, timeout: Duration) -> Report {
        let end = after(self.shared.clock.now(), timeout);
        self.machine.ask_nobody();
        let mut message = None;
        while let Some(effects) = self.advance(message.take()) {
            self.note(&effects);
            if self.machine.is_complete() || self.shared.clock.now() >= end {
                break;
            }
            message = self.wait(self.next_wake().min(end));
        }
        self.abort_all();
        let report = self
            .shared
            .report(self.machine.entries(), self.transitions.to_shared());
        self.shared.return_mailbox(Mailbox {
            receiver: self.receiver,
            in_flight: self.machine.in_flight(),
        });
        report
    }

    fn wait(&mut self, until: Instant) -> Option<Message> {
        let from = self.shared.clock.now();
        let planned = until.saturating_duration_since(from);
        // By the time that a wait takes, which is not that of a clock that somebody sets by hand.
        let began = SystemClock.now();
        let received = self.receiver.recv_timeout(planned);
        let slept = SystemClock.now().saturating_duration_since(began);
        self.wake(
            slept,
            planned,
            self.shared.clock.now().saturating_duration_since(from),
        );
        match received {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("invariant: the health holds a sender"),
        }
    }

    /// Notes a sleep that was to take so long, and how much the clock went on meanwhile. One that took much longer is lost
    /// as a whole: nobody knows when in it the process was stopped.
    fn wake(&mut self, slept: Duration, planned: Duration, elapsed: Duration) {
        if slept.saturating_sub(planned) >= STOPPED {
            let lost = elapsed.min(slept);
            self.lost += lost;
            self.machine.excuse(lost);
        }
    }

    fn abort_all(&self) {
        self.aborts.iter().for_each(Abort::abort);
    }

    /// Takes the message and those that wait behind it, does what is due, and tells of it; `false` once it is to stop.
    fn step(&mut self, message: Option<Message>) -> bool {
        let Some(effects) = self.advance(message) else {
            return false;
        };
        let transitions = self.note(&effects);
        if let Some(entries) = self.machine.take_changes() {
            self.shared.publish(entries, self.transitions.to_shared());
        }
        let now = self.shared.clock.now();
        self.shared.extend_lease(now);
        for check in self.waiters.due() {
            if !self.machine.is_held(check) {
                self.waiters.tell(check, self.machine.report(check));
            }
        }
        self.waiters.expire(now);
        (self.tell)(effects.events); // after the publication: an observer that looks sees what it was told, or later
        for transition in &transitions {
            self.shared.hub.send(transition);
        }
        true
    }

    /// Remembers the transitions among the events.
    fn note(&mut self, effects: &Effects) -> Vec<Arc<Transition>> {
        let events = effects.events.iter();
        let transitions: Vec<_> = events.filter_map(Transition::of).map(Arc::new).collect();
        self.transitions.extend(&transitions);
        transitions
    }

    /// Takes the message and those that wait behind it, then does what is due; `None` once it is to stop.
    fn advance(&mut self, message: Option<Message>) -> Option<Effects> {
        let mut effects = Effects::default();
        let mut next = message.or_else(|| self.receiver.try_recv().ok());
        let mut left = BATCH;
        while let Some(message) = next {
            match message {
                Message::Stop => return None,
                Message::Ended { check, run, finding } => {
                    let at = moment(&self.shared);
                    let finding = finding.or_else(|| {
                        let refusal = self.refusals[check].take()?;
                        Some(Finding::failed(&refusal, RunResult::Failed, Duration::ZERO))
                    });
                    self.machine.on_result(check, run, finding, at, &mut effects);
                }
                Message::RunNow { check, waiter } => {
                    self.waiters.add(check, waiter);
                    if !self.machine.on_request(check, moment(&self.shared)) {
                        effects.concluded.push(check); // what is known is all that it gets
                    }
                }
            }
            self.conclude(&mut effects);
            left -= 1;
            next = if left > 0 {
                self.receiver.try_recv().ok()
            } else {
                None
            };
        }
        self.machine.start_looks(moment(&self.shared), &mut effects);
        self.act(&mut effects);
        self.machine.on_tick(moment(&self.shared), &mut effects);
        self.act(&mut effects);
        self.conclude(&mut effects);
        Some(effects)
    }

    /// Takes note of who has got what it waited for. Who asks later waits for another run.
    fn conclude(&mut self, effects: &mut Effects) {
        for check in effects.concluded.drain(..) {
            self.waiters.conclude(check);
        }
    }

    fn act(&mut self, effects: &mut Effects) {
        for action in std::mem::take(&mut effects.actions) {
            match action {
                Action::Abort { check } => self.aborts[check].abort(),
                Action::Start { check, run } => {
                    if let Some(finding) = self.start(check, run) {
                        let at = moment(&self.shared);
                        self.machine.on_result(check, run, Some(finding), at, effects);
                    }
                }
            }
        }
    }

    fn next_wake(&self) -> Instant {
        let beat = self.shared.clock.now() + BEAT;
        let due = self.machine.next_tick().into_iter().chain(self.waiters.next());
        due.fold(beat, Instant::min)
    }

    /// Starts a run; of a look there is a result at once.
    fn start(&mut self, check: usize, run: u64) -> Option<Finding> {
        let shared = &self.shared;
        let Check { source, timeout, .. } = &shared.checks[check];
        let began = shared.clock.now();
        let glance = Glance {
            now: began,
            lost: self.lost,
        };
        match source {
            Source::Pulse(pulse) => return Some(look(|glance| pulse.look(glance), glance, &shared.clock)),
            Source::Inline(function) => return Some(look(&**function, glance, &shared.clock)),
            Source::Async(_) | Source::Blocking(_) => {}
        }
        let ticket = Ticket::new(check, run, shared.messages.clone());
        let (last, reason) = self.machine.run_of(check);
        let abort = Abort::default();
        let cx = CheckCtx {
            name: Arc::clone(&shared.names[check]),
            deadline: after(began, *timeout),
            cancelled: Arc::clone(&abort.cancelled),
            last,
            attempt: run,
            reason,
        };
        let clock = Arc::clone(&shared.clock);
        self.aborts[check] = abort;
        match source {
            Source::Async(start) => {
                let start = Arc::clone(start);
                let task = self
                    .runtime
                    .spawn(run_async(ticket, move |cx| start(cx), cx, clock));
                self.aborts[check].task = Some(task.abort_handle());
            }
            Source::Blocking(function) => {
                let function = Arc::clone(function);
                let job = move || run_blocking(ticket, &*function, &cx, &clock);
                if let Err(error) = self.threads.run(Box::new(job)) {
                    // The job was dropped, and the ticket in it has reported that there will be no result.
                    self.refusals[check] = Some(format!("no thread for the run: {error}"));
                }
            }
            Source::Pulse(_) | Source::Inline(_) => {} // looked at above
        }
        None
    }
}

/// Ends the subscriptions.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.hub.close();
    }
}

fn moment(shared: &Shared) -> Moment {
    Moment {
        now: shared.clock.now(),
        wall: shared.clock.wall(),
    }
}

fn plan(check: &Check) -> Plan {
    let twice = check.interval.saturating_mul(2);
    Plan {
        timeout: check.timeout,
        interval: check.interval,
        stale_after: check.stale_after.unwrap_or(twice.saturating_add(check.timeout)),
        fall: check.fall,
        rise: check.rise,
        always_run: check.always_run,
        hold_down: check.hold_down,
        is_look: matches!(check.source, Source::Pulse(_) | Source::Inline(_)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::herald::observe;
    use super::super::log::{Line, write};
    use super::*;
    use crate::checks;
    use crate::group::Group;
    use crate::health::Health;
    use crate::outcome::Outcome;
    use crate::respond::{Detail, Endpoint};
    use crate::status::Status;
    use cortex_testkit::{ManualClock, Recorder, subscribe};
    use expect_test::expect;
    use http::HeaderMap;
    use std::future;
    use std::sync::Mutex;
    use std::task;
    use tokio::runtime::Runtime;

    /// A runtime that works while it is asked to and at no other time.
    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    /// Lets all tasks run until none can.
    fn work(runtime: &Runtime) {
        runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn driver(health: &Health, runtime: &Runtime) -> Driver {
        health.shared.take().unwrap();
        let shared = Arc::clone(&health.shared);
        // Log and observers hear it here and now, so that tests need not wait for a thread.
        Driver::new(Arc::clone(&shared), runtime.handle().clone(), move |events| {
            for event in events {
                for observer in shared.observers().iter() {
                    observe(&**observer, &event);
                }
                write(&Line::Event(event));
            }
        })
    }

    fn code(health: &Health, endpoint: Endpoint<'_>) -> u16 {
        health
            .respond(endpoint, &HeaderMap::new(), Detail::Full)
            .status()
            .as_u16()
    }

    #[test]
    fn a_dead_scheduler_leaves_no_green_light() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let health = Health::builder().clock(clock.clone()).build().unwrap();
        let mut driver = driver(&health, &runtime);
        assert!(driver.step(None));
        assert_eq!(code(&health, Endpoint::Ready), 200);
        drop(driver); // as a panic would

        clock.advance(Duration::from_millis(4999));
        assert_eq!(code(&health, Endpoint::Ready), 200);
        clock.advance(Duration::from_millis(1));
        for endpoint in [Endpoint::Ready, Endpoint::Health, Endpoint::Group("ready")] {
            let response = health.respond(endpoint, &HeaderMap::new(), Detail::Status);
            assert_eq!(response.status(), 503);
            let expected = br#"{"status":"fail","output":"the health scheduler has stopped"}"#;
            assert_eq!(response.body().as_ref(), expected);
        }
        assert_eq!(code(&health, Endpoint::Startup), 200);

        clock.advance(Duration::from_millis(29_999));
        assert_eq!(code(&health, Endpoint::Live), 200);
        clock.advance(Duration::from_millis(1));
        assert_eq!(code(&health, Endpoint::Live), 503);
        health.set_draining(true);
        assert_eq!(
            code(&health, Endpoint::Live),
            200,
            "a restart would cut the drain short"
        );
    }

    #[test]
    fn a_snapshot_of_a_dead_scheduler_knows_nothing() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let check = Check::from_fn("db", || async {});
        let health = Health::builder()
            .clock(clock.clone())
            .check(check)
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        driver.step(None);
        work(&runtime);
        driver.step(None);
        assert_eq!(health.snapshot().group(Group::READY), Status::Up);
        clock.advance(Duration::from_secs(5));
        assert_eq!(health.snapshot().group(Group::READY), Status::Down);
        assert_eq!(code(&health, Endpoint::Check("db")), 503);
        assert!(driver.step(None)); // it was only late
        assert_eq!(health.snapshot().group(Group::READY), Status::Up);
    }

    #[test]
    fn observers_see_what_they_are_told_and_do_no_harm() {
        struct Nosy(Arc<Mutex<Option<Health>>>, Recorder<(Status, Status)>);

        impl Observer for Nosy {
            fn on_event(&self, event: &Event) {
                if let Event::Transition { check, to, .. } = event {
                    let report = self.0.lock().unwrap().as_ref().unwrap().snapshot();
                    self.1.record((*to, report.check(check).unwrap().status()));
                }
                panic!("cannot reach pg://app:hunter2@db");
            }
        }

        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let cell = Arc::<Mutex<Option<Health>>>::default();
        let log = Recorder::new();
        let health = Health::builder()
            .clock(clock.clone())
            .observer((Arc::new(()), Nosy(Arc::clone(&cell), seen.clone())))
            .check(Check::from_fn("db", || async {
                Err::<(), _>("pg://app:hunter2@db refused")
            }))
            .build()
            .unwrap();
        *cell.lock().unwrap() = Some(health.clone());
        let mut driver = driver(&health, &runtime);
        {
            let _logging = subscribe(subscriber(&log));
            driver.step(None);
            work(&runtime);
            assert!(driver.step(None));
        }
        assert_eq!(seen.take(), [(Status::Down, Status::Down)]);
        cell.lock().unwrap().take(); // an observer that holds its health would never be freed
        let log = log.text();
        assert!(
            log.contains("WARN") && log.contains("health check is worse check=db from=unknown to=down"),
            "{log}"
        );
        assert!(log.contains("cause=\"pg://app:***@db refused\""), "{log}");
        assert!(
            log.contains("panicked: cannot reach pg://app:***@db") && !log.contains("hunter2"),
            "{log}"
        );
    }

    #[test]
    fn all_observers_hear_whatever_one_does() {
        struct Loud;

        impl Observer for Loud {
            fn on_event(&self, _: &Event) {
                panic!("too much");
            }
        }

        let (clock, runtime) = (ManualClock::new(), runtime());
        let (first, second) = (Recorder::new(), Recorder::new());
        let health = Health::builder()
            .clock(clock.clone())
            .observer(Loud)
            .check(Check::from_fn("db", || async {}))
            .build()
            .unwrap();
        health.observe(Results(first.clone()));
        health.observe(Loud);
        health.observe(Results(second.clone()));
        let mut driver = driver(&health, &runtime);
        driver.step(None);
        work(&runtime);
        assert!(driver.step(None));
        assert_eq!(
            (first.take(), second.take()),
            (vec![RunResult::Ok], vec![RunResult::Ok])
        );
    }

    #[test]
    fn a_recovery_is_logged_as_one() {
        let (clock, runtime, log) = (ManualClock::new(), runtime(), Recorder::new());
        let check = Check::from_fn("db", || async {});
        let health = Health::builder()
            .clock(clock.clone())
            .check(check)
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        {
            let _logging = subscribe(subscriber(&log));
            driver.step(None);
            work(&runtime);
            driver.step(None);
            clock.advance(Duration::from_secs(22));
            driver.step(None); // stale
        }
        let log = log.text();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains("INFO") && lines[0].contains("from=unknown to=up"),
            "{log}"
        );
        assert!(
            lines[1].contains("WARN")
                && lines[1].contains(
                    "since=2026-01-01T00:00:00.000Z after=22s latency=Some(0ns) cause=\"no result for 22s\""
                ),
            "{log}"
        );
    }

    #[test]
    fn a_failure_is_logged_once_and_not_for_all_that_depend_on_it() {
        let (clock, runtime, log) = (ManualClock::new(), runtime(), Recorder::new());
        let db = Check::from_fn("db", || async { Err::<(), _>("refused") });
        let orders = Check::from_fn("orders", || async {}).depends_on(["db"]);
        let health = Health::builder()
            .clock(clock.clone())
            .check(orders)
            .check(db)
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        {
            let _logging = subscribe(subscriber(&log));
            driver.step(None);
            work(&runtime);
            driver.step(None);
        }
        assert_eq!(
            health.snapshot().check("orders").unwrap().status(),
            Status::Skipped
        );
        let log = log.text();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("check=db from=unknown to=down"), "{log}");
    }

    #[test]
    fn an_episode_of_flapping_is_logged_once() {
        let (clock, runtime, log) = (ManualClock::new(), runtime(), Recorder::new());
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let check = Check::from_fn("db", move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            future::ready(call.is_multiple_of(2) || call > 30)
        });
        let health = Health::builder()
            .clock(clock.clone())
            .check(check.fall(1).every(Duration::from_secs(1)))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        {
            let _logging = subscribe(subscriber(&log));
            for _ in 0..60 {
                driver.step(None);
                work(&runtime);
                driver.step(None);
                clock.advance(Duration::from_millis(1100));
            }
        }
        let log = log.text();
        let lines: Vec<_> = log.lines().skip(6).collect(); // up, and five changes until it counts as flapping
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains("WARN") && lines[0].contains("health check flaps"),
            "{log}"
        );
        assert!(
            lines[1].contains("INFO") && lines[1].contains("steady again check=db status=up"),
            "{log}"
        );
    }

    #[test]
    #[expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
    fn what_happened_of_late_is_shown_at_full() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let check = Check::from_fn("db", move || {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            future::ready(if call % 4 == 3 { Err("refused") } else { Ok(()) })
        });
        let health = Health::builder()
            .clock(clock.clone())
            .jitter_seed(1)
            .check(check.fall(1).every(Duration::from_secs(1)))
            .build()
            .unwrap();
        let mut subscription = health.subscribe();
        let mut driver = driver(&health, &runtime);
        for _ in 0..5 {
            driver.step(None);
            work(&runtime);
            driver.step(None);
            clock.advance(Duration::from_millis(1100));
        }
        let text = |endpoint, detail| {
            let response = health.respond_verbose(endpoint, detail);
            String::from_utf8(response.into_body().to_vec()).unwrap()
        };
        expect![[r#"
            up
            [+]db up 0.0ns
                runs +++-+
            transitions
            2026-01-01T00:00:00.000Z db unknown -> up after 0.0ns
            2026-01-01T00:00:03.300Z db up -> down after 3.3s: refused
            2026-01-01T00:00:04.400Z db down -> up after 1.1s
        "#]]
        .assert_eq(&text(Endpoint::Health, Detail::Full));
        assert_eq!(text(Endpoint::Health, Detail::Status), "up\n[+]db up 0.0ns\n");
        assert_eq!(text(Endpoint::Health, Detail::None), "up\n");
        assert_eq!(
            health
                .respond_verbose(Endpoint::Check("nobody"), Detail::Full)
                .status(),
            404
        );

        let json = |endpoint| {
            let response = health.respond(endpoint, &HeaderMap::new(), Detail::Full);
            String::from_utf8(response.into_body().to_vec()).unwrap()
        };
        expect![[r#"{"status":"pass","checks":{"db":[{"status":"pass","criticality":"critical","since":"2026-01-01T00:00:04.400Z","time":"2026-01-01T00:00:04.400Z","latencyMs":0.000,"runs":[{"time":"2026-01-01T00:00:00.000Z","status":"up","result":"ok","latencyMs":0.000},{"time":"2026-01-01T00:00:01.100Z","status":"up","result":"ok","latencyMs":0.000},{"time":"2026-01-01T00:00:02.200Z","status":"up","result":"ok","latencyMs":0.000},{"time":"2026-01-01T00:00:03.300Z","status":"down","result":"fail","latencyMs":0.000},{"time":"2026-01-01T00:00:04.400Z","status":"up","result":"ok","latencyMs":0.000}],"flapScore":0.119}]},"transitions":[{"check":"db","from":"unknown","to":"up","time":"2026-01-01T00:00:00.000Z","afterMs":0.000},{"check":"db","from":"up","to":"down","time":"2026-01-01T00:00:03.300Z","afterMs":3300.000,"output":"refused"},{"check":"db","from":"down","to":"up","time":"2026-01-01T00:00:04.400Z","afterMs":1100.000}]}"#]].assert_eq(&json(Endpoint::Check("db")));
        let whole = json(Endpoint::Health);
        assert!(
            whole.contains(r#""transitions":[{"check":"db""#) && !whole.contains("runs"),
            "{whole}"
        );
        assert!(
            !json(Endpoint::Live).contains("transitions"),
            "of its members only"
        );

        let report = health.snapshot();
        let changes: Vec<_> = report
            .transitions()
            .map(|change| (change.from(), change.to()))
            .collect();
        let expected = [
            (Status::Unknown, Status::Up),
            (Status::Up, Status::Down),
            (Status::Down, Status::Up),
        ];
        assert_eq!(changes, expected);
        drop(CloseOnDrop(Arc::clone(&driver.shared)));
        let mut heard = Vec::new();
        while let Ok(change) = subscription.try_recv() {
            heard.push((change.from(), change.to()));
        }
        assert_eq!(heard, expected);
        assert!(health.subscribe().try_recv().is_err());
    }

    #[test]
    fn a_run_has_a_span_for_who_debugs() {
        let (clock, runtime, log) = (ManualClock::new(), runtime(), Recorder::new());
        let check = Check::from_fn("db", || async {
            tokio::task::yield_now().await;
            tracing::info!("looking");
        });
        let health = Health::builder().clock(clock).check(check).build().unwrap();
        let mut driver = driver(&health, &runtime);
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(move || writer.clone())
            .finish();
        {
            let _logging = subscribe(subscriber);
            driver.step(None);
            work(&runtime);
        }
        let log = log.text();
        let span = "health_check{check=\"db\" run=1 reason=\"scheduled\"}: ";
        assert!(log.contains(span) && log.contains("looking"), "{log}");
    }

    #[test]
    fn a_runtime_that_is_gone_is_a_failure() {
        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let health = Health::builder()
            .clock(clock.clone())
            .observer(Results(seen.clone()))
            .check(Check::from_fn("db", || async {}))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        drop(runtime);
        driver.step(None);
        driver.step(None);
        assert_eq!(seen.take(), [RunResult::Failed]);
        let message = |health: &Health| {
            let report = health.snapshot();
            report.check("db").unwrap().message().map(str::to_owned)
        };
        assert_eq!(health.snapshot().check("db").unwrap().status(), Status::Down);
        assert_eq!(
            message(&health).as_deref(),
            Some("the run was dropped before its end")
        );

        clock.advance(Duration::from_secs(11));
        driver.step(None);
        driver.refusals[0] = Some("no thread for the run: there are too many".to_owned());
        driver.step(None);
        assert_eq!(
            message(&health).as_deref(),
            Some("no thread for the run: there are too many")
        );
        assert_eq!(driver.refusals[0], None, "said once");
    }

    #[test]
    fn a_heartbeat_needs_no_runtime() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let (heartbeat, check) = Check::heartbeat("loop", Duration::from_secs(10));
        let health = Health::builder()
            .clock(clock.clone())
            .check(check.groups([Group::LIVE]))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        let mut tick = |by| {
            clock.advance(Duration::from_secs(by));
            driver.step(None);
            code(&health, Endpoint::Live)
        };
        assert_eq!([tick(0), tick(6), tick(6)], [200, 200, 503]);
        heartbeat.beat();
        assert_eq!(tick(6), 200);
    }

    #[test]
    fn what_is_looked_at_is_not_stale_because_the_look_is_late() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let health = Health::builder()
            .clock(clock.clone())
            .check(Check::inline("pool", |_| Outcome::up()).groups([Group::LIVE]))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        for _ in 0..3 {
            driver.step(None);
            assert_eq!(health.snapshot().check("pool").unwrap().status(), Status::Up);
            clock.advance(Duration::from_mins(1)); // and nobody notices that it was a stop
        }
        let report = health.snapshot();
        assert_eq!(report.transitions().count(), 1, "it began");
    }

    #[test]
    fn a_process_that_was_stopped_is_no_loop_that_is_stuck() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let (heartbeat, check) = Check::heartbeat("loop", Duration::from_secs(10));
        let lag = checks::RuntimeLag::new(runtime.handle()).clock(clock.clone());
        let lag = checks::runtime_lag("lag", lag).groups([Group::LIVE]);
        let health = Health::builder()
            .clock(clock.clone())
            .check(check.groups([Group::LIVE]))
            .check(lag)
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        let lives = || assert_eq!(code(&health, Endpoint::Live), 200);
        driver.step(None);
        lives();
        heartbeat.beat();
        driver.step(None);
        lives();

        for stop in [60, 3600, 5] {
            let stop = Duration::from_secs(stop);
            clock.advance(stop); // SIGSTOP, until SIGCONT
            lives(); // who asks gets to run first
            driver.wake(stop, BEAT, stop);
            lives();
            driver.step(None); // before anybody else gets to run
            lives();
            let report = health.snapshot();
            for check in report.checks() {
                assert_eq!(check.status(), Status::Up, "{check:?}");
            }
        }

        for _ in 0..25 {
            clock.advance(BEAT);
            driver.wake(BEAT, BEAT, BEAT); // in time
            driver.step(None);
        }
        let report = health.snapshot();
        for check in report.checks() {
            assert_eq!(check.status(), Status::Down, "{check:?}");
        }
        assert_eq!(code(&health, Endpoint::Live), 503, "what does not go on is stuck");
    }

    /// Polls a future once.
    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> task::Poll<F::Output> {
        future.poll(&mut task::Context::from_waker(task::Waker::noop()))
    }

    #[test]
    fn a_result_from_before_is_none_for_who_asks_now() {
        let (clock, runtime, up) = (ManualClock::new(), runtime(), Arc::new(AtomicBool::new(false)));
        let look = Arc::clone(&up);
        let check = Check::from_fn("db", move || future::ready(look.load(Ordering::Relaxed)));
        let health = Health::builder().clock(clock).check(check).build().unwrap();
        let mut driver = driver(&health, &runtime);
        health.shared.begin_to_answer();
        driver.step(None);
        work(&runtime); // down, and its end is the first of two messages
        up.store(true, Ordering::Relaxed);
        let mut now = Box::pin(health.run_now("db"));
        assert!(poll(now.as_mut()).is_pending());
        driver.step(None);
        assert_eq!(health.snapshot().check("db").unwrap().status(), Status::Down);
        assert!(poll(now.as_mut()).is_pending(), "that run had ended");
        work(&runtime);
        driver.step(None);
        let task::Poll::Ready(Ok(report)) = poll(now.as_mut()) else {
            panic!("it has ended");
        };
        assert_eq!(report.status(), Status::Up);
    }

    #[test]
    fn a_result_that_is_held_is_told_when_it_counts() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let orders = Check::from_fn("orders", move || {
            future::ready(calls.fetch_add(1, Ordering::Relaxed) == 0)
        });
        let health = Health::builder()
            .clock(clock.clone())
            .check(orders.depends_on(["db"]).fall(1))
            .check(Check::from_fn("db", || async {}))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        health.shared.begin_to_answer();
        let mut go_on = || {
            driver.step(None);
            work(&runtime);
            driver.step(None);
        };
        go_on();
        go_on();
        assert_eq!(health.snapshot().status(), Status::Up);
        clock.advance(Duration::from_secs(5));
        let mut now = Box::pin(health.run_now("orders"));
        assert!(poll(now.as_mut()).is_pending());
        go_on();
        assert!(poll(now.as_mut()).is_pending(), "what it depends on is asked");
        assert_eq!(health.snapshot().check("orders").unwrap().status(), Status::Up);
        go_on();
        let task::Poll::Ready(Ok(report)) = poll(now.as_mut()) else {
            panic!("it has answered");
        };
        assert_eq!(report.status(), Status::Down);
    }

    #[test]
    fn what_is_due_is_done_between_requests_however_many_there_are() {
        let (clock, runtime) = (ManualClock::new(), runtime());
        let check = Check::from_fn("db", || async { true });
        let health = Health::builder().clock(clock).check(check).build().unwrap();
        let mut driver = driver(&health, &runtime);
        health.shared.begin_to_answer();
        let mut calls: Vec<_> = (0..3000).map(|_| Box::pin(health.run_now("db"))).collect();
        assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
        driver.step(None);
        assert_eq!(code(&health, Endpoint::Live), 200);
        assert!(health.snapshot().seq() > 0, "it has begun");
        let left: Vec<_> = driver.receiver.try_iter().collect();
        assert_eq!(left.len(), 3000 - BATCH);
        for message in left {
            driver.step(Some(message));
        }
        work(&runtime);
        driver.step(None);
        assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_ready()));
    }

    #[test]
    fn the_deadline_of_a_run_is_its_timeout() {
        fn left(clock: &ManualClock) -> Option<Duration> {
            let deadline = cortex_core::Context::current().deadline();
            deadline.map(|deadline| deadline.remaining(clock.now()))
        }
        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let note = {
            let (clock, seen) = (clock.clone(), seen.clone());
            move || seen.record(left(&clock))
        };
        let health = Health::builder()
            .clock(clock.clone())
            .check(Check::from_fn("a", {
                let note = note.clone();
                move || {
                    let note = note.clone();
                    async move { note() }
                }
            }))
            .check(Check::blocking("b", note).timeout(Duration::from_secs(7)))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        driver.step(None);
        work(&runtime);
        while health.snapshot().status() != Status::Up {
            let message = driver.receiver.recv().unwrap();
            driver.step(Some(message));
        }
        let mut seen = seen.take();
        seen.sort();
        assert_eq!(seen, [2, 7].map(|seconds| Some(Duration::from_secs(seconds))));
        assert_eq!(left(&clock), None);
    }

    #[test]
    fn a_hung_call_costs_one_thread_and_no_other_check_its_schedule() {
        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let results = Recorder::new();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let health = Health::builder()
            .clock(clock.clone())
            .observer(Results(results.clone()))
            .check(Check::blocking("hung", move || {
                released.lock().unwrap().recv().is_ok()
            }))
            .check(Check::blocking("lively", {
                let seen = seen.clone();
                move || seen.record(())
            }))
            .check(Check::blocking("other", || true))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        assert_eq!(driver.threads.alive(), 0, "made before there was work");
        driver.step(None);
        for _ in 0..100 {
            let mut ended = 0;
            while ended < 2 {
                // The hung one counts as timed out in the first round and is not started again.
                let message = driver.receiver.recv().unwrap();
                driver.step(Some(message));
                let results = results.take().into_iter();
                ended += results.filter(|result| *result == RunResult::Ok).count();
            }
            assert_eq!(seen.take(), [()]);
            assert!(driver.threads.alive() <= 3, "{:?}", driver.threads);
            clock.advance(Duration::from_secs(11));
            driver.step(None);
        }
        assert!(health.snapshot().check("hung").unwrap().hung_since().is_some());
        assert_eq!(health.snapshot().check("lively").unwrap().status(), Status::Up);
        drop(release);
    }

    #[test]
    fn panics_of_any_kind_are_failures() {
        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let health = Health::builder()
            .clock(clock.clone())
            .observer(Results(seen.clone()))
            .check(Check::from_fn("call", || -> future::Ready<bool> {
                panic!("in call")
            }))
            .check(Check::from_fn("poll", || async {
                tokio::task::yield_now().await;
                if true {
                    std::panic::panic_any(7);
                }
            }))
            .check(Check::from_fn("drop", || {
                let loud = Loud;
                async move {
                    let _loud = &loud;
                }
            }))
            .check(Check::blocking("block", || -> Outcome {
                panic!("in {}", "block")
            }))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        driver.step(None);
        work(&runtime);
        while health.snapshot().checks().any(|check| check.checked().is_none()) {
            let message = driver.receiver.recv().unwrap();
            driver.step(Some(message));
        }
        assert_eq!(seen.take(), [RunResult::Panicked; 4]);
        let report = health.snapshot();
        let messages: Vec<_> = report.checks().map(|check| check.message().unwrap()).collect();
        let expected = [
            "panicked: in call",
            "panicked",
            "panicked: in drop",
            "panicked: in block",
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn a_run_that_panics_when_it_is_aborted_is_gone_all_the_same() {
        let (clock, runtime, seen) = (ManualClock::new(), runtime(), Recorder::new());
        let health = Health::builder()
            .clock(clock.clone())
            .observer(Results(seen.clone()))
            .check(Check::from_fn("db", || async {
                let _loud = Loud;
                future::pending::<()>().await;
            }))
            .build()
            .unwrap();
        let mut driver = driver(&health, &runtime);
        let hung = |health: &Health| health.snapshot().check("db").unwrap().hung_since().is_some();
        driver.step(None);
        work(&runtime);
        clock.advance(Duration::from_secs(2));
        driver.step(None);
        assert!(hung(&health));
        work(&runtime);
        driver.step(None);
        assert!(!hung(&health));
        assert_eq!(seen.take(), [RunResult::TimedOut]);
    }

    struct Loud;

    impl Drop for Loud {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    struct Results(Recorder<RunResult>);

    impl Observer for Results {
        fn on_event(&self, event: &Event) {
            if let Event::RunFinished { result, .. } = event {
                self.0.record(*result);
            }
        }
    }

    fn subscriber(log: &Recorder) -> impl tracing::Subscriber + use<> {
        let log = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish()
    }
}
