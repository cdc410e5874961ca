use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

use super::control::Control;
use super::drain::{Accepting, Drain};
use super::parts::Reload;
use super::step::{Step, ended_as};
use super::stopping::Stopping;
use super::subsystem::Subsystem;
use super::thread::LifecycleThread;
use crate::admin::AdminThread;
use crate::error::Error;
use crate::report::{ExitReport, StepEnd};
use crate::shared::Shared;

/// A service that starts. Dropping it ends what has started so far, in the background.
pub(crate) struct Starting {
    control: Arc<Control>,
    /// Taken when the start is over.
    begun: Option<(LifecycleThread, Drain)>,
}

/// A subsystem that was started.
pub(super) struct Started {
    pub(super) name: Cow<'static, str>,
    pub(super) task: Option<StartedTask>,
    pub(super) stop: Option<Step>,
}

/// Its task. Dropping it does not end the task.
pub(super) struct StartedTask {
    pub(super) limit: Duration,
    pub(super) stop: Stopping,
    pub(super) ended: JoinHandle<StepEnd>,
    pub(super) abort: AbortHandle,
}

impl Starting {
    pub(crate) const fn new(thread: LifecycleThread, drain: Drain, control: Arc<Control>) -> Self {
        let begun = Some((thread, drain));
        Self { control, begun }
    }

    /// Goes on as the start of this service, once it is put together.
    pub(crate) fn lead_to(&mut self, shared: Arc<Shared>, control: Arc<Control>) {
        self.drain().shared = shared;
        self.control = control;
    }

    /// Has signals end it, if their handlers are installed.
    pub(crate) fn watch(&self) {
        self.begun().0.watch().begin(&self.control);
    }

    /// Runs these whenever a reload is asked for, one after the other.
    pub(crate) fn reload(&self, reloads: Vec<Reload>) {
        let (control, app) = (Arc::clone(&self.control), self.begun().1.app.clone());
        self.runtime().spawn(reload(control, app, reloads));
    }

    /// Accepts connections by this, a loop that ends when the service closes.
    pub(crate) fn accept(&mut self, accepting: impl Future<Output = ()> + Send + 'static) {
        let task = self.begun().1.app.spawn(accepting);
        let (abort, control) = (task.abort_handle(), Arc::clone(&self.control));
        let ended = self.runtime().spawn(async move {
            // Cancelled, it has ended with its runtime, which is not for us to judge.
            if task.await.is_err_and(|error| error.is_panic()) {
                control.fail("the accept loop panicked".into());
            }
        });
        self.drain().accepting.push(Accepting { ended, abort });
    }

    /// Keeps the admin port, whose thread lives with the service.
    pub(crate) fn administer(&mut self, admin: AdminThread) {
        let (panicked, control) = (admin.panicked(), Arc::clone(&self.control));
        self.runtime().spawn(async move {
            if panicked.await {
                control.fail("the admin thread panicked".into());
            }
        });
        self.drain().admin = Some(admin);
    }

    pub(crate) fn drain(&mut self) -> &mut Drain {
        &mut self.begun.as_mut().expect(NOT_OVER).1
    }

    /// Says whether the end was asked for meanwhile.
    pub(crate) fn is_ending(&self) -> bool {
        self.control.is_ending()
    }

    /// Starts subsystems in order, until all have started or the end is asked for.
    pub(crate) async fn run(&mut self, subsystems: Vec<Subsystem>) -> Result<(), Error> {
        let control = Arc::clone(&self.control);
        for Subsystem {
            name,
            start,
            task,
            stop,
        } in subsystems
        {
            if self.is_ending() {
                break;
            }
            if let Some(step) = start {
                let limit = step.limit;
                let drain = self.drain();
                let clock = Arc::clone(&drain.shared.clock);
                let step = step.spawn(&drain.app);
                let (end, took, error) = step.end(&*clock, control.drain.cancelled()).await;
                match end {
                    StepEnd::Finished => tracing::info!(subsystem = %name, ?took, "started"),
                    StepEnd::Skipped => break,
                    end => return Err(Error::startup(&name, &end, limit, error)),
                }
            }
            let task = task.map(|(limit, task)| {
                let stop = Stopping::new();
                let task = self.begun().1.app.spawn(task(stop.clone()));
                let abort = task.abort_handle();
                let (control, name, running) = (Arc::clone(&control), name.clone(), stop.clone());
                let ended = self.runtime().spawn(async move {
                    let (end, _) = ended_as(task.await);
                    if !running.is_cancelled() {
                        control.fail(match &end {
                            StepEnd::Finished => format!("task {name} ended"),
                            StepEnd::Skipped => format!("task {name} was dropped with its runtime"),
                            end => format!("task {name} {end}"),
                        });
                    }
                    end
                });
                StartedTask {
                    limit,
                    stop,
                    ended,
                    abort,
                }
            });
            self.drain().started.push(Started { name, task, stop });
        }
        Ok(())
    }

