use crate::group::{Codes, Group};
use crate::history::{Run, Transition};
use crate::published::Bodies;
use crate::status::{Criticality, Status};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What was known of all checks at one moment; it never changes.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Group, Health, Status};
///
/// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
/// let report = health.snapshot(); // never started: nothing is known, and a critical check that is unknown is down
/// assert_eq!(report.check("db").map(|db| db.status()), Some(Status::Unknown));
/// assert_eq!(report.group(Group::READY), Status::Down);
/// assert_eq!(report.group(Group::LIVE), Status::Up); // empty
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) seq: u64,
    pub(crate) at: SystemTime,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) transitions: Arc<[Arc<Transition>]>,
}

impl Report {
    /// Returns the number of the report: it grows by one at each publication.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns when it was published.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Returns all checks, in the order in which the builder got them.
    pub fn checks(&self) -> impl ExactSizeIterator<Item = &CheckReport> + Clone {
        self.entries.iter().map(|entry| &entry.report)
    }

    /// Returns the check of this name.
    pub fn check(&self, name: &str) -> Option<&CheckReport> {
        let index = *self.layout.checks.get(name)?;
        Some(&self.entries[index].report)
    }

    /// Returns all groups: startup, live, ready, then others in the order in which checks named them.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&Group, Status)> {
        let groups = self.layout.groups.iter();
        groups
            .enumerate()
            .map(|(index, (group, _))| (group, self.judge(index)))
    }

    /// Returns the worst contribution of the group's checks; `Unknown` for a group that nobody named.
    ///
    /// It says nothing about draining or the startup latch: [`Health::status`](crate::Health::status) does.
    pub fn group(&self, group: impl Borrow<Group>) -> Status {
        match self.layout.group(group.borrow().name()) {
            Some(index) => self.judge(index),
            None => Status::Unknown,
        }
    }

    fn judge(&self, group: usize) -> Status {
        let members = self.members(&self.layout.groups[group].1);
        if group == Layout::LIVE {
            worst_alive(members)
        } else {
            worst(members)
        }
    }

    /// Returns the worst contribution of all checks.
    pub fn status(&self) -> Status {
        worst(self.checks())
    }

    /// Returns the names of the checks to repair: those that fail by themselves, and not because of something that they
    /// [depend on](crate::Check::depends_on).
    ///
    /// A check that only informs counts if another one fails with it.
    pub fn root_causes(&self) -> Vec<&str> {
        root_causes(self.checks())
    }

    /// Returns the last 256 changes of all checks, oldest first.
    pub fn transitions(&self) -> impl ExactSizeIterator<Item = &Transition> + DoubleEndedIterator + Clone {
        self.transitions.iter().map(|transition| &**transition)
    }

    pub(crate) fn members<'a>(
        &'a self,
        members: &'a [usize],
    ) -> impl ExactSizeIterator<Item = &'a CheckReport> + Clone {
        members.iter().map(|&index| &self.entries[index].report)
    }

    /// Makes the report of a scheduler that is gone: nothing is known any more.
    pub(crate) fn expired(&self) -> Self {
        let expire = |entry: &Arc<Entry>| {
            Entry::new(CheckReport {
                status: Status::Unknown,
                stale: true,
                causes: Arc::default(),
                ..entry.report.clone()
            })
        };
        Self {
            entries: self.entries.iter().map(expire).collect(),
            ..self.clone()
        }
    }
}

