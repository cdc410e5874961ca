use super::machine::Machine;
use super::plan::{Action, Effects, Finding, Moment, Plan};
use crate::graph::Graph;
use crate::observer::{Event, RunResult};
use crate::report::{CheckReport, Entry};
use crate::status::{Criticality, Status};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A machine, its time, and the runs that it has started and that are not gone.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) start: Moment,
    pub(super) at: Moment,
    pub(super) in_flight: Vec<Option<u64>>,
    pub(super) entries: Vec<Arc<Entry>>,
}

impl Bench {
    pub(super) fn new(plans: &[Plan], seed: u64) -> Self {
        Self::with_dependencies(plans, &vec![Vec::new(); plans.len()], seed)
    }

    /// Makes a bench of checks that depend on these, each on those of the list at its index.
    pub(super) fn with_dependencies(plans: &[Plan], parents: &[Vec<usize>], seed: u64) -> Self {
        let graph = Graph::new(parents).expect("the test has no cycle");
        let start = Moment {
            now: cortex_core::Clock::now(&cortex_core::SystemClock),
            wall: SystemTime::UNIX_EPOCH,
        };
        let entry = |index: usize| {
            let name = format!("c{index}").into();
            Entry::new(CheckReport::never_run(name, Criticality::Critical, start.wall))
        };
        let checks = plans.iter().enumerate();
        let mut machine = Machine::new(
            checks.map(|(index, plan)| (plan.clone(), entry(index))),
            Arc::new(graph),
            seed,
            start,
        );
        Self {
            entries: machine.take_changes().expect("that it begins is news"),
            machine,
            start,
            at: start,
            in_flight: vec![None; plans.len()],
        }
    }

    pub(super) fn report(&self, check: usize) -> &CheckReport {
        &self.entries[check].report
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.at.now += by;
        self.at.wall += by;
    }

    pub(super) fn tick(&mut self) -> Effects {
        let mut effects = Effects::default();
        self.machine.on_tick(self.at, &mut effects);
        self.take(&effects);
        let next = self.machine.next_tick().expect("there is a check");
        assert!(next > self.at.now, "a tick leaves nothing to do");
        effects
    }

    /// Ends the run in flight.
    pub(super) fn end(&mut self, check: usize, status: Option<Status>) -> Effects {
        let run = self.in_flight[check].take().expect("a run is in flight");
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
    pub(super) fn script(
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
                    writeln!(story, "{time:.1?} {action:?}").expect("memory");
                }
                for event in effects.events {
                    match event {
                        Event::RunFinished { check, result, .. } => {
                            writeln!(story, "{time:.1?} {check} {result}").expect("memory");
                        }
                        Event::Slow { check, latency, .. } => {
                            writeln!(story, "{time:.1?} {check} took {latency:?}").expect("memory");
                        }
                        Event::Missed { .. } => unreachable!("the machine loses nothing"),
                        Event::Flapping {
                            check,
                            flapping,
                            status,
                            ..
                        } => {
                            writeln!(story, "{time:.1?} {check} {status}, flaps: {flapping}")
                                .expect("memory");
                        }
                        Event::Transition {
                            check,
                            from,
                            to,
                            causes,
                            ..
                        } if !causes.is_empty() => {
                            let causes = causes.join(", ");
                            writeln!(story, "{time:.1?} {check} {from} -> {to} because of {causes}")
                                .expect("memory");
                        }
                        Event::Transition {
                            check,
                            from,
                            to,
                            message,
                            ..
                        } => {
                            writeln!(story, "{time:.1?} {check} {from} -> {to} {message:?}").expect("memory");
                        }
                    }
                }
            }
            let wait = self.machine.next_tick().expect("there is a check") - self.at.now;
            self.advance(wait);
        }
        story
    }
}

pub(super) fn plan() -> Plan {
    Plan {
        timeout: Duration::from_secs(2),
        interval: Duration::from_secs(10),
        stale_after: Duration::from_secs(22),
        fall: 2,
        rise: 1,
        always_run: false,
        hold_down: false,
        is_look: false,
    }
}

pub(super) fn finding(status: Status) -> Finding {
    let (message, result) = match status {
        Status::Up => (None, RunResult::Ok),
        Status::Degraded => (Some("slow"), RunResult::Degraded),
        _ => (Some("refused"), RunResult::Failed),
    };
    Finding {
        status,
        message: message.map(Into::into),
        observed: None,
        details: Arc::default(),
        result,
        latency: Duration::from_millis(3),
    }
}
