//! What policies decide, told to `tracing`.

use crate::event::Event;
use crate::observer::Observer;
use std::time::Duration;
use tracing::field::{DebugValue, debug};
use tracing::level_filters::LevelFilter;
use tracing::{Level, event, info, warn};

/// Tells `tracing` what policies decide, with the target `cortex_resilience` and the field `policy`.
///
/// | level | what |
/// |---|---|
/// | warn | a circuit opened, was forced open, or would have opened if its breaker did not only count |
/// | info | a circuit became half-open, closed, was reset, switched off, or told only to count |
/// | debug, or [another](Self::calls) | what happened to one call: a retry, a hedge, a refusal, the end of its time, that nothing more is tried, a fallback, a fault; and that a limit moved |
/// | trace | a call waited for its turn, or its end counts for nothing |
///
/// A line belongs to the span that is current where it is said. So `cortex_trace::TraceLayer` makes each an event of the span that
/// the call is made in, and a trace shows when it was tried again and why it was refused. That takes what the filter lets
/// through: `info,cortex_resilience=debug`, or `Log::new().calls(Level::INFO)`.
///
/// # Performance
///
/// What is below every level that somebody listens to costs a few nanoseconds.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::trace::Log;
///
/// let breaker = Breaker::builder("payments").observe(Log::new()).build()?;
/// breaker.open()?; // WARN cortex_resilience: the circuit opened policy="payments" from="closed" wait=60s
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Log {
    calls: Level,
}

impl Log {
    /// Tells of single calls at the level debug.
    pub const fn new() -> Self {
        Self { calls: Level::DEBUG }
    }

    /// Tells of single calls at this level. Where many fail at once, there are as many lines.
    #[must_use]
    pub const fn calls(mut self, level: Level) -> Self {
        self.calls = level;
        self
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Log {
    fn on_event(&self, policy: &str, event: &Event) {
        match *event {
            Event::Opened { from, wait } => {
                warn!(target: "cortex_resilience", policy, from = from.as_str(), ?wait, "the circuit opened");
            }
            Event::ForcedOpen { from } => {
                warn!(target: "cortex_resilience", policy, from = from.as_str(), "the circuit was forced open");
            }
            Event::RateExceeded { axis, rate } => {
                warn!(
                    target: "cortex_resilience",
                    policy,
                    ?axis,
                    rate,
                    "the circuit would have opened, but the breaker only counts"
                );
            }
            Event::HalfOpened { from } => {
                info!(target: "cortex_resilience", policy, from = from.as_str(), "the circuit is half-open");
            }
            Event::Closed { from } => {
                info!(target: "cortex_resilience", policy, from = from.as_str(), "the circuit closed");
            }
            Event::Disabled { from } => {
                info!(target: "cortex_resilience", policy, from = from.as_str(), "the breaker was switched off");
            }
            Event::MetricsOnly { from } => {
                info!(target: "cortex_resilience", policy, from = from.as_str(), "the breaker only counts from now on");
            }
            Event::Reset => info!(target: "cortex_resilience", policy, "the breaker was reset"),
            _ => {
                let level = self.level(event);
                if level <= LevelFilter::current() {
                    Line::of(event).tell(level, policy); // it is made only where somebody may listen
                }
            }
        }
    }
}

impl Log {
    const fn level(self, event: &Event) -> Level {
        match event {
            Event::Ignored | Event::Late | Event::Queued => Level::TRACE,
            _ => self.calls,
        }
    }
}

impl Line {
    /// Returns what to say of a single call.
    fn of(event: &Event) -> Self {
        match *event {
            Event::Ignored => Self::new("the end of the call counts for nothing"),
            Event::Late => Self::new("the call ended too late to count"),
            Event::Queued => Self::new("the call waits for its turn"),
            Event::Rejected(rejected) => Self {
                reason: Some(rejected.reason().as_str()),
                retry_after: rejected.retry_after().map(debug),
                ..Self::new("the call was refused")
            },
            Event::TimedOut(timed_out) => Self {
                reason: Some(timed_out.kind().as_str()),
                after: Some(debug(timed_out.after())),
                ..Self::new("the time of the call was over")
            },
            Event::RetryScheduled { retry, delay } => Self {
                retry: Some(retry),
                delay: Some(debug(delay)),
                ..Self::new("the call is tried again")
            },
            Event::GaveUp { reason, attempts } => Self {
                reason: Some(reason.as_str()),
                attempts: Some(attempts),
                ..Self::new("the call is not tried again")
            },
            Event::HedgeSent { attempt } => Self {
                attempt: Some(attempt),
                ..Self::new("another attempt is made beside those that run")
            },
            Event::HedgeWon { attempt } => Self {
                attempt: Some(attempt),
                ..Self::new("one of several attempts succeeded")
            },
            Event::HedgeCancelled { attempts } => Self {
                attempts: Some(attempts),
                ..Self::new("attempts were dropped, for another was faster")
            },
            Event::Chaos(fault) => Self {
                reason: Some(fault.as_str()),
                ..Self::new("a fault was done to the call on purpose")
            },
            Event::FellBack => Self::new("the call failed, and is answered otherwise"),
            Event::KeyOverflow => Self::new("the key found no place of its own"),
            Event::LimitChanged { from, to } => Self {
                from: Some(from),
                to: Some(to),
                ..Self::new("the limit moved")
            },
            // Told by itself.
            Event::Opened { .. }
            | Event::ForcedOpen { .. }
            | Event::RateExceeded { .. }
            | Event::HalfOpened { .. }
            | Event::Closed { .. }
            | Event::Disabled { .. }
            | Event::MetricsOnly { .. }
            | Event::Reset => Self::new("the breaker changed"),
        }
    }
}

/// A line about one call, with those fields that it has.
#[derive(Default)]
struct Line {
    text: &'static str,
    reason: Option<&'static str>,
    retry: Option<u32>,
    attempt: Option<u32>,
    attempts: Option<u32>,
    from: Option<u32>,
    to: Option<u32>,
    after: Option<DebugValue<Duration>>,
    delay: Option<DebugValue<Duration>>,
    retry_after: Option<DebugValue<Duration>>,
}

impl Line {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    fn tell(self, level: Level, policy: &str) {
        /// The level of a line is a constant.
        macro_rules! at {
            ($level:expr) => {
                event!(
                    target: "cortex_resilience",
                    $level,
                    policy,
                    reason = self.reason,
                    retry = self.retry,
                    attempt = self.attempt,
                    attempts = self.attempts,
                    from = self.from,
                    to = self.to,
                    after = self.after,
                    delay = self.delay,
                    retry_after = self.retry_after,
                    "{}",
                    self.text
                )
            };
        }
        match level {
            Level::ERROR => at!(Level::ERROR),
            Level::WARN => at!(Level::WARN),
            Level::INFO => at!(Level::INFO),
            Level::DEBUG => at!(Level::DEBUG),
            Level::TRACE => at!(Level::TRACE),
        }
    }
}