/// What was known of one check.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Criticality, Health};
///
/// let health = Health::builder().check(Check::from_fn("cache", || async {}).degrades()).build()?;
/// let report = health.snapshot();
/// let cache = report.check("cache").unwrap();
/// assert_eq!((cache.name(), cache.criticality()), ("cache", Criticality::Degrades));
/// assert_eq!(cache.latency(), None); // it never ran
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may be so whatever the others are"
)]
pub struct CheckReport {
    pub(crate) name: Arc<str>,
    pub(crate) criticality: Criticality,
    pub(crate) status: Status,
    pub(crate) since: SystemTime,
    pub(crate) checked: Option<SystemTime>,
    pub(crate) latency: Option<Duration>,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) observed: Option<Observed>,
    pub(crate) details: Arc<[(Box<str>, Box<str>)]>,
    pub(crate) stale: bool,
    pub(crate) hung: Option<SystemTime>,
    pub(crate) causes: Arc<[Arc<str>]>,
    pub(crate) depends_on: Arc<[Arc<str>]>,
    pub(crate) runs: Arc<[Run]>,
    pub(crate) flap_score: f64,
    pub(crate) flapping: bool,
    /// It has failed too often in a row for a check that only flaps.
    pub(crate) lasting: bool,
    /// All of its causes flap, or did, and it has not run since.
    pub(crate) unsteady: bool,
}

impl CheckReport {
    /// Makes the report of a check before its first run.
    pub(crate) fn never_run(name: Arc<str>, criticality: Criticality, at: SystemTime) -> Self {
        Self {
            name,
            criticality,
            status: Status::Unknown,
            since: at,
            checked: None,
            latency: None,
            message: None,
            observed: None,
            details: Arc::default(),
            stale: false,
            hung: None,
            causes: Arc::default(),
            depends_on: Arc::default(),
            runs: Arc::default(),
            flap_score: 0.0,
            flapping: false,
            lasting: false,
            unsteady: false,
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the status, after `fall` and `rise`.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns what a failure means for the groups of the check.
    pub fn criticality(&self) -> Criticality {
        self.criticality
    }

    /// Returns since when the check has its status.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Returns when the last result came; `None` before the first.
    pub fn checked(&self) -> Option<SystemTime> {
        self.checked
    }

    /// Returns how long the last run took; for one that did not end in time, the timeout.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Returns what the last result said, even where it has not changed the status yet; passwords of URLs are masked.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns what the last run measured, and its unit.
    pub fn observed(&self) -> Option<(f64, &str)> {
        let Observed { value, unit } = self.observed.as_ref()?;
        Some((*value, unit))
    }

    /// Returns what else the last run told; what looks like a secret is masked.
    pub fn details(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.details.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Says whether the status is unknown because the last result is too old.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Returns the start of a run that did not end in time and is still not gone.
    pub fn hung_since(&self) -> Option<SystemTime> {
        self.hung
    }

    /// Returns the names of the checks that are to blame: the topmost failing ones of all that it depends on, itself or
    /// through others.
    ///
    /// A check that is [`Skipped`](Status::Skipped) without one waits for its first run since they have recovered.
    pub fn causes(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.causes.iter().map(|name| &**name)
    }

    /// Returns the names of the checks that it [depends on](crate::Check::depends_on), without what those depend on.
    pub fn depends_on(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.depends_on.iter().map(|name| &**name)
    }

    /// Returns the last 64 runs, oldest first.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = Run> + DoubleEndedIterator + Clone {
        self.runs.iter().copied()
    }

    /// Returns how unsteady the last 21 results were, from 0 (all alike) to 1 (each differs from the one before); newer
    /// changes weigh more.
    pub fn flap_score(&self) -> f64 {
        self.flap_score
    }

    /// Says whether it flaps: since the score was 0.30 or more, and until it is 0.20 or less.
    pub fn is_flapping(&self) -> bool {
        self.flapping
    }

    /// Returns what it adds to a group: in [`Group::LIVE`] what flaps is no reason for a restart, as long as it does come
    /// up now and then, and is looked at.
    fn contribution(&self, live: bool) -> Status {
        let is_pardoned = (self.flapping || self.unsteady) && !self.lasting && !self.stale;
        match self.criticality.contribution(self.status) {
            Status::Down if live && is_pardoned => Status::Degraded,
            status => status,
        }
    }

    /// Says whether it fails by itself or for others. One that never ran does not.
    fn fails(&self) -> bool {
        match self.status {
            Status::Down | Status::Skipped => true,
            Status::Unknown => self.stale,
            Status::Up | Status::Degraded => false,
        }
    }
}

/// Returns the names of the checks that these fail for, in their order: those that fail by themselves, and those that
/// others blame. What only informs is no cause.
pub(crate) fn root_causes<'a>(checks: impl Iterator<Item = &'a CheckReport>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for check in checks.filter(|check| check.fails() && check.criticality != Criticality::Informational) {
        let itself = (check.causes.is_empty() && check.status != Status::Skipped).then_some(&*check.name);
        for name in check.causes().chain(itself) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// A value that a run measured.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) value: f64,
    pub(crate) unit: Box<str>,
}

/// A check's report and the bodies made of it, kept over publications in which it did not change.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) report: CheckReport,
    pub(crate) bodies: Bodies,
}

impl Entry {
    pub(crate) fn new(report: CheckReport) -> Arc<Self> {
        Arc::new(Self {
            report,
            bodies: Bodies::default(),
        })
    }
}

/// Which checks and groups there are; fixed when the health is built.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) checks: HashMap<Arc<str>, usize>,
    /// The indices of all of them.
    pub(crate) all: Vec<usize>,
    /// Startup, live and ready come first.
    pub(crate) groups: Vec<(Group, Vec<usize>)>,
    /// The answers of each group.
    pub(crate) codes: Vec<Codes>,
}

