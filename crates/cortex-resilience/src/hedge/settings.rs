use crate::build_error::BuildError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// All that a running policy may be told anew.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) max_attempts: u32,
    pub(super) delay: Delay,
    pub(super) max_retry_after: Duration,
}

#[derive(Clone)]
pub(super) enum Delay {
    Fixed(Duration),
    Computed(Arc<dyn Fn(u32) -> Duration + Send + Sync>),
}

/// Attempts that run at once are looked at one after the other.
const MOST: u32 = 16;

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if (2..=MOST).contains(&self.max_attempts) {
            return Ok(());
        }
        Err(BuildError::new(
            "max_attempts",
            self.max_attempts.to_string(),
            "2 to 16",
        ))
    }

    /// Returns how long after the one before the attempt with this number is made.
    pub(super) fn delay(&self, attempt: u32) -> Duration {
        match &self.delay {
            Delay::Fixed(delay) => *delay,
            Delay::Computed(delay) => delay(attempt),
        }
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(delay) => delay.fmt(f),
            Self::Computed(_) => f.write_str("Computed"),
        }
    }
}
