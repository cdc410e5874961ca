use super::count_window::CountWindow;
use super::error::IllegalTransition;
use super::inner::Inner;
use super::saved::{RestoreError, SavedState};
use super::settings::Settings;
use super::snapshot::Snapshot;
use super::state::State;
use super::state_word::{Phase, Word};
use super::time::{NEVER, nanos};
use super::transition::{News, Wait};
use crate::event::Event;
use crate::observer::Observer;
use crate::sync::{Ordering, lock};
use cortex_core::Clock;
use std::time::{Duration, Instant};

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Returns the word and the time, once probing that is overdue has ended.
    pub(super) fn settle(&self) -> (Word, u64) {
        let now = self.now();
        loop {
            let word = self.word.load();
            if word.phase() != Phase::HalfOpen {
                return (word, now);
            }
            match self.until(word) {
                Some(until) if now < until => return (word, now),
                Some(_) => self.end_probing(word.generation(), now),
                None => {}
            }
        }
    }

    pub(super) fn state(&self) -> State {
        loop {
            let (word, now) = self.settle();
            if let Some(state) = self.shown(word, now) {
                return state;
            }
        }
    }

    /// Returns the state as others see it: half-open as soon as the break is over; `None` if another word is there.
    fn shown(&self, word: Word, now: u64) -> Option<State> {
        match word.phase() {
            Phase::Open => self.until(word).map(|until| {
                if now >= until {
                    State::HalfOpen
                } else {
                    State::Open
                }
            }),
            phase => Some(phase.state()),
        }
    }

    /// Does what is due, and returns when it has to be looked at again.
    pub(super) fn advance(&self) -> Option<Instant> {
        loop {
            let (word, now) = self.settle();
            let next = match word.phase() {
                Phase::Open => match self.until(word) {
                    Some(until) if now >= until => {
                        self.begin_probing_idly(word, now);
                        None
                    }
                    next => next,
                },
                Phase::HalfOpen => self.until(word),
                Phase::Opening => self.hint(word),
                _ => return None,
            };
            if let Some(next) = next {
                return Self::instant(next);
            }
        }
    }

    pub(super) fn remaining(&self) -> Duration {
        loop {
            let (word, now) = self.settle();
            if !matches!(word.phase(), Phase::Open | Phase::Opening) {
                return Duration::ZERO;
            }
            if let Some(hint) = self.hint(word) {
                return self.left(word, hint, now);
            }
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.settle();
        let core = lock(&self.core);
        let (word, now) = (self.word.load(), self.now());
        let [rejected, ignored, late] = self.shards.counts(self.cycle.load(Ordering::Relaxed));
        let (tally, min) = self.tally(&core, now);
        let streak = self.streak(&core);
        let due = self.until(word).unwrap_or(NEVER);
        let mut snapshot = Snapshot {
            state: self.shown(word, now).unwrap_or(word.phase().state()), // the lock keeps the word
            generation: word.generation(),
            since: Self::instant(core.since).unwrap_or_else(|| self.clock.now()),
            until: Self::instant(due),
            failure_rate: None,
            slow_rate: None,
            failure_ratio: 0.0,
            slow_ratio: 0.0,
            total: 0,
            ok: 0,
            failed: 0,
            slow_ok: 0,
            slow_failed: 0,
            ignored,
            rejected,
            late,
            consecutive_ok: streak.ok,
            consecutive_failed: streak.failed,
            half_open_attempts: core.half_open_attempts,
        };
        snapshot.votes(tally, min);
        snapshot
    }

    /// Goes to a phase that has no way out by itself, or is closed.
    pub(super) fn set(&self, phase: Phase, event: impl FnOnce(State) -> Event) {
        let (_, now) = self.settle();
        let mut core = lock(&self.core);
        let from = self.word.load().phase().state();
        self.enter(&mut core, phase, now);
        drop(core);
        if from != phase.state() {
            self.publish(&News::of(event(from)));
        }
    }

    pub(super) fn reset(&self) {
        let (_, now) = self.settle();
        let mut core = lock(&self.core);
        let from = self.word.load().phase().state();
        self.enter(&mut core, Phase::Closed, now);
        drop(core);
        let mut news = News::of(Event::Reset);
        if from != State::Closed {
            news.push(Event::Closed { from });
        }
        self.publish(&news);
    }

    pub(super) fn open_by_hand(&self, wait: impl FnOnce(u64) -> Wait) -> Result<(), IllegalTransition> {
        let (_, now) = self.settle();
        let core = lock(&self.core);
        let from = self.word.load().phase().state();
        if from == State::MetricsOnly {
            let to = State::Open;
            return Err(IllegalTransition { from, to });
        }
        self.open(core, now, wait(now));
        Ok(())
    }

    pub(super) fn half_open_by_hand(&self) -> Result<(), IllegalTransition> {
        let (_, now) = self.settle();
        let mut core = lock(&self.core);
        let (from, to) = (self.word.load().phase().state(), State::HalfOpen);
        if matches!(from, State::Closed | State::MetricsOnly) {
            return Err(IllegalTransition { from, to });
        }
        self.enter(&mut core, Phase::HalfOpen, now);
        drop(core);
        if from != to {
            self.publish(&News::of(Event::HalfOpened { from }));
        }
        Ok(())
    }

    /// Begins in another state than closed; nobody is told, for nobody saw another.
    pub(super) fn begin(&self, state: State) {
        let mut core = lock(&self.core);
        let phase = match state {
            State::Closed => return,
            State::Open => {
                let at = core.since;
                return self.open_from(state, core, at, Wait::Break { retry_after: None });
            }
            State::HalfOpen => Phase::HalfOpen,
            State::Disabled => Phase::Disabled,
            State::MetricsOnly => Phase::MetricsOnly,
            State::ForcedOpen => Phase::Forced,
        };
        let at = core.since;
        self.enter(&mut core, phase, at);
    }

    /// Replaces the settings. A window of another shape starts empty, and with it a generation.
    pub(super) fn reload(&self, settings: Settings) {
        let (_, now) = self.settle();
        let mut core = lock(&self.core);
        let word = self.word.load();
        let same = settings.window == core.settings.window;
        self.slow.store(settings.slow_nanos(), Ordering::Relaxed);
        self.drop_fails.store(
            u64::from(settings.on_drop != super::Dropped::Ignore),
            Ordering::Relaxed,
        );
        core.settings = settings;
        self.watch.store(0, Ordering::Relaxed); // another limit may be reached already: the next vote tells
        if same {
            return;
        }
        // First the shape, then the generation: votes of the old one have nowhere to go, whichever shape they see.
        let (width, buckets) = core.settings.window.cut();
        core.ring = CountWindow::new(core.settings.window.ring());
        self.buckets.store(buckets, Ordering::Relaxed);
        self.width.store(width, Ordering::Relaxed);
        if matches!(word.phase(), Phase::Closed | Phase::Ramp | Phase::MetricsOnly) {
            let (since, ramp, attempts, told) = (core.since, core.ramp, core.half_open_attempts, core.told);
            self.enter(&mut core, word.phase(), now);
            (core.since, core.ramp, core.half_open_attempts, core.told) = (since, ramp, attempts, told);
        }
    }

    pub(super) fn save(&self) -> SavedState {
        self.settle();
        let core = lock(&self.core); // it keeps the word
        let (word, now, at) = (self.word.load(), self.now(), self.clock.wall());
        let left = match word.phase() {
            Phase::Open | Phase::Opening => self.hint(word).map(|hint| self.left(word, hint, now)),
            _ => None,
        };
        SavedState {
            at,
            state: self.shown(word, now).unwrap_or(word.phase().state()),
            until: left.and_then(|left| at.checked_add(left)),
            half_open_attempts: core.half_open_attempts,
        }
    }

    pub(super) fn restore(&self, saved: &SavedState, max_age: Duration) -> Result<(), RestoreError> {
        let wall = self.clock.wall();
        let age = wall.duration_since(saved.at).unwrap_or_default();
        if age > max_age {
            return Err(RestoreError::TooOld { age, max: max_age });
        }
        let left = match saved.state {
            State::Closed => None,
            // Probes of others are not ours: a break that is over, so that the next call starts some.
            State::HalfOpen => Some(Duration::ZERO),
            // Whose clock is ahead of ours has not saved it in our future: no more is left than was then.
            State::Open => saved.until.map_or(Some(Duration::MAX), |until| {
                Some(until.duration_since(wall.max(saved.at)).unwrap_or_default())
            }),
            // Somebody's decision, which says nothing of the dependency, and has no end here.
            State::ForcedOpen | State::Disabled | State::MetricsOnly => return Ok(()),
        };
        let (_, now) = self.settle();
        let mut core = lock(&self.core);
        let phase = self.word.load().phase();
        let (from, to) = (phase.state(), saved.state);
        if matches!(from, State::ForcedOpen | State::Disabled | State::MetricsOnly) {
            // Whoever decided that here ends it. What a peer saved may even be the echo of it.
            return Err(IllegalTransition { from, to }.into());
        }
        if let Some(left) = left {
            core.half_open_attempts = saved.half_open_attempts;
            self.open(core, now, Wait::Until(now.saturating_add(nanos(left))));
        } else if phase != Phase::Closed {
            self.enter(&mut core, Phase::Closed, now);
            drop(core);
            if from != State::Closed {
                self.publish(&News::of(Event::Closed { from }));
            }
        }
        Ok(())
    }
}
