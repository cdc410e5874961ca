use super::flap::Flap;
use super::hold::Hold;
use super::hysteresis::Hysteresis;
use super::jitter::Jitter;
use super::plan::{Effects, Finding, Moment, Plan, after};
use crate::context::RunReason;
use crate::history::{Run, remember};
use crate::observer::{Event, RunResult};
use crate::report::{CheckReport, Entry};
use crate::status::Status;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A check whose status may be about to change runs again after this time at most.
pub(crate) const CONFIRM: Duration = Duration::from_secs(2);

/// So many failures in a row are an outage, also of a check that flaps.
const OUTAGE: u32 = 6;

/// So many runs of a check may be for the sake of others in an interval of it, in the long run.
const ASKED: u32 = 8;

/// It is said once in this time that a check is slow.
const SLOW_AGAIN: Duration = Duration::from_mins(1);

/// What the machine knows of one check.
#[expect(clippy::struct_excessive_bools, reason = "each is about something else")]
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) plan: Plan,
    pub(super) state: State,
    /// What its ancestors let it do.
    pub(super) gate: Gate,
    /// The number of the last run.
    pub(super) run: u64,
    /// Why it runs, or ran.
    pub(super) reason: RunReason,
    hysteresis: Hysteresis,
    flap: Flap,
    /// The worst status since it began to flap, if it is held down.
    held: Option<Status>,
    /// When the last result came, unless it went stale.
    fresh: Option<Instant>,
    changed: Instant,
    /// When it was last said that a run took long.
    slow_told: Option<Instant>,
    pub(super) entry: Arc<Entry>,
    /// Whether those that it depends on are asked before it gets worse.
    pub(super) is_dependent: bool,
    /// A result that makes it worse, until those that it depends on have answered.
    pub(super) hold: Option<Hold>,
    /// The last result is worse than its status, and those that it depends on were not asked yet.
    pub(super) complains: bool,
    /// It fails for ancestors whose last result was a failure, though none of them is down yet.
    pub(super) doubts: bool,
    /// A run is to follow the one in flight at once.
    wanted: bool,
    /// When the run began that gave the last result.
    proven: Option<Instant>,
    /// Up to when it has run for the sake of others: each such run adds its part of an interval.
    asked: Option<Instant>,
    #[cfg(test)]
    pub(super) tallies: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Idle {
        next: Instant,
        reason: RunReason,
    },
    /// For the first results of its ancestors, or the first since they recovered.
    Waiting {
        reason: RunReason,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may run.
    Open,
    /// An ancestor is to give a result first.
    Pending,
    /// An ancestor fails: a run would find nothing that is not known.
    Failing,
}

impl Slot {
    /// Makes the slot of a check that is due.
    pub(super) fn new(plan: Plan, entry: Arc<Entry>, at: Moment) -> Self {
        Self {
            state: State::Idle {
                next: at.now,
                reason: RunReason::Scheduled,
            },
            reason: RunReason::Scheduled,
            gate: Gate::Open,
            run: 0,
            hysteresis: Hysteresis::new(plan.fall, plan.rise),
            flap: Flap::default(),
            held: None,
            fresh: None,
            changed: at.now,
            slow_told: None,
            is_dependent: false,
            hold: None,
            complains: false,
            doubts: false,
            wanted: false,
            proven: None,
            asked: None,
            #[cfg(test)]
            tallies: 0,
            plan,
            entry,
        }
    }

    /// Says whether what depends on the check would fail for its sake.
    pub(super) fn is_failing(&self) -> bool {
        match self.entry.report.status {
            Status::Down => true,
            Status::Unknown => self.entry.report.stale,
            Status::Up | Status::Degraded | Status::Skipped => false,
        }
    }

    /// Says whether the last result was a failure, or its run hangs, and that was not enough yet to be down.
    pub(super) fn is_turning(&self) -> bool {
        let is_held = self.hold.is_some_and(|hold| hold.found == Status::Down);
        let hangs = matches!(self.state, State::Hung { .. });
        self.gate != Gate::Failing
            && matches!(self.entry.report.status, Status::Up | Status::Degraded)
            && (is_held || hangs || self.hysteresis.last() == Status::Down)
    }

