use super::admit::Ticket;
use super::core::Core;
use super::counters::Count;
use super::inner::Inner;
use super::settings::Finding;
use super::shard::Vote;
use super::snapshot::Axis;
use super::state::State;
use super::state_word::Phase;
use super::time::NEVER;
use super::transition::{News, Wait};
use crate::event::Event;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::sync::{MutexGuard, Ordering, lock};
use cortex_core::Clock;
use std::time::Duration;

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Takes note of how a call ended, and of what the dependency said of further attempts.
    #[inline]
    pub(super) fn record(&self, ticket: Ticket, outcome: Outcome, retry_after: Option<Duration>) {
        if self.word.load().generation() != ticket.generation() {
            return self.late();
        }
        match (ticket.phase(), outcome) {
            (Phase::Disabled, _) => {}
            (_, Outcome::Ignore) => self.ignore(ticket),
            (phase, _) if phase.takes_votes() => self.vote(ticket, outcome == Outcome::Failure, retry_after),
            _ => self.vote_probe(ticket, outcome == Outcome::Failure, retry_after),
        }
    }

    /// Takes note that a call was dropped before its end.
    pub(super) fn dropped(&self, ticket: Ticket) {
        let fails = ticket.phase() != Phase::HalfOpen
            && self.drop_fails.load(Ordering::Relaxed) != 0
            && ticket.is_slow(self.now());
        self.record(
            ticket,
            if fails { Outcome::Failure } else { Outcome::Ignore },
            None,
        );
    }

    #[cold]
    fn late(&self) {
        self.settle(); // or it would be counted where probing has ended already
        if self.word.load().phase() != Phase::Disabled {
            self.shards.count(self.cycle.load(Ordering::Relaxed), Count::Late);
            self.tell(&Event::Late);
        }
    }

    fn ignore(&self, ticket: Ticket) {
        if ticket.phase() == Phase::HalfOpen {
            let held = self.word.held(ticket.generation());
            self.settle();
            held.used();
            if !self.word.give(ticket.generation()) {
                return self.late();
            }
        }
        // A state that lets calls through begins with new counts: those of another one get no part of this.
        self.shards.count(ticket.generation(), Count::Ignored);
        self.tell(&Event::Ignored);
    }

    #[inline]
    fn vote(&self, ticket: Ticket, failed: bool, retry_after: Option<Duration>) {
        let width = self.width.load(Ordering::Relaxed);
        let (slow, now) = self.end(ticket, width != 0);
        if width == 0 {
            return self.vote_exactly(ticket, (failed, slow), now, retry_after);
        }
        let generation = ticket.generation();
        let vote = Vote { failed, slow };
        if !self.shards.vote_again(width, generation, now, vote) {
            self.vote_first(generation, now, vote);
        }
        if failed || slow || now >= self.watch.load(Ordering::Relaxed) {
            self.judge_buckets((generation, failed), now, retry_after);
        }
    }

    /// Takes the first vote of a bucket, or one of a thread without a shard.
    #[cold]
    fn vote_first(&self, generation: u64, now: u64, vote: Vote) {
        if let Some(cut) = self.cut() {
            self.shards.vote(cut, generation, now, vote);
        }
    }

    fn vote_exactly(
        &self,
        ticket: Ticket,
        (failed, slow): (bool, bool),
        now: u64,
        retry_after: Option<Duration>,
    ) {
        let mut core = lock(&self.core);
        if self.word.load().generation() != ticket.generation() {
            drop(core);
            return self.late();
        }
        core.ring.push(failed, slow);
        core.streak.vote(failed);
        let tally = core.ring.tally();
        if let Finding::Exceeded { failures, slow } = core.settings.judge(tally) {
            let now = if now == NEVER { self.now() } else { now };
            self.exceeded(core, (failures, slow), now, retry_after);
        }
    }

    /// Judges a window of time: after every vote that may raise a rate, and after others if time or the minimum may have.
    #[cold]
    fn judge_buckets(&self, (generation, failed): (u64, bool), now: u64, retry_after: Option<Duration>) {
        let mut core = lock(&self.core);
        let Some(cut) = self.cut().filter(|_| self.word.load().generation() == generation) else {
            return; // it was a vote of the state that has ended, and nobody reads it any more
        };
        if failed {
            core.streak.failed_after(self.shards.ok(generation));
        }
        let tally = self.shards.tally(cut, generation, now);
        let finding = core.settings.judge(tally);
        let watch = match finding {
            _ if tally.is_clean() => NEVER,
            Finding::TooFew => 0,
            Finding::Good | Finding::Exceeded { .. } => cut.start(now).saturating_add(cut.width),
        };
        self.watch.store(watch, Ordering::Relaxed);
        if let Finding::Exceeded { failures, slow } = finding {
            self.exceeded(core, (failures, slow), now, retry_after);
        }
    }

    /// Opens, or only tells.
    #[cold]
    fn exceeded(
        &self,
        mut core: MutexGuard<'_, Core>,
        (failures, slow): (bool, bool),
        now: u64,
        retry_after: Option<Duration>,
    ) {
        if self.word.load().phase() != Phase::MetricsOnly {
            return self.open(core, now, Wait::Break { retry_after });
        }
        let (tally, _) = self.tally(&core, now);
        let axes = [
            (Axis::Failures, failures, tally.failure_ratio()),
            (Axis::SlowCalls, slow, tally.slow_ratio()),
        ];
        let mut news = News::default();
        for (told, (axis, exceeded, rate)) in core.told.iter_mut().zip(axes) {
            if exceeded && !*told {
                *told = true;
                news.push(Event::RateExceeded { axis, rate });
            }
        }
        drop(core);
        self.publish(&news);
    }

    fn vote_probe(&self, ticket: Ticket, failed: bool, retry_after: Option<Duration>) {
        let held = self.word.held(ticket.generation());
        let (_, now) = self.settle();
        held.used();
        let mut core = lock(&self.core);
        if self.word.load().generation() != ticket.generation() {
            drop(core);
            return self.late();
        }
        core.half_open.tally.add(failed, ticket.is_slow(now));
        core.streak.vote(failed);
        match core.half_open.verdict(&core.settings) {
            None => {}
            Some(true) => self.recover(core, now),
            Some(false) => self.open(core, now, Wait::Break { retry_after }),
        }
    }

    /// Closes after probes.
    pub(super) fn recover(&self, mut core: MutexGuard<'_, Core>, at: u64) {
        let phase = if core.settings.ramp_up.is_some() {
            Phase::Ramp
        } else {
            Phase::Closed
        };
        self.enter(&mut core, phase, at);
        drop(core);
        let from = State::HalfOpen;
        self.publish(&News::of(Event::Closed { from }));
    }
}