impl Layout {
    pub(crate) const STARTUP: usize = 0;
    pub(crate) const LIVE: usize = 1;
    pub(crate) const READY: usize = 2;

    pub(crate) fn new() -> Self {
        let groups = [Group::STARTUP, Group::LIVE, Group::READY];
        Self {
            checks: HashMap::new(),
            all: Vec::new(),
            codes: vec![Codes::default(); groups.len()],
            groups: groups.map(|group| (group, Vec::new())).into(),
        }
    }

    /// Adds the next check; `false` if its name is taken.
    pub(crate) fn add(&mut self, name: Arc<str>, groups: &[Group]) -> bool {
        let index = self.checks.len();
        if self.checks.contains_key(&name) {
            return false;
        }
        self.checks.insert(name, index);
        self.all.push(index);
        for group in groups {
            self.join(group, index);
        }
        true
    }

    /// Makes a check a member of a group, and the group if there is none of its name.
    pub(crate) fn join(&mut self, group: &Group, check: usize) {
        let at = self.enter(group);
        let members = &mut self.groups[at].1;
        if !members.contains(&check) {
            members.push(check);
        }
    }

    /// Returns the index of a group, made if there is none of its name.
    pub(crate) fn enter(&mut self, group: &Group) -> usize {
        self.group(group.name()).unwrap_or_else(|| {
            self.groups.push((group.clone(), Vec::new()));
            self.codes.push(Codes::default());
            self.groups.len() - 1
        })
    }

    pub(crate) fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|(group, _)| group.name() == name)
    }
}

/// The worst contribution; `Up` of none.
pub(crate) fn worst<'a>(checks: impl Iterator<Item = &'a CheckReport>) -> Status {
    checks
        .map(|check| check.contribution(false))
        .fold(Status::Up, Status::worst)
}

