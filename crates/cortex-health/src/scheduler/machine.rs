use super::jitter::Jitter;
use super::plan::{Action, Effects, Finding, Moment, Plan};
use super::slot::{Gate, Slot, State};
use crate::context::RunReason;
use crate::graph::Graph;
use crate::report::{CheckReport, Entry};
use crate::status::Status;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Decides when checks run and what their results mean. It knows no thread, no clock and no runtime.
///
/// A check is idle, waiting, running or hung, and only an idle one is started: at most one run of a check is in flight.
#[derive(Debug)]
pub(crate) struct Machine {
    slots: Vec<Slot>,
    graph: Arc<Graph>,
    jitter: Jitter,
    changed: bool,
}

impl Machine {
    /// Makes a machine whose checks are all due.
    pub(crate) fn new(
        checks: impl Iterator<Item = (Plan, Arc<Entry>)>,
        graph: Arc<Graph>,
        seed: u64,
        at: Moment,
    ) -> Self {
        let mut slots: Vec<_> = checks.map(|(plan, entry)| Slot::new(plan, entry, at)).collect();
        for (check, slot) in slots.iter_mut().enumerate() {
            slot.is_dependent = !graph.ancestors(check).is_empty();
        }
        Self {
            slots,
            graph,
            jitter: Jitter::new(seed),
            changed: true, // that it has begun is news
        }
    }

