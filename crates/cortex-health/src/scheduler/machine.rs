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
        self.update(|report| report.stale = true);
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