    /// Says whether it is known how the check was at that time or later, or that it failed last and looks again soon by
    /// itself; `flaps`: the one that asks does, and is answered by a result of late. One that was asked too often has no
    /// better answer than its last.
    pub(super) fn answers(&self, since: Instant, flaps: bool, at: Moment) -> bool {
        let rests = matches!(self.state, State::Idle { next, .. } if next > at.now);
        let is_new = |began| began >= since || flaps && self.is_recent(began, since);
        let is_new =
            self.proven.is_some_and(is_new) || rests && self.asked_for(at) > self.share() * (ASKED - 1);
        let hangs = matches!(self.state, State::Hung { .. });
        self.is_failing()
            || self.gate == Gate::Failing // it is not run
            || self.hold.is_none() && (is_new || hangs || self.is_turning())
    }

    /// Says whether a run that began then is one of late.
    fn is_recent(&self, began: Instant, at: Instant) -> bool {
        after(began, self.plan.interval.min(CONFIRM)) > at
    }

    /// Returns what a run for the sake of others takes of an interval.
    fn share(&self) -> Duration {
        self.plan.interval / ASKED
    }

    /// Returns how much of an interval the runs for the sake of others have taken: it comes back as time goes by.
    fn asked_for(&self, at: Moment) -> Duration {
        let until = self.asked.unwrap_or(at.now);
        until.saturating_duration_since(at.now)
    }

    /// Makes it run at once, because something that depends on it fails; `due`: and is about to be blamed for that. If
    /// not, or if what asks flaps, a result of late is enough. Returns when there is an answer at the latest.
    ///
    /// One that failed last is left alone: those who ask are many at one moment, and their runs would be its
    /// [`fall`](Plan::fall) before it had any time to recover.
    ///
    /// Those that ask often do not make it run as often: the last of its share of runs are for those that are due.
    pub(super) fn ask(&mut self, due: bool, flaps: bool, at: Moment) -> Instant {
        let timeout = self.plan.timeout;
        let soon = after(at.now, timeout);
        let is_recent = |began| self.is_recent(began, at.now);
        if self.is_turning() || (!due || flaps) && self.proven.is_some_and(is_recent) {
            return soon;
        }
        let most = if due { ASKED - 1 } else { ASKED / 2 };
        let taken = self.asked_for(at);
        let may_run = taken <= self.share() * most;
        let charged = Some(after(at.now, taken + self.share()));
        match self.state {
            State::Idle { next, .. } if next > at.now && self.gate != Gate::Failing && may_run => {
                self.asked = charged;
                self.rest(at.now, RunReason::Confirm);
            }
            State::Running { since, deadline } if due && since.now < at.now && (may_run || self.wanted) => {
                if !self.wanted {
                    self.asked = charged;
                }
                self.wanted = true;
                return after(deadline, timeout);
            }
            State::Hung { .. } => self.wanted = true,
            State::Idle { .. } | State::Waiting { .. } | State::Running { .. } => {}
        }
        soon
    }

    /// Says whether many of its last results differ from the one before.
    pub(super) fn is_flapping(&self) -> bool {
        self.flap.is_flapping()
    }

    /// Says whether it may start once it is due: not while its last result is held, unless somebody asks for it.
    pub(super) fn is_held(&self) -> bool {
        let is_manual = |state| {
            matches!(
                state,
                State::Idle {
                    reason: RunReason::Manual,
                    ..
                }
            )
        };
        self.hold.is_some() && !is_manual(self.state)
    }

    /// Says whether nobody can tell yet how the check is: it never ran, or not since it was skipped.
    pub(super) fn is_unsettled(&self) -> bool {
        match self.entry.report.status {
            Status::Skipped => true,
            Status::Unknown => !self.entry.report.stale,
            Status::Up | Status::Degraded | Status::Down => false,
        }
    }

    /// Says whether there is a result, or none to come.
    pub(super) fn is_known(&self) -> bool {
        match self.entry.report.status {
            Status::Unknown => false,
            Status::Skipped => self.gate == Gate::Failing,
            Status::Up | Status::Degraded | Status::Down => true,
        }
    }

