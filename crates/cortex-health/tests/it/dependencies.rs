use crate::wait::until;
use cortex_health::{Check, Detail, Endpoint, Group, Health, Status};
use cortex_testkit::ManualClock;
use expect_test::expect;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap()
}

fn body(health: &Health, endpoint: Endpoint<'_>, format: &'static str, detail: Detail) -> String {
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(format))]);
    let response = health.respond(endpoint, &accept, detail);
    String::from_utf8(response.into_body().to_vec()).unwrap()
}

#[test]
fn every_format_names_the_root_cause_first() {
    let runtime = runtime();
    let db = Check::from_fn("db", || async { Err::<(), _>("refused") }).groups([]);
    let orders = Check::from_fn("orders", || async {}).depends_on(["db"]);
    let mail = Check::from_fn("mail", || async {})
        .depends_on(["orders"])
        .degrades();
    let health = Health::builder()
        .clock(ManualClock::new())
        .check(mail)
        .check(orders)
        .check(db)
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("all is known", || {
        let report = health.snapshot();
        report.check("mail").unwrap().status() == Status::Skipped
    });
    let report = health.snapshot();
    assert_eq!(report.root_causes(), ["db"]);
    assert_eq!(report.group(Group::READY), Status::Down);
    let mail = report.check("mail").unwrap();
    assert_eq!(
        (
            mail.causes().collect::<Vec<_>>(),
            mail.depends_on().collect::<Vec<_>>()
        ),
        (vec!["db"], vec!["orders"])
    );
    let all = |endpoint, detail| {
        ["application/health+json", "application/json", "text/plain"]
            .map(|format| body(&health, endpoint, format, detail))
            .join("\n")
    };
    expect![[r#"
        {"status":"fail","rootCauses":["db"],"checks":{"mail":[{"status":"fail","criticality":"degrades","since":"2026-01-01T00:00:00.000Z","skipped":true,"causes":["db"],"dependsOn":["orders"]}],"orders":[{"status":"fail","criticality":"critical","since":"2026-01-01T00:00:00.000Z","skipped":true,"causes":["db"],"dependsOn":["db"]}]},"transitions":[{"check":"orders","from":"unknown","to":"skipped","time":"2026-01-01T00:00:00.000Z","afterMs":0.000,"causes":["db"]},{"check":"mail","from":"unknown","to":"skipped","time":"2026-01-01T00:00:00.000Z","afterMs":0.000,"causes":["db"]}]}
        {"status":"DOWN","rootCauses":["db"],"components":{"mail":{"status":"SKIPPED","details":{"criticality":"degrades","since":"2026-01-01T00:00:00.000Z","causes":["db"],"dependsOn":["orders"]}},"orders":{"status":"SKIPPED","details":{"criticality":"critical","since":"2026-01-01T00:00:00.000Z","causes":["db"],"dependsOn":["db"]}}},"transitions":[{"check":"orders","from":"unknown","to":"skipped","time":"2026-01-01T00:00:00.000Z","afterMs":0.000,"causes":["db"]},{"check":"mail","from":"unknown","to":"skipped","time":"2026-01-01T00:00:00.000Z","afterMs":0.000,"causes":["db"]}]}
        down
        root causes: db
        [-]mail skipped (degrades) because of db
        [-]orders skipped because of db
    "#]].assert_eq(&all(Endpoint::Ready, Detail::Full));
    let none = all(Endpoint::Ready, Detail::None);
    assert!(!none.contains("db"), "{none}");
    let status = all(Endpoint::Check("orders"), Detail::Status);
    assert!(
        status.contains(r#""rootCauses":["db"]"#) && !status.contains("dependsOn"),
        "{status}"
    );
    running.stop();
}

#[test]
fn what_was_skipped_runs_when_its_parent_is_back() {
    let (runtime, up, calls) = (
        runtime(),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let db = {
        let up = Arc::clone(&up);
        Check::blocking("db", move || up.load(Ordering::SeqCst))
    };
    let orders = {
        let calls = Arc::clone(&calls);
        Check::from_fn("orders", move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(true)
        })
    };
    let health = Health::builder()
        .check(
            db.every(Duration::from_millis(2))
                .stale_after(Duration::from_mins(1)),
        )
        .check(orders.depends_on(["db"]).every(Duration::from_hours(1)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let status = || health.snapshot().check("orders").unwrap().status();
    until("it is skipped", || status() == Status::Skipped);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    up.store(true, Ordering::SeqCst);
    until("it is up, an hour before its turn", || status() == Status::Up);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    running.stop();
}
