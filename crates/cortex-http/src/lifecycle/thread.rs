use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::control::Control;
use super::drain::Drain;
use super::watch::Watch;
use crate::error::Error;
use crate::report::ExitReport;

/// The thread that ends a service: signals and the phases of the drain need no worker of the application, all of which
/// may be blocked when they are needed. It sleeps until then.
///
/// It is not the thread of the admin port: that one is optional, and ends before this one.
///
/// That of the last service with signal handlers stays, until another service has some, and acts upon the signals that come
/// when its own has ended.
///
/// Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct LifecycleThread {
    watch: Watch,
    jobs: oneshot::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    drain: Drain,
    control: Arc<Control>,
    told: oneshot::Sender<ExitReport>,
}

impl LifecycleThread {
    pub(crate) async fn start() -> Result<Self, Error> {
        let failed = |error| Error::system("start the thread of the lifecycle", error);
        let (ready, started) = oneshot::channel();
        let (jobs, job) = oneshot::channel();
        // What is logged goes where the thread that starts it logs to.
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let thread = std::thread::Builder::new().name("cortex-lifecycle".into());
        let thread = thread.spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || live(ready, job));
        });
        thread.map_err(failed)?;
        let watch = started
            .await
            .map_err(|_| failed(io::ErrorKind::BrokenPipe.into()))?
            .map_err(failed)?;
        Ok(Self { watch, jobs })
    }

    /// Returns the runtime that the thread drives until the service has ended.
    pub(super) const fn runtime(&self) -> &Handle {
        self.watch.runtime()
    }

    /// Returns who has the signals of the service.
    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Has the thread wait for the drain, and run it; returns where it tells how it went.
    pub(super) fn run(self, drain: Drain, control: Arc<Control>) -> oneshot::Receiver<ExitReport> {
        let (told, report) = oneshot::channel();
        // It fails only if the thread died, and then `told` is dropped, which says so.
        let _ = self.jobs.send(Job { drain, control, told });
        report
    }
}

fn live(ready: oneshot::Sender<io::Result<Watch>>, job: oneshot::Receiver<Job>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let watch = Watch::new(runtime.handle().clone());
    if ready.send(Ok(watch.clone())).is_ok() {
        // Who waits for the report hears of a panic. Signals have to end the process all the same.
        let worked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work(job))));
        let failed = !matches!(worked, Ok(true));
        runtime.block_on(async {
            if let Some(signals) = watch.end().await {
                signals.afterwards(failed).await;
            }
        });
    }
    runtime.shutdown_background();
}

/// Returns whether the service could start, or ended before because that was asked for. If not, nobody has it to end.
async fn work(job: oneshot::Receiver<Job>) -> bool {
    let Ok(Job { drain, control, told }) = job.await else {
        return false;
    };
    let _over = control.over.clone().drop_guard();
    let accepts = drain.accepts();
    let report = drain.run(&control).await;
    let started = !control.is_abandoned() && (accepts || !report.failed);
    let _ = told.send(report); // nobody may wait for it
    if control.forced_by().is_some() {
        pending::<()>().await; // the process ends in a moment, whoever else waits for signals
    }
    started
}
