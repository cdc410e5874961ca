use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use super::control::{Asked, Control};
use super::parts::LastFlush;
use super::phase::Phase;
use super::starting::{Started, StartedTask};
use super::step::{FORCED_LIMIT, Step};
use super::times::Lifecycle;
use crate::admin::AdminThread;
use crate::report::{ExitReport, PhaseReport, StepEnd, StepReport};
use crate::shared::Shared;

/// How long connections get to notice that they are cut.
const CUT_LIMIT: Duration = Duration::from_secs(1);

/// What the end of a service has to end, in order.
pub(crate) struct Drain {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lifecycle: Lifecycle,
    /// The runtime of the application, where everything of it runs.
    pub(crate) app: Handle,
    pub(crate) checks: Option<cortex_health::Running>,
    pub(crate) admin: Option<AdminThread>,
    /// The accept loops; none if the service never came to serve.
    pub(super) accepting: Vec<Accepting>,
    pub(super) started: Vec<Started>,
    pub(super) flushes: Vec<(Cow<'static, str>, Step)>,
    last: Option<LastFlush>,
}

/// A loop that accepts connections.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) ended: JoinHandle<()>,
    pub(super) abort: AbortHandle,
}

impl Drain {
    pub(crate) fn new(name: String, shared: Arc<Shared>, lifecycle: Lifecycle, app: Handle) -> Self {
        Self {
            name,
            shared,
            lifecycle,
            app,
            checks: None,
            admin: None,
            accepting: Vec::new(),
            started: Vec::new(),
            flushes: Vec::new(),
            last: None,
        }
    }

