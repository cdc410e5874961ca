use crate::check::Check;
use crate::error::{BuildError, BuildErrorKind};
use crate::graph::Graph;
use crate::group::Group;
use crate::health::Health;
use crate::name;
use crate::observer::Observer;
use crate::render::Service;
use crate::report::Layout;
use crate::shared::Shared;
use crate::status::Status;
use cortex_core::{Clock, SystemClock};
use http::StatusCode;
use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Collects the checks of a [`Health`].
///
/// # Examples
///
/// ```
/// use cortex_health::{BuildErrorKind, Check, Health};
/// use std::time::Duration;
///
/// let check = Check::from_fn("db", || async {}).timeout(Duration::from_secs(60)).stale_after(Duration::from_secs(30));
/// let error = Health::builder().check(check).build().unwrap_err();
/// assert_eq!(error.kind(), BuildErrorKind::StaleTooSoon);
/// assert!(error.to_string().contains("`stale_after` is 30s, and at least 71s"), "{error}"); // 10 s, a tenth, and 60 s
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    checks: Vec<Check>,
    groups: Vec<(Group, Vec<Cow<'static, str>>)>,
    codes: Vec<(Group, Status, StatusCode)>,
    service: Option<Service>,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
    seed: Option<u64>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            checks: Vec::new(),
            groups: Vec::new(),
            codes: Vec::new(),
            service: None,
            clock: Arc::new(SystemClock),
            observer: None,
            seed: None,
        }
    }

    /// Adds a check.
    pub fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds checks by their names to a group, besides those that name it by [`Check::groups`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{BuildErrorKind, Check, Group, Health, Status};
    ///
    /// let payments = Group::new("payments")?;
    /// let builder = || Health::builder().check(Check::from_fn("db", || async { true }));
    /// let health = builder().group(payments.clone(), ["db"]).build()?;
    /// assert_eq!(health.snapshot().group(&payments), Status::Down); // not started
    ///
    /// let error = builder().group(payments, ["bank"]).build().unwrap_err();
    /// assert_eq!(error.kind(), BuildErrorKind::UnknownMember);
    /// assert_eq!(error.to_string(), r#"accept the group "payments": it has a member that there is not: "bank""#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(
        mut self,
        group: Group,
        checks: impl IntoIterator<Item = impl Into<Cow<'static, str>>>,
    ) -> Self {
        self.groups
            .push((group, checks.into_iter().map(Into::into).collect()));
        self
    }

    /// Sets what a group answers when it is up (default: 200), degraded (200) or down (503).
    ///
    /// It takes a code from 200 to 299 or from 400 to 599 that may have a body. A refusal, as while starting or
    /// draining, is 503 in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{BuildErrorKind, Group, Health, Status};
    /// use http::StatusCode;
    ///
    /// let degraded = |code| Health::builder().map_status(Group::READY, Status::Degraded, code).build();
    /// assert!(degraded(StatusCode::SERVICE_UNAVAILABLE).is_ok()); // take no traffic unless all is well
    /// assert_eq!(degraded(StatusCode::NOT_MODIFIED).unwrap_err().kind(), BuildErrorKind::InvalidMapping);
    /// ```
    pub fn map_status(mut self, group: Group, status: Status, code: StatusCode) -> Self {
        self.codes.push((group, status, code));
        self
    }

    /// Names the service in reports.
    pub fn service(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.service = Some(Service {
            name: name.into(),
            version: version.into(),
        });
        self
    }

    /// Reads the time from this clock instead of [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Tells this observer instead of nobody.
    ///
    /// An observer that holds the [`Health`] itself keeps both alive for ever.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Draws the jitter of the intervals from this seed instead of a random one.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the health; nothing runs before [`Health::start`].
    ///
    /// # Errors
    ///
    /// A check cannot work as it is set; the error names it.
    pub fn build(self) -> Result<Health, BuildError> {
        let mut layout = Layout::new();
        for check in &self.checks {
            let refuse = |kind| Err(BuildError::new(kind, check.name.clone()));
            if let Some(kind) = fault(check) {
                return refuse(kind);
            }
            if let Some(limit) = check.stale_after
                && limit < longest_wait(check)
            {
                let error = BuildError::new(BuildErrorKind::StaleTooSoon, check.name.clone());
                return Err(error.stale_after(limit, longest_wait(check)));
            }
            if !layout.add((*check.name).into(), &check.groups) {
                return refuse(BuildErrorKind::DuplicateName);
            }
        }
        for (group, names) in &self.groups {
            layout.enter(group);
            for name in names {
                let Some(&index) = layout.checks.get(&**name) else {
                    let error =
                        BuildError::new(BuildErrorKind::UnknownMember, group.name().to_owned().into());
                    return Err(error.related_to([&**name]));
                };
                layout.join(group, index);
            }
        }
        for (group, status, code) in &self.codes {
            let refuse = |kind| Err(BuildError::new(kind, group.name().to_owned().into()));
            let Some(index) = layout.group(group.name()) else {
                return refuse(BuildErrorKind::UnknownGroup);
            };
            if !layout.codes[index].set(*status, *code) {
                return refuse(BuildErrorKind::InvalidMapping);
            }
        }
        let graph = graph(&self.checks, &layout)?;
        for check in layout.groups[Layout::LIVE]
            .1
            .iter()
            .map(|&index| &self.checks[index])
        {
            if let [first, ..] = &check.depends_on[..]
                && !check.always_run
            {
                let error = BuildError::new(BuildErrorKind::LiveDependency, check.name.clone());
                return Err(error.related_to([&**first]));
            }
        }
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let checks = self.checks.into();
        let shared = Shared::new(
            checks,
            layout,
            graph,
            self.service,
            self.clock,
            self.observer,
            seed,
        );
        Ok(Health {
            shared: Arc::new(shared),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("checks", &self.checks)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn graph(checks: &[Check], layout: &Layout) -> Result<Graph, BuildError> {
    let mut parents = Vec::with_capacity(checks.len());
    for check in checks {
        let mut list = Vec::with_capacity(check.depends_on.len());
        for name in &check.depends_on {
            let Some(&index) = layout.checks.get(&**name) else {
                let error = BuildError::new(BuildErrorKind::UnknownDependency, check.name.clone());
                return Err(error.related_to([&**name]));
            };
            if !list.contains(&index) {
                list.push(index);
            }
        }
        parents.push(list);
    }
    Graph::new(&parents).map_err(|fault| {
        let error = BuildError::new(fault.kind, checks[fault.check].name.clone());
        match fault.kind {
            BuildErrorKind::DependencyCycle => {
                error.related_to(fault.cycle.iter().map(|&index| &*checks[index].name))
            }
            _ => error,
        }
    })
}

fn fault(check: &Check) -> Option<BuildErrorKind> {
    if !name::is_valid(&check.name) {
        Some(BuildErrorKind::InvalidName)
    } else if check.interval.is_zero() {
        Some(BuildErrorKind::ZeroInterval)
    } else if check.timeout.is_zero() {
        Some(BuildErrorKind::ZeroTimeout)
    } else if check.fall == 0 || check.rise == 0 {
        Some(BuildErrorKind::ZeroThreshold)
    } else {
        None
    }
}

/// Returns the longest time from a result to the next where all is well: the interval with its jitter, and a run that
/// ends in the last moment.
fn longest_wait(check: &Check) -> Duration {
    let jitter = check.interval / 10;
    check
        .interval
        .saturating_add(jitter)
        .saturating_add(check.timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(check: Check) -> BuildErrorKind {
        let error = Health::builder().check(check).build().unwrap_err();
        assert!(error.to_string().starts_with("accept the check \""), "{error}");
        error.kind()
    }

    #[test]
    fn checks_that_cannot_work_are_refused() {
        let check = || Check::from_fn("db", || async {});
        let second = Duration::from_secs(1);
        assert_eq!(kind(Check::blocking("d b", || true)), BuildErrorKind::InvalidName);
        assert_eq!(kind(check().every(Duration::ZERO)), BuildErrorKind::ZeroInterval);
        assert_eq!(kind(check().timeout(Duration::ZERO)), BuildErrorKind::ZeroTimeout);
        assert_eq!(kind(check().fall(0)), BuildErrorKind::ZeroThreshold);
        assert_eq!(kind(check().rise(0)), BuildErrorKind::ZeroThreshold);
        let stale_after = |limit| check().timeout(second).stale_after(limit);
        for limit in [Duration::ZERO, second, 11_999 * second / 1000] {
            assert_eq!(kind(stale_after(limit)), BuildErrorKind::StaleTooSoon);
        }
        let builder = Health::builder().check(stale_after(12 * second));
        assert!(builder.build().is_ok(), "10 s, a tenth of it, and a run of 1 s");
        let error = Health::builder().check(stale_after(second)).build().unwrap_err();
        assert_eq!(
            error.to_string(),
            "accept the check \"db\": a result would be stale before the next: `stale_after` is 1s, and at least 12s with \
             this interval, which may be 10 % longer, and this timeout"
        );
        assert_eq!(
            kind(Check::heartbeat("loop", Duration::ZERO).1),
            BuildErrorKind::ZeroInterval
        );
    }

    #[test]
    fn a_name_is_taken_once() {
        let check = || Check::from_fn("db", || async {});
        let builder = Health::builder()
            .service("shop", "1")
            .check(check())
            .check(check());
        assert!(format!("{builder:?}").contains("name: \"shop\""));
        let error = builder.build().unwrap_err();
        assert_eq!(
            (error.kind(), error.check()),
            (BuildErrorKind::DuplicateName, "db")
        );
        assert_eq!(
            error.to_string(),
            "accept the check \"db\": another check has this name"
        );
    }

    #[test]
    fn groups_are_answered_by_what_there_is() {
        let kind = |builder: Builder| builder.build().unwrap_err().kind();
        let group = Group::new("payments").unwrap();
        let ok = StatusCode::OK;
        assert_eq!(
            kind(Health::builder().map_status(group.clone(), Status::Up, ok)),
            BuildErrorKind::UnknownGroup
        );
        for (status, code) in [
            (Status::Unknown, ok),
            (Status::Skipped, ok),
            (Status::Up, StatusCode::NO_CONTENT),
            (Status::Up, StatusCode::CONTINUE),
            (Status::Down, StatusCode::FOUND),
            (Status::Down, StatusCode::from_u16(600).unwrap()),
        ] {
            let builder = Health::builder().map_status(Group::READY, status, code);
            assert_eq!(kind(builder), BuildErrorKind::InvalidMapping, "{status} {code}");
        }
        let check = Check::from_fn("db", || async {}).groups([group.clone()]);
        let health = Health::builder()
            .check(check)
            .group(group.clone(), ["db", "db"])
            .group(Group::new("empty").unwrap(), [""; 0])
            .map_status(group.clone(), Status::Down, StatusCode::IM_A_TEAPOT);
        let health = health.build().unwrap();
        let layout = &health.shared.layout;
        assert_eq!(layout.groups[layout.group("payments").unwrap()].1, [0], "once");
        assert!(layout.group("empty").is_some());
    }

    #[test]
    fn dependencies_lead_somewhere_and_never_back() {
        let check = |name, on: &'static [&'static str]| {
            Check::from_fn(name, || async {}).depends_on(on.iter().copied())
        };
        let build = |checks: Vec<Check>| checks.into_iter().fold(Health::builder(), Builder::check).build();
        let error = build(vec![check("a", &["a"])]).unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::DependsOnItself);
        assert_eq!(error.to_string(), "accept the check \"a\": it depends on itself");
        let error = build(vec![
            check("a", &["b"]),
            check("b", &["c"]),
            check("c", &["d", "b"]),
            check("d", &[]),
        ])
        .unwrap_err();
        assert_eq!(
            (error.kind(), error.check()),
            (BuildErrorKind::DependencyCycle, "b")
        );
        assert_eq!(error.related(), ["b", "c"]);
        let error = build(vec![check("a", &["nobody"])]).unwrap_err();
        assert_eq!(
            (error.check(), error.related()),
            ("a", &["nobody".to_owned()][..])
        );
        assert!(
            build(vec![check("b", &["a", "a"]), check("a", &[])]).is_ok(),
            "later checks, and twice"
        );
    }

    #[test]
    fn what_restarts_the_process_depends_on_nothing() {
        let check = || Check::from_fn("loop", || async {}).depends_on(["db", "net"]);
        let build = |check: Check| {
            let others = ["db", "net"].map(|name| Check::from_fn(name, || async {}));
            let builder = Health::builder().check(check.groups([]));
            others.into_iter().fold(builder, Builder::check)
        };
        let live = |check: Check| build(check).group(Group::LIVE, ["db", "loop"]).build();
        let error = live(check()).unwrap_err();
        assert_eq!(
            (error.kind(), error.check(), error.related()),
            (BuildErrorKind::LiveDependency, "loop", &["db".to_owned()][..])
        );
        assert_eq!(
            error.to_string(),
            "accept the check \"loop\": in the group \"live\" it may not depend on another, unless it always runs: \"db\""
        );
        assert!(live(check().always_run()).is_ok(), "judged by itself");
        assert!(build(check()).build().is_ok(), "in no group");
        let named = Health::builder().check(check().groups([Group::LIVE]).depends_on(["nobody"]));
        assert_eq!(
            named.build().unwrap_err().kind(),
            BuildErrorKind::UnknownDependency
        );
    }

    #[test]
    fn a_seed_is_random_unless_given() {
        let seed = |builder: Builder| builder.build().unwrap().shared.seed;
        assert_eq!(seed(Health::builder().jitter_seed(7)), 7);
        assert_ne!(seed(Health::builder()), seed(Health::builder()));
    }

    #[test]
    fn the_largest_durations_are_fine() {
        let check = Check::from_fn("db", || async {})
            .timeout(Duration::MAX)
            .every(Duration::MAX)
            .stale_after(Duration::MAX);
        assert!(Health::builder().check(check).build().is_ok());
    }
}
