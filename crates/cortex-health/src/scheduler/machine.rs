use super::hysteresis::Hysteresis;
use super::jitter::Jitter;
use crate::observer::{Event, RunResult};
use crate::report::{CheckReport, Entry};
use crate::status::Status;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A check whose status may be about to change runs again after this time at most.
pub(crate) const CONFIRM: Duration = Duration::from_secs(2);

/// Decides when checks run and what their results mean. It knows no thread, no clock and no runtime.
///
/// A check is idle, running or hung, and only an idle one is started: at most one run of a check is in flight.
#[derive(Debug)]
pub(crate) struct Machine {
    slots: Vec<Slot>,
    jitter: Jitter,
    changed: bool,
}

/// Both times of one moment: schedules and ages go by the first, output by the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

/// The settings of a check that the machine needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
}

/// What a run found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) result: RunResult,
    pub(crate) latency: Duration,
}

/// What the thread has to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start this run of the check.
    Start { check: usize, run: u64 },
    /// Abort the run of the check, and report when it is gone.
    Abort { check: usize },
}

#[derive(Debug)]
struct Slot {
    plan: Plan,
    state: State,
    /// The number of the last run.
    run: u64,
    hysteresis: Hysteresis,
    /// When the last result came, unless it went stale.
    fresh: Option<Instant>,
    changed: Instant,
    entry: Arc<Entry>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle {
        next: Instant,
    },
    Running {
        since: Moment,
        deadline: Instant,
    },
    /// The timeout is over and the run is not gone. It counts as failing at each `look`.
    Hung {
        look: Instant,
        /// When the next run may start.
        due: Instant,
    },
}

impl Machine {
    /// Makes a machine whose checks are all due.
    pub(crate) fn new(checks: impl Iterator<Item = (Plan, Arc<Entry>)>, seed: u64, at: Moment) -> Self {
        let slot = |(plan, entry): (Plan, Arc<Entry>)| Slot {
            state: State::Idle { next: at.now },
            run: 0,
            hysteresis: Hysteresis::new(plan.fall, plan.rise),
            fresh: None,
            changed: at.now,
            plan,
            entry,
        };
        Self {
            slots: checks.map(slot).collect(),
            jitter: Jitter::new(seed),
            changed: true, // that it has begun is news
        }
    }

    /// Takes the end of a run; `None`: it was dropped without a result.
    pub(crate) fn on_result(
        &mut self,
        check: usize,
        run: u64,
        finding: Option<Finding>,
        at: Moment,
        effects: &mut Effects,
    ) {
        let slot = &mut self.slots[check];
        if run != slot.run {
            return;
        }
        match slot.state {
            State::Idle { .. } => {} // reported twice
            State::Running { since, .. } => {
                let finding = finding.unwrap_or_else(|| Finding {
                    status: Status::Down,
                    message: Some("the run was dropped before its end".into()),
                    result: RunResult::Failed,
                    latency: at.now.saturating_duration_since(since.now),
                });
                slot.conclude(finding, None, at, effects);
                let next = after(since.now, slot.delay(&mut self.jitter)).max(at.now);
                slot.state = State::Idle { next };
                self.changed = true;
            }
            State::Hung { due, .. } => {
                slot.state = State::Idle {
                    next: due.max(at.now),
                };
                slot.update(|report| report.hung = None); // too late to count
                self.changed = true;
            }
        }
    }

    /// Does what is due: gives up runs, forgets old results, starts runs.
    pub(crate) fn on_tick(&mut self, at: Moment, effects: &mut Effects) {
        for (check, slot) in self.slots.iter_mut().enumerate() {
            match slot.state {
                State::Running { since, deadline } if at.now >= deadline => {
                    effects.actions.push(Action::Abort { check });
                    let finding = Finding {
                        status: Status::Down,
                        message: Some(format!("timed out after {:?}", slot.plan.timeout).into()),
                        result: RunResult::TimedOut,
                        latency: slot.plan.timeout,
                    };
                    slot.conclude(finding, Some(since.wall), at, effects);
                    let delay = slot.delay(&mut self.jitter);
                    slot.state = State::Hung {
                        look: after(at.now, delay),
                        due: after(since.now, delay),
                    };
                    self.changed = true;
                }
                State::Hung { look, due } if at.now >= look => {
                    slot.count(Status::Down, at, effects);
                    let look = after(at.now, slot.delay(&mut self.jitter));
                    slot.state = State::Hung { look, due };
                    self.changed = true;
                }
                _ => {}
            }
            if slot.stale_at().is_some_and(|stale| at.now >= stale) {
                slot.go_stale(at, effects);
                self.changed = true;
            }
            if let State::Idle { next } = slot.state
                && at.now >= next
            {
                slot.run += 1;
                slot.state = State::Running {
                    since: at,
                    deadline: after(at.now, slot.plan.timeout),
                };
                effects.actions.push(Action::Start { check, run: slot.run });
            }
        }
    }

