use super::time::{NEVER, nanos};
use crate::build_error::BuildError;
use std::time::Duration;

/// How a half-open breaker probes.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{After, Breaker, HalfOpen};
/// use std::time::Duration;
///
/// let probing = HalfOpen::permits(4).max_time(Duration::from_secs(5), After::Open);
/// Breaker::builder("payments").half_open(probing).build()?;
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    pub(super) verdict: Verdict,
    pub(super) max_time: Option<(Duration, After)>,
}

/// What closes and what opens a half-open breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rates, once there are enough votes.
    Rates { permits: u32 },
    /// So many successes of so many permits.
    Successes { needed: u32, permits: u32 },
}

/// Where a half-open breaker goes that has no verdict in time.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::After;
///
/// assert_eq!(After::default(), After::Open);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum After {
    /// It opens again: nothing says that the dependency is well.
    #[default]
    Open,
    /// It closes: nothing says that the dependency is ill.
    Closed,
}

const MAX_TIME: Duration = Duration::from_mins(1);

impl HalfOpen {
    /// Lets `permits` calls through at a time, 1 to 65,535, and judges by the rates once the minimum of calls, or the permits
    /// if they are fewer, have ended.
    pub const fn permits(permits: u32) -> Self {
        Self {
            verdict: Verdict::Rates { permits },
            max_time: Some((MAX_TIME, After::Open)),
        }
    }

    /// Lets `permits` calls through, 1 to 65,535, and closes once `needed` of them succeeded, or opens once that cannot be any
    /// more. Slow calls count as what they ended in.
    pub const fn success(needed: u32, permits: u32) -> Self {
        Self {
            verdict: Verdict::Successes { needed, permits },
            max_time: Some((MAX_TIME, After::Open)),
        }
    }

    /// Sets how long it may go without a verdict, and what comes then; by default one minute, and it opens.
    #[must_use]
    pub const fn max_time(mut self, time: Duration, after: After) -> Self {
        self.max_time = Some((time, after));
        self
    }

    /// Waits for a verdict for ever, although a probe may never end.
    #[must_use]
    pub const fn without_max_time(mut self) -> Self {
        self.max_time = None;
        self
    }

    pub(super) fn check(self) -> Result<(), BuildError> {
        let wrong = |value: String, allowed| Err(BuildError::new("half_open", value, allowed));
        let fits = |permits: u32| (1..=u32::from(u16::MAX)).contains(&permits);
        match self.verdict {
            Verdict::Rates { permits } if !fits(permits) => {
                return wrong(format!("permits({permits})"), "1 to 65535 permits");
            }
            Verdict::Successes { needed, permits } if needed == 0 || needed > permits || !fits(permits) => {
                return wrong(
                    format!("success({needed}, {permits})"),
                    "1 to all successes of 1 to 65535 permits",
                );
            }
            Verdict::Rates { .. } | Verdict::Successes { .. } => {}
        }
        match self.max_time {
            Some((time, _)) if time.is_zero() => wrong("max_time(0ns)".into(), "longer than zero"),
            _ => Ok(()),
        }
    }

    /// Returns when a stay that begins now has to end.
    pub(super) fn due(self, now: u64) -> u64 {
        self.max_time
            .map_or(NEVER, |(time, _)| now.saturating_add(nanos(time)))
    }
}

impl Verdict {
    pub(super) fn permits(self) -> u16 {
        let (Self::Rates { permits } | Self::Successes { permits, .. }) = self;
        u16::try_from(permits).unwrap_or(u16::MAX)
    }
}
