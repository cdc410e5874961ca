use crate::group::Codes;
use crate::negotiate::Format;
use crate::render::{self, Page, Service};
use crate::report::{CheckReport, Layout, Report, worst, worst_alive};
use crate::respond::Detail;
use crate::status::Status;
use bytes::Bytes;
use http::StatusCode;
use std::sync::{Arc, OnceLock};

/// One publication: the report, what each probe answers by it, and the bodies rendered so far.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) report: Arc<Report>,
    groups: Box<[View]>,
    health: View,
    /// What live, ready and health answer in the drain.
    drain: [View; 3],
}

impl Published {
    /// Judges a report. `begun`: the scheduler has started; `latched`: the startup group has passed once.
    pub(crate) fn new(report: Arc<Report>, begun: bool, latched: bool) -> Self {
        let judge = |index: usize, members: &[usize]| match index {
            Layout::STARTUP if latched => Verdict::of(Status::Up),
            // No result yet is no reason for a restart: only what was found to be bad is.
            Layout::LIVE => Verdict::of(worst_alive(
                report.members(members).filter(|check| has_run(check)),
            )),
            _ => Verdict::judge(report.members(members), begun),
        };
        let groups = report.layout.groups.iter().enumerate();
        Self {
            groups: groups
                .map(|(index, (_, members))| {
                    View::new(judge(index, members).coded(report.layout.codes[index]))
                })
                .collect(),
            health: View::new(Verdict::judge(report.checks(), begun)),
            drain: [
                View::new(Verdict::of(Status::Up)), // a restart would cut the drain short
                View::new(Verdict::refuse(Refusal::Draining)),
                View::new(Verdict::refuse(Refusal::Draining)),
            ],
            report,
        }
    }

    pub(crate) fn view(&self, target: Target, draining: bool) -> (Verdict, &Bodies) {
        let view = match target {
            Target::Group(Layout::LIVE) if draining => &self.drain[0],
            Target::Group(Layout::READY) if draining => &self.drain[1],
            Target::Health if draining => &self.drain[2],
            Target::Group(index) => &self.groups[index],
            Target::Health => &self.health,
            Target::Check(index) => {
                let entry = &self.report.entries[index];
                return (Verdict::of(entry.report.status), &entry.bodies);
            }
        };
        (view.verdict, &view.bodies)
    }

    /// Says of each group whether it serves.
    pub(crate) fn serving(&self) -> impl Iterator<Item = bool> {
        self.groups.iter().map(|view| view.verdict.code.is_success())
    }

    /// Says whether the startup group passes.
    pub(crate) fn has_started(&self) -> bool {
        self.groups[Layout::STARTUP].verdict.code.is_success()
    }

    pub(crate) fn render(
        &self,
        target: Target,
        verdict: Verdict,
        service: Option<&Service>,
        (format, detail): (Format, Detail),
    ) -> Bytes {
        let report = &*self.report;
        let members = match &target {
            Target::Group(index) => &report.layout.groups[*index].1[..],
            Target::Health => &report.layout.all,
            Target::Check(index) => std::slice::from_ref(index),
        };
        let page = Page {
            detail,
            verdict,
            service,
            checks: report.members(members),
            transitions: &report.transitions,
            runs: matches!(target, Target::Check(_)),
        };
        render::body(format, &page)
    }
}

/// What a request asks about, found in the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Group(usize),
    Health,
    Check(usize),
}

/// A verdict and its bodies.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) verdict: Verdict,
    pub(crate) bodies: Bodies,
}

impl View {
    pub(crate) fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            bodies: Bodies::default(),
        }
    }
}

/// One body for each format and detail, rendered when first asked for.
#[derive(Debug, Default)]
pub(crate) struct Bodies([OnceLock<Bytes>; Format::COUNT * Detail::COUNT]);

impl Bodies {
    pub(crate) fn get(&self, format: Format, detail: Detail, render: impl FnOnce() -> Bytes) -> Bytes {
        let slot = &self.0[format as usize * Detail::COUNT + detail as usize];
        slot.get_or_init(render).clone()
    }
}

/// The answer in one word, and why it is not about the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) code: StatusCode,
    pub(crate) refusal: Option<Refusal>,
}

impl Verdict {
    pub(crate) fn of(status: Status) -> Self {
        Self {
            status,
            code: Codes::default().of(status),
            refusal: None,
        }
    }

    /// Returns the status that the answer stands for: what is refused is not up, whatever the checks are.
    pub(crate) const fn told(self) -> Status {
        match self.status {
            Status::Up | Status::Degraded if self.code.as_u16() >= 400 => Status::Down,
            status => status,
        }
    }

    /// Answers as the group does.
    fn coded(mut self, codes: Codes) -> Self {
        if self.refusal.is_none() {
            self.code = codes.of(self.status);
        }
        self
    }

    pub(crate) const fn refuse(refusal: Refusal) -> Self {
        Self {
            status: Status::Down,
            code: StatusCode::SERVICE_UNAVAILABLE,
            refusal: Some(refusal),
        }
    }

    /// Judges checks by their contributions, and tells "down" from "not known yet".
    fn judge<'a>(checks: impl Iterator<Item = &'a CheckReport> + Clone, begun: bool) -> Self {
        let status = worst(checks.clone());
        let starting =
            !begun || (status == Status::Down && worst(checks.filter(|c| has_run(c))) != Status::Down);
        if starting {
            Self::refuse(Refusal::Starting)
        } else {
            Self::of(status)
        }
    }
}

/// Why no traffic is wanted although no check may have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Starting,
    Draining,
    Stopped,
}

impl Refusal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Stopped => "the health scheduler has stopped",
        }
    }
}

fn has_run(check: &CheckReport) -> bool {
    check.checked.is_some() || check.status == Status::Skipped
}