    /// Returns when the next tick is due; `None` without a check.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        let due = self.slots.iter().map(|slot| {
            let due = match slot.state {
                State::Idle { next } => next,
                State::Running { deadline, .. } => deadline,
                State::Hung { look, .. } => look,
            };
            slot.stale_at().map_or(due, |stale| stale.min(due))
        });
        due.min()
    }

    /// Returns the state of all checks if it has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<Arc<Entry>>> {
        std::mem::take(&mut self.changed)
            .then(|| self.slots.iter().map(|slot| Arc::clone(&slot.entry)).collect())
    }
}

impl Slot {
    /// Counts the finding of a run and reports it.
    fn conclude(&mut self, finding: Finding, hung: Option<SystemTime>, at: Moment, effects: &mut Effects) {
        effects.events.push(Event::RunFinished {
            check: Arc::clone(&self.entry.report.name),
            result: finding.result,
            latency: finding.latency,
        });
        self.update(|report| {
            report.message = finding.message;
            report.latency = Some(finding.latency);
            report.hung = hung;
        });
        self.count(finding.status, at, effects);
    }

    fn count(&mut self, found: Status, at: Moment, effects: &mut Effects) {
        self.fresh = Some(at.now);
        self.hysteresis.count(found);
        self.update(|report| {
            report.checked = Some(at.wall);
            report.stale = false;
        });
        self.settle(at, effects);
    }

    fn go_stale(&mut self, at: Moment, effects: &mut Effects) {
        self.fresh = None;
        self.hysteresis.forget();
        let message = format!("no result for {:?}", self.plan.stale_after);
        self.update(|report| {
            report.stale = true;
            report.message = Some(message.into());
        });
        self.settle(at, effects);
    }

    /// Moves the report to the status of the hysteresis and tells of the change.
    fn settle(&mut self, at: Moment, effects: &mut Effects) {
        let (from, to) = (self.entry.report.status, self.hysteresis.status());
        if from == to {
            return;
        }
        self.update(|report| {
            report.status = to;
            report.since = at.wall;
        });
        effects.events.push(Event::Transition {
            check: Arc::clone(&self.entry.report.name),
            from,
            to,
            after: at.now.saturating_duration_since(self.changed),
            message: self.entry.report.message.clone(),
        });
        self.changed = at.now;
    }

    /// Replaces the report: readers hold the one before. Bodies made of it go with it.
    fn update(&mut self, change: impl FnOnce(&mut CheckReport)) {
        let mut report = self.entry.report.clone();
        change(&mut report);
        self.entry = Entry::new(report);
    }

    /// Draws the time from the start of the last run to that of the next.
    fn delay(&self, jitter: &mut Jitter) -> Duration {
        let delay = jitter.spread(self.plan.interval);
        if self.hysteresis.is_pending() {
            delay.min(CONFIRM)
        } else {
            delay
        }
    }

    fn stale_at(&self) -> Option<Instant> {
        self.fresh.map(|fresh| after(fresh, self.plan.stale_after))
    }
}

