use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cortex_core::Clock;
use cortex_health::Health;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::phase::Phase;
use crate::shared::Shared;
use crate::signals::{Ending, Received, Signals};

/// How the end is asked for, from any thread: it waits for nobody.
#[derive(Debug)]
pub(crate) struct Control {
    shared: Arc<Shared>,
    health: Health,
    readiness: Mutex<Readiness>,
    asked: OnceLock<Asked>,
    pub(super) drain: CancellationToken,
    pub(super) force: CancellationToken,
    forced_by: OnceLock<u8>,
    /// All of the service has ended, and has been told.
    pub(super) over: CancellationToken,
    pub(super) reload: Notify,
}

/// When and why the end was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(super) at: Instant,
    pub(super) reason: Cow<'static, str>,
    /// It is the end of something that the service cannot do without.
    pub(super) failed: bool,
}

/// What this has done to the readiness of the service.
#[derive(Debug)]
enum Readiness {
    Untouched,
    /// It has it fail, and this is what it was before.
    Failed {
        draining: bool,
    },
    /// It is as it was. Another try to start may have the health by now, and nothing here touches it any more.
    Abandoned,
}

/// How long after the second signal the process may still run: its code is told by then, unless something blocks.
const LAST_MOMENT: Duration = Duration::from_secs(1);

impl Control {
    pub(crate) fn new(shared: Arc<Shared>, health: Health) -> Self {
        Self {
            shared,
            health,
            readiness: Mutex::new(Readiness::Untouched),
            asked: OnceLock::new(),
            drain: CancellationToken::new(),
            force: CancellationToken::new(),
            forced_by: OnceLock::new(),
            over: CancellationToken::new(),
            reload: Notify::new(),
        }
    }

    /// Starts the drain, and returns whether it was this call that did: the first one names the reason. Readiness fails
    /// here, on the thread that asks.
    pub(crate) fn start_because(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.ask(reason.into(), false)
    }

    /// Starts the drain of what has started so far: the start has `failed`, which who asked for it hears, or nobody waits for
    /// it any more. The health is as it was then, for another try.
    pub(super) fn abandon(&self, reason: impl Into<Cow<'static, str>>, failed: bool) {
        let before = std::mem::replace(&mut *self.readiness(), Readiness::Abandoned);
        if let Readiness::Failed { draining } = before {
            self.health.set_draining(draining);
        }
        self.ask(reason.into(), failed);
    }

    /// Says whether the start was given up.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(*self.readiness(), Readiness::Abandoned)
    }

    /// Starts the drain as the service cannot go on.
    pub(super) fn fail(&self, reason: String) {
        tracing::error!(reason, "the service cannot go on");
        self.ask(reason.into(), true);
    }

    fn ask(&self, reason: Cow<'static, str>, failed: bool) -> bool {
        let mut first = false;
        self.asked.get_or_init(|| {
            first = true;
            let at = self.shared.clock.now();
            Asked { at, reason, failed }
        });
        self.shared.phase.enter(Phase::Draining);
        self.fail_readiness();
        self.drain.cancel();
        first
    }

    fn fail_readiness(&self) {
        let mut readiness = self.readiness();
        match *readiness {
            Readiness::Untouched => {
                let draining = self.health.is_draining();
                *readiness = Readiness::Failed { draining };
            }
            Readiness::Failed { .. } => {}
            Readiness::Abandoned => return,
        }
        self.health.set_draining(true);
    }

    fn readiness(&self) -> MutexGuard<'_, Readiness> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the drain.
    pub(crate) fn end(&self) {
        self.force.cancel();
    }

    pub(super) async fn asked(&self) -> &Asked {
        self.drain.cancelled().await;
        self.asked
            .get()
            .expect("invariant: set before the token is cancelled")
    }

    pub(super) fn is_forced(&self) -> bool {
        self.force.is_cancelled()
    }

    pub(super) fn forced_by(&self) -> Option<u8> {
        self.forced_by.get().copied()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Says whether the end was asked for.
    pub(crate) fn is_ending(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Has everything that was registered for it reload.
    pub(crate) fn reload(&self) {
        self.reload.notify_one();
    }

    /// Starts the drain at the first signal, which is its reason, and ends it at the next. If the process still runs a
    /// moment later, something blocks it, and would for ever: a runtime waits for its workers. So it ends here.
    ///
    /// It returns them when the service is over; what comes after that is [`afterwards`](Signals::afterwards)' business.
    pub(super) async fn watch(self: Arc<Self>, mut signals: Signals) -> Signals {
        let ending = loop {
            let received = tokio::select! {
                biased; // what has come by then is meant for this service
                received = signals.recv() => received,
                () = self.over.cancelled() => return signals,
            };
            match received {
                Received::Reload => self.reload(),
                Received::End(Ending { name, .. }) if signals.is_first() => {
                    self.start_because(name);
                }
                Received::End(ending) => break ending,
            }
        };
        let _ = self.forced_by.set(ending.number);
        self.end();
        tokio::time::sleep(LAST_MOMENT).await;
        tracing::error!("the process is ended: a thread of it blocks");
        ending.exit();
    }
}

#[cfg(test)]
mod tests {
    use cortex_core::SystemClock;
    use cortex_trace::Tracer;

    use super::*;
    use crate::access::AccessLog;
    use crate::limits::Limits;
    use crate::routes::Routes;

    fn control(health: &Health) -> Control {
        let (_, table) = Routes::new().into_parts();
        let (tracer, clock) = (Tracer::propagate_only(), Arc::new(SystemClock));
        let shared = Shared::new(table, Limits::new(), tracer, AccessLog::off(), clock);
        Control::new(Arc::new(shared), health.clone())
    }

    #[test]
    fn a_start_that_is_abandoned_leaves_the_health_as_it_was_whoever_asks_for_its_end() {
        let health = Health::builder().build().unwrap();
        for before in [false, true] {
            health.set_draining(before);
            let abandoned = control(&health);
            abandoned.start_because("SIGTERM");
            assert!(health.is_draining());
            abandoned.abandon("the start was abandoned", false);
            assert_eq!(health.is_draining(), before);
            abandoned.start_because("SIGTERM");
            assert_eq!(health.is_draining(), before);

            let next = control(&health);
            next.start_because("requested");
            assert!(health.is_draining() && !next.is_abandoned());
            abandoned.start_because("SIGTERM");
            assert!(health.is_draining());
        }
    }
}
