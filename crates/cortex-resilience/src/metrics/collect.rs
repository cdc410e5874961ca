use crate::circuit::State;
use crate::watch::{Look, Reading, Watched};
use cortex_metrics::Samples;
use std::collections::HashSet;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};

/// The most that are watched.
const MOST: usize = 2_000;

const STATES: [State; 6] = [
    State::Closed,
    State::Open,
    State::HalfOpen,
    State::Disabled,
    State::MetricsOnly,
    State::ForcedOpen,
];

/// The policies that are watched, the last one at the end.
#[derive(Debug, Default)]
pub(super) struct Policies(Mutex<Vec<Watched>>);

impl Policies {
    /// Adds policies, all or none of them.
    pub(super) fn watch(&self, more: Vec<Watched>) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() + more.len() > MOST {
            all.retain(|policy| !policy.is_gone());
        }
        let is_room = all.len() + more.len() <= MOST;
        if is_room {
            all.extend(more);
        }
        is_room
    }

    /// Takes those that still live. The lock is free when anybody else's code runs: a reading may tell an observer.
    fn alive(&self) -> Vec<Arc<dyn Look>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|policy| !policy.is_gone());
        all.iter().filter_map(Watched::get).collect()
    }

    pub(super) fn collect(&self, out: &mut Samples<'_>) {
        let policies = self.alive();
        let mut shown = HashSet::new();
        let mut readings = Vec::with_capacity(policies.len());
        for policy in policies.iter().rev() {
            let reading = policy.look();
            if shown.insert((discriminant(&reading), policy.name())) {
                readings.push((policy.name(), reading));
            }
        }
        for (policy, reading) in readings.into_iter().rev() {
            show(policy, &reading, out);
        }
    }
}

fn show(policy: &str, reading: &Reading, out: &mut Samples<'_>) {
    let just = [("policy", policy)];
    match *reading {
        Reading::Breaker { snapshot, left } => {
            for state in STATES {
                let value = f64::from(u8::from(state == snapshot.state));
                let labels = [("policy", policy), ("state", state.as_str())];
                let help = "The state of a breaker: 1 for the one that it is in.";
                out.gauge("cortex_resilience_breaker_state", help, &labels, value);
            }
            let help = "How long the break of a breaker goes on; 0 if there is none.";
            out.gauge(
                "cortex_resilience_breaker_break_seconds",
                help,
                &just,
                left.as_secs_f64(),
            );
            let help = "The share of the calls in a breaker's window that failed.";
            let ratio = snapshot.failure_ratio;
            out.gauge("cortex_resilience_breaker_failure_ratio", help, &just, ratio);
            let help = "The share of the calls in a breaker's window that were slow.";
            let ratio = snapshot.slow_ratio;
            out.gauge("cortex_resilience_breaker_slow_ratio", help, &just, ratio);
        }
        Reading::Bulkhead {
            in_use,
            max_concurrent,
            waiting,
            queue,
        } => {
            calls(policy, "bulkhead", (in_use, max_concurrent), out);
            let help = "Calls that wait for a permit of a bulkhead.";
            out.gauge("cortex_resilience_calls_waiting", help, &just, waiting.into());
            let help = "How many calls may wait for a permit of a bulkhead.";
            out.gauge("cortex_resilience_waiting_limit", help, &just, queue.into());
        }
        Reading::Adaptive { in_flight, limit } => calls(policy, "adaptive", (in_flight, limit), out),
        Reading::RateLimit { tokens, burst } => {
            let help = "Tokens that a rate limiter has.";
            out.gauge("cortex_resilience_tokens", help, &just, float(tokens));
            let help = "How many tokens a rate limiter has at most.";
            out.gauge("cortex_resilience_tokens_limit", help, &just, float(burst));
        }
        Reading::Throttle(ratio) => {
            let help = "The share of calls that a throttle refuses.";
            out.gauge("cortex_resilience_throttled_ratio", help, &just, ratio);
        }
    }
}

fn calls(policy: &str, kind: &str, (in_flight, limit): (u32, u32), out: &mut Samples<'_>) {
    let labels = [("policy", policy), ("kind", kind)];
    let help = "Calls that are under way behind a limit of concurrency.";
    out.gauge(
        "cortex_resilience_calls_in_flight",
        help,
        &labels,
        in_flight.into(),
    );
    let help = "How many calls may be under way behind a limit of concurrency.";
    out.gauge("cortex_resilience_calls_limit", help, &labels, limit.into());
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge of so many tokens needs not the last digit"
)]
fn float(number: u64) -> f64 {
    number as f64
}
