//! What holds whatever happens: the machine under random plans, dependencies and steps.

use super::bench::{Bench, plan};
use super::hysteresis::tests::by_the_rule;
use super::plan::{Action, Effects, Plan};
use crate::graph::Graph;
use crate::observer::{Event, RunResult};
use crate::report::CheckReport;
use crate::status::Status;
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug)]
enum Step {
    Advance(Duration),
    /// To the moment of the next tick and no further.
    Sleep,
    End(usize, Option<Status>),
    Request(usize),
}

/// Checks, and on which of those before them they depend.
fn plans() -> impl Strategy<Value = (Vec<Plan>, Vec<Vec<usize>>)> {
    let plan = (
        1u64..4000,
        1u64..12_000,
        0u64..30_000,
        1u32..4,
        1u32..4,
        prop::bool::weighted(0.1),
        any::<bool>(),
    );
    let plan = plan.prop_map(
        |(timeout, interval, more, fall, rise, always_run, hold_down)| Plan {
            timeout: Duration::from_millis(timeout),
            interval: Duration::from_millis(interval),
            stale_after: Duration::from_millis(timeout.max(interval) + more),
            fall,
            rise,
            always_run,
            hold_down,
            is_look: false,
        },
    );
    prop::collection::vec((plan, any::<u8>(), any::<u8>()), 1..6).prop_map(|checks| {
        let on = |(check, (_, some, others)): (usize, &(Plan, u8, u8))| {
            let is_parent = |&above: &usize| some & others >> above & 1 == 1;
            (0..check).filter(is_parent).collect()
        };
        let parents = checks.iter().enumerate().map(on).collect();
        (checks.into_iter().map(|(plan, ..)| plan).collect(), parents)
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![Just(Status::Up), Just(Status::Degraded), Just(Status::Down)];
    let step = prop_oneof![
        2 => (0u64..30_000).prop_map(|millis| Step::Advance(Duration::from_millis(millis))),
        4 => Just(Step::Sleep),
        1 => (0usize..5).prop_map(Step::Request),
        8 => (0usize..5, prop::option::weighted(0.9, status)).prop_map(|(check, end)| Step::End(check, end)),
    ];
    prop::collection::vec(step, 1..120)
}

/// Notes what counted as a result, and judges every change of status by the notes.
struct Judge<'a> {
    plans: &'a [Plan],
    graph: Graph,
    notes: Vec<Note>,
}

#[derive(Clone)]
struct Note {
    /// Since nothing was known.
    results: Vec<Status>,
    /// When the last of them came.
    checked: Option<SystemTime>,
    /// The status, or what it was before the check was skipped.
    status: Status,
    /// An ancestor fails: what a run finds does not count.
    frozen: bool,
    /// A result that does not count yet.
    found: Option<Status>,
    /// How many results have counted.
    tallies: u64,
}

impl<'a> Judge<'a> {
    fn new(plans: &'a [Plan], graph: Graph) -> Self {
        let note = Note {
            results: Vec::new(),
            checked: None,
            status: Status::Unknown,
            frozen: false,
            found: None,
            tallies: 0,
        };
        Self {
            notes: vec![note; plans.len()],
            plans,
            graph,
        }
    }

    fn hear(&mut self, bench: &Bench, effects: &Effects) {
        let index = |name: &str| name[1..].parse::<usize>().expect("the bench names them so");
        let mut counted = vec![false; self.plans.len()];
        let mut came = vec![None; self.plans.len()];
        for event in &effects.events {
            let Event::RunFinished { check, result, .. } = event else {
                continue;
            };
            let check = index(check);
            let found = match result {
                RunResult::Ok => Status::Up,
                RunResult::Degraded => Status::Degraded,
                RunResult::Skipped => {
                    assert!(!bench.report(check).causes.is_empty(), "skipped for nothing");
                    continue;
                }
                RunResult::Failed | RunResult::TimedOut | RunResult::Panicked => Status::Down,
            };
            if !self.notes[check].frozen {
                came[check] = Some(found);
            }
        }
        // What came after a result that was held, and better: both count.
        let mut second = vec![None; self.plans.len()];
        for (check, counted) in counted.iter_mut().enumerate() {
            let slot = bench.machine.slot(check);
            let new = slot.tallies - self.notes[check].tallies;
            self.notes[check].tallies = slot.tallies;
            let (held, came) = (self.notes[check].found.take(), came[check]);
            let is_hung = bench.report(check).hung_since().is_some();
            assert!(
                new == 0 || held.or(came).is_some() || is_hung,
                "a result without a run"
            );
            let found = match (held, came) {
                (Some(held), Some(came)) if new == 2 => {
                    second[check] = Some(came);
                    held
                }
                (Some(held), Some(came)) => held.worst(came),
                (held, came) => held.or(came).unwrap_or(Status::Down), // a look at a hung run
            };
            for _ in 0..new {
                self.age(bench, check);
                *counted = true;
            }
            let is_second = u64::from(second[check].is_some());
            for _ in 0..new - is_second {
                self.notes[check].results.push(found);
            }
            if slot.hold.is_some() || bench.report(check).checked() == Some(bench.at.wall) {
                self.age(bench, check); // also if it was held, and dropped at the same moment
            }
            self.notes[check].found = slot.hold.map(|hold| hold.found);
        }
        for event in &effects.events {
            if let Event::Transition { check, from, to, .. } = event
                && !self.plans[index(check)].hold_down
            {
                let check = index(check);
                let is_known = !matches!(from, Status::Skipped | Status::Unknown);
                if is_known
                    && to.rank() < from.rank()
                    && let Some(second) = second[check].take()
                {
                    self.notes[check].results.push(second);
                }
                self.judge(check, *from, *to);
            }
        }
        for (note, second) in self.notes.iter_mut().zip(second) {
            note.results.extend(second);
        }
        for (check, counted) in counted.into_iter().enumerate() {
            if self.plans[check].hold_down {
                let report = bench.report(check);
                if report.status() == Status::Skipped {
                    let before = effects.events.iter().rev().find_map(|event| match event {
                        Event::Transition {
                            check,
                            from,
                            to: Status::Skipped,
                            ..
                        } if *check == report.name => Some(*from),
                        _ => None,
                    });
                    let note = &mut self.notes[check];
                    note.status = before.unwrap_or(note.status); // it may have had a result at the same moment
                } else {
                    self.judge_held(report, check, counted);
                }
            }
        }
        for (check, note) in self.notes.iter_mut().enumerate() {
            note.frozen = !self.plans[check].always_run && !bench.report(check).causes.is_empty();
        }
    }

    /// Forgets what was too old when a result came.
    fn age(&mut self, bench: &Bench, check: usize) {
        let (note, plan) = (&mut self.notes[check], &self.plans[check]);
        if let Some(checked) = note.checked
            && bench.at.wall.duration_since(checked).expect("time goes on") >= plan.stale_after
        {
            note.results.clear(); // too old: also where a check is skipped, and nobody is told
            note.status = Status::Unknown;
        }
        note.checked = Some(bench.at.wall);
    }

    fn judge(&mut self, check: usize, from: Status, to: Status) {
        let (note, plan) = (&mut self.notes[check], &self.plans[check]);
        assert!(from == note.status || from == Status::Skipped || note.status == Status::Unknown);
        let from = note.status;
        let results = &mut note.results;
        match (from, to) {
            (_, Status::Skipped) => return,
            (_, Status::Unknown) => results.clear(),
            (Status::Unknown, _) => {}
            (same, to) if same == to => {}
            (from, to) => {
                let worse = to.rank() > from.rank();
                let needed = if worse { plan.fall } else { plan.rise } as usize;
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
        note.status = to;
    }

    /// Judges a check that keeps its worst status while it flaps; while it does not, it is what its results say.
    fn judge_held(&mut self, report: &CheckReport, check: usize, counted: bool) {
        let (note, plan) = (&mut self.notes[check], &self.plans[check]);
        let status = report.status();
        match status {
            Status::Unknown => note.results.clear(),
            _ if !counted => assert_eq!(status, note.status, "nothing came, {report:?}"),
            _ => {
                let free = by_the_rule(&note.results, plan.fall as usize, plan.rise as usize);
                if report.is_flapping() && note.results.len() > 1 {
                    assert!(status.rank() >= free.rank(), "{free}, {report:?}");
                    let was_known = note.status != Status::Unknown;
                    assert!(!was_known || status.rank() >= note.status.rank(), "{report:?}");
                } else {
                    assert_eq!(status, free, "{report:?}");
                }
            }
        }
        note.status = status;
    }

    /// Looks at the whole after a tick.
    fn look(&self, bench: &Bench, effects: &Effects) {
        for (check, plan) in self.plans.iter().enumerate() {
            let report = bench.report(check);
            let is_held = bench.machine.is_held(check);
            let fails = |above: usize| {
                let report = bench.report(above);
                report.status() == Status::Down || report.is_stale() || bench.machine.suspects(check, above)
            };
            if matches!(report.status(), Status::Up | Status::Degraded | Status::Down) {
                let age = bench
                    .at
                    .wall
                    .duration_since(report.checked().expect("it has a status"));
                assert!(age.expect("time goes on") < plan.stale_after || is_held);
                assert!(!report.is_stale());
            }
            let roots = self.graph.roots(check, fails);
            let names: Vec<_> = roots.iter().map(|root| format!("c{root}")).collect();
            assert!(report.causes().eq(names.iter().map(|name| &**name)), "{report:?}");
            for root in roots {
                assert!(self.graph.roots(root, fails).is_empty(), "c{root} is no root");
            }
            let must_skip = !names.is_empty() && !plan.always_run;
            assert!(!must_skip || report.status() == Status::Skipped, "{report:?}");
            assert!(
                !plan.always_run || report.status() != Status::Skipped,
                "{report:?}"
            );
            let above = self.graph.ancestors(check).iter();
            let is_settled = |&above: &usize| {
                let report = bench.report(above);
                report.checked().is_some() && report.status() != Status::Skipped
            };
            let may_start = plan.always_run || (!must_skip && above.copied().all(|above| is_settled(&above)));
            for action in &effects.actions {
                if let Action::Start { check: started, run } = *action
                    && started == check
                {
                    assert!(may_start, "run {run} of c{check}");
                }
            }
            if report.status() == Status::Skipped && !must_skip && may_start {
                assert!(
                    bench.in_flight[check].is_some() || is_held,
                    "c{check} is not told by a run"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold((plans, parents) in plans(), seed: u64, steps in steps()) {
        let mut bench = Bench::with_dependencies(&plans, &parents, seed);
        let mut judge = Judge::new(&plans, Graph::new(&parents).unwrap());
        let mut asked = vec![false; plans.len()];
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
                        judge.hear(&bench, &effects);
                        effects.concluded.iter().for_each(|&check| asked[check] = false);
                    }
                }
                Step::Request(check) => {
                    if check < plans.len() && bench.machine.on_request(check, bench.at) {
                        asked[check] = true;
                    }
                }
            }
            let effects = bench.tick(); // never two in flight, nothing left to do: asserted inside
            judge.hear(&bench, &effects);
            judge.look(&bench, &effects);
            effects.concluded.iter().for_each(|&check| asked[check] = false);
            for (check, asked) in asked.iter().enumerate() {
                // Whoever was promised the end of a run gets it: there is a run, or one above it that comes first.
                let above = Graph::new(&parents).unwrap();
                let mut line = above.ancestors(check).iter().copied().chain([check]);
                prop_assert!(!asked || line.any(|check| bench.in_flight[check].is_some()));
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

    #[test]
    fn a_status_that_is_held_down_gets_no_better_while_it_flaps(
        results in prop::collection::vec(
            prop_oneof![3 => Just(Status::Up), 1 => Just(Status::Degraded), 2 => Just(Status::Down)], 1..80),
        fall in 1u32..3,
    ) {
        let long = Duration::from_hours(1);
        let free = Plan { fall, timeout: long, stale_after: long, ..plan() };
        let held = Plan { hold_down: true, ..free.clone() };
        let mut bench = Bench::new(&[free, held], 1);
        let (mut flapped, mut before) = (false, Status::Up);
        for found in results {
            while bench.in_flight.iter().any(Option::is_none) {
                let wait = bench.machine.next_tick().unwrap().saturating_duration_since(bench.at.now);
                bench.advance(wait);
                bench.tick();
            }
            bench.end(0, Some(found));
            bench.end(1, Some(found));
            let (free, held) = (bench.report(0), bench.report(1));
            prop_assert_eq!(free.is_flapping(), held.is_flapping());
            if held.is_flapping() {
                prop_assert!(held.status().rank() >= free.status().rank());
                prop_assert!(!flapped || held.status().rank() >= before.rank());
            } else {
                prop_assert_eq!(held.status(), free.status());
            }
            (flapped, before) = (held.is_flapping(), held.status());
        }
    }
}
