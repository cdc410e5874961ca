use super::admit::Ticket;
use super::core::{Core, Probes, Ramp, Streak};
use super::inner::Inner;
use super::settings::BreakCx;
use super::state::State;
use super::state_word::{Phase, Word};
use super::tally::Tally;
use super::time::{NEVER, nanos, until};
use crate::event::Event;
use crate::observer::Observer;
use crate::sync::{MutexGuard, Ordering, lock};
use cortex_core::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// How long a break is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// As the settings say.
    Break { retry_after: Option<Duration> },
    /// To a moment.
    Until(u64),
}

/// What is told once the lock is given back.
#[derive(Debug, Default)]
pub(super) struct News([Option<Event>; 2]);

impl News {
    pub(super) const fn of(event: Event) -> Self {
        Self([Some(event), None])
    }

    pub(super) fn push(&mut self, event: Event) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(event);
        }
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Starts a generation. The caller holds the lock and tells of it afterwards.
    pub(super) fn enter(&self, core: &mut Core, phase: Phase, at: u64) -> u64 {
        let before = self.word.load();
        let generation = before.generation() + 1;
        let mut permits = 0;
        if phase.keeps_counters() {
            if !before.phase().keeps_counters() {
                core.frozen = self.tally(core, at);
                core.streak = self.streak(core);
            }
        } else {
            core.ring.clear();
            core.frozen = (Tally::default(), 1);
            core.streak = Streak::default();
            core.told = [false; 2];
            self.cycle.store(generation, Ordering::Relaxed);
        }
        self.watch.store(NEVER, Ordering::Relaxed);
        let (mut until, mut hint) = (NEVER, NEVER);
        match phase {
            Phase::Closed | Phase::Ramp => core.half_open_attempts = 0,
            Phase::HalfOpen => {
                core.half_open_attempts = core.half_open_attempts.saturating_add(1);
                let how = core.settings.half_open();
                core.half_open = Probes::new(how);
                permits = how.verdict.permits();
                until = how.due(at);
                let one_break = match core.last_break {
                    0 => nanos(core.settings.break_for), // there was none, or none to speak of
                    last => last,
                };
                hint = if until == NEVER {
                    at.saturating_add(one_break)
                } else {
                    until
                };
            }
            Phase::Opening => hint = at.saturating_add(nanos(core.settings.break_for)),
            Phase::MetricsOnly | Phase::Disabled | Phase::Open | Phase::Forced => {}
        }
        if let (Phase::Ramp, Some((length, floor))) = (phase, core.settings.ramp_up) {
            core.ramp = Ramp::new(nanos(length), floor);
        }
        core.since = at;
        self.set_times(generation, at, until, hint);
        self.word.set(Word::new(generation, phase, permits));
        generation
    }

    /// Returns the votes that are shown now, and how many the rates need.
    pub(super) fn tally(&self, core: &Core, now: u64) -> (Tally, u64) {
        let word = self.word.load();
        match word.phase() {
            Phase::Closed | Phase::Ramp | Phase::MetricsOnly => {
                let tally = match self.cut() {
                    Some(cut) => self.shards.tally(cut, word.generation(), now),
                    None => core.ring.tally(),
                };
                (tally, core.settings.min_votes())
            }
            Phase::HalfOpen => (core.half_open.tally, core.half_open.min_votes(&core.settings)),
            Phase::Open | Phase::Opening | Phase::Forced | Phase::Disabled => core.frozen,
        }
    }

    /// Returns the votes of one kind in a row.
    pub(super) fn streak(&self, core: &Core) -> Streak {
        let word = self.word.load();
        match word.phase() {
            Phase::Closed | Phase::Ramp | Phase::MetricsOnly if self.cut().is_some() => {
                core.streak.after(self.shards.ok(word.generation()))
            }
            _ => core.streak,
        }
    }

    /// Opens, and computes the break without the lock: until that is done, calls are rejected and nothing waits.
    #[cold]
    pub(super) fn open(&self, core: MutexGuard<'_, Core>, at: u64, wait: Wait) {
        let from = self.word.load().phase().state();
        self.open_from(from, core, at, wait);
    }

    /// Opens, and tells so if the state before was another one.
    pub(super) fn open_from(&self, from: State, mut core: MutexGuard<'_, Core>, at: u64, wait: Wait) {
        let fixed = at.saturating_add(nanos(core.settings.break_for));
        let generation = self.enter(&mut core, Phase::Opening, at);
        let mut opening = Opening {
            inner: self,
            generation,
            at,
            from,
            until: fixed,
        };
        match (wait, core.settings.break_with.clone()) {
            (Wait::Until(until), _) => opening.until = until,
            (Wait::Break { .. }, None) => {}
            (Wait::Break { retry_after }, Some(compute)) => {
                let cx = BreakCx::new(core.frozen.0, core.half_open_attempts, retry_after);
                drop(core);
                match catch_unwind(AssertUnwindSafe(|| compute(&cx))) {
                    Ok(wait) => opening.until = at.saturating_add(nanos(wait)),
                    Err(panic) => {
                        drop(opening); // with the fixed break
                        // A call that panicked may be what opens it. One more panic on the way out would end the process.
                        if !std::thread::panicking() {
                            resume_unwind(panic);
                        }
                    }
                }
                return;
            }
        }
        opening.finish(core);
    }

    /// Starts to probe if the break is over, and takes the first permit.
    #[cold]
    pub(super) fn begin_probing(&self, seen: Word, now: u64) -> Option<Ticket> {
        let word = self.end_break(seen, now)?;
        // Others may have seen the word before, and taken all: then this call is one more.
        let held = self
            .word
            .take(word.generation())
            .then(|| self.word.held(word.generation()));
        let from = State::Open;
        self.publish(&News::of(Event::HalfOpened { from }));
        held.map(|held| {
            held.used();
            self.probe(word, now)
        })
    }

    /// Starts to probe if the break is over, before anybody calls.
    pub(super) fn begin_probing_idly(&self, seen: Word, now: u64) {
        if self.end_break(seen, now).is_some() {
            let from = State::Open;
            self.publish(&News::of(Event::HalfOpened { from }));
        }
    }

    /// Goes to half-open if what was seen is still there and is over, and returns the word of that.
    fn end_break(&self, seen: Word, now: u64) -> Option<Word> {
        let mut core = lock(&self.core);
        if self.word.load() != seen || self.until(seen).is_none_or(|until| now < until) {
            return None;
        }
        self.enter(&mut core, Phase::HalfOpen, now);
        Some(self.word.load())
    }

    /// Ends probing that is overdue, dated when it was due.
    #[cold]
    pub(super) fn end_probing(&self, generation: u64, now: u64) {
        let core = lock(&self.core);
        let word = self.word.load();
        let Some(due) = self.until(word).filter(|due| now >= *due) else {
            return;
        };
        if word.generation() != generation || word.phase() != Phase::HalfOpen {
            return;
        }
        if core.half_open.closes {
            self.recover(core, due);
        } else {
            self.open(core, due, Wait::Break { retry_after: None });
        }
    }

    /// Tells the observer, and the sink of transitions.
    pub(super) fn publish(&self, news: &News) {
        for event in news.0.iter().flatten() {
            self.tell(event);
            if let (Some(sink), true) = (&self.sink, is_transition(event)) {
                sink.on_transition(&self.name, &self.save());
            }
        }
    }
}