/// The same for [`Group::LIVE`].
pub(crate) fn worst_alive<'a>(checks: impl Iterator<Item = &'a CheckReport>) -> Status {
    checks
        .map(|check| check.contribution(true))
        .fold(Status::Up, Status::worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, criticality: Criticality, status: Status) -> Arc<Entry> {
        Entry::new(CheckReport {
            status,
            ..CheckReport::never_run(name.into(), criticality, SystemTime::UNIX_EPOCH)
        })
    }

    fn report() -> Report {
        let mut layout = Layout::new();
        let payments = Group::new("payments").unwrap();
        assert!(layout.add("db".into(), &[Group::READY, payments.clone(), Group::READY]));
        assert!(layout.add("cache".into(), &[payments]));
        assert!(layout.add("mail".into(), &[]));
        assert!(!layout.add("db".into(), &[]));
        Report {
            seq: 7,
            at: SystemTime::UNIX_EPOCH,
            entries: vec![
                entry("db", Criticality::Critical, Status::Up),
                entry("cache", Criticality::Degrades, Status::Down),
                entry("mail", Criticality::Critical, Status::Down),
            ],
            layout: Arc::new(layout),
            transitions: Arc::default(),
        }
    }

    #[test]
    fn a_group_is_as_bad_as_its_worst_contribution() {
        let report = report();
        let groups: Vec<_> = report
            .groups()
            .map(|(group, status)| (group.name(), status))
            .collect();
        let expected = [
            ("startup", Status::Up),
            ("live", Status::Up),
            ("ready", Status::Up),
            ("payments", Status::Degraded),
        ];
        assert_eq!(groups, expected);
        assert_eq!(report.status(), Status::Down);
        assert_eq!(report.group(Group::new("payments").unwrap()), Status::Degraded);
        let misspelt = Group::new("payment").unwrap();
        assert_eq!(
            (report.group(&misspelt), report.group(misspelt)),
            (Status::Unknown, Status::Unknown)
        );
        assert_eq!(
            report.layout.groups[Layout::READY].1,
            [0],
            "named twice, counted once"
        );
    }

    #[test]
    fn a_check_that_flaps_is_no_reason_for_a_restart() {
        let mut layout = Layout::new();
        assert!(layout.add("loop".into(), &[Group::LIVE, Group::READY]));
        let down = entry("loop", Criticality::Critical, Status::Down);
        let mut report = Report {
            entries: vec![Entry::new(CheckReport {
                flapping: true,
                ..down.report.clone()
            })],
            layout: Arc::new(layout),
            ..report()
        };
        assert_eq!(
            (report.group(Group::LIVE), report.group(Group::READY)),
            (Status::Degraded, Status::Down)
        );
        let flapping = report.entries[0].report.clone();
        for (lasting, stale) in [(true, false), (false, true)] {
            report.entries = vec![Entry::new(CheckReport {
                stale,
                lasting,
                ..flapping.clone()
            })];
            assert_eq!(report.group(Group::LIVE), Status::Down, "no pardon for ever");
        }
        report.entries = vec![down];
        assert_eq!(report.group(Group::LIVE), Status::Down);
        assert_eq!(report.groups().nth(Layout::LIVE).unwrap().1, Status::Down);
    }

    #[test]
    fn root_causes_are_what_is_to_be_repaired() {
        let check = |name: &str, criticality, status, causes: &[&str], stale| CheckReport {
            status,
            stale,
            causes: causes.iter().map(|&name| name.into()).collect(),
            ..CheckReport::never_run(name.into(), criticality, SystemTime::UNIX_EPOCH)
        };
        let critical = Criticality::Critical;
        let checks = [
            check("orders", critical, Status::Skipped, &["db", "net"], false),
            check("waiting", critical, Status::Skipped, &[], false),
            check("cart", Criticality::Degrades, Status::Down, &["db"], false), // it always runs
            check("db", critical, Status::Down, &[], false),
            check("net", Criticality::Informational, Status::Down, &[], false),
            check("mail", Criticality::Informational, Status::Down, &[], false),
            check("slow", critical, Status::Degraded, &[], false),
            check("fine", critical, Status::Up, &["net"], false),
            check("new", critical, Status::Unknown, &[], false),
            check("old", critical, Status::Unknown, &[], true),
        ];
        assert_eq!(root_causes(checks.iter()), ["db", "net", "old"]);
        assert!(root_causes(checks[5..9].iter()).is_empty());
    }

    #[test]
    fn an_expired_report_knows_nothing() {
        let report = report().expired();
        assert!(
            report
                .checks()
                .all(|check| check.status() == Status::Unknown && check.is_stale())
        );
        assert_eq!((report.seq(), report.group(Group::READY)), (7, Status::Down));
        assert!(report.check("mail").is_some() && report.check("nobody").is_none());
    }
}
