use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use cortex_health::{Check, Health};
use cortex_http::{Admin, DrainError, Lifecycle, Limits, Routes, Server};

use super::client::{Ask, TOKEN};
use crate::support::{Shop, within};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_drain_starts_once_and_says_so() {
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let admin = Admin::bind("127.0.0.1:0");
    let shop = Shop::with(Limits::new(), |server| server.admin(admin).lifecycle(lifecycle)).await;
    let addr = shop.running.admin_addr().unwrap();
    let ready = async { while Ask::get("/readyz").of(addr).await.status != 200 {} };
    tokio::time::timeout(LONG, ready).await.expect("it becomes ready");
    let answer = Ask::post("/drain").of(addr).await;
    assert_eq!((answer.status, &*answer.body), (202, r#"{"phase":"draining"}"#));
    assert_eq!(Ask::get("/readyz").of(addr).await.status, 503, "at once");
    Ask::post("/drain")
        .json("{}")
        .of(addr)
        .await
        .assert_problem(409, "drains already");
    assert!(shop.get("/").await.ends_with("hello"), "the delay still accepts");
    shop.running.kill();
    assert_eq!(shop.close().await.reason, "POST /drain");
}

#[tokio::test]
async fn who_comes_after_a_shutdown_is_told_so() {
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let admin = Admin::bind("127.0.0.1:0");
    let shop = Shop::with(Limits::new(), |server| server.admin(admin).lifecycle(lifecycle)).await;
    let addr = shop.running.admin_addr().unwrap();
    shop.running.shutdown();
    assert_eq!(Ask::post("/drain").of(addr).await.status, 409);
    shop.running.kill();
    assert_eq!(shop.close().await.reason, "requested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_drains_and_says_why_not() {
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let admin = Admin::bind("127.0.0.1:0").token(TOKEN).unwrap();
    let shop = Shop::with(Limits::new(), |server| server.admin(admin).lifecycle(lifecycle)).await;
    let addr = shop.running.admin_addr().unwrap();
    let drain = async |token: Option<&'static str>| {
        let call = move || cortex_http::drain(addr, token, LONG);
        tokio::task::spawn_blocking(call).await.unwrap()
    };
    for token in [None, Some("wrong-0123456789abcdef")] {
        let refused = drain(token).await.unwrap_err();
        assert!(matches!(refused, DrainError::Refused(401)), "{refused:?}");
    }
    drain(Some(TOKEN)).await.unwrap();
    drain(Some(TOKEN)).await.unwrap(); // twice is once
    shop.running.kill();
    assert_eq!(shop.close().await.reason, "POST /drain");
}

#[tokio::test]
async fn a_check_is_run_and_its_result_shown_whatever_it_is() {
    let (runs, passes) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
    let check = {
        let (runs, passes) = (Arc::clone(&runs), Arc::clone(&passes));
        Check::from_fn("database", move || {
            runs.fetch_add(1, Ordering::Relaxed);
            let passes = passes.load(Ordering::Relaxed);
            async move { passes.then_some(()).ok_or("no route to db-7") }
        })
    };
    let hour = Duration::from_hours(1);
    let check = check.every(hour).stale_after(3 * hour).fall(1);
    let health = Health::builder().check(check).build().unwrap();
    let shop = Shop::with(Limits::new(), |server| {
        server.health(health.clone()).admin(Admin::bind("127.0.0.1:0"))
    })
    .await;
    let addr = shop.running.admin_addr().unwrap();
    let run = Ask::post("/health/checks/database/run");
    let before = run.of(addr).await;
    assert_eq!(
        (before.status, &before.json()["status"]),
        (200, &"pass".into()),
        "{before:?}"
    );
    let ran = runs.load(Ordering::Relaxed);
    passes.store(false, Ordering::Relaxed);
    let after = run.of(addr).await;
    assert_eq!(
        (after.status, &after.json()["status"]),
        (200, &"fail".into()),
        "{after:?}"
    );
    assert!(after.body.contains("no route to db-7"), "{after:?}");
    assert_eq!(runs.load(Ordering::Relaxed), ran + 1);
    assert_eq!(after.header("content-type"), Some("application/health+json"));
    Ask::post("/health/checks/nobody/run")
        .of(addr)
        .await
        .assert_problem(404, "no check of this name");
    shop.close().await;
}

#[test]
fn everything_is_answered_while_every_worker_is_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let server = Server::new(Routes::new())
        .metrics(&cortex_metrics::Registry::default())
        .admin(Admin::bind("127.0.0.1:0").controls(&cortex_http::Controls::new()))
        .lifecycle(lifecycle);
    let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
    let addr = running.admin_addr().unwrap();
    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ask = |ask: Ask| {
        client
            .block_on(async { tokio::time::timeout(LONG, ask.of(addr)).await })
            .unwrap()
    };
    let ready = async { while Ask::get("/readyz").of(addr).await.status != 200 {} };
    client.block_on(within(ready));
    let blocked = Arc::new(Barrier::new(3));
    for _ in 0..2 {
        let blocked = Arc::clone(&blocked);
        runtime.spawn(async move {
            blocked.wait();
            blocked.wait();
        });
    }
    blocked.wait();
    for (path, status) in [("/", 200), ("/livez", 200), ("/controls", 200), ("/metrics", 200)] {
        assert_eq!(ask(Ask::get(path)).status, status, "{path}");
    }
    assert_eq!(ask(Ask::post("/health/checks/nobody/run")).status, 404);
    assert_eq!(ask(Ask::post("/drain")).status, 202);
    assert_eq!(ask(Ask::get("/readyz")).status, 503);
    assert_eq!(ask(Ask::post("/drain")).status, 409);
    blocked.wait();
    running.kill();
    runtime.block_on(running.join());
}
