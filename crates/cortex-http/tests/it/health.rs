use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use cortex_core::{Clock, SystemClock};
use cortex_health::{Check, Event, Health, Observer, Outcome};
use cortex_http::{Admin, Limits, Routes, Server};
use cortex_metrics::Registry;

use crate::support::{Shop, get_from, within};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn runs_and_changes_of_checks_are_counted() {
    let health = Health::builder()
        .check(Check::from_fn("database", || async { Err::<(), _>("refused") }))
        .check(Check::from_fn("cache", || async { Outcome::degraded("cold") }).informational())
        .build()
        .unwrap();
    let shop = Shop::with(Limits::new(), |server| server.health(health)).await;
    for sample in [
        "cortex_health_runs_total{check=\"database\",result=\"fail\"}",
        "cortex_health_runs_total{check=\"cache\",result=\"degraded\"}",
        "cortex_health_transitions_total{check=\"database\",to=\"down\"}",
        "cortex_health_transitions_total{check=\"cache\",to=\"degraded\"}",
        "cortex_health_check_duration_seconds_count{check=\"cache\"}",
        "cortex_health_status{check=\"cache\"}",
    ] {
        let least = if sample.contains("status") { 0.5 } else { 1.0 };
        shop.until_metric(sample, least).await;
    }
    assert!(shop.metric("cortex_health_group_status{group=\"live\"}") > 0.9);
    shop.close().await;
}

#[tokio::test]
async fn what_is_skipped_took_no_time_and_is_told_from_what_fails() {
    let often = Duration::from_millis(20);
    let health = Health::builder()
        .check(
            Check::from_fn("database", || async { false })
                .every(often)
                .stale_after(10 * SECOND),
        )
        .check(
            Check::from_fn("orders", || async { true })
                .depends_on(["database"])
                .every(often)
                .stale_after(10 * SECOND),
        )
        .build()
        .unwrap();
    let shop = Shop::with(Limits::new(), |server| server.health(health)).await;
    shop.until_metric(
        "cortex_health_runs_total{check=\"orders\",result=\"skipped\"}",
        3.0,
    )
    .await;
    let skipped = |check| shop.metric(&format!("cortex_health_skipped{{check=\"{check}\"}}"));
    assert!(skipped("orders") > 0.9 && skipped("database") < 0.1);
    let status = |check| shop.metric(&format!("cortex_health_status{{check=\"{check}\"}}"));
    assert!(status("orders") < 0.1 && status("database") < 0.1);
    let runs: f64 = ["ok", "fail", "timeout", "panic", "degraded"]
        .iter()
        .map(|result| {
            shop.metric(&format!(
                "cortex_health_runs_total{{check=\"orders\",result=\"{result}\"}}"
            ))
        })
        .sum();
    let timed = shop.metric("cortex_health_check_duration_seconds_count{check=\"orders\"}");
    assert!((timed - runs).abs() < 0.1, "{timed} of {runs}");
    let text = shop.registry.to_text();
    assert!(
        text.contains("\ncortex_health_flap_score{check=\"database\"} 0"),
        "{text}"
    );
    shop.close().await;
}

#[test]
fn liveness_answers_while_every_worker_is_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let admin = Admin::bind("127.0.0.1:0");
    let server = Server::new(Routes::new()).admin(admin);
    let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
    let admin = running.admin_addr().unwrap();
    let blocked = Arc::new(Barrier::new(3));
    for _ in 0..2 {
        let blocked = Arc::clone(&blocked);
        runtime.spawn(async move {
            blocked.wait(); // both workers are here
            blocked.wait();
        });
    }
    blocked.wait();
    // The client has a runtime of its own.
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // The slowest of twenty. The machine may be busy with other tests, so one of several rounds has to keep the bound:
    // what waits for a worker, or for a turn of anything, keeps it in none.
    let slowest = || {
        let times = (0..20).map(|_| {
            let start = SystemClock.now();
            let answer = client.block_on(get_from(admin, "/livez"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            SystemClock.now().saturating_duration_since(start)
        });
        times.max().unwrap()
    };
    let mut rounds = Vec::new();
    while rounds
        .last()
        .is_none_or(|slowest| *slowest >= Duration::from_millis(50))
    {
        rounds.push(slowest());
        assert!(rounds.len() < 10, "the slowest answers of each round: {rounds:?}");
    }
    blocked.wait();
    running.shutdown();
    runtime.block_on(running.join());
}

/// An observer of the application that does not come back.
struct Stuck(Mutex<mpsc::Receiver<()>>);

impl Observer for Stuck {
    fn on_event(&self, _: &Event) {
        let _ = self.0.lock().expect("no panic").recv();
    }
}

#[tokio::test]
async fn an_observer_that_blocks_freezes_no_counter_and_is_seen() {
    let (release, released) = mpsc::channel();
    let database = Check::from_fn("database", || async { true });
    let health = Health::builder()
        .observer(Stuck(Mutex::new(released)))
        .check(database.every(Duration::from_millis(1)).stale_after(10 * SECOND))
        .build()
        .unwrap();
    let shop = Shop::with(Limits::new(), |server| server.health(health)).await;
    shop.until_metric("cortex_health_missed_events_total", 1.0).await;
    // More than wait for the one that blocks: they are counted all the same.
    let runs = "cortex_health_runs_total{check=\"database\",result=\"ok\"}";
    shop.until_metric(runs, 1100.0).await;
    shop.close().await;
    drop(release);
}

#[tokio::test]
async fn a_server_whose_checks_are_in_use_elsewhere_leaves_no_trace() {
    let database = Check::from_fn("database", || async { true });
    let health = Health::builder()
        .check(database.every(Duration::from_millis(1)).stale_after(10 * SECOND))
        .build()
        .unwrap();
    let shop = Shop::with(Limits::new(), |server| server.health(health.clone())).await;
    let registry = Registry::default();
    let second = Server::new(Routes::new())
        .metrics(&registry)
        .admin(Admin::bind("127.0.0.1:0"))
        .health(health.clone());
    let error = second.start("127.0.0.1:0").await.unwrap_err();
    assert!(error.to_string().contains("in use by another server"), "{error}");
    let runs = "cortex_health_runs_total{check=\"database\",result=\"ok\"}";
    let before = shop.metric(runs);
    shop.until_metric(runs, before + 3.0).await; // the first goes on
    assert_eq!(
        registry.to_text(),
        "",
        "nothing was registered, and nothing is counted"
    );
    shop.close().await;

    let again = Server::new(Routes::new()).metrics(&registry);
    let running = again.start("127.0.0.1:0").await.unwrap(); // with checks of its own
    running.shutdown();
    assert_eq!(within(running.join()).await.code(), 0);
}
