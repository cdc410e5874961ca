use crate::check::Check;
use crate::graph::Graph;
use crate::history::Transition;
use crate::negotiate::Format;
use crate::observer::Observer;
use crate::published::{Published, Refusal, Target, Verdict, View};
use crate::render::{self, Page, Service};
use crate::report::{CheckReport, Entry, Layout, Report};
use crate::respond::Detail;
use crate::scheduler::Message;
use crate::subscription::Hub;
use arc_swap::ArcSwap;
use bytes::Bytes;
use cortex_core::Clock;
use http::StatusCode;
use std::fmt;
use std::io;
use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

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
    /// They are added, and not removed while a scheduler runs: it knows them by their place.
    observers: ArcSwap<Vec<Arc<dyn Observer>>>,
    /// How many events observers did not hear.
    missed: AtomicU64,
    pub(crate) seed: u64,
    pub(crate) hub: Hub,
    service: Option<Service>,
    origin: Instant,
    published: ArcSwap<Published>,
    /// Until when, in [`nanos`](Self::nanos); zero before the first publication of the scheduler.
    lease: AtomicU64,
    /// When somebody first found the lease at its end; it is about this lease if it is later than that.
    noticed: AtomicU64,
    latched: AtomicBool,
    draining: AtomicBool,
    taken: AtomicBool,
    /// The scheduler has started in earnest: it answers who sends a message, or is gone with the receiver.
    answers: AtomicBool,
    /// Wakes the scheduler; it works from the start on, and until the scheduler has ended.
    pub(crate) messages: Sender<Message>,
    /// How many wait for the end of a run, or were to and have gone since.
    pub(crate) waiting: Arc<AtomicUsize>,
    mailbox: Mutex<Option<Mailbox>>,
    /// Told when an answer may have changed from serving to not, or back.
    changes: watch::Sender<()>,
    stopped: View,
}

