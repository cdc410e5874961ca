use super::machine::{Action, Effects, Finding, Machine, Moment, Plan};
use super::run::{Ended, Ticket, describe, run_async, run_blocking};
use crate::check::Check;
use crate::observer::Event;
use crate::redact::redact;
use crate::running::Running;
use crate::shared::Shared;
use crate::source::Source;
use crate::status::Status;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The longest sleep of the scheduler: it gives a sign of life each time, several of them in a lease.
const BEAT: Duration = Duration::from_secs(1);

/// What wakes the scheduler.
#[derive(Debug)]
pub(crate) enum Message {
    /// A run is gone; `None` if it was dropped without a result.
    Ended {
        check: usize,
        run: u64,
        ended: Option<Ended>,
    },
    Stop,
}

/// Starts the thread.
pub(crate) fn start(shared: &Arc<Shared>, runtime: &Handle) -> io::Result<Running> {
    if !shared.take() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "this health was started before",
        ));
    }
    let driver = Driver::new(Arc::clone(shared), runtime.clone());
    let messages = driver.sender.clone();
    let thread = thread::Builder::new()
        .name("cortex-health".into())
        .stack_size(256 << 10)
        .spawn(move || driver.run())
        .inspect_err(|_| shared.release())?;
    Ok(Running::new(messages, thread))
}

/// Does what the machine says.
struct Driver {
    shared: Arc<Shared>,
    runtime: Handle,
    machine: Machine,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    /// By check: the last task.
    tasks: Vec<Option<AbortHandle>>,
}

impl Driver {
    fn new(shared: Arc<Shared>, runtime: Handle) -> Self {
        let (sender, receiver) = mpsc::channel();
        let plans = shared.checks.iter().map(plan);
        let entries = shared.snapshot().entries.clone();
        Self {
            machine: Machine::new(plans.zip(entries), shared.seed, moment(&shared)),
            tasks: vec![None; shared.checks.len()],
            shared,
            runtime,
            sender,
            receiver,
        }
    }

    fn run(mut self) {
        let mut message = None;
        while self.step(message.take()) {
            let wait = self
                .next_wake()
                .saturating_duration_since(self.shared.clock.now());
            message = match self.receiver.recv_timeout(wait) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => unreachable!("invariant: the driver holds a sender"),
            };
        }
        for task in self.tasks.iter().flatten() {
            task.abort();
        }
        self.shared.end_lease(self.shared.clock.now());
    }

    /// Takes the message and all that wait behind it, then does what is due; `false` once it is to stop.
    fn step(&mut self, message: Option<Message>) -> bool {
        let mut effects = Effects::default();
        let mut next = message.or_else(|| self.receiver.try_recv().ok());
        while let Some(message) = next {
            match message {
                Message::Stop => return false,
                Message::Ended { check, run, ended } => {
                    let finding = ended.as_ref().map(finding);
                    let at = moment(&self.shared);
                    self.machine.on_result(check, run, finding, at, &mut effects);
                }
            }
            next = self.receiver.try_recv().ok();
        }
        self.machine.on_tick(moment(&self.shared), &mut effects);
        for action in effects.actions.drain(..) {
            match action {
                Action::Start { check, run } => self.start(check, run),
                Action::Abort { check } => {
                    if let Some(task) = &self.tasks[check] {
                        task.abort();
                    }
                }
            }
        }
        if let Some(entries) = self.machine.take_changes() {
            self.shared.publish(entries);
        }
        self.shared.extend_lease(self.shared.clock.now());
        for event in &effects.events {
            self.tell(event); // after the publication: an observer that looks sees what it was told
        }
        true
    }

    fn next_wake(&self) -> Instant {
        let beat = self.shared.clock.now() + BEAT;
        self.machine.next_tick().map_or(beat, |due| due.min(beat))
    }

    fn start(&mut self, check: usize, run: u64) {
        let mut ticket = Ticket::new(check, run, self.sender.clone());
        let Check { source, timeout, .. } = &self.shared.checks[check];
        let timeout = *timeout;
        match source {
            Source::Async(start) => {
                let start = Arc::clone(start);
                let clock = SharedClock(Arc::clone(&self.shared));
                let task = self
                    .runtime
                    .spawn(run_async(ticket, move || start(), clock, timeout));
                self.tasks[check] = Some(task.abort_handle());
            }
            Source::Blocking(function) => {
                let function = Arc::clone(function);
                let clock = SharedClock(Arc::clone(&self.shared));
                let spawned = thread::Builder::new()
                    .name("health-check".into())
                    .spawn(move || run_blocking(ticket, &*function, &clock, timeout));
                if let Err(error) = spawned {
                    // The closure was dropped, and the ticket in it has reported that there will be no result.
                    tracing::warn!(check = &*self.shared.names[check], %error, "no thread for a health check");
                }
            }
            Source::Pulse(pulse) => {
                let began = self.shared.clock.now();
                ticket.fill(Ok(pulse.look(began)), Duration::ZERO);
            }
        }
    }

    /// Logs the event and hands it to the observer; a panic of either is no reason to stop.
    fn tell(&self, event: &Event) {
        let observer = &self.shared.observer;
        let _ = catch_unwind(AssertUnwindSafe(|| log(event)));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer.on_event(event))) {
            let panic = redact(&describe(panic));
            let _ = catch_unwind(|| tracing::error!(%panic, "the observer of the health checks failed"));
        }
    }
}

/// The clock of a health, for runs that may outlive the scheduler.
struct SharedClock(Arc<Shared>);

impl cortex_core::Clock for SharedClock {
    fn now(&self) -> Instant {
        self.0.clock.now()
    }

    fn wall(&self) -> std::time::SystemTime {
        self.0.clock.wall()
    }
}

fn moment(shared: &Shared) -> Moment {
    Moment {
        now: shared.clock.now(),
        wall: shared.clock.wall(),
    }
}

fn plan(check: &Check) -> Plan {
    let twice = check.interval.saturating_mul(2);
    Plan {
        timeout: check.timeout,
        interval: check.interval,
        stale_after: check.stale_after.unwrap_or(twice.saturating_add(check.timeout)),
        fall: check.fall,
        rise: check.rise,
    }
}

/// Masks secrets once, before the message goes anywhere.
fn finding(ended: &Ended) -> Finding {
    Finding {
        status: ended.outcome.status(),
        message: ended.outcome.message().map(|message| redact(message).into()),
        result: ended.result,
        latency: ended.latency,
    }
}

fn log(event: &Event) {
    let Event::Transition {
        check,
        from,
        to,
        after,
        message,
    } = event
    else {
        return;
    };
    let message = message.as_deref().unwrap_or_default();
    if *to == Status::Up || (*from, *to) == (Status::Down, Status::Degraded) {
        tracing::info!(%check, %from, %to, ?after, cause = message, "health check is better");
    } else {
        tracing::warn!(%check, %from, %to, ?after, cause = message, "health check is worse");
    }
}