    /// Waits for the end of a run that another scheduler started; it fails if that takes longer than a run may.
    pub(super) fn inherit(&mut self, run: u64, at: Moment) {
        self.run = run;
        self.state = State::Hung {
            look: after(at.now, self.plan.timeout),
            due: at.now,
        };
        self.update(|report| report.hung = Some(at.wall));
    }

    /// Returns when something is due; `None` while it waits for others.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = match self.state {
            State::Idle { .. } if self.is_held() => None,
            State::Idle { next, .. } => Some(next),
            State::Waiting { .. } => None,
            State::Running { deadline, .. } => Some(deadline),
            State::Hung { look, .. } => Some(look),
        };
        let until = self.hold.and_then(|hold| hold.until);
        due.into_iter().chain(self.stale_at()).chain(until).min()
    }

    /// Takes the end of a run in flight; `None`: it was dropped without a result. `false`: there is none in flight.
    pub(super) fn end(
        &mut self,
        finding: Option<Finding>,
        jitter: &mut Jitter,
        at: Moment,
        effects: &mut Effects,
    ) -> bool {
        match self.state {
            State::Idle { .. } | State::Waiting { .. } => return false, // reported twice
            State::Running { since, .. } => {
                let finding = finding.unwrap_or_else(|| {
                    let latency = at.now.saturating_duration_since(since.now);
                    Finding::failed("the run was dropped before its end", RunResult::Failed, latency)
                });
                self.proven = Some(since.now);
                self.conclude(finding, None, at, effects);
                let next = after(since.now, self.delay(jitter)).max(at.now);
                if std::mem::take(&mut self.wanted) && !self.is_turning() {
                    self.rest(at.now, RunReason::Confirm);
                } else if self.is_pending() {
                    self.rest(next, RunReason::Confirm);
                } else {
                    self.rest(next, RunReason::Scheduled);
                }
            }
            State::Hung { due, .. } => {
                if std::mem::take(&mut self.wanted) {
                    self.rest(at.now, RunReason::Confirm);
                } else {
                    self.rest(due.max(at.now), RunReason::Scheduled);
                }
                self.update(|report| report.hung = None); // too late to count
            }
        }
        true
    }

    /// Waits for the next run, or for what must come before it.
    fn rest(&mut self, next: Instant, reason: RunReason) {
        self.state = match self.gate {
            Gate::Open | Gate::Failing => State::Idle { next, reason },
            Gate::Pending => State::Waiting { reason },
        };
    }

    /// Makes it run now, if it does not. `false`: there will be no end of a run to wait for.
    pub(super) fn request(&mut self, at: Moment) -> bool {
        match (self.state, self.gate) {
            (State::Hung { .. }, _) | (State::Idle { .. }, Gate::Failing) => false,
            (State::Running { .. } | State::Waiting { .. }, _) => true,
            (State::Idle { .. }, Gate::Open | Gate::Pending) => {
                self.rest(at.now, RunReason::Manual);
                true
            }
        }
    }

    /// Gives up a run whose time is over.
    pub(super) fn time_out(&mut self, since: Moment, jitter: &mut Jitter, at: Moment, effects: &mut Effects) {
        let message = format!("timed out after {:?}", self.plan.timeout);
        let finding = Finding::failed(&message, RunResult::TimedOut, self.plan.timeout);
        self.proven = Some(since.now);
        self.conclude(finding, Some(since.wall), at, effects);
        let delay = self.delay(jitter);
        self.state = State::Hung {
            look: after(at.now, delay),
            due: after(since.now, delay),
        };
    }

    /// Finds that the run that hangs still does.
    pub(super) fn look(&mut self, due: Instant, jitter: &mut Jitter, at: Moment, effects: &mut Effects) {
        self.count(Status::Down, at, effects);
        let look = after(at.now, self.delay(jitter));
        self.state = State::Hung { look, due };
    }

    /// Starts the run that is due, or notes that it is skipped. Returns the number of the run.
    pub(super) fn start(&mut self, jitter: &mut Jitter, at: Moment, effects: &mut Effects) -> Option<u64> {
        if self.gate == Gate::Failing {
            effects.events.push(Event::RunFinished {
                check: Arc::clone(&self.entry.report.name),
                result: RunResult::Skipped,
                latency: Duration::ZERO,
            });
            self.rest(
                after(at.now, jitter.spread(self.plan.interval)),
                RunReason::Scheduled,
            );
            return None;
        }
        if let State::Idle { reason, .. } = self.state {
            self.reason = reason;
        }
        self.run += 1;
        self.state = State::Running {
            since: at,
            deadline: after(at.now, self.plan.timeout),
        };
        Some(self.run)
    }

    /// Counts the finding of a run and reports it.
    fn conclude(&mut self, finding: Finding, hung: Option<SystemTime>, at: Moment, effects: &mut Effects) {
        effects.events.push(Event::RunFinished {
            check: Arc::clone(&self.entry.report.name),
            result: finding.result,
            latency: finding.latency,
        });
        let is_slow = finding.result != RunResult::TimedOut && finding.latency > self.plan.timeout / 2;
        let is_told = |told: Instant| at.now < told + SLOW_AGAIN;
        if is_slow && !self.slow_told.is_some_and(is_told) {
            self.slow_told = Some(at.now);
            effects.events.push(Event::Slow {
                check: Arc::clone(&self.entry.report.name),
                latency: finding.latency,
                timeout: self.plan.timeout,
            });
        }
        self.update(|report| {
            report.message = finding.message;
            report.observed = finding.observed;
            report.details = finding.details;
            report.latency = Some(finding.latency);
            report.hung = hung;
            let run = Run::new(at.wall, finding.status, finding.result, finding.latency);
            report.runs = remember(&report.runs, run);
        });
        self.count(finding.status, at, effects);
    }

    /// Counts a result, unless an ancestor fails: then it says nothing about the check itself. One that would make it
    /// worse is held until its ancestors have said that it is not theirs.
    fn count(&mut self, found: Status, at: Moment, effects: &mut Effects) {
        if self.gate == Gate::Failing {
            return;
        }
        let is_stale = self.stale_at().is_some_and(|stale| at.now >= stale);
        if is_stale {
            self.hysteresis.forget(); // nobody woke up in time to say so
        }
        let shown = match self.entry.report.status {
            Status::Unknown | Status::Skipped => Status::Up,
            known => known,
        };
        self.complains = self.is_dependent && found.rank() > shown.rank();
        if self.complains && self.hysteresis.clone().count(found).rank() > shown.rank() {
            let hold = self.hold.unwrap_or(Hold::new(found, at.now));
            let found = hold.found.worst(found); // a run by hand may find less meanwhile
            self.hold = Some(Hold { found, ..hold });
            self.fresh = Some(at.now);
            self.update(|report| report.checked = report.checked.map(|_| at.wall));
            if is_stale && self.entry.report.status != Status::Skipped {
                self.held = None;
                self.update(|report| report.stale = true);
                self.settle(Status::Unknown, at, effects); // it is not hidden that the one before was too old
            }
        } else {
            self.release(at, effects); // it was found, and is over by what a run by hand says
            self.tally(found, at, effects);
        }
    }

    /// Counts the result that was held.
    pub(super) fn release(&mut self, at: Moment, effects: &mut Effects) {
        if let Some(hold) = self.hold.take() {
            self.tally(hold.found, at, effects);
        }
    }

    fn tally(&mut self, found: Status, at: Moment, effects: &mut Effects) {
        #[cfg(test)]
        {
            self.tallies += 1;
        }
        self.fresh = Some(at.now);
        let before = self.hysteresis.status();
        let now = self.hysteresis.count(found);
        let turned = self.flap.count(found);
        let (score, flapping) = (self.flap.score(), self.flap.is_flapping());
        let lasting = self.hysteresis.is_down_for(self.plan.fall.max(OUTAGE));
        self.update(|report| {
            report.lasting = lasting;
            report.checked = Some(at.wall);
            report.stale = false;
            report.unsteady &= !report.causes.is_empty(); // those say whether it still is
            report.flap_score = score;
            report.flapping = flapping;
        });
        self.held = (self.plan.hold_down && flapping).then(|| {
            let known = if before == Status::Unknown { now } else { before };
            self.held.unwrap_or(known).worst(now)
        });
        self.settle(self.held.unwrap_or(now), at, effects);
        if turned {
            effects.events.push(Event::Flapping {
                check: Arc::clone(&self.entry.report.name),
                flapping,
                score,
                status: self.entry.report.status,
            });
        }
    }

    /// Lets its last result be believed for so much longer.
    pub(super) fn excuse(&mut self, lost: Duration) {
        self.fresh = self.fresh.map(|fresh| after(fresh, lost));
    }

    /// Forgets what is too old. A check that is skipped stays so, and its next result counts at once.
    pub(super) fn go_stale(&mut self, at: Moment, effects: &mut Effects) {
        self.fresh = None;
        self.held = None;
        self.hysteresis.forget();
        if self.entry.report.status == Status::Skipped {
            return;
        }
        let message = format!("no result for {:?}", self.plan.stale_after);
        self.update(|report| {
            report.stale = true;
            report.message = Some(message.into());
        });
        self.settle(Status::Unknown, at, effects);
    }

    /// Blames these checks; `unsteady`: all of them flap.
    pub(super) fn blame(&mut self, causes: Arc<[Arc<str>]>, unsteady: bool) {
        self.update(|report| {
            report.causes = causes;
            report.unsteady = unsteady;
        });
    }

    /// Opens or closes the gate. A check whose ancestors have recovered is due, unless it hangs.
    pub(super) fn pass(&mut self, gate: Gate, jitter: &mut Jitter, at: Moment, effects: &mut Effects) {
        self.gate = gate;
        match (gate, self.state) {
            (Gate::Failing, state) => {
                self.hold = None; // it says nothing about the check itself
                self.update(|report| report.stale = false);
                self.settle(Status::Skipped, at, effects);
                if self.stale_at().is_some_and(|stale| at.now >= stale) {
                    self.go_stale(at, effects); // what was held kept it from that
                }
                if matches!(state, State::Waiting { .. }) {
                    self.rest(
                        after(at.now, jitter.spread(self.plan.interval)),
                        RunReason::Scheduled,
                    );
                }
            }
            (Gate::Pending | Gate::Open, State::Idle { reason, .. } | State::Waiting { reason }) => {
                let reason = if self.entry.report.status == Status::Skipped {
                    RunReason::ParentRecovered
                } else {
                    reason
                };
                self.rest(at.now, reason);
            }
            (Gate::Open, State::Hung { due, .. }) => self.wake_hung(due, at, effects),
            (Gate::Open | Gate::Pending, _) => {}
        }
    }

    /// Goes back to what was known of a check before it was skipped, and looks soon whether its run still hangs. The
    /// run may have been counted before: it is not counted for a second time now.
    fn wake_hung(&mut self, due: Instant, at: Moment, effects: &mut Effects) {
        match self.hysteresis.status() {
            Status::Unknown => self.count(Status::Down, at, effects),
            known => {
                let soon = self.plan.interval.min(CONFIRM);
                let look = after(at.now, soon);
                self.state = State::Hung { look, due };
                self.settle(self.held.unwrap_or(known), at, effects);
            }
        }
    }

    /// Moves the report to a status and tells of the change.
    fn settle(&mut self, to: Status, at: Moment, effects: &mut Effects) {
        let from = self.entry.report.status;
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
            at: at.wall,
            after: at.now.saturating_duration_since(self.changed),
            latency: self.entry.report.latency,
            // What a run said before says nothing about why there is none now.
            message: self
                .entry
                .report
                .message
                .clone()
                .filter(|_| to != Status::Skipped),
            causes: Arc::clone(&self.entry.report.causes),
            flapping: self.flap.is_flapping(),
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
        if self.is_pending() {
            delay.min(CONFIRM)
        } else {
            delay
        }
    }

    /// Says whether the next result may change the status.
    fn is_pending(&self) -> bool {
        self.gate != Gate::Failing && self.hysteresis.is_pending()
    }

    /// Returns when the last result is too old; one that is held is not, as it will count soon.
    pub(super) fn stale_at(&self) -> Option<Instant> {
        let fresh = self.fresh.filter(|_| self.hold.is_none());
        fresh.map(|fresh| after(fresh, self.plan.stale_after))
    }
}
