use std::sync::Arc;

use cortex_health::{Endpoint, Event, Health, Observer, RunResult, Status};
use cortex_metrics::{
    Buckets, Counter, Family, Histogram, NativeBuckets, RegisterError, Registry, Samples, labels,
};

labels! {
    struct CheckLabels { check: Arc<str> }
}

labels! {
    struct RunLabels { check: Arc<str>, result: &'static str }
}

labels! {
    struct TransitionLabels { check: Arc<str>, to: &'static str }
}

/// Shows a [`Health`] in a registry: runs and changes of its checks are counted, their states are read at each scrape.
///
/// A [`Server`](crate::Server) that has both does this by itself; this is for who serves probes and metrics with a server
/// of their own. Each series is of a check or a group, and those are fixed when the health is built.
///
/// | metric | of | is |
/// |---|---|---|
/// | `cortex_health_status` | each check | 1 up, 0.5 degraded, 0 down, unknown or skipped |
/// | `cortex_health_stale`, `_hung`, `_skipped` | each check | 0 or 1 |
/// | `cortex_health_flap_score` | each check | 0 steady, 1 never twice the same |
/// | `cortex_health_group_status` | each group | what its probe answers: 1 up, 0.5 degraded, 0 refused |
/// | `cortex_health_runs_total` | each check and `result` | runs by how they ended |
/// | `cortex_health_transitions_total` | each check and `to` | changes of its state |
/// | `cortex_health_check_duration_seconds` | each check | how long runs took, a histogram |
/// | `cortex_health_missed_events_total` | all | what observers were not told, because they took too long |
///
/// # Examples
///
/// ```
/// use axum::body::{Body, to_bytes};
/// use cortex_health::{Check, Detail, Health};
/// use cortex_http::HealthMetrics;
/// use cortex_metrics::{Registry, ScrapeService};
/// use tower::ServiceExt;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
/// let registry = Registry::default();
/// HealthMetrics::register(&registry, &health)?; // before the start, to miss nothing
///
/// let app = cortex_health::router(&health, Detail::Status).merge(ScrapeService::new(&registry).into_router());
/// let running = health.start(&tokio::runtime::Handle::current())?;
/// health.run_now("db").await?;
///
/// let response = app.oneshot(http::Request::get("/metrics").body(Body::empty())?).await?;
/// let text = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await?.to_vec())?;
/// assert!(text.contains("cortex_health_status{check=\"db\"} 1"), "{text}");
/// running.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HealthMetrics {
    duration: Family<CheckLabels, Histogram>,
    runs: Family<RunLabels, Counter>,
    transitions: Family<TransitionLabels, Counter>,
}

impl HealthMetrics {
    /// Registers the metrics of a health, and counts what happens to it from now on, for as long as it lives.
    ///
    /// The registry keeps the health alive.
    ///
    /// # Errors
    ///
    /// One of the names is taken: the registry shows a health already. Nothing is counted then.
    pub fn register(registry: &Registry, health: &Health) -> Result<(), RegisterError> {
        health.observe(Self::new(registry)?);
        let health = health.clone();
        registry.register_collector(move |out: &mut Samples<'_>| collect_states(&health, out));
        Ok(())
    }

    /// Registers what is counted by who observes; nothing is yet.
    pub(crate) fn new(registry: &Registry) -> Result<Self, RegisterError> {
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

/// Reads the states at each scrape: nothing is counted twice, nothing can lag behind.
pub(crate) fn collect_states(health: &Health, out: &mut Samples<'_>) {
    let flag = |is: bool| if is { 1.0 } else { 0.0 };
    let report = health.snapshot();
    for check in report.checks() {
        let labels = [("check", check.name())];
        let status = "State of a check: 1 up, 0.5 degraded, 0 down, unknown or skipped";
        out.gauge("cortex_health_status", status, &labels, level(check.status()));
        out.gauge(
            "cortex_health_stale",
            "Whether a check's result is too old to be trusted",
            &labels,
            flag(check.is_stale()),
        );
        out.gauge(
            "cortex_health_hung",
            "Whether a check's run does not return",
            &labels,
            flag(check.hung_since().is_some()),
        );
        out.gauge(
            "cortex_health_skipped",
            "Whether a check is not run because something that it depends on fails",
            &labels,
            flag(check.status() == Status::Skipped),
        );
        out.gauge(
            "cortex_health_flap_score",
            "How unsteady the last results of a check were: 0 all alike, 1 none like the one before",
            &labels,
            check.flap_score(),
        );
    }
    // Not by an observer, which may be the one that does not come back.
    out.counter(
        "cortex_health_missed_events",
        "Ends of runs and changes that an observer was not told of, because it took too long",
        &[],
        float(health.missed_events()),
    );
    for (group, _) in report.groups() {
        let name = group.name();
        out.gauge(
            "cortex_health_group_status",
            "What the probe of a group answers: 1 up, 0.5 degraded, 0 refused",
            &[("group", name)],
            level(health.status(Endpoint::Group(name))),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn float(count: u64) -> f64 {
    count as f64
}

fn level(status: Status) -> f64 {
    match status {
        Status::Up => 1.0,
        Status::Degraded => 0.5,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_health::{Check, Detail, Group, Outcome};
    use cortex_testkit::ManualClock;
    use http::{HeaderMap, StatusCode};
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::time::Duration;

    /// Compares each group's metric with what its probe answers, and returns the metrics as a row.
    fn compared(health: &Health, registry: &Registry) -> String {
        let text = registry.to_text();
        let report = health.snapshot();
        let row = report.groups().map(|(group, _)| {
            let name = group.name();
            let sample = format!("cortex_health_group_status{{group=\"{name}\"}} ");
            let found = text.lines().find_map(|line| line.strip_prefix(&*sample));
            let found = found
                .expect("each group has a metric")
                .trim_end_matches(".0")
                .to_owned();

            let answer = health.respond(Endpoint::Group(name), &HeaderMap::new(), Detail::None);
            let body = str::from_utf8(answer.body()).expect("JSON").to_owned();
            let expected = match (answer.status().as_u16(), &*body) {
                (200, r#"{"status":"pass"}"#) => "1",
                (200, r#"{"status":"warn"}"#) => "0.5",
                (503, r#"{"status":"fail"}"#) => "0",
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(found, expected, "{name}: {body}");
            found
        });
        row.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn a_group_is_as_its_probe_says_in_every_phase_of_its_life() {
        let (clock, state) = (ManualClock::new(), Arc::new(AtomicU8::new(3)));
        let look = Arc::clone(&state);
        let database = Check::from_fn("db", move || {
            let look = Arc::clone(&look);
            async move {
                loop {
                    match look.load(Ordering::SeqCst) {
                        0 => return Outcome::down("refused"),
                        1 => return Outcome::up(),
                        2 => return Outcome::degraded("slow"),
                        _ => tokio::task::yield_now().await,
                    }
                }
            }
        });
        let strict = Group::new("strict").unwrap();
        let groups = [Group::STARTUP, Group::LIVE, Group::READY, strict.clone()];
        let health = Health::builder()
            .clock(clock.clone())
            .check(database.groups(groups).fall(1))
            .map_status(strict, Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
            .build()
            .unwrap();
        let registry = Registry::default();
        HealthMetrics::register(&registry, &health).unwrap();
        let row = || compared(&health, &registry);
        let run = async |to: u8| {
            state.store(to, Ordering::SeqCst);
            health.run_now("db").await.unwrap();
        };

        // startup, live, ready, strict
        assert_eq!(row(), "0 1 0 0", "not started");
        let running = health.start(&tokio::runtime::Handle::current()).unwrap();
        while health.snapshot().seq() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(row(), "0 1 0 0", "the first run is under way");
        run(0).await;
        assert_eq!(row(), "0 0 0 0", "down");
        run(2).await;
        assert_eq!(row(), "0.5 0.5 0.5 0", "degraded, which is a start");
        run(1).await;
        assert_eq!(row(), "1 1 1 1", "up");
        run(0).await;
        assert_eq!(row(), "1 0 0 0", "a start is for ever");
        health.set_draining(true);
        assert_eq!(row(), "1 1 0 0", "a drain is cut short by no restart");
        run(1).await;
        assert_eq!(row(), "1 1 0 1", "traffic is refused, whatever the checks say");
        health.set_draining(false);
        assert_eq!(row(), "1 1 1 1", "the drain was called off");
        running.stop();
        assert_eq!(row(), "1 1 0 0", "nobody refreshes the checks");
        clock.advance(Duration::from_secs(31));
        assert_eq!(row(), "1 0 0 0", "nor has for too long");
    }
}