    /// Runs no check for the sake of another, as where each is to run once.
    pub(crate) fn ask_nobody(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.is_dependent = false);
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
        if run == slot.run && slot.end(finding, &mut self.jitter, at, effects) {
            self.changed = true;
            effects.concluded.push(check);
            self.spread(at, effects);
        }
    }

    /// Makes the next tick start a run of the check, unless there is one. `false`: none will end soon, because one
    /// hangs or an ancestor fails.
    pub(crate) fn on_request(&mut self, check: usize, at: Moment) -> bool {
        self.slots[check].request(at)
    }

    /// Returns the status of a check and why its last run was started.
    pub(crate) fn run_of(&self, check: usize) -> (Status, RunReason) {
        let slot = &self.slots[check];
        (slot.entry.report.status, slot.reason)
    }

    /// Says whether the last result of a check does not count yet.
    pub(crate) fn is_held(&self, check: usize) -> bool {
        self.slots[check].hold.is_some()
    }

    /// Returns what is known of a check.
    pub(crate) fn report(&self, check: usize) -> &CheckReport {
        &self.slots[check].entry.report
    }

    /// Says whether each check has a result, or is known to get none.
    pub(crate) fn is_complete(&self) -> bool {
        self.slots.iter().all(Slot::is_known)
    }

    /// Returns the runs that are not gone.
    pub(crate) fn in_flight(&self) -> Vec<Option<u64>> {
        let run = |slot: &Slot| match slot.state {
            State::Running { .. } | State::Hung { .. } => Some(slot.run),
            State::Idle { .. } | State::Waiting { .. } => None,
        };
        self.slots.iter().map(run).collect()
    }

    /// Knows of runs of a machine before this one that were not gone: their checks run when they are.
    pub(crate) fn inherit(&mut self, in_flight: &[Option<u64>], at: Moment) {
        for (slot, run) in self.slots.iter_mut().zip(in_flight) {
            if let Some(run) = *run {
                slot.inherit(run, at);
            }
        }
    }

    /// Starts the looks that are due: before old results are forgotten, because who could not run is not to blame for it.
    pub(crate) fn start_looks(&mut self, at: Moment, effects: &mut Effects) {
        self.start_due(at, effects, |plan| plan.is_look);
    }

    /// Takes note of a time in which the whole process was stopped. It says nothing about what is looked at from within;
    /// what is elsewhere went on, and is not known any more.
    pub(crate) fn excuse(&mut self, lost: Duration) {
        let looks = self.slots.iter_mut().filter(|slot| slot.plan.is_look);
        looks.for_each(|slot| slot.excuse(lost));
    }

    /// Does what is due: gives up runs, forgets old results, starts runs.
    pub(crate) fn on_tick(&mut self, at: Moment, effects: &mut Effects) {
        for (check, slot) in self.slots.iter_mut().enumerate() {
            match slot.state {
                State::Running { since, deadline } if at.now >= deadline => {
                    effects.actions.push(Action::Abort { check });
                    slot.time_out(since, &mut self.jitter, at, effects);
                    effects.concluded.push(check);
                    self.changed = true;
                }
                State::Hung { look, due } if at.now >= look => {
                    slot.look(due, &mut self.jitter, at, effects);
                    self.changed = true;
                }
                _ => {}
            }
            if slot.stale_at().is_some_and(|stale| at.now >= stale) {
                slot.go_stale(at, effects);
                self.changed = true;
            }
        }
        self.spread(at, effects);
        self.start_due(at, effects, |_| true);
    }

    fn start_due(&mut self, at: Moment, effects: &mut Effects, is_meant: impl Fn(&Plan) -> bool) {
        for (check, slot) in self.slots.iter_mut().enumerate() {
            if let State::Idle { next, .. } = slot.state
                && at.now >= next
                && !slot.is_held()
                && is_meant(&slot.plan)
                && let Some(run) = slot.start(&mut self.jitter, at, effects)
            {
                effects.actions.push(Action::Start { check, run });
            }
        }
    }

    /// Tells checks what their ancestors let them do, from the top down.
    fn spread(&mut self, at: Moment, effects: &mut Effects) {
        let graph = Arc::clone(&self.graph);
        for &check in graph.order() {
            let ancestors = graph.ancestors(check);
            if ancestors.is_empty() {
                continue;
            }
            self.heed(check, ancestors, at, effects);
            if self.slots[check].complains {
                self.heed(check, ancestors, at, effects); // it was told of a failure only now
            }
        }
    }

    /// Tells a check what its ancestors let it do, and counts the result that was held for them.
    fn heed(&mut self, check: usize, ancestors: &[usize], at: Moment, effects: &mut Effects) {
        let is_heard = self.hear_out(check, ancestors, at);
        let roots = self.roots(check);
        self.slots[check].doubts &= !roots.is_empty();
        let CheckReport { causes, unsteady, .. } = &self.slots[check].entry.report;
        let root = |&root: &usize| &self.slots[root].entry.report;
        let name = |index: &usize| &root(index).name;
        let all_flap = match &roots[..] {
            [] => *unsteady, // until its own result
            roots => roots.iter().all(|index| root(index).flapping),
        };
        if *unsteady != all_flap || !roots.iter().map(name).eq(causes.iter()) {
            let causes = roots.iter().map(name).cloned().collect();
            self.slots[check].blame(causes, all_flap);
            self.changed = true;
        }
        let gate = if self.slots[check].plan.always_run {
            Gate::Open
        } else if !roots.is_empty() {
            Gate::Failing
        } else if ancestors.iter().any(|&above| self.slots[above].is_unsettled()) {
            Gate::Pending
        } else {
            Gate::Open
        };
        let slot = &mut self.slots[check];
        if gate != slot.gate {
            slot.pass(gate, &mut self.jitter, at, effects);
            self.changed = true;
            if gate == Gate::Failing {
                effects.concluded.push(check);
            }
        }
        if is_heard {
            self.slots[check].release(at, effects);
            self.changed = true;
        }
    }

    /// Asks the ancestors of a check that finds itself worse; `true` once a result of it need not be held any longer.
    fn hear_out(&mut self, check: usize, ancestors: &[usize], at: Moment) -> bool {
        let slots = &mut self.slots;
        let flaps = slots[check].is_flapping();
        if std::mem::take(&mut slots[check].complains) {
            let is_due = slots[check].hold.is_some();
            let mut until = at.now;
            for &above in ancestors {
                if !slots[above].is_failing() && slots[above].gate != Gate::Failing {
                    until = until.max(slots[above].ask(is_due, flaps, at));
                }
            }
            if let Some(hold) = &mut slots[check].hold {
                hold.until.get_or_insert(until);
            }
        }
        let Some(hold) = slots[check].hold else {
            return false;
        };
        let is_over = hold.until.is_none_or(|until| at.now >= until);
        let is_heard = is_over
            || ancestors
                .iter()
                .all(|&above| slots[above].answers(hold.since, flaps, at));
        if is_heard {
            // One failure above is reason enough for a failure, not to make one of less.
            let is_down = hold.found == Status::Down;
            slots[check].doubts = is_down && ancestors.iter().any(|&above| slots[above].is_turning());
        }
        is_heard
    }

    /// Returns the ancestors that a check fails for.
    fn roots(&self, check: usize) -> Vec<usize> {
        self.graph.roots(check, |above| {
            self.slots[above].is_failing() || self.suspects(check, above)
        })
    }

    /// Says whether a check, or an ancestor of it that is skipped, fails for one above that is not down yet.
    pub(super) fn suspects(&self, check: usize, above: usize) -> bool {
        let is_above = |doubter: usize| self.graph.ancestors(doubter).contains(&above);
        let doubts = |&doubter: &usize| {
            let slot = &self.slots[doubter];
            slot.doubts && slot.gate == Gate::Failing && is_above(doubter)
        };
        self.slots[above].is_turning()
            && (self.slots[check].doubts || self.graph.ancestors(check).iter().any(doubts))
    }

    /// Returns when the next tick is due; `None` without a check.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        self.slots.iter().filter_map(Slot::due).min()
    }

    /// Returns the state of all checks if it has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<Arc<Entry>>> {
        std::mem::take(&mut self.changed).then(|| self.entries())
    }

    /// Returns the state of all checks.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.slots.iter().map(|slot| Arc::clone(&slot.entry)).collect()
    }
}

