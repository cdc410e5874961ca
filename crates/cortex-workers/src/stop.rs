use std::fmt;

/// Why a task that runs is to stop; [`TaskCx::stop`](crate::TaskCx::stop) says it.
///
/// # Examples
///
/// ```
/// use cortex_workers::Stop;
///
/// assert_eq!(Stop::Deadline.to_string(), "nobody waits for it any more");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// The call was dropped or cancelled.
    Cancelled,
    /// The deadline is past.
    Deadline,
    /// It has run for as long as it may.
    RunTimeout,
    /// The pool shuts down, and its time is over.
    Shutdown,
}

impl Stop {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Cancelled => 1,
            Self::Deadline => 2,
            Self::RunTimeout => 3,
            Self::Shutdown => 4,
        }
    }

    pub(crate) const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Cancelled),
            2 => Some(Self::Deadline),
            3 => Some(Self::RunTimeout),
            4 => Some(Self::Shutdown),
            _ => None,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the call was cancelled",
            Self::Deadline => "nobody waits for it any more",
            Self::RunTimeout => "it has run for as long as it may",
            Self::Shutdown => "the pool shuts down",
        })
    }
}

impl std::error::Error for Stop {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_for_each() {
        for stop in [Stop::Cancelled, Stop::Deadline, Stop::RunTimeout, Stop::Shutdown] {
            assert_eq!(Stop::of(stop.code()), Some(stop));
        }
        assert_eq!((Stop::of(0), Stop::of(5)), (None, None));
    }
}
