use super::count_window::CountWindow;
use super::half_open::{After, HalfOpen, Verdict};
use super::settings::{Finding, Settings};
use super::tally::Tally;

/// What the lock of a breaker protects: all that changes with a transition or a vote that is counted exactly.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    /// When the state began.
    pub(super) since: u64,
    /// The last votes of a closed breaker, unless its window is one of time.
    pub(super) ring: CountWindow,
    pub(super) half_open: Probes,
    /// What a state that rejects shows: the votes that led there, and the minimum for their rates.
    pub(super) frozen: (Tally, u64),
    pub(super) streak: Streak,
    pub(super) half_open_attempts: u32,
    /// Whether a stay in metrics-only has told of the failures, and of the slow calls.
    pub(super) told: [bool; 2],
    /// How long the last break was.
    pub(super) last_break: u64,
    pub(super) ramp: Ramp,
}

/// The votes of a half-open breaker, and how it was set when it began to probe.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) verdict: Verdict,
    /// Whether it closes if there is no verdict in time.
    pub(super) closes: bool,
    pub(super) tally: Tally,
}

impl Probes {
    pub(super) const fn new(how: HalfOpen) -> Self {
        Self {
            verdict: how.verdict,
            closes: matches!(how.max_time, Some((_, After::Closed))),
            tally: Tally {
                total: 0,
                failed: 0,
                slow_ok: 0,
                slow_failed: 0,
            },
        }
    }

    /// Returns how many votes the rates need.
    pub(super) fn min_votes(&self, settings: &Settings) -> u64 {
        match self.verdict {
            Verdict::Rates { permits } => u64::from(settings.min_calls.min(permits)),
            Verdict::Successes { .. } => 1,
        }
    }

    /// Says whether the dependency is well, once that is certain.
    pub(super) fn verdict(&self, settings: &Settings) -> Option<bool> {
        let (ok, failed) = (self.tally.total - self.tally.failed, self.tally.failed);
        match self.verdict {
            Verdict::Successes { needed, permits } => {
                let may_fail = u64::from(permits - needed);
                (ok >= u64::from(needed) || failed > may_fail).then_some(failed <= may_fail)
            }
            Verdict::Rates { .. } => match settings.judge_rates(self.tally, self.min_votes(settings)) {
                Finding::TooFew => None,
                Finding::Good => Some(true),
                Finding::Exceeded { .. } => Some(false),
            },
        }
    }
}

/// Votes of one kind in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Streak {
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// In a window of time, votes for the dependency are counted elsewhere: so many were there at the last one against it.
    pub(super) mark: u64,
}

impl Streak {
    pub(super) const fn vote(&mut self, failed: bool) {
        if failed {
            (self.ok, self.failed) = (0, self.failed + 1);
        } else {
            (self.ok, self.failed) = (self.ok + 1, 0);
        }
    }

    /// Takes note of a vote against the dependency, after so many for it.
    pub(super) const fn failed_after(&mut self, ok: u64) {
        self.failed = if ok == self.mark { self.failed + 1 } else { 1 };
        self.mark = ok;
    }

    /// Returns the streak after so many votes for the dependency.
    pub(super) const fn after(self, ok: u64) -> Self {
        let since = ok.saturating_sub(self.mark);
        Self {
            ok: since,
            failed: if since == 0 { self.failed } else { 0 },
            mark: self.mark,
        }
    }
}

/// How a breaker that has closed of late lets more and more through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ramp {
    pub(super) length: u64,
    pub(super) floor: f64,
    /// What calls before this one left of their shares.
    credit: f64,
}

impl Ramp {
    pub(super) const fn new(length: u64, floor: f64) -> Self {
        Self {
            length,
            floor,
            credit: 1.0, // the first call is let through
        }
    }

    /// Says whether a call that comes so long after the start is let through.
    ///
    /// Shares are dealt out evenly and not by chance: of any calls in a row, as many get through as their shares sum up to.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no nanosecond")]
    pub(super) fn admits(&mut self, elapsed: u64) -> bool {
        let share = self.floor + (1.0 - self.floor) * (elapsed as f64 / self.length as f64).min(1.0);
        self.credit = (self.credit + share).min(2.0);
        let admitted = self.credit >= 1.0;
        if admitted {
            self.credit -= 1.0;
        }
        admitted
    }
}