    pub(crate) fn flushes(&mut self, flushes: Vec<(Cow<'static, str>, Step)>, last: Option<LastFlush>) {
        self.flushes = flushes;
        self.last = last;
    }

    /// Says whether the service has come to serve.
    pub(super) const fn accepts(&self) -> bool {
        !self.accepting.is_empty()
    }

    /// Waits to be asked, then ends the service phase by phase.
    pub(super) async fn run(mut self, control: &Control) -> ExitReport {
        let Asked { at, reason, failed } = control.asked().await;
        let (name, shared) = (self.name.clone(), Arc::clone(&self.shared));
        let mut phases = Phases::since(*at, &shared);

        if !self.accepting.is_empty() {
            tracing::info!(service = name, %reason, "draining: not ready, still accepting");
            unless_forced(control, tokio::time::sleep(self.lifecycle.drain_delay)).await;
            phases.end("draining");
        }
        self.close(control, &mut phases).await;
        let drained_in = phases.last.saturating_duration_since(*at);
        let unfinished = shared.tasks.len();

        shared.phase.enter(Phase::Stopping);
        drop(self.checks.take()); // signals the scheduler; nothing waits for a check that hangs
        let subsystems = self.stop(control).await;
        phases.end("stopping");

        shared.phase.enter(Phase::Flushing);
        let flushing = phases.last;
        let (flushes, telemetry_lost) = self.flush(control).await;
        phases.end("flushing");

        let tally = &shared.tally;
        let mut report = ExitReport {
            reason: reason.clone(),
            requests: tally.requests.load(Ordering::Relaxed),
            connections: tally.connections.load(Ordering::Relaxed),
            drained_in,
            cut: tally.take_cut(),
            cut_total: tally.cut_total.load(Ordering::Relaxed),
            unfinished,
            forced: control.is_forced(),
            telemetry_lost,
            phases: std::mem::take(&mut phases.ended),
            subsystems,
            flushes,
            failed: *failed,
            signal: control.forced_by(),
        };
        tracing::info!(service = name, code = report.code(), "{report}");
        let took = shared.clock.now().saturating_duration_since(flushing);
        let left = self.lifecycle.flush_timeout.saturating_sub(took);
        report.telemetry_lost |= !self.flush_logs(control, left).await;
        if let Some(admin) = self.admin.take() {
            // Last: whoever watches the drain sees its end, and what holds it up.
            let stopping = admin.stop();
            tokio::pin!(stopping);
            if unless_forced(control, &mut stopping).await.is_none() {
                let _ = tokio::time::timeout(FORCED_LIMIT, stopping).await;
            }
        }
        if control.is_forced() && !report.forced {
            report.forced = true;
            report.signal = control.forced_by();
            tracing::warn!(service = name, code = report.code(), "forced after the report");
        }
        report
    }

    /// Has logs written and sent, the line of the report with them; returns whether they were.
    async fn flush_logs(&mut self, control: &Control, left: Duration) -> bool {
        let Some(last) = self.last.take() else {
            return true;
        };
        let flushing = last(left.max(FORCED_LIMIT));
        tokio::pin!(flushing);
        match unless_forced(control, &mut flushing).await {
            Some(flushed) => flushed,
            None => tokio::time::timeout(FORCED_LIMIT, flushing)
                .await
                .unwrap_or(false),
        }
    }

    /// Closes the listeners, waits for connections, and cuts those that take too long.
    async fn close(&mut self, control: &Control, phases: &mut Phases<'_>) {
        let shared = &self.shared;
        shared.phase.enter(Phase::Closing);
        shared.closing.cancel(); // first, so that a handler can say something before its stream is ended
        shared.no_more.cancel();
        let accepting = &mut self.accepting;
        let ended = async {
            for Accepting { ended, .. } in &mut *accepting {
                let _ = ended.await; // who waits for the loop tells how it ended
            }
            shared.tasks.close();
            shared.tasks.wait().await;
        };
        let ended = tokio::time::timeout(self.lifecycle.drain_timeout, ended);
        let ended = unless_forced(control, ended).await;
        phases.end("closing");
        if !matches!(ended, Some(Ok(()))) {
            for accepting in accepting {
                accepting.abort.abort();
            }
            shared.tasks.close();
            shared.phase.enter(Phase::Cut);
            shared.kill.cancel();
            let noticed = tokio::time::timeout(CUT_LIMIT, shared.tasks.wait());
            if unless_forced(control, noticed).await.is_none() {
                let _ = tokio::time::timeout(FORCED_LIMIT, shared.tasks.wait()).await;
            }
            phases.end("cut");
        }
    }

    /// Stops the subsystems, the last one first.
    async fn stop(&mut self, control: &Control) -> Vec<StepReport> {
        let clock = &*self.shared.clock;
        let mut reports = Vec::new();
        for Started { name, task, stop } in self.started.drain(..).rev() {
            let begun = clock.now();
            let (mut end, gone) = match task {
                None => (StepEnd::Finished, true),
                Some(task) => stop_task(task, control).await,
            };
            if let Some(step) = stop {
                let stopped = if !gone || control.is_forced() {
                    StepEnd::Skipped
                } else {
                    let step = step.spawn(&self.app);
                    step.end(clock, control.force.cancelled()).await.0
                };
                if end == StepEnd::Finished {
                    end = stopped;
                }
            }
            let took = clock.now().saturating_duration_since(begun);
            if end != StepEnd::Finished {
                tracing::error!(subsystem = %name, ?took, "stopping {end}");
            }
            reports.push(StepReport { name, took, end });
        }
        reports
    }

    /// Flushes the exporters side by side; returns whether those of the tracer lost something, too.
    async fn flush(&mut self, control: &Control) -> (Vec<StepReport>, bool) {
        let clock = &*self.shared.clock;
        let begun: Vec<_> = self
            .flushes
            .drain(..)
            .map(|(name, step)| {
                let (control, clock) = (control.force.clone(), Arc::clone(&self.shared.clock));
                let step = step.spawn(&self.app);
                let ended = tokio::spawn(async move { step.end(&*clock, control.cancelled_owned()).await });
                (name, ended)
            })
            .collect();
        let spans = self.shared.tracer.flush(self.lifecycle.flush_timeout);
        let telemetry_lost = tokio::select! {
            biased; // nothing is lost where there is nothing to flush
            flushed = spans => flushed.is_err(),
            () = control.force.cancelled() => true,
        };
        let mut reports = Vec::new();
        let since = clock.now();
        for (name, ended) in begun {
            let (end, took) = match ended.await {
                Ok((end, took, _)) => (end, took),
                Err(_) => (StepEnd::Panicked, clock.now().saturating_duration_since(since)),
            };
            if end != StepEnd::Finished {
                tracing::error!(flush = %name, ?took, "flushing {end}");
            }
            reports.push(StepReport { name, took, end });
        }
        (reports, telemetry_lost)
    }
}

/// Returns how it ended, and whether nothing of it runs any more: one that blocks its thread cannot be aborted.
async fn stop_task(task: StartedTask, control: &Control) -> (StepEnd, bool) {
    let StartedTask {
        limit,
        stop,
        mut ended,
        abort,
    } = task;
    stop.cancel();
    let end = tokio::select! {
        biased;
        ended = &mut ended => return (ended.unwrap_or(StepEnd::Panicked), true),
        () = control.force.cancelled() => StepEnd::Skipped,
        () = tokio::time::sleep(limit) => StepEnd::TimedOut,
    };
    abort.abort();
    (end, tokio::time::timeout(FORCED_LIMIT, ended).await.is_ok())
}

async fn unless_forced<T>(control: &Control, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = control.force.cancelled() => None,
        done = work => Some(done),
    }
}

/// Measures one phase after the other.
struct Phases<'a> {
    shared: &'a Shared,
    last: Instant,
    ended: Vec<PhaseReport>,
}

impl<'a> Phases<'a> {
    const fn since(last: Instant, shared: &'a Shared) -> Self {
        let ended = Vec::new();
        Self { shared, last, ended }
    }

    fn end(&mut self, name: &'static str) {
        let now = self.shared.clock.now();
        let took = now.saturating_duration_since(self.last);
        self.ended.push(PhaseReport { name, took });
        self.last = now;
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("name", &self.name)
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}
