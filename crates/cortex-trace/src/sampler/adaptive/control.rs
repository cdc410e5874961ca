//! What happens once a second: look at what came, and set the thresholds for what will come.

use super::routes::{Counts, Routes};
use super::shares::Division;
use crate::sampler::{END, Threshold};

/// How many seconds of the past count.
const TAU: f64 = 10.0;
/// The length of a tick in seconds.
const TICK: f64 = 1.0;
/// A share grows by this much a tick at most.
const RISE: f64 = 1.5;

/// What the budget and its limits are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// Spans a second, of this instance.
    pub(super) target: f64,
    pub(super) min_ratio: f64,
    pub(super) max_ratio: f64,
}

/// What is remembered from tick to tick.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) last_tick: f64,
    routes: Vec<History>,
    /// The spans of a trace, over all routes.
    spans: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct History {
    /// Traces a second.
    rate: Mean,
    /// Spans of a trace.
    spans: Mean,
}

/// A mean in which the past fades.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, fade: f64, sum: f64, weight: f64) {
        self.sum = self.sum * fade + sum;
        self.weight = self.weight * fade + weight;
    }

    fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

impl Control {
    pub(super) fn new() -> Self {
        Self {
            last_tick: 0.0,
            routes: vec![History::default(); Routes::len()],
            spans: Mean::default(),
        }
    }

    /// Ends a tick at `now`, in seconds.
    pub(super) fn tick(&mut self, now: f64, goal: Goal, routes: &Routes) {
        let elapsed = (now - self.last_tick).max(TICK);
        self.last_tick = now;
        // A pause counts as one tick however long it was, so that it does not make a sampler forget what it knows.
        let fade = (-TICK / TAU).exp();
        let mut loads = Vec::new();
        let (mut spans, mut kept) = (0, 0);
        for (index, route) in routes.taken() {
            let seen = route.threshold();
            let counts = routes.turn(index, route);
            let history = &mut self.routes[index];
            if counts.arrivals == 0 && history.rate.weight == 0.0 {
                continue; // nobody has come here yet
            }
            history.note(fade, elapsed, counts);
            spans += counts.spans();
            kept += counts.kept;
            loads.push((route, seen, *history));
        }
        self.spans.add(fade, as_f64(spans), as_f64(kept));
        let typical = self.spans_of_a_trace();
        let demand = |history: &History| {
            history.rate.get().unwrap_or(0.0) * history.spans_of_a_trace(typical) * goal.max_ratio
        };
        let mut demands: Vec<_> = loads.iter().map(|(.., history)| demand(history)).collect();
        let division = Division::of(goal.target, &mut demands);
        for (route, seen, history) in loads {
            let (rate, spans) = (
                history.rate.get().unwrap_or(0.0),
                history.spans_of_a_trace(typical),
            );
            let demand = demand(&history);
            let fair = if demand > 0.0 {
                division.share(demand) / (rate * spans)
            } else {
                goal.max_ratio
            };
            let ratio = fair.min(ratio(seen) * RISE);
            let ratio = ratio.max(goal.min_ratio).min(goal.max_ratio);
            let budget = budget(division.most(demand), spans);
            route.set(seen, bits(ratio), budget);
        }
    }

    /// Returns how many spans a trace has by and large.
    pub(super) fn spans_of_a_trace(&self) -> f64 {
        self.spans.get().unwrap_or(1.0).max(1.0)
    }
}

impl History {
    fn note(&mut self, fade: f64, elapsed: f64, counts: Counts) {
        self.rate
            .add(fade, as_f64(counts.arrivals) / elapsed * TICK, TICK);
        self.spans.add(fade, as_f64(counts.spans()), as_f64(counts.kept));
    }

    fn spans_of_a_trace(&self, typical: f64) -> f64 {
        self.spans.get().unwrap_or(typical).max(1.0)
    }
}

impl Counts {
    const fn spans(self) -> u64 {
        self.kept.saturating_add(self.children)
    }
}

/// Returns how many traces may be kept in a tick before the share is halved, if so many spans a second may: that and
/// three standard deviations, as even traffic does not come evenly.
pub(super) fn budget(spans_per_second: f64, spans_of_a_trace: f64) -> u64 {
    let mean = spans_per_second * TICK / spans_of_a_trace;
    to_u64((mean + 3.0 * mean.sqrt()).ceil()).max(1)
}

/// Returns the threshold of a share; one that no trace reaches if it is 0.
pub(super) fn bits(ratio: f64) -> u64 {
    Threshold::for_probability(ratio).map_or(END, Threshold::bits)
}

/// Returns the share of a threshold.
pub(super) fn ratio(bits: u64) -> f64 {
    Threshold::from_bits(bits).map_or(0.0, Threshold::probability)
}

#[expect(clippy::cast_precision_loss, reason = "a rate; 53 bits are more than enough")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the number is not negative"
)]
fn to_u64(count: f64) -> u64 {
    count as u64
}