impl Shared {
    pub(crate) fn new(
        checks: Box<[Check]>,
        layout: Layout,
        graph: Graph,
        service: Option<Service>,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
        seed: u64,
    ) -> Self {
        let (origin, at) = (clock.now(), clock.wall());
        let (messages, receiver) = mpsc::channel();
        let mailbox = Mailbox {
            receiver,
            in_flight: vec![None; checks.len()],
        };
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
            observers: ArcSwap::from_pointee(observer.into_iter().collect()),
            missed: AtomicU64::new(0),
            seed,
            hub: Hub::default(),
            service,
            origin,
            published: ArcSwap::from_pointee(Published::new(report, false, false)),
            lease: AtomicU64::new(0),
            noticed: AtomicU64::new(0),
            latched: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            answers: AtomicBool::new(false),
            messages,
            waiting: Arc::default(),
            mailbox: Mutex::new(Some(mailbox)),
            changes: watch::Sender::new(()),
            stopped: View::new(Verdict::refuse(Refusal::Stopped)),
        }
    }

    /// Takes the right to run the checks, which nobody else may have.
    pub(crate) fn take(&self) -> io::Result<()> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "this health was started before",
            ));
        }
        Ok(())
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    pub(crate) fn release(&self) {
        self.taken.store(false, Ordering::Release);
    }

    /// Notes that who took the health reads its messages from now on, until it is gone for good.
    pub(crate) fn begin_to_answer(&self) {
        self.answers.store(true, Ordering::Release);
    }

    /// Says whether a message finds somebody who answers, or an end of the channel. A dry run does not: what is sent to
    /// it would wait for the start, which may never come.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    /// Hands the mailbox to who has the right to run the checks.
    pub(crate) fn take_mailbox(&self) -> Mailbox {
        let mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        mailbox.expect(
            "invariant: only who took the health takes its mailbox, and gives it back before the release",
        )
    }

    pub(crate) fn return_mailbox(&self, mailbox: Mailbox) {
        *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(mailbox);
    }

    /// Adds an observer.
    pub(crate) fn observe(&self, observer: &Arc<dyn Observer>) {
        self.observers.rcu(|before| {
            let mut observers = Vec::clone(before);
            observers.push(Arc::clone(observer));
            observers
        });
    }

    /// Removes an observer that nobody told of anything.
    pub(crate) fn forget(&self, observer: &Arc<dyn Observer>) {
        self.observers.rcu(|before| {
            let mut observers = Vec::clone(before);
            observers.retain(|other| !Arc::ptr_eq(other, observer));
            observers
        });
    }

    /// Returns all observers, in the order in which they came.
    pub(crate) fn observers(&self) -> Arc<Vec<Arc<dyn Observer>>> {
        self.observers.load_full()
    }

    /// Counts events that an observer does not hear.
    pub(crate) fn miss(&self, events: u64) {
        self.missed.fetch_add(events, Ordering::Relaxed); // a number, which says nothing about other memory
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
        self.changes.send_replace(());
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Makes a report of now, under the number of the last one.
    pub(crate) fn report(&self, entries: Vec<Arc<Entry>>, transitions: Arc<[Arc<Transition>]>) -> Report {
        Report {
            seq: self.published.load().report.seq,
            at: self.clock.wall(),
            entries,
            layout: Arc::clone(&self.layout),
            transitions,
        }
    }

    /// Replaces the report; only the scheduler does.
    pub(crate) fn publish(&self, entries: Vec<Arc<Entry>>, transitions: Arc<[Arc<Transition>]>) {
        let mut report = self.report(entries, transitions);
        report.seq += 1;
        let report = Arc::new(report);
        let latched = self.latched.load(Ordering::Relaxed);
        let published = Published::new(report, true, latched);
        if !latched && published.has_started() {
            self.latched.store(true, Ordering::Relaxed); // for the next publications; this one passes by itself
        }
        let before = self.published.swap(Arc::new(published));
        if self.published.load().serving().ne(before.serving()) {
            self.changes.send_replace(());
        }
    }

    /// Gives a sign of life: what is published holds for another [`LEASE`].
    pub(crate) fn extend_lease(&self, now: Instant) {
        let was_late = self.is_overdue();
        self.lease.store(self.nanos(now + LEASE), Ordering::Release);
        if was_late {
            self.changes.send_replace(());
        }
    }

    /// Ends the lease: nobody refreshes the checks any more.
    pub(crate) fn end_lease(&self, now: Instant) {
        self.lease.store(self.nanos(now), Ordering::Release);
        self.changes.send_replace(());
    }

    /// Returns the last report, or one that knows nothing if the scheduler is gone.
    pub(crate) fn snapshot(&self) -> Arc<Report> {
        let report = Arc::clone(&self.published.load().report);
        if self.is_overdue() {
            Arc::new(report.expired())
        } else {
            report
        }
    }

    pub(crate) fn answer(&self, target: Target, format: Format, detail: Detail) -> (StatusCode, Bytes) {
        let draining = self.is_draining();
        let gone = self.is_gone(target, draining);
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
            return (verdict.code, bodies.get(format, detail, render));
        }
        let published = self.published.load();
        let (verdict, bodies) = published.view(target, draining);
        let render = || published.render(target, verdict, service, (format, detail));
        (verdict.code, bodies.get(format, detail, render))
    }

    /// Returns the verdict that [`answer`](Self::answer) would be about.
    pub(crate) fn verdict(&self, target: Target) -> Verdict {
        let draining = self.is_draining();
        if self.is_gone(target, draining) {
            self.stopped.verdict
        } else {
            self.published.load().view(target, draining).0
        }
    }

    /// Returns what tells that a status may have changed, unless only time has passed.
    #[cfg(feature = "grpc")]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns when a status would change by time alone: because the scheduler gives no more signs of life.
    #[cfg(feature = "grpc")]
    pub(crate) fn next_expiry(&self, target: Option<Target>) -> Option<Duration> {
        let lease = self.lease.load(Ordering::Acquire);
        if lease == 0 {
            return None;
        }
        let now = self.nanos(self.clock.now());
        let left = |until: u64| until.checked_sub(now).filter(|left| *left > 0);
        let grace = u64::try_from(LIVE_GRACE.as_nanos()).unwrap_or(u64::MAX);
        let left = match target? {
            Target::Group(Layout::LIVE) => {
                left(lease).or_else(|| left(self.notice(lease, now).saturating_add(grace)))
            }
            _ => left(lease),
        };
        left.map(Duration::from_nanos)
    }

    /// Says whether the scheduler is gone for longer than the target can be believed.
    fn is_gone(&self, target: Target, draining: bool) -> bool {
        match target {
            Target::Group(Layout::STARTUP) => false, // latched; and if not, it refuses anyway
            Target::Group(Layout::LIVE) => !draining && self.noticed().is_some_and(|by| by >= LIVE_GRACE),
            Target::Group(Layout::READY) | Target::Health if draining => false,
            _ => self.is_overdue(),
        }
    }

    /// Says whether the lease has ended; not before the scheduler starts.
    fn is_overdue(&self) -> bool {
        self.noticed().is_some()
    }

    /// Returns how long it is known that the lease has ended; `None` while it runs, and before the scheduler starts.
    ///
    /// It ends in a stop of the whole process, too, and whoever runs first afterwards finds an end of long ago. Nobody
    /// was there to notice, so nothing is known: the scheduler may be the next to run.
    fn noticed(&self) -> Option<Duration> {
        let lease = self.lease.load(Ordering::Acquire);
        let now = self.nanos(self.clock.now());
        (lease != 0 && now >= lease)
            .then(|| Duration::from_nanos(now.saturating_sub(self.notice(lease, now))))
    }

    /// Returns when the end of the lease was noticed first: now, unless it was before.
    fn notice(&self, lease: u64, now: u64) -> u64 {
        let before = self.noticed.load(Ordering::Acquire);
        if before >= lease {
            return before;
        }
        // Whoever fails here was beaten to it just now.
        match self
            .noticed
            .compare_exchange(before, now, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => now,
            Err(other) => other.max(lease),
        }
    }

    /// Nanoseconds from `origin`, counted from one.
    fn nanos(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Where runs report their end, and which have not yet.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) receiver: Receiver<Message>,
    pub(crate) in_flight: Vec<Option<u64>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("checks", &self.names)
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}
