use crate::check::Check;
use crate::graph::Graph;
use crate::history::Transition;
use crate::negotiate::Format;
use crate::observer::Observer;
use crate::published::{Published, Refusal, Target, Verdict, View};
use crate::render::{self, Page, Service};
use crate::report::{CheckReport, Entry, Layout, Report};
use crate::respond::Detail;
use crate::status::Status;
use crate::subscription::Hub;
use arc_swap::ArcSwap;
use bytes::Bytes;
use cortex_core::Clock;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a publication is believed without a sign of life of the scheduler, which gives one every second.
const LEASE: Duration = Duration::from_secs(5);

/// How much longer it takes until liveness fails as well: its effect is a restart.
const LIVE_GRACE: Duration = Duration::from_secs(30);

/// What the scheduler writes and the readers read.
pub(crate) struct Shared {
    pub(crate) checks: Box<[Check]>,
    pub(crate) names: Box<[Arc<str>]>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observer: Box<dyn Observer>,
    pub(crate) seed: u64,
    pub(crate) hub: Hub,
    service: Option<Service>,
    origin: Instant,
    published: ArcSwap<Published>,
    /// Until when, in [`nanos`](Self::nanos); zero before the first publication of the scheduler.
    lease: AtomicU64,
    latched: AtomicBool,
    draining: AtomicBool,
    taken: AtomicBool,
    stopped: View,
}

impl Shared {
    pub(crate) fn new(
        checks: Box<[Check]>,
        layout: Layout,
        graph: Graph,
        service: Option<Service>,
        clock: Arc<dyn Clock>,
        observer: Box<dyn Observer>,
        seed: u64,
    ) -> Self {
        let (origin, at) = (clock.now(), clock.wall());
        let layout = Arc::new(layout);
        let names: Box<[Arc<str>]> = checks.iter().map(|check| (*check.name).into()).collect();
        let lookup = |name: &str| Arc::clone(&names[layout.checks[name]]);
        let never_run = |(check, name): (&Check, &Arc<str>)| {
            Entry::new(CheckReport {
                depends_on: check.depends_on.iter().map(|name| lookup(name)).collect(),
                ..CheckReport::never_run(Arc::clone(name), check.criticality, at)
            })
        };
        let report = Arc::new(Report {
            seq: 0,
            at,
            entries: iter::zip(&checks, &names).map(never_run).collect(),
            layout: Arc::clone(&layout),
            transitions: Arc::default(),
        });
        Self {
            checks,
            names,
            layout,
            graph: Arc::new(graph),
            clock,
            observer,
            seed,
            hub: Hub::default(),
            service,
            origin,
            published: ArcSwap::from_pointee(Published::new(report, false, false)),
            lease: AtomicU64::new(0),
            latched: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            stopped: View::new(Verdict::refuse(Refusal::Stopped)),
        }
    }

    /// Takes the right to start the scheduler; `false` for all but the first.
    pub(crate) fn take(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn release(&self) {
        self.taken.store(false, Ordering::Release);
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Replaces the report; only the scheduler does.
    pub(crate) fn publish(&self, entries: Vec<Arc<Entry>>, transitions: Arc<[Arc<Transition>]>) {
        let report = Arc::new(Report {
            seq: self.published.load().report.seq + 1,
            at: self.clock.wall(),
            entries,
            layout: Arc::clone(&self.layout),
            transitions,
        });
        let latched = self.latched.load(Ordering::Relaxed);
        let published = Published::new(report, true, latched);
        if !latched && published.has_started() {
            self.latched.store(true, Ordering::Relaxed); // for the next publications; this one passes by itself
        }
        self.published.store(Arc::new(published));
    }

    /// Gives a sign of life: what is published holds for another [`LEASE`].
    pub(crate) fn extend_lease(&self, now: Instant) {
        self.lease.store(self.nanos(now + LEASE), Ordering::Release);
    }

    /// Ends the lease: nobody refreshes the checks any more.
    pub(crate) fn end_lease(&self, now: Instant) {
        self.lease.store(self.nanos(now), Ordering::Release);
    }

    /// Returns the last report, or one that knows nothing if the scheduler is gone.
    pub(crate) fn snapshot(&self) -> Arc<Report> {
        let report = Arc::clone(&self.published.load().report);
        match self.overdue() {
            None => report,
            Some(_) => Arc::new(report.expired()),
        }
    }

    pub(crate) fn answer(&self, target: Target, format: Format, detail: Detail) -> (Status, Bytes) {
        let draining = self.is_draining();
        let gone = match target {
            Target::Group(Layout::STARTUP) => false, // latched; and if not, it refuses anyway
            Target::Group(Layout::LIVE) => !draining && self.overdue().is_some_and(|by| by >= LIVE_GRACE),
            Target::Group(Layout::READY) | Target::Health if draining => false,
            _ => self.overdue().is_some(),
        };
        let service = self.service.as_ref();
        if gone {
            let View { verdict, bodies } = &self.stopped;
            let render = || {
                let page = Page {
                    detail,
                    verdict: *verdict,
                    service,
                    checks: iter::empty(),
                    transitions: &[],
                    runs: false,
                };
                render::body(format, &page)
            };
            return (verdict.status, bodies.get(format, detail, render));
        }
        let published = self.published.load();
        let (verdict, bodies) = published.view(target, draining);
        let render = || published.render(target, verdict, service, (format, detail));
        (verdict.status, bodies.get(format, detail, render))
    }

    /// Returns how long ago the lease ended; `None` while it runs, and before the scheduler starts.
    fn overdue(&self) -> Option<Duration> {
        let lease = self.lease.load(Ordering::Acquire);
        let now = self.nanos(self.clock.now());
        (lease != 0 && now >= lease).then(|| Duration::from_nanos(now - lease))
    }

    /// Nanoseconds from `origin`, counted from one.
    fn nanos(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("checks", &self.names)
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}
