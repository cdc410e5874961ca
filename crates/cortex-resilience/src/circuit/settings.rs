use super::half_open::{HalfOpen, Verdict};
use super::tally::Tally;
use super::time::{NEVER, nanos};
use super::window::{Kind, Window};
use crate::build_error::BuildError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What happens to the vote of a call that is dropped before it ended, in a closed breaker.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Dropped};
/// use std::time::Duration;
///
/// Breaker::builder("search").slow_call(Duration::from_secs(1), 0.5).on_drop(Dropped::FailIfSlow).build()?;
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It is ignored: callers go away for reasons of their own.
    #[default]
    Ignore,
    /// It is a failure if the call already was slow: who gives up then, gives up on the dependency.
    FailIfSlow,
}

/// What a break is computed from.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{BreakCx, Breaker};
/// use std::time::Duration;
///
/// // 1, 2, 4 .. 64 s with every recovery that fails, or what the dependency asked for
/// let wait = |cx: &BreakCx| {
///     let own = Duration::from_secs(1 << cx.half_open_attempts.min(6));
///     cx.retry_after.unwrap_or(own)
/// };
/// Breaker::builder("payments").break_with(wait).build()?;
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BreakCx {
    /// The share of the votes that failed in the state that ends, 0 to 1.
    pub failure_rate: f64,
    /// How many votes failed in the state that ends.
    pub failures: u64,
    /// How often the breaker was half-open since it was closed last: 0 for the first break.
    pub half_open_attempts: u32,
    /// What the call whose end opened the breaker said of further attempts.
    pub retry_after: Option<Duration>,
}

impl BreakCx {
    pub(super) fn new(tally: Tally, half_open_attempts: u32, retry_after: Option<Duration>) -> Self {
        Self {
            failure_rate: tally.failure_ratio(),
            failures: tally.failed,
            half_open_attempts,
            retry_after,
        }
    }
}

pub(super) type ComputeBreak = Arc<dyn Fn(&BreakCx) -> Duration + Send + Sync>;

/// What a reload replaces.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) window: Window,
    pub(super) failure_rate: f64,
    pub(super) slow_call: Option<(Duration, f64)>,
    pub(super) min_calls: u32,
    pub(super) half_open: Option<HalfOpen>,
    pub(super) break_for: Duration,
    pub(super) break_with: Option<ComputeBreak>,
    pub(super) on_drop: Dropped,
    pub(super) ramp_up: Option<(Duration, f64)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Window::time(Duration::from_mins(1)),
            failure_rate: 0.5,
            slow_call: None,
            min_calls: 5,
            half_open: None,
            break_for: Duration::from_mins(1),
            break_with: None,
            on_drop: Dropped::Ignore,
            ramp_up: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("window", &self.window)
            .field("failure_rate", &self.failure_rate)
            .field("slow_call", &self.slow_call)
            .field("min_calls", &self.min_calls)
            .field("half_open", &self.half_open)
            .field("break_for", &self.break_for)
            .field("break_with", &self.break_with.is_some())
            .field("on_drop", &self.on_drop)
            .field("ramp_up", &self.ramp_up)
            .finish()
    }
}

/// How the votes of a window stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Too few to say anything.
    TooFew,
    /// Neither limit is reached.
    Good,
    /// A limit is reached: that of failures, that of slow calls.
    Exceeded { failures: bool, slow: bool },
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let share = |field, value: f64, allowed| {
            let good = value > 0.0 && value <= 1.0; // false for NaN
            if good {
                Ok(())
            } else {
                Err(BuildError::new(field, value.to_string(), allowed))
            }
        };
        let wrong = |field, value: String, allowed| Err(BuildError::new(field, value, allowed));
        self.window.check()?;
        share("failure_rate", self.failure_rate, "above 0 and at most 1")?;
        if let Some((threshold, rate)) = self.slow_call {
            share("slow_call", rate, "a rate above 0 and at most 1")?;
            if threshold.is_zero() {
                return wrong("slow_call", "0ns".into(), "longer than zero");
            }
        }
        if self.min_calls == 0 {
            return wrong("min_calls", "0".into(), "at least 1");
        }
        if let Some(half_open) = self.half_open {
            half_open.check()?;
        }
        if self.break_for.is_zero() {
            return wrong("break_for", "0ns".into(), "longer than zero");
        }
        if let Some((time, floor)) = self.ramp_up {
            share("ramp_up", floor, "from a share above 0 and at most 1")?;
            if time.is_zero() {
                return wrong("ramp_up", "0ns".into(), "longer than zero");
            }
        }
        if self.on_drop == Dropped::FailIfSlow && self.slow_call.is_none() {
            return wrong("on_drop", "FailIfSlow".into(), "of use with `slow_call` only");
        }
        if matches!(self.window.0, Kind::KOfN { .. }) {
            if self.slow_call.is_some() {
                return wrong(
                    "slow_call",
                    "set".into(),
                    "no part of a window of k of n, which judges failures",
                );
            }
            if let Some(HalfOpen {
                verdict: Verdict::Rates { permits },
                ..
            }) = self.half_open
            {
                let allowed = "`success(s, m)` or unset for a window of k of n, which has no rates";
                return wrong("half_open", format!("permits({permits})"), allowed);
            }
        }
        Ok(())
    }

    /// Returns how it probes; unless that is set, five calls, or for `k` of `n` as many as have the same say.
    pub(super) fn half_open(&self) -> HalfOpen {
        self.half_open.unwrap_or(match self.window.0 {
            Kind::KOfN { k, n } => HalfOpen::success(n - k + 1, n),
            Kind::Count(_) | Kind::Time { .. } => HalfOpen::permits(5),
        })
    }

    /// Returns the length above which a call is slow, in nanoseconds.
    pub(super) fn slow_nanos(&self) -> u64 {
        self.slow_call.map_or(NEVER, |(threshold, _)| nanos(threshold))
    }

    /// Returns how many votes the rates need in a closed breaker.
    pub(super) fn min_votes(&self) -> u64 {
        match self.window.0 {
            Kind::Count(size) => u64::from(self.min_calls.min(size)),
            Kind::KOfN { .. } => 1,
            Kind::Time { .. } => u64::from(self.min_calls),
        }
    }

    /// Judges the votes of a closed breaker.
    pub(super) fn judge(&self, tally: Tally) -> Finding {
        if let Kind::KOfN { k, .. } = self.window.0 {
            return Finding::new(tally.failed >= u64::from(k), false);
        }
        self.judge_rates(tally, self.min_votes())
    }

    /// Judges by the rates, from so many votes on.
    pub(super) fn judge_rates(&self, tally: Tally, min: u64) -> Finding {
        if tally.total < min {
            return Finding::TooFew;
        }
        if tally.is_clean() {
            return Finding::Good; // without a division
        }
        let slow = self.slow_call.is_some_and(|(_, rate)| tally.slow_ratio() >= rate);
        Finding::new(tally.failure_ratio() >= self.failure_rate, slow)
    }
}

impl Finding {
    const fn new(failures: bool, slow: bool) -> Self {
        if failures || slow {
            Self::Exceeded { failures, slow }
        } else {
            Self::Good
        }
    }
}