const fn is_transition(event: &Event) -> bool {
    matches!(
        event,
        Event::Opened { .. }
            | Event::HalfOpened { .. }
            | Event::Closed { .. }
            | Event::ForcedOpen { .. }
            | Event::Disabled { .. }
            | Event::MetricsOnly { .. }
    )
}

/// A breaker whose break is not known yet; when this is dropped, it is.
struct Opening<'a, O: Observer, K: Clock> {
    inner: &'a Inner<O, K>,
    generation: u64,
    at: u64,
    from: State,
    until: u64,
}

impl<O: Observer, K: Clock> Opening<'_, O, K> {
    fn finish(&self, mut core: MutexGuard<'_, Core>) {
        let inner = self.inner;
        if inner.word.load() != Word::new(self.generation, Phase::Opening, 0) {
            return; // somebody has moved on
        }
        core.last_break = self.until.saturating_sub(self.at);
        inner.set_times(self.generation, self.at, self.until, self.until);
        inner.word.set(Word::new(self.generation, Phase::Open, 0));
        drop(core);
        if self.from != State::Open {
            inner.publish(&News::of(Event::Opened {
                from: self.from,
                wait: until(self.until, self.at),
            }));
        }
    }
}

impl<O: Observer, K: Clock> Drop for Opening<'_, O, K> {
    fn drop(&mut self) {
        if self.inner.word.load() == Word::new(self.generation, Phase::Opening, 0) {
            self.finish(lock(&self.inner.core));
        }
    }
}
