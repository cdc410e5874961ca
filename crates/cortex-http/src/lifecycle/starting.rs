use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

use super::control::Control;
use super::drain::Drain;
use super::draining::Draining;
use super::parts::Reload;
use super::step::{Step, ended_as};
use super::subsystem::Subsystem;
use super::thread::LifecycleThread;
use crate::error::Error;
use crate::report::{ExitReport, StepEnd};
use crate::signals::Signals;

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
    pub(super) stop: Draining,
    pub(super) ended: JoinHandle<StepEnd>,
    pub(super) abort: AbortHandle,
}

impl Starting {
    pub(crate) const fn new(thread: LifecycleThread, drain: Drain, control: Arc<Control>) -> Self {
        let begun = Some((thread, drain));
        Self { control, begun }
    }

    pub(crate) fn watch(&self, signals: Signals) {
        self.runtime().spawn(Arc::clone(&self.control).watch(signals));
    }

    /// Runs these whenever a reload is asked for, one after the other.
    pub(crate) fn reload(&self, reloads: Vec<Reload>) {
        let (control, app) = (Arc::clone(&self.control), self.begun().1.app.clone());
        self.runtime().spawn(reload(control, app, reloads));
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
                let stop = Draining::new();
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

    /// Ends what has started so far, and waits for that.
    pub(crate) async fn abandon(self, reason: String) {
        self.control.fail(reason);
        let _ = self.finish().await;
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
            self.control.start_because("the start was abandoned");
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
