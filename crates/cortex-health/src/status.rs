use std::fmt;

/// How well something is.
///
/// # Examples
///
/// ```
/// use cortex_health::Status;
///
/// assert_eq!(Status::Degraded.as_str(), "degraded");
/// assert!(Status::Degraded.is_serving() && !Status::Unknown.is_serving());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It works.
    Up,
    /// It works, but worse than it should.
    Degraded,
    /// It does not work.
    Down,
    /// Nobody knows: it was never checked, or the last result is too old to be believed.
    Unknown,
    /// It is not run, because something that it [depends on](crate::Check::depends_on) fails.
    Skipped,
}

impl Status {
    /// Returns the status as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }

    /// Says whether work should still be sent there: [`Up`](Self::Up) and [`Degraded`](Self::Degraded).
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// Orders the levels that a run can find, best first.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Up => 0,
            Self::Degraded => 1,
            Self::Down => 2,
            Self::Skipped => 3,
            Self::Unknown => 4,
        }
    }

    pub(crate) fn worst(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the failure of a check means for the groups that it belongs to.
///
/// # Examples
///
/// ```
/// use cortex_health::{Criticality, Status};
///
/// assert_eq!(Criticality::Critical.contribution(Status::Unknown), Status::Down); // fails closed
/// assert_eq!(Criticality::Degrades.contribution(Status::Down), Status::Degraded);
/// assert_eq!(Criticality::Informational.contribution(Status::Down), Status::Up);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Criticality {
    /// The group is down with it.
    #[default]
    Critical,
    /// The group is degraded at most.
    Degrades,
    /// The group does not care; the check is listed.
    Informational,
}

impl Criticality {
    /// Returns what a check in this status adds to its groups; a group is as bad as its worst contribution.
    pub const fn contribution(self, status: Status) -> Status {
        match (self, status) {
            (Self::Informational, _) | (_, Status::Up) => Status::Up,
            (Self::Degrades, _) | (Self::Critical, Status::Degraded) => Status::Degraded,
            (Self::Critical, Status::Down | Status::Unknown | Status::Skipped) => Status::Down,
        }
    }

    /// Returns the criticality as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Degrades => "degrades",
            Self::Informational => "informational",
        }
    }
}

impl fmt::Display for Criticality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contribution_is_as_documented() {
        use Criticality::{Critical, Degrades, Informational};
        use Status::{Degraded, Down, Skipped, Unknown, Up};
        let table = [
            (Up, [Up, Up, Up]),
            (Degraded, [Degraded, Degraded, Up]),
            (Down, [Down, Degraded, Up]),
            (Unknown, [Down, Degraded, Up]),
            (Skipped, [Down, Degraded, Up]),
        ];
        for (status, expected) in table {
            let found = [Critical, Degrades, Informational].map(|c| c.contribution(status));
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn words_pad() {
        assert_eq!(
            format!("{:>8}|{:<13}|", Status::Up, Criticality::Degrades),
            "      up|degrades     |"
        );
        assert_eq!(Status::Down.as_str(), "down");
        assert_eq!(Criticality::Critical.to_string(), "critical");
        assert_eq!(Criticality::Informational.to_string(), "informational");
    }
}