/// Adds, and stops short of what an `Instant` can hold.
fn after(at: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365 * 30);
    at + by.min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Criticality;
    use expect_test::expect;
    use proptest::prelude::*;
    use std::fmt::Write;

    /// A machine, its time, and the runs that it has started and that are not gone.
    struct Bench {
        machine: Machine,
        start: Moment,
        at: Moment,
        in_flight: Vec<Option<u64>>,
        entries: Vec<Arc<Entry>>,
    }

    impl Bench {
        fn new(plans: &[Plan], seed: u64) -> Self {
            let start = Moment {
                now: cortex_core::Clock::now(&cortex_core::SystemClock),
                wall: SystemTime::UNIX_EPOCH,
            };
            let entry = |index: usize| {
                Entry::new(CheckReport {
                    name: format!("c{index}").into(),
                    criticality: Criticality::Critical,
                    status: Status::Unknown,
                    since: start.wall,
                    checked: None,
                    latency: None,
                    message: None,
                    stale: false,
                    hung: None,
                })
            };
            let checks = plans.iter().enumerate();
            let mut machine = Machine::new(
                checks.map(|(index, plan)| (plan.clone(), entry(index))),
                seed,
                start,
            );
            Self {
                entries: machine.take_changes().unwrap(),
                machine,
                start,
                at: start,
                in_flight: vec![None; plans.len()],
            }
        }

        fn report(&self, check: usize) -> &CheckReport {
            &self.entries[check].report
        }

        fn advance(&mut self, by: Duration) {
            self.at.now += by;
            self.at.wall += by;
        }

        fn tick(&mut self) -> Effects {
            let mut effects = Effects::default();
            self.machine.on_tick(self.at, &mut effects);
            self.take(&effects);
            let next = self.machine.next_tick().unwrap();
            assert!(next > self.at.now, "a tick leaves nothing to do");
            effects
        }

        /// Ends the run in flight.
        fn end(&mut self, check: usize, status: Option<Status>) -> Effects {
            let run = self.in_flight[check].take().unwrap();
            let mut effects = Effects::default();
            let finding = status.map(finding);
            self.machine.on_result(check, run, finding, self.at, &mut effects);
            self.take(&effects);
            effects
        }

        fn take(&mut self, effects: &Effects) {
            for action in &effects.actions {
                match *action {
                    Action::Start { check, run } => {
                        let before = self.in_flight[check].replace(run);
                        assert_eq!(before, None, "two runs in flight");
                    }
                    Action::Abort { check } => assert!(self.in_flight[check].is_some()),
                }
            }
            if let Some(entries) = self.machine.take_changes() {
                self.entries = entries;
            }
        }

        /// Runs for some time, a tick whenever one is due; `play` ends runs.
        fn script(
            &mut self,
            until: Duration,
            mut play: impl FnMut(&mut Self, usize) -> Vec<Effects>,
        ) -> String {
            let mut story = String::new();
            while self.at.now.duration_since(self.start.now) < until {
                let mut all = vec![self.tick()];
                for check in 0..self.in_flight.len() {
                    if self.in_flight[check].is_some() {
                        all.extend(play(self, check));
                    }
                }
                let time = self.at.now.duration_since(self.start.now);
                for effects in all {
                    for action in effects.actions {
                        writeln!(story, "{time:.1?} {action:?}").unwrap();
                    }
                    for event in effects.events {
                        match event {
                            Event::RunFinished { check, result, .. } => {
                                writeln!(story, "{time:.1?} {check} {result}").unwrap();
                            }
                            Event::Transition {
                                check,
                                from,
                                to,
                                message,
                                ..
                            } => writeln!(story, "{time:.1?} {check} {from} -> {to} {message:?}").unwrap(),
                        }
                    }
                }
                let wait = self.machine.next_tick().unwrap() - self.at.now;
                self.advance(wait);
            }
            story
        }
    }

    fn plan() -> Plan {
        Plan {
            timeout: Duration::from_secs(2),
            interval: Duration::from_secs(10),
            stale_after: Duration::from_secs(22),
            fall: 2,
            rise: 1,
        }
    }

    fn finding(status: Status) -> Finding {
        let (message, result) = match status {
            Status::Up => (None, RunResult::Ok),
            Status::Degraded => (Some("slow"), RunResult::Degraded),
            _ => (Some("refused"), RunResult::Failed),
        };
        Finding {
            status,
            message: message.map(Into::into),
            result,
            latency: Duration::from_millis(3),
        }
    }

    #[test]
    fn a_failure_is_confirmed_soon_and_a_recovery_counts_at_once() {
        let mut bench = Bench::new(&[plan()], 1);
        let mut results = [Status::Up, Status::Down, Status::Down, Status::Up].into_iter();
        let story = bench.script(Duration::from_secs(40), |bench, check| {
            vec![bench.end(check, Some(results.next().unwrap_or(Status::Up)))]
        });
        expect![[r#"
            0.0ns Start { check: 0, run: 1 }
            0.0ns c0 ok
            0.0ns c0 unknown -> up None
            9.5s Start { check: 0, run: 2 }
            9.5s c0 fail
            11.5s Start { check: 0, run: 3 }
            11.5s c0 fail
            11.5s c0 up -> down Some("refused")
            21.1s Start { check: 0, run: 4 }
            21.1s c0 ok
            21.1s c0 down -> up None
            31.1s Start { check: 0, run: 5 }
            31.1s c0 ok
        "#]]
        .assert_eq(&story);
    }

    #[test]
    fn a_run_that_never_ends_is_started_once_and_stays_failed() {
        let mut bench = Bench::new(&[plan(), plan()], 1);
        let story = bench.script(Duration::from_secs(30), |bench, check| {
            if check == 1 {
                vec![bench.end(1, Some(Status::Up))]
            } else {
                Vec::new()
            }
        });
        let starts = story.matches("Start { check: 0").count();
        assert_eq!((starts, story.matches("Abort { check: 0 }").count()), (1, 1));
        assert!(story.matches("Start { check: 1").count() >= 3, "{story}");
        let hung = bench.report(0);
        assert_eq!(
            (hung.status(), hung.hung_since()),
            (Status::Down, Some(bench.start.wall))
        );
        assert_eq!(hung.message(), Some("timed out after 2s"));
        assert!(!hung.is_stale());

        // When it returns at last, what it says is no longer asked for, and it is run again at once.
        let effects = bench.end(0, Some(Status::Up));
        assert!(effects.events.is_empty() && effects.actions.is_empty());
        assert_eq!(
            (bench.report(0).status(), bench.report(0).hung_since()),
            (Status::Down, None)
        );
        assert!(bench.tick().actions.contains(&Action::Start { check: 0, run: 2 }));
        bench.end(0, Some(Status::Up));
        assert_eq!(bench.report(0).status(), Status::Up);
    }

    #[test]
    fn an_aborted_run_waits_for_its_turn() {
        let mut bench = Bench::new(&[plan()], 1);
        bench.tick();
        bench.end(0, Some(Status::Down)); // down at once: the first result; so no hurry from here on
        bench.advance(Duration::from_secs(11));
        bench.tick();
        bench.advance(Duration::from_secs(2));
        assert_eq!(bench.tick().actions, [Action::Abort { check: 0 }]);
        bench.end(0, None);
        assert_eq!(bench.tick().actions, []);
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        assert!(wait > Duration::from_secs(6), "{wait:?}");
    }

    #[test]
    fn a_result_is_forgotten_when_it_is_old() {
        let mut bench = Bench::new(&[plan()], 1);
        bench.tick();
        bench.end(0, Some(Status::Up));
        bench.advance(Duration::from_secs(22)); // the machine slept
        let effects = bench.tick();
        let [Event::Transition { from, to, after, .. }] = &effects.events[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(
            (*from, *to, *after),
            (Status::Up, Status::Unknown, Duration::from_secs(22))
        );
        assert!(bench.report(0).is_stale());
        assert_eq!(bench.report(0).message(), Some("no result for 22s"));
        assert_eq!(effects.actions, [Action::Start { check: 0, run: 2 }]);
        bench.end(0, Some(Status::Degraded));
        assert_eq!(
            (bench.report(0).status(), bench.report(0).is_stale()),
            (Status::Degraded, false)
        );
    }

    #[test]
    fn a_dropped_run_is_a_failure_and_strangers_are_ignored() {
        let mut bench = Bench::new(&[plan()], 1);
        bench.tick();
        bench.end(0, None);
        assert_eq!(
            bench.report(0).message(),
            Some("the run was dropped before its end")
        );
        for run in [0, 1, 2] {
            let mut effects = Effects::default();
            let up = Some(finding(Status::Up));
            bench.machine.on_result(0, run, up, bench.at, &mut effects);
            assert!(effects.events.is_empty() && bench.machine.take_changes().is_none());
        }
        bench.advance(Duration::from_secs(11));
        bench.tick();
        assert_eq!(bench.in_flight, [Some(2)]);
        let mut effects = Effects::default();
        bench
            .machine
            .on_result(0, 1, Some(finding(Status::Up)), bench.at, &mut effects);
        assert!(
            effects.events.is_empty(),
            "the first run has no say about the second"
        );
        assert_eq!(bench.report(0).status(), Status::Down);
    }

    #[test]
    fn a_machine_without_checks_has_begun_and_waits_for_nothing() {
        let mut bench = Bench::new(&[], 1);
        assert!(bench.entries.is_empty() && bench.machine.next_tick().is_none());
        let mut effects = Effects::default();
        bench.machine.on_tick(bench.at, &mut effects);
        assert!(effects.actions.is_empty() && bench.machine.take_changes().is_none());
    }

    #[test]
    fn the_longest_settings_do_not_overflow() {
        let longest = Plan {
            timeout: Duration::MAX,
            interval: Duration::MAX,
            stale_after: Duration::MAX,
            ..plan()
        };
        let mut bench = Bench::new(&[longest], 1);
        bench.tick();
        bench.end(0, Some(Status::Up));
        bench.tick();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Advance(Duration),
        /// To the moment of the next tick and no further.
        Sleep,
        End(usize, Option<Status>),
    }

    fn plans() -> impl Strategy<Value = Vec<Plan>> {
        let plan = (1u64..4000, 1u64..12_000, 0u64..30_000, 1u32..4, 1u32..4);
        let plan = plan.prop_map(|(timeout, interval, more, fall, rise)| Plan {
            timeout: Duration::from_millis(timeout),
            interval: Duration::from_millis(interval),
            stale_after: Duration::from_millis(timeout.max(interval) + more),
            fall,
            rise,
        });
        prop::collection::vec(plan, 1..4)
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let status = prop_oneof![Just(Status::Up), Just(Status::Degraded), Just(Status::Down)];
        let step = prop_oneof![
            2 => (0u64..30_000).prop_map(|millis| Step::Advance(Duration::from_millis(millis))),
            4 => Just(Step::Sleep),
            6 => (0usize..3, prop::option::weighted(0.9, status)).prop_map(|(check, end)| Step::End(check, end)),
        ];
        prop::collection::vec(step, 1..120)
    }

    /// Notes what counted as a result, and judges every change of status by the notes.
    struct Judge {
        results: Vec<Vec<Status>>,
        checked: Vec<Option<SystemTime>>,
    }

    impl Judge {
        fn hear(&mut self, bench: &Bench, plans: &[Plan], effects: &Effects) {
            let index = |name: &str| name[1..].parse::<usize>().unwrap();
            let mut ran = vec![false; plans.len()];
            for event in &effects.events {
                if let Event::RunFinished { check, .. } = event {
                    ran[index(check)] = true;
                }
            }
            for (check, ran) in ran.into_iter().enumerate() {
                let checked = bench.report(check).checked();
                if checked != self.checked[check] && !ran {
                    assert!(
                        bench.report(check).hung_since().is_some(),
                        "a result without a run"
                    );
                    self.results[check].push(Status::Down); // a look at a hung run
                }
                self.checked[check] = checked;
            }
            for event in &effects.events {
                match event {
                    Event::RunFinished { check, result, .. } => {
                        let found = match result {
                            RunResult::Ok => Status::Up,
                            RunResult::Degraded => Status::Degraded,
                            _ => Status::Down,
                        };
                        self.results[index(check)].push(found);
                    }
                    Event::Transition { check, from, to, .. } => {
                        let check = index(check);
                        let results = &mut self.results[check];
                        if *to == Status::Unknown {
                            results.clear();
                        } else if *from != Status::Unknown {
                            let worse = to.rank() > from.rank();
                            let needed = if worse {
                                plans[check].fall
                            } else {
                                plans[check].rise
                            } as usize;
                            assert!(results.len() >= needed, "{from} -> {to} after {results:?}");
                            for found in &results[results.len() - needed..] {
                                let agrees = if worse {
                                    found.rank() >= to.rank()
                                } else {
                                    found.rank() <= to.rank()
                                };
                                assert!(agrees, "{from} -> {to} after {results:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_the_rules_hold(plans in plans(), seed: u64, steps in steps()) {
            let mut bench = Bench::new(&plans, seed);
            let mut judge = Judge {
                results: vec![Vec::new(); plans.len()],
                checked: vec![None; plans.len()],
            };
            for step in steps {
                match step {
                    Step::Advance(by) => bench.advance(by),
                    Step::Sleep => {
                        let wait = bench.machine.next_tick().unwrap().saturating_duration_since(bench.at.now);
                        bench.advance(wait);
                    }
                    Step::End(check, end) => {
                        if bench.in_flight.get(check).copied().flatten().is_some() {
                            let effects = bench.end(check, end);
                            judge.hear(&bench, &plans, &effects);
                        }
                    }
                }
                let effects = bench.tick(); // never two in flight, nothing left to do: asserted inside
                judge.hear(&bench, &plans, &effects);
                for (check, plan) in plans.iter().enumerate() {
                    let report = bench.report(check);
                    if report.status() != Status::Unknown {
                        let age = bench.at.wall.duration_since(report.checked().unwrap()).unwrap();
                        prop_assert!(age < plan.stale_after, "{:?} old", age);
                        prop_assert!(!report.is_stale());
                    }
                }
            }
        }

        #[test]
        fn a_check_that_answers_runs_at_its_interval(seed: u64, interval in 10u64..100_000) {
            let interval = Duration::from_millis(interval);
            let mut bench = Bench::new(&[Plan { interval, stale_after: interval * 3, ..plan() }], seed);
            for _ in 0..20 {
                prop_assert_eq!(bench.tick().actions.len(), 1);
                bench.end(0, Some(Status::Up));
                let wait = bench.machine.next_tick().unwrap() - bench.at.now;
                prop_assert!(wait.abs_diff(interval) <= interval / 10, "{:?}", wait);
                bench.advance(wait);
            }
        }
    }
}
