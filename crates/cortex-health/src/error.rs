use crate::name;
use std::borrow::Cow;
use std::fmt;

/// Why [`Builder::build`](crate::Builder::build) refused a check.
///
/// # Examples
///
/// ```
/// use cortex_health::{BuildErrorKind, Check, Health};
///
/// let error = Health::builder()
///     .check(Check::from_fn("db", || async { true }))
///     .check(Check::from_fn("db", || async { true }))
///     .build()
///     .unwrap_err();
/// assert_eq!((error.kind(), error.check()), (BuildErrorKind::DuplicateName, "db"));
/// assert_eq!(error.to_string(), "accept the check \"db\": another check has this name");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    kind: BuildErrorKind,
    check: Cow<'static, str>,
}

impl BuildError {
    pub(crate) const fn new(kind: BuildErrorKind, check: Cow<'static, str>) -> Self {
        Self { kind, check }
    }

    /// Returns what is wrong.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }

    /// Returns the name of the check.
    pub fn check(&self) -> &str {
        &self.check
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            BuildErrorKind::DuplicateName => "another check has this name",
            BuildErrorKind::InvalidName => name::RULE,
            BuildErrorKind::ZeroInterval => "its interval is zero",
            BuildErrorKind::ZeroTimeout => "its timeout is zero",
            BuildErrorKind::ZeroThreshold => {
                "it would change after zero results; `fall` and `rise` start at 1"
            }
            BuildErrorKind::TimeoutExceedsStaleness => {
                "a result would be stale before the next run times out"
            }
            BuildErrorKind::IntervalExceedsStaleness => "a result would be stale before the next run starts",
        };
        write!(f, "accept the check {:?}: {why}", self.check)
    }
}

impl std::error::Error for BuildError {}

/// The kinds of [`BuildError`].
///
/// # Examples
///
/// ```
/// use cortex_health::{BuildErrorKind, Check, Health};
/// use std::time::Duration;
///
/// let check = Check::from_fn("db", || async { true }).every(Duration::ZERO);
/// let error = Health::builder().check(check).build().unwrap_err();
/// assert_eq!(error.kind(), BuildErrorKind::ZeroInterval);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// Two checks have this name.
    DuplicateName,
    /// The name does not fit into URLs and metric labels.
    InvalidName,
    /// The check would run all the time.
    ZeroInterval,
    /// No run could end in time.
    ZeroTimeout,
    /// `fall` or `rise` is zero.
    ZeroThreshold,
    /// The timeout is longer than `stale_after`.
    TimeoutExceedsStaleness,
    /// The interval is longer than `stale_after`: the status would be unknown between any two runs.
    IntervalExceedsStaleness,
}

/// Why [`Group::new`](crate::Group::new) refused a name.
///
/// # Examples
///
/// ```
/// use cortex_health::Group;
///
/// assert_eq!(Group::new("a/b").unwrap_err().name(), "a/b");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    name: Cow<'static, str>,
}

impl InvalidName {
    pub(crate) const fn new(name: Cow<'static, str>) -> Self {
        Self { name }
    }

    /// Returns the name that was refused.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accept the name {:?}: {}", self.name, name::RULE)
    }
}

impl std::error::Error for InvalidName {}
