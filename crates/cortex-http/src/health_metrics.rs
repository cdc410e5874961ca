use std::sync::Arc;

use cortex_health::{Event, Observer, RunResult};
use cortex_metrics::{Buckets, Counter, Family, Histogram, NativeBuckets, RegisterError, Registry, labels};

labels! {
    struct CheckLabels { check: Arc<str> }
}

labels! {
    struct RunLabels { check: Arc<str>, result: &'static str }
}

labels! {
    struct TransitionLabels { check: Arc<str>, to: &'static str }
}

/// Counts what happens to the checks; their states are read at each scrape. Each series is of a check, and those are
/// fixed when the health is built.
#[derive(Debug)]
pub(crate) struct HealthMetrics {
    duration: Family<CheckLabels, Histogram>,
    runs: Family<RunLabels, Counter>,
    transitions: Family<TransitionLabels, Counter>,
}

impl HealthMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let duration = Histogram::builder(&Buckets::http_seconds()).with_native(NativeBuckets::default());
        let this = Self {
            duration: Family::new(move || duration.clone().build()),
            runs: Family::new(Counter::default),
            transitions: Family::new(Counter::default),
        };
        registry.register_with_unit(
            "cortex_health_check_duration_seconds",
            "Time that a run of a check took, or its timeout",
            "seconds",
            this.duration.clone(),
        )?;
        registry.register(
            "cortex_health_runs",
            "Runs of checks by how they ended",
            this.runs.clone(),
        )?;
        registry.register(
            "cortex_health_transitions",
            "Changes of the states of checks, by the state after",
            this.transitions.clone(),
        )?;
        Ok(this)
    }
}

impl Observer for HealthMetrics {
    fn on_event(&self, event: &Event) {
        match event {
            Event::RunFinished {
                check,
                result,
                latency,
                ..
            } => {
                // One that was skipped has taken no time, and would say that the check is fast while it is not run.
                if *result != RunResult::Skipped {
                    let labels = CheckLabels {
                        check: Arc::clone(check),
                    };
                    self.duration
                        .with(&labels, |duration| duration.observe(latency.as_secs_f64()));
                }
                let labels = RunLabels {
                    check: Arc::clone(check),
                    result: result.as_str(),
                };
                self.runs.with(&labels, Counter::inc);
            }
            Event::Transition { check, to, .. } => {
                let labels = TransitionLabels {
                    check: Arc::clone(check),
                    to: to.as_str(),
                };
                self.transitions.with(&labels, Counter::inc);
            }
            _ => {}
        }
    }
}