#[cfg(test)]
impl Machine {
    pub(super) fn slot(&self, check: usize) -> &Slot {
        &self.slots[check]
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, finding, plan};
    use super::*;
    use crate::observer::Event;
    use expect_test::expect;
    use std::fmt::Write;

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

    /// A check that goes up and down; what it says from result `steady` on is up.
    fn flapping(plan: Plan, steady: usize) -> (Bench, String) {
        let mut bench = Bench::new(&[plan], 1);
        let mut results = 0..;
        let story = bench.script(Duration::from_mins(5), |bench, check| {
            let turn = results.next().expect("there is no end");
            let up = turn >= steady || turn % 2 == 0;
            vec![bench.end(check, Some(if up { Status::Up } else { Status::Down }))]
        });
        let told = |line: &&str| line.contains("->") || line.contains("flaps");
        let story = story
            .lines()
            .filter(told)
            .fold(String::new(), |story, line| story + line + "\n");
        (bench, story)
    }

    #[test]
    fn a_check_that_flaps_is_marked_until_it_is_steady() {
        let (bench, story) = flapping(Plan { fall: 1, ..plan() }, 10);
        expect![[r#"
            0.0ns c0 unknown -> up None
            9.5s c0 up -> down Some("refused")
            18.5s c0 down -> up None
            28.2s c0 up -> down Some("refused")
            38.2s c0 down -> up None
            47.4s c0 up -> down Some("refused")
            57.2s c0 down -> up None
            57.2s c0 up, flaps: true
            67.0s c0 up -> down Some("refused")
            77.7s c0 down -> up None
            87.8s c0 up -> down Some("refused")
            98.4s c0 down -> up None
            260.6s c0 up, flaps: false
        "#]]
        .assert_eq(&story);
        assert!(!bench.report(0).is_flapping() && bench.report(0).flap_score() <= 0.2);
        let (bench, _) = flapping(plan(), usize::MAX);
        assert!(bench.report(0).is_flapping());
        assert!(bench.report(0).flap_score() > 0.9);
        assert_eq!(
            bench.report(0).status(),
            Status::Up,
            "never two failures in a row"
        );
    }

    #[test]
    fn six_failures_in_a_row_are_an_outage_though_it_flaps() {
        for fall in [1, 2, 8] {
            let mut bench = Bench::new(&[Plan { fall, ..plan() }], 1);
            let mut failures = 0;
            for turn in 0..40 {
                let wait = bench
                    .machine
                    .next_tick()
                    .unwrap()
                    .saturating_duration_since(bench.at.now);
                bench.advance(wait);
                bench.tick();
                let up = turn < 20 && turn % 2 == 0;
                failures = if up { 0 } else { failures + 1 };
                bench.end(0, Some(if up { Status::Up } else { Status::Down }));
                let report = bench.report(0);
                assert_eq!(report.lasting, failures >= fall.max(6), "after {failures}");
                if failures == fall.max(6) {
                    assert!(
                        report.is_flapping() && report.status() == Status::Down,
                        "it still flaps by its score"
                    );
                }
            }
        }
    }

    #[test]
    fn one_that_is_held_down_stays_so_until_it_is_steady() {
        let held = Plan {
            fall: 1,
            hold_down: true,
            ..plan()
        };
        let (bench, story) = flapping(held, 10);
        expect![[r#"
            0.0ns c0 unknown -> up None
            9.5s c0 up -> down Some("refused")
            18.5s c0 down -> up None
            28.2s c0 up -> down Some("refused")
            38.2s c0 down -> up None
            47.4s c0 up -> down Some("refused")
            57.2s c0 down, flaps: true
            260.6s c0 down -> up None
            260.6s c0 up, flaps: false
        "#]]
        .assert_eq(&story);
        assert_eq!(bench.report(0).status(), Status::Up);
    }

    #[test]
    fn a_slow_check_is_told_once_a_minute() {
        let mut bench = Bench::new(&[plan()], 1);
        let mut told = Vec::new();
        while bench.at.now < bench.start.now + Duration::from_mins(3) {
            bench.tick();
            let slow = Finding {
                latency: Duration::from_millis(1001),
                ..finding(Status::Up)
            };
            if let Some(run) = bench.in_flight[0].take() {
                let mut effects = Effects::default();
                bench
                    .machine
                    .on_result(0, run, Some(slow), bench.at, &mut effects);
                if effects
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Slow { .. }))
                {
                    told.push(bench.at.now);
                }
            }
            let wait = bench.machine.next_tick().unwrap() - bench.at.now;
            bench.advance(wait);
        }
        assert_eq!(told.len(), 3);
        assert!(
            told.windows(2)
                .all(|pair| pair[1] - pair[0] >= Duration::from_mins(1))
        );

        let mut bench = Bench::new(&[plan()], 1);
        bench.tick();
        let half = Finding {
            latency: Duration::from_secs(1),
            ..finding(Status::Up)
        };
        let mut effects = Effects::default();
        bench.machine.on_result(0, 1, Some(half), bench.at, &mut effects);
        assert!(
            !effects
                .events
                .iter()
                .any(|event| matches!(event, Event::Slow { .. }))
        );
    }

    #[test]
    #[expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
    fn a_run_knows_why_it_was_started() {
        let parents = [vec![], vec![0]];
        let mut bench = Bench::with_dependencies(&[plan(), plan()], &parents, 1);
        let mut results = [Status::Up, Status::Down, Status::Down, Status::Up].into_iter();
        let mut story = String::new();
        while bench.at.now < bench.start.now + Duration::from_secs(35) {
            for action in bench.tick().actions {
                let Action::Start { check, run } = action else {
                    panic!("{action:?}");
                };
                let (last, reason) = bench.machine.run_of(check);
                writeln!(story, "c{check} run {run}, {last}: {reason}").unwrap();
                let status = if check == 0 {
                    results.next().unwrap_or(Status::Up)
                } else {
                    Status::Up
                };
                bench.end(check, Some(status));
            }
            let wait = bench.machine.next_tick().unwrap() - bench.at.now;
            bench.advance(wait);
        }
        expect![[r#"
            c0 run 1, unknown: scheduled
            c1 run 1, unknown: scheduled
            c1 run 2, up: scheduled
            c0 run 2, up: scheduled
            c0 run 3, up: confirm
            c0 run 4, down: scheduled
            c1 run 3, skipped: parent_recovered
            c0 run 5, up: scheduled
            c1 run 4, up: scheduled
        "#]]
        .assert_eq(&story);
    }

    #[test]
    fn a_request_starts_a_run_or_joins_one() {
        let mut bench = Bench::new(&[plan()], 1);
        assert!(bench.machine.on_request(0, bench.at), "it was due anyway");
        assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 1 }]);
        assert!(bench.machine.on_request(0, bench.at));
        assert_eq!(bench.tick().actions, [], "joined");
        assert_eq!(bench.end(0, Some(Status::Up)).concluded, [0]);
        bench.advance(Duration::from_secs(1));
        assert!(bench.machine.on_request(0, bench.at));
        assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 2 }]);
        assert_eq!(bench.machine.run_of(0), (Status::Up, RunReason::Manual));
        bench.advance(Duration::from_secs(2));
        assert_eq!(bench.tick().concluded, [0], "a timeout is an end");
        assert!(!bench.machine.on_request(0, bench.at), "it hangs");
    }

    #[test]
    fn a_request_for_what_is_skipped_is_refused() {
        let mut bench = Bench::with_dependencies(&[plan(), plan()], &[vec![], vec![0]], 1);
        bench.tick();
        assert!(
            bench.machine.on_request(1, bench.at),
            "it waits for the first result above"
        );
        bench.end(0, Some(Status::Down));
        assert_eq!(bench.report(1).status(), Status::Skipped);
        assert!(!bench.machine.on_request(1, bench.at));
        assert_eq!(bench.tick().actions, []);
    }

    #[test]
    fn a_run_from_before_is_waited_for() {
        let mut bench = Bench::new(&[plan(), plan()], 1);
        bench.machine.inherit(&[Some(7), None], bench.at);
        assert_eq!(bench.machine.in_flight(), [Some(7), None]);
        bench.in_flight[0] = Some(7);
        assert_eq!(bench.tick().actions, [Action::Start { check: 1, run: 1 }]);
        bench.end(1, Some(Status::Up));
        assert!(!bench.machine.is_complete());
        bench.advance(Duration::from_secs(2));
        bench.tick();
        assert_eq!(
            bench.report(0).status(),
            Status::Down,
            "it takes longer than it may"
        );
        assert!(bench.machine.is_complete());
        bench.end(0, Some(Status::Up));
        assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 8 }]);
    }

    #[test]
    fn missed_turns_are_left_out_and_a_long_run_is_followed_by_the_next() {
        let long = Plan {
            timeout: Duration::from_mins(2),
            stale_after: Duration::from_mins(10),
            ..plan()
        };
        let mut bench = Bench::new(&[long], 1);
        bench.tick();
        bench.end(0, Some(Status::Up));
        bench.advance(Duration::from_secs(95)); // the machine slept
        assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 2 }]);
        bench.advance(Duration::from_secs(25)); // longer than the interval
        assert_eq!(bench.tick().actions, []);
        bench.end(0, Some(Status::Up));
        assert_eq!(bench.tick().actions, [Action::Start { check: 0, run: 3 }]);
        bench.end(0, Some(Status::Up));
        assert_eq!(bench.tick().actions, [], "one turn, not nine");
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        assert!(wait >= Duration::from_secs(9), "{wait:?}");
    }

    #[test]
    fn a_check_that_is_often_looked_at_is_confirmed_no_later() {
        let often = Plan {
            interval: Duration::from_secs(1),
            ..plan()
        };
        let mut bench = Bench::new(&[often], 1);
        for status in [Status::Up, Status::Down] {
            let wait = bench.machine.next_tick().unwrap() - bench.at.now;
            bench.advance(wait);
            bench.tick();
            bench.end(0, Some(status));
        }
        let wait = bench.machine.next_tick().unwrap() - bench.at.now;
        assert!(wait <= Duration::from_millis(1100), "{wait:?}");
    }
}
