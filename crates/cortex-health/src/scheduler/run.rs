use super::driver::Message;
use super::plan::Finding;
use crate::context::CheckCtx;
use crate::observer::RunResult;
use crate::outcome::Outcome;
use crate::source::{self, Glance};
use crate::status::Status;
use cortex_core::{Clock, Context, Deadline, FutureExt};
use std::any::Any;
use std::future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::task::{self, Poll};
use std::time::Duration;
use tracing::Span;

/// Reports the end of a run when it is dropped, whatever way the run ends.
#[derive(Debug)]
pub(crate) struct Ticket {
    check: usize,
    run: u64,
    messages: Sender<Message>,
    finding: Option<Finding>,
}

impl Ticket {
    pub(crate) const fn new(check: usize, run: u64, messages: Sender<Message>) -> Self {
        Self {
            check,
            run,
            messages,
            finding: None,
        }
    }

    /// Notes what the run found; `Err`: what its panic said.
    fn fill(&mut self, outcome: Result<Outcome, String>, latency: Duration) {
        self.finding = Some(found(outcome, latency));
    }
}

/// Makes a finding of an outcome; `Err`: what a panic said.
fn found(outcome: Result<Outcome, String>, latency: Duration) -> Finding {
    let (outcome, result) = match outcome {
        Ok(outcome) => {
            let result = RunResult::of(outcome.status());
            (outcome, result)
        }
        Err(panic) => (Outcome::down(panic), RunResult::Panicked),
    };
    Finding::new(&outcome, result, latency)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let message = Message::Ended {
            check: self.check,
            run: self.run,
            finding: self.finding.take(),
        };
        let _ = self.messages.send(message); // an error: the scheduler is gone, and so is the interest
    }
}

/// Runs an async check to its end or its panic.
pub(crate) async fn run_async(
    mut ticket: Ticket, // dropped last: when it reports, the future of the check is gone
    start: impl FnOnce(CheckCtx) -> source::Run,
    cx: CheckCtx,
    clock: impl Clock,
) {
    let began = clock.now();
    let context = Context::new().with_deadline(Deadline::at(cx.deadline));
    let span = span(&cx);
    let outcome = caught(start(cx), span).with_context(context).await;
    ticket.fill(outcome, clock.now().saturating_duration_since(began));
}

/// Runs a blocking check to its end or its panic.
pub(crate) fn run_blocking(
    mut ticket: Ticket,
    function: &(dyn Fn(&CheckCtx) -> Outcome + Send + Sync),
    cx: &CheckCtx,
    clock: &impl Clock,
) {
    let began = clock.now();
    let context = Context::new().with_deadline(Deadline::at(cx.deadline));
    let outcome = {
        let _guard = context.attach();
        let run = || catch_unwind(AssertUnwindSafe(|| function(cx))).map_err(describe);
        span(cx).in_scope(run)
    };
    ticket.fill(outcome, clock.now().saturating_duration_since(began));
}

/// Looks at a state on the thread of the scheduler, here and now.
pub(crate) fn look(function: impl FnOnce(Glance) -> Outcome, glance: Glance, clock: &impl Clock) -> Finding {
    let outcome = catch_unwind(AssertUnwindSafe(|| function(glance))).map_err(describe);
    found(outcome, clock.now().saturating_duration_since(glance.now))
}

/// Makes an error of a panic. The locals of the check are gone by then, whether it returned or panicked.
async fn caught(mut run: source::Run, span: Span) -> Result<Outcome, String> {
    let poll = move |cx: &mut task::Context<'_>| match span
        .in_scope(|| catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))))
    {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(describe(panic))),
    };
    future::poll_fn(poll).await
}

/// Makes the span of a run, for subscribers that listen to the level of debugging.
fn span(cx: &CheckCtx) -> Span {
    tracing::debug_span!(parent: None, "health_check", check = cx.name(), run = cx.attempt(), reason = cx.reason().as_str())
}

/// Says what a panic said.
pub(crate) fn describe(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => match panic.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(panic) => {
                Box::leak(panic); // its drop may panic, too, and this is where nobody would catch that
                return "panicked".to_owned();
            }
        },
    };
    format!("panicked: {text}")
}

impl RunResult {
    const fn of(status: Status) -> Self {
        match status {
            Status::Up => Self::Ok,
            Status::Degraded => Self::Degraded,
            Status::Down | Status::Unknown | Status::Skipped => Self::Failed,
        }
    }
}
