use super::backoff::{Backoff, Jitter};
use crate::build_error::BuildError;
use std::time::Duration;

/// All that a running policy may be told anew.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) max_attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) throttling_backoff: Option<Backoff>,
    pub(super) within: Option<Duration>,
    pub(super) max_retry_after: Duration,
    pub(super) server_delay: ServerDelay,
    pub(super) waits_out_rejections: bool,
}

/// What is made of a delay that the dependency asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerDelay {
    /// Exactly that, and then the backoff begins anew.
    Exact,
    /// At least the computed delay, and at most so much more.
    Clamped(Duration),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::exponential(Duration::from_millis(100))
                .jitter(Jitter::Full)
                .cap(Duration::from_secs(10)),
            throttling_backoff: None,
            within: None,
            max_retry_after: Duration::from_mins(1),
            server_delay: ServerDelay::Exact,
            waits_out_rejections: false,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.max_attempts == 0 {
            return Err(BuildError::new("max_attempts", "0", "at least 1"));
        }
        if self.within == Some(Duration::ZERO) {
            return Err(BuildError::new("within", "0ns", "longer than zero"));
        }
        self.backoff.check("backoff")?;
        match &self.throttling_backoff {
            Some(backoff) => backoff.check("throttling_backoff"),
            None => Ok(()),
        }
    }

    pub(super) fn backoff(&self, throttling: bool) -> &Backoff {
        match &self.throttling_backoff {
            Some(backoff) if throttling => backoff,
            _ => &self.backoff,
        }
    }
}
