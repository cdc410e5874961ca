use crate::crew;
use crate::drain::Ending;
use crate::error::Discard;
use crate::event::Event;
use crate::gate::Member;
use crate::handover::Handover;
use crate::hub::{After, Hub, Life};
use crate::job::quietly;
use crate::joins::{self, Joins};
use crate::observer::Observer;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sync::{AtomicU64, Ordering};
use crate::ticket::NEVER;
use crate::times::TaskTimes;
use crate::watch::{self, Pulse};
use crate::worker::Worker;
use cortex_core::Clock;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What a pool, its threads and its calls have in common.
pub(crate) struct Shared<W: Worker> {
    pub(crate) name: Box<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hub: Hub<W>,
    pub(crate) settings: Settings,
    pub(crate) ending: Ending,
    pub(crate) joins: Joins,
    observer: Option<Arc<dyn Observer>>,
    keep: Option<Box<Keep<W>>>,
    handover: Handover<W::Request>,
    /// When the hub has to be looked at.
    alarm: AtomicU64,
}

/// Takes requests that are discarded.
pub(crate) type Keep<W> = dyn Fn(<W as Worker>::Request, Discard) + Send + Sync;

thread_local! {
    /// The pool that this thread works for.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

impl<W: Worker> Shared<W> {
    pub(crate) fn new(
        name: Box<str>,
        settings: Settings,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
        keep: Option<Box<Keep<W>>>,
    ) -> Self {
        Self {
            name,
            clock,
            hub: Hub::new(settings.clone()),
            settings,
            ending: Ending::new(),
            joins: Joins::default(),
            observer,
            keep,
            handover: Handover::new(),
            alarm: AtomicU64::new(NEVER),
        }
    }

    /// Does what is to be done after the hub was asked something.
    #[inline]
    pub(crate) fn handle(self: &Arc<Self>, mut after: After<W>) {
        self.report(&mut after);
        if !after.ended.is_empty() {
            self.hand_over(&mut after);
        }
        after.tell();
        if after.hands_over {
            self.hub.handed_over();
            self.end_if_deserted();
        }
        if !after.start.is_empty() {
            self.start(&after.start);
        }
        self.arm(after.alarm);
    }

    /// Tells the observer what the hub has done, before those who wait are told.
    #[inline]
    fn report(&self, after: &mut After<W>) {
        if self.observer.is_some() {
            self.report_all(after);
        }
    }

    fn report_all(&self, after: &mut After<W>) {
        after.wake();
        for event in after.events.drain(..) {
            self.tell(|| event);
        }
        if !after.ended.is_empty() {
            let now = self.clock.nanos();
            for (task, why) in &after.ended {
                self.tell(|| Event::of_unstarted(*why, task.ticket(), now));
            }
        }
    }

    /// Hands over what is discarded and nobody gets back: what the end of the pool and the clock have left on a thread of
    /// its own, as it may take long, and others wait for this one; the rest where room is made for it.
    #[cold]
    fn hand_over(self: &Arc<Self>, after: &mut After<W>) {
        if self.keep.is_none() {
            return;
        }
        after.wake();
        let ended = after.ended.iter();
        let given = ended.filter_map(|(task, why)| task.give_up(*why).zip(Discard::of(*why)));
        let given: Vec<_> = given.collect();
        if given.is_empty() {
            return;
        }
        if !after.hands_over {
            self.keep(given);
            return;
        }
        after.hands_over = false; // not yet
        if self.handover.add(given) {
            let shared = Arc::clone(self);
            if reaper(move || shared.keep_all()).is_err() {
                self.keep_all();
            }
        }
    }

    fn keep_all(self: &Arc<Self>) {
        while let Some((given, times)) = self.handover.take() {
            self.keep(given);
            for _ in 0..times {
                self.hub.handed_over();
            }
            self.end_if_deserted();
        }
    }

    fn keep(&self, given: Vec<(W::Request, Discard)>) {
        let Some(keep) = &self.keep else { return };
        for (request, reason) in given {
            quietly(|| keep(request, reason));
        }
    }

    fn end_if_deserted(self: &Arc<Self>) {
        if self.ending.has_begun() && self.hub.is_deserted() {
            self.end_threads();
        }
    }

    /// Tells the observer, if there is one; nothing unwinds out of it. No lock may be held.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(observer) = &self.observer {
            let event = event();
            quietly(|| observer.on_event(&self.name, &event));
        }
    }

    /// Sets this thread up, and tells of what could not be done; returns the core that it is bound to.
    #[cfg(feature = "affinity")]
    pub(crate) fn place(&self, placement: &crate::placement::Placement, thread: usize) -> Option<usize> {
        placement.apply(thread, |setting, error| {
            self.tell(|| Event::ThreadNotSet {
                thread,
                setting,
                error,
            });
        })
    }

    #[cold]
    fn start(self: &Arc<Self>, seats: &[usize]) {
        for &seat in seats {
            if crew::start(self, seat, None).is_err() {
                self.handle(self.hub.give_up(seat));
                self.end_if_deserted();
            }
        }
    }

    #[inline]
    pub(crate) fn arm(&self, time: u64) {
        if time < self.alarm.load(Ordering::Relaxed) && time < self.alarm.fetch_min(time, Ordering::AcqRel) {
            watch::changed();
        }
    }

    /// Returns how the pool stands.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.nanos();
        let times = Box::new(TaskTimes::NONE);
        self.hub.look(|hub| Snapshot::of(hub, now, times))
    }

    /// Looks what is due now.
    pub(crate) fn look(self: &Arc<Self>) {
        self.alarm.store(NEVER, Ordering::Release);
        let now = self.clock.nanos();
        loop {
            let after = self.hub.pulse(now);
            let is_behind = after.is_behind;
            self.handle(after);
            if !is_behind {
                break;
            }
        }
        let (life, there) = (self.hub.life(), self.hub.there());
        if let Life::Closed { until } = life
            && until <= now
        {
            let left = there + self.joins.awaited() + usize::from(self.hub.is_handing());
            if left > 0 {
                self.end(left);
            }
        }
    }

    /// Begins to end the pool.
    pub(crate) fn close(self: &Arc<Self>, within: Duration) {
        let now = self.clock.nanos();
        let (before, after) = self.hub.close(now, within);
        self.ending.begin(now, before);
        self.handle(after);
        self.end_if_deserted();
    }

    /// Waits until the threads are gone that do nothing more, and says then that the pool has ended; on a thread of its
    /// own, as destructors of thread-locals may take long.
    pub(crate) fn end_threads(self: &Arc<Self>) {
        let Some(last) = self.joins.begin_last() else {
            return; // somebody does
        };
        if last.is_empty() {
            self.end(0);
            return;
        }
        let shared = Arc::clone(self);
        let wait = move || {
            joins::join(last);
            shared.joins.end_last();
            shared.end(0);
        };
        if reaper(wait).is_err() {
            self.joins.end_last();
            self.end(0); // they are about to be gone
        }
    }

    /// Says that the pool has ended, but for so many threads.
    pub(crate) fn end(&self, leaked: usize) {
        let now = self.clock.nanos();
        let totals = self.hub.totals();
        let left = if leaked == 0 {
            Vec::new()
        } else {
            self.hub.look(|hub| hub.left(now))
        };
        let running = left.iter().filter(|(_, ran)| ran.is_some()).count();
        let told = |report| {
            for (thread, ran) in left {
                self.tell(|| Event::WorkerLeaked { thread, ran });
            }
            self.tell(|| Event::Drained { report });
        };
        drop(self.hub.leave_gate());
        self.ending.end(now, &totals, (leaked, running), told);
    }

    /// Says whether this thread works for this pool.
    pub(crate) fn is_own_thread(&self) -> bool {
        CURRENT.get() == std::ptr::from_ref(self).addr()
    }

    /// Has this thread work for this pool.
    pub(crate) fn enter_thread(&self) {
        CURRENT.set(std::ptr::from_ref(self).addr());
    }
}

/// Starts a thread for what may take long at the end of a pool.
///
/// # Errors
///
/// The operating system starts none.
fn reaper(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("cortex-reaper".to_owned());
    builder.spawn(run).map(drop)
}

impl<W: Worker> Member for Shared<W> {
    fn admit(self: Arc<Self>) {
        self.handle(self.hub.admit());
    }
}

impl<W: Worker> Pulse for Arcs<W> {
    fn wait(&self) -> Option<Duration> {
        watch::until(self.0.clock.nanos(), self.0.alarm.load(Ordering::Acquire))
    }

    fn pulse(&self) {
        self.0.look();
    }
}

/// The pool as the watch sees it.
pub(crate) struct Arcs<W: Worker>(pub(crate) Arc<Shared<W>>);
