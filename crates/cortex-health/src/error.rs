use crate::name;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why [`Builder::build`](crate::Builder::build) refused a check or a group.
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
    related: Vec<String>,
    /// A limit, and the least that it may be.
    limit: Option<(Duration, Duration)>,
}

impl BuildError {
    pub(crate) const fn new(kind: BuildErrorKind, check: Cow<'static, str>) -> Self {
        Self {
            kind,
            check,
            related: Vec::new(),
            limit: None,
        }
    }

    /// Tells a limit to the age of results, and the least that it may be.
    pub(crate) const fn stale_after(mut self, limit: Duration, least: Duration) -> Self {
        self.limit = Some((limit, least));
        self
    }

    /// Names what else it is about.
    pub(crate) fn related_to(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.related = names.into_iter().map(Into::into).collect();
        self
    }

    /// Returns what is wrong.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }

    /// Returns the name of the check, or of the group, that was refused.
    pub fn check(&self) -> &str {
        &self.check
    }

    /// Returns the other names that it is about: the dependency or member that there is not or may not be, or the checks of
    /// a cycle, each before the one it depends on.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{BuildErrorKind, Check, Health};
    ///
    /// let check = |name| Check::from_fn(name, || async { true });
    /// let error = Health::builder()
    ///     .check(check("cart").depends_on(["stock"]))
    ///     .check(check("stock").depends_on(["cart"]))
    ///     .build()
    ///     .unwrap_err();
    /// assert_eq!(error.kind(), BuildErrorKind::DependencyCycle);
    /// assert_eq!(error.related(), ["cart", "stock"]);
    /// assert_eq!(error.to_string(), "accept the check \"cart\": checks depend on each other: cart -> stock -> cart");
    /// ```
    pub fn related(&self) -> &[String] {
        &self.related
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
            BuildErrorKind::StaleTooSoon => "a result would be stale before the next",
            BuildErrorKind::UnknownDependency => "it depends on a check that there is not",
            BuildErrorKind::DependsOnItself => "it depends on itself",
            BuildErrorKind::DependencyCycle => "checks depend on each other",
            BuildErrorKind::LiveDependency => {
                "in the group \"live\" it may not depend on another, unless it always runs"
            }
            BuildErrorKind::UnknownMember => "it has a member that there is not",
            BuildErrorKind::UnknownGroup => "no check and no list of members names it",
            BuildErrorKind::InvalidMapping => {
                "it is up, degraded or down, and answers with 200 to 299 or 400 to 599 and a body"
            }
        };
        let what = match self.kind {
            BuildErrorKind::UnknownMember | BuildErrorKind::UnknownGroup | BuildErrorKind::InvalidMapping => {
                "group"
            }
            _ => "check",
        };
        write!(f, "accept the {what} {:?}: {why}", self.check)?;
        if let Some((limit, least)) = self.limit {
            write!(
                f,
                ": `stale_after` is {limit:?}, and at least {least:?} with this interval, which may be 10 % longer, and this \
                 timeout"
            )?;
        }
        match (self.kind, &self.related[..]) {
            (BuildErrorKind::DependencyCycle, [first, ..]) => {
                write!(f, ": {} -> {first}", self.related.join(" -> "))
            }
            (_, [name]) => write!(f, ": {name:?}"),
            _ => Ok(()),
        }
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
    /// [`stale_after`](crate::Check::stale_after) is shorter than the interval, 10 % of it, and the timeout: the status
    /// could be unknown although all is well.
    StaleTooSoon,
    /// It depends on a name that no check has.
    UnknownDependency,
    /// It depends on itself.
    DependsOnItself,
    /// Checks depend on each other, so that none of them could run first.
    DependencyCycle,
    /// It is in [`Group::LIVE`](crate::Group::LIVE), and would fail with what it depends on: that restarts the process,
    /// which heals no dependency. One that [always runs](crate::Check::always_run) is judged by its own results.
    LiveDependency,
    /// The group lists a name that no check has.
    UnknownMember,
    /// Codes were set for a group that has no check.
    UnknownGroup,
    /// A group is never in this status, or no report can be sent with this code.
    InvalidMapping,
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

/// Why [`Health::run_now`](crate::Health::run_now) has no report.
///
/// # Examples
///
/// ```
/// use cortex_health::{Health, RunNowError};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let health = Health::builder().build()?;
/// assert_eq!(health.run_now("db").await.unwrap_err(), RunNowError::UnknownCheck);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunNowError {
    /// No check has this name.
    UnknownCheck,
    /// The health was not started, is in a dry run, or has stopped.
    NotRunning,
    /// The deadline of the caller's [`Context`](cortex_core::Context) came first. The run goes on.
    DeadlineExceeded,
    /// 4096 calls wait for runs already, those among them that were dropped and not noticed yet.
    TooManyWaiting,
}

impl fmt::Display for RunNowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCheck => "run the check: there is none of this name",
            Self::NotRunning => "run the check: the health does not run, start it first",
            Self::DeadlineExceeded => "run the check before the deadline of the context",
            Self::TooManyWaiting => {
                "run the check: 4096 calls wait for runs already, which is the most that may"
            }
        })
    }
}

impl std::error::Error for RunNowError {}
