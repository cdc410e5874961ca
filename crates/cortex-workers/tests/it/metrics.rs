use crate::support::{at_rest, closures, occupy, poll_once};
use cortex_metrics::Registry;
use cortex_testkit::ManualClock;
use cortex_workers::Priority;
use cortex_workers::metrics::Metrics;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Returns the samples that are not zero, without histograms' buckets.
fn shown(registry: &Registry) -> Vec<String> {
    let text = registry.to_text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines =
        lines.filter(|line| !line.contains("_bucket{") && !line.ends_with(" 0.0") && !line.ends_with(" 0"));
    lines.map(|line| line.replace("cortex_workers_", "")).collect()
}

#[test]
fn a_scrape_shows_how_a_pool_stands() {
    let (registry, clock) = (Registry::default(), ManualClock::new());
    let metrics = Metrics::register(&registry);
    let pool = closures(|builder| builder.threads(1..=2).queue(2).ageing(None).clock(clock.clone()));
    assert!(metrics.watch(&pool));
    let door = occupy(&pool, 1);
    let mut calls: Vec<_> = (0..3)
        .map(|_| pool.run(|_, _| ()).priority(Priority::Low))
        .collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    assert!(pool.run(|_, _| ()).detach().is_err());
    clock.advance(Duration::from_millis(5));
    assert_eq!(
        shown(&registry),
        [
            "threads{pool=\"test\",state=\"busy\"} 1.0",
            "threads_min{pool=\"test\"} 1.0",
            "threads_max{pool=\"test\"} 2.0",
            "busy_seconds_total{pool=\"test\"} 0.005",
            "thread_seconds_total{pool=\"test\"} 0.005",
            "queue_tasks{pool=\"test\",priority=\"low\"} 2.0",
            "queue_limit{pool=\"test\"} 2.0",
            "calls_waiting{pool=\"test\"} 1.0",
            "queue_oldest_seconds{pool=\"test\"} 0.005",
            "submitted_total{pool=\"test\"} 5.0",
            "tasks_total{pool=\"test\",outcome=\"rejected\"} 1.0",
        ]
    );
    door.open();
    for call in calls {
        call.wait().unwrap();
    }
    at_rest(&pool);
    let text = registry.to_text();
    for line in [
        "cortex_workers_task_wait_seconds_bucket{pool=\"test\",priority=\"low\",le=\"0.004194304\"} 0\n",
        "cortex_workers_task_wait_seconds_bucket{pool=\"test\",priority=\"low\",le=\"0.016777216\"} 3\n",
        "cortex_workers_task_wait_seconds_sum{pool=\"test\",priority=\"low\"} 0.015\n",
        "cortex_workers_task_run_seconds_sum{pool=\"test\",priority=\"normal\"} 0.005\n",
        "cortex_workers_task_run_seconds_count{pool=\"test\",priority=\"low\"} 3\n",
        "cortex_workers_task_run_seconds_count{pool=\"test\",priority=\"high\"} 0\n",
        "cortex_workers_tasks_total{pool=\"test\",outcome=\"completed\"} 4.0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert_eq!(registry.dropped().get(), 0);
    drop(pool);
    assert_eq!(shown(&registry), [""; 0], "it is gone");
}

#[test]
fn of_two_with_one_name_the_last_is_shown() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry);
    let pools = [2, 3].map(|threads| closures(|builder| builder.threads(threads)));
    for pool in &pools {
        metrics.watch(pool);
    }
    let text = registry.to_text();
    assert!(
        text.contains("cortex_workers_threads_max{pool=\"test\"} 3.0\n"),
        "{text}"
    );
    let [first, last] = pools;
    drop(last);
    let text = registry.to_text();
    assert!(
        text.contains("cortex_workers_threads_max{pool=\"test\"} 2.0\n"),
        "{text}"
    );
    drop(first);
}

#[test]
fn counters_never_fall_while_threads_work() {
    let registry = Registry::default();
    let metrics = Metrics::register(&registry);
    let pool = closures(|builder| builder.threads(2));
    metrics.watch(&pool);
    let counters = || -> Vec<f64> {
        let text = registry.to_text();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains("_total{"));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect()
    };
    let mut before = counters();
    for _ in 0..50 {
        let calls: Vec<_> = (0..8)
            .map(|_| pool.run(|_, _| std::hint::black_box(SECOND)))
            .collect();
        let mut calls = calls;
        for call in &mut calls {
            drop(poll_once(call));
        }
        let now = counters();
        assert!(
            before.iter().zip(&now).all(|(before, now)| before <= now),
            "{before:?} {now:?}"
        );
        before = now;
    }
}