    /// Hands the service to its thread, which waits for the end.
    pub(crate) fn finish(mut self) -> oneshot::Receiver<ExitReport> {
        let (thread, drain) = self.begun.take().expect(NOT_OVER);
        thread.run(drain, Arc::clone(&self.control))
    }

    /// Ends what has started so far, and waits for that; returns the error because of which. Dropping it ends the waiting.
    pub(crate) async fn abandon(self, error: Error) -> Error {
        self.control.abandon(error.to_string(), true);
        self.watch(); // the second signal ends the waiting, however early this is
        let _ = self.finish().await;
        error
    }

    fn begun(&self) -> &(LifecycleThread, Drain) {
        self.begun.as_ref().expect(NOT_OVER)
    }

    fn runtime(&self) -> &Handle {
        self.begun().0.runtime()
    }
}

const NOT_OVER: &str = "invariant: set until the start is over";

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some((thread, drain)) = self.begun.take() {
            self.control.abandon("the start was abandoned", false);
            thread.watch().begin(&self.control);
            thread.run(drain, Arc::clone(&self.control));
        }
    }
}

async fn reload(control: Arc<Control>, app: Handle, reloads: Vec<Reload>) {
    loop {
        tokio::select! {
            biased;
            () = control.over.cancelled() => return,
            () = control.reload.notified() => {} // those that come during one are one more
        }
        if reloads.is_empty() {
            tracing::info!("asked to reload, but there is nothing to reload");
        }
        for reload in &reloads {
            let step = reload.step().spawn(&app);
            let (end, took, _) = step.end(control.clock(), control.over.cancelled()).await;
            let name = &reload.name;
            match end {
                StepEnd::Finished => tracing::info!(reload = %name, ?took, "reloaded"),
                end => tracing::error!(reload = %name, ?took, "reloading {end}; what was there before stays"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use cortex_core::SystemClock;
    use cortex_health::Health;
    use cortex_trace::Tracer;

    use super::*;
    use crate::access::AccessLog;
    use crate::lifecycle::Lifecycle;
    use crate::limits::Limits;
    use crate::routes::Routes;

    async fn starting(app: &Handle) -> Starting {
        let (_, table) = Routes::new().into_parts();
        let (tracer, clock) = (Tracer::propagate_only(), Arc::new(SystemClock));
        let shared = Shared::new(table, Limits::new(), tracer, AccessLog::off(), clock);
        let shared = Arc::new(shared);
        let health = Health::builder().build().expect("no checks to refuse");
        let control = Arc::new(Control::new(Arc::clone(&shared), health));
        let drain = Drain::new("test".into(), shared, Lifecycle::local(), app.clone());
        let thread = LifecycleThread::start().await.expect("a thread");
        Starting::new(thread, drain, control)
    }

    #[tokio::test]
    async fn an_accept_loop_that_panics_ends_the_service() {
        let mut starting = starting(&Handle::current()).await;
        starting.accept(async { panic!("seeded") });
        let report = starting.finish().await.unwrap();
        assert_eq!((report.code(), &*report.reason), (1, "the accept loop panicked"));
    }

    #[tokio::test]
    async fn one_that_ends_with_its_runtime_does_not() {
        let app = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut starting = starting(app.handle()).await;
        starting.accept(pending());
        app.shutdown_background();
        // It is known by now: the drain waits for who has waited for the loop.
        let control = Arc::clone(&starting.control);
        let told = starting.finish();
        control.start_because("requested");
        let report = told.await.unwrap();
        assert_eq!((report.code(), &*report.reason), (0, "requested"));
    }
}
