use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use axum::routing::get;
use cortex_core::{Clock, SystemClock};
use cortex_health::{Access, Check, Detail, Health};
use cortex_http::{Admin, ErrorKind, Lifecycle, Limits, Routes, Running, Server, StepEnd, Subsystem};
use cortex_metrics::Registry;
use tokio::io::AsyncWriteExt;

use crate::support::{Shop, get_from, read_to_end, until, until_refused, within};

const STUCK: &[u8] = b"GET /stuck HTTP/1.1\r\nhost: a\r\n\r\n";

fn admin() -> Admin {
    Admin::bind("127.0.0.1:0")
}

#[tokio::test]
async fn what_is_under_way_finishes_and_new_connections_are_refused() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let mut socket = shop.connect().await;
    socket.write_all(STUCK).await.unwrap();
    shop.gates.until_entered().await;
    shop.running.shutdown();
    let refused = async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .expect("the listener closes");
    shop.gates.release.notify_one();
    let answer = read_to_end(&mut socket).await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("released"),
        "{answer}"
    );
    let report = shop.close().await;
    assert_eq!(
        (report.code(), report.cut_total, &*report.reason),
        (0, 0, "requested")
    );
}

#[tokio::test]
async fn what_does_not_finish_is_cut_and_named() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
    let mut socket = shop.connect().await;
    socket.write_all(STUCK).await.unwrap();
    shop.gates.until_entered().await;
    let report = shop.close().await;
    assert_eq!((report.code(), report.cut_total), (3, 1));
    assert_eq!((report.cut[0].method, &*report.cut[0].route), ("GET", "/stuck"));
    assert!(report.to_string().contains("cut GET /stuck after"));
}

#[tokio::test]
async fn kill_does_not_wait() {
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(Lifecycle::kubernetes())).await;
    let mut socket = shop.connect().await;
    socket.write_all(STUCK).await.unwrap();
    shop.gates.until_entered().await;
    shop.running.kill();
    let report = shop.close().await;
    assert!(
        report.forced && report.drained_in < Duration::from_secs(5),
        "{report:?}"
    );
    assert_eq!((report.code(), report.telemetry_lost), (3, false));
}

#[tokio::test]
async fn readiness_fails_while_the_drain_still_accepts() {
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let shop = Shop::with(Limits::new(), |server| server.admin(admin()).lifecycle(lifecycle)).await;
    let admin = shop.running.admin_addr().unwrap();
    let ready = async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(Duration::from_secs(10), ready)
        .await
        .expect("it becomes ready");

    shop.running.shutdown();
    let draining = async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 503") {} };
    tokio::time::timeout(Duration::from_secs(10), draining)
        .await
        .expect("readiness fails");
    assert!(get_from(admin, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(
        get_from(admin, "/metrics")
            .await
            .contains("\ncortex_lifecycle_phase 1")
    );
    let answer = shop.exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await; // served, and closed after it
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
    shop.running.kill();
    shop.close().await;
    until_refused(admin).await; // it closes last, but it closes
}

#[tokio::test]
async fn dropping_the_handle_drains_in_the_background() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    drop(shop.running);
    let closed = async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .expect("the listener closes");
}

#[tokio::test]
async fn the_admin_port_shows_probes_checks_and_metrics() {
    let health = Health::builder()
        .check(Check::from_fn("database", || async {
            Err::<(), _>("no route to postgres://me:secret@db/shop")
        }))
        .check(Check::from_fn("cache", || async { true }).informational())
        .check(Check::from_fn("orders", || async { true }).depends_on(["database"]))
        .build()
        .unwrap();
    let change = |server: Server| {
        server
            .health(health.clone())
            .admin(admin().detail(Access::new(Detail::Status).bearer("0123456789abcdef").unwrap()))
    };
    let shop = Shop::with(Limits::new(), change).await;
    let admin = shop.running.admin_addr().unwrap();
    let failing = async {
        loop {
            let metrics = get_from(admin, "/metrics").await;
            let known = [
                "cortex_health_status{check=\"cache\"} 1",
                "cortex_health_skipped{check=\"orders\"} 1",
            ];
            if known.iter().all(|sample| metrics.contains(sample)) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), failing)
        .await
        .expect("the checks run");
    assert!(get_from(admin, "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(get_from(admin, "/livez").await.starts_with("HTTP/1.1 200"));
    let report = get_from(admin, "/health").await;
    assert!(
        report.contains("database") && !report.contains("postgres"),
        "{report}"
    );
    let head = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer";
    let mut socket = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("{head} 0123456789abcdef\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let report = read_to_end(&mut socket).await;
    assert!(report.contains("postgres://me:***@db"), "{report}");
    let metrics = get_from(admin, "/metrics").await;
    assert!(
        metrics.contains("cortex_health_status{check=\"database\"} 0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cortex_health_skipped{check=\"orders\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cortex_health_skipped{check=\"database\"} 0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("cortex_health_flap_score{check=\"cache\"} 0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    assert!(get_from(admin, "/").await.contains("/metrics"));
    assert!(get_from(admin, "/nowhere").await.starts_with("HTTP/1.1 404"));
    shop.close().await;
}

/// The one promise that a shared runtime cannot keep.
#[test]
fn the_admin_port_answers_while_every_worker_is_blocked() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let shop = runtime.block_on(async {
        let shop = Shop::with(Limits::new(), |server| server.admin(admin())).await;
        let admin = shop.running.admin_addr().unwrap();
        within(async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200") {} }).await;
        shop
    });
    let (blocked, released) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    for _ in 0..2 {
        let (blocked, released) = (Arc::clone(&blocked), Arc::clone(&released));
        runtime.spawn(async move {
            blocked.wait();
            released.wait();
        });
    }
    blocked.wait();
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = other.block_on(get_from(shop.running.admin_addr().unwrap(), "/livez"));
    released.wait();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    runtime.block_on(shop.close());
}

/// What ends the service flips readiness itself: no worker is left to do it.
#[test]
fn readiness_fails_at_once_while_every_worker_is_blocked() {
    let ends: [fn(Running) -> Option<Running>; 2] = [
        |running| {
            running.shutdown();
            Some(running)
        },
        |running| {
            drop(running);
            None
        },
    ];
    for end in ends {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::new(Routes::new()).admin(admin());
        let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
        let admin = running.admin_addr().unwrap();
        let client = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ready = async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200") {} };
        client.block_on(within(ready));
        let ask = |path| client.block_on(within(get_from(admin, path)));
        let (blocked, released) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
        for _ in 0..2 {
            let (blocked, released) = (Arc::clone(&blocked), Arc::clone(&released));
            runtime.spawn(async move {
                blocked.wait();
                released.wait();
            });
        }
        blocked.wait();
        let running = end(running);
        let answer = ask("/readyz"); // the first one after it
        let live = ask("/livez");
        released.wait();
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains(r#""output":"draining""#),
            "{answer}"
        );
        assert!(live.starts_with("HTTP/1.1 200"), "{live}");
        if let Some(running) = running {
            runtime.block_on(running.join());
        }
    }
}

/// No worker is left to run the drain either.
#[test]
fn the_drain_ends_while_every_worker_is_blocked() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    for forced in [false, true] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = Server::new(Routes::new())
            .subsystem(Subsystem::new("db").stop(Duration::from_millis(50), async {}))
            .admin(admin())
            .lifecycle(lifecycle);
        let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
        let (blocked, released) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
        for _ in 0..2 {
            let (blocked, released) = (Arc::clone(&blocked), Arc::clone(&released));
            runtime.spawn(async move {
                blocked.wait();
                released.wait();
            });
        }
        blocked.wait();
        if forced {
            running.kill();
        } else {
            running.shutdown();
        }
        let other = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let joined =
            other.block_on(async { tokio::time::timeout(Duration::from_secs(20), running.join()).await });
        released.wait();
        let report = joined.unwrap();
        assert_eq!((report.forced, report.code()), (forced, 3), "{report}");
        let end = if forced {
            StepEnd::Skipped
        } else {
            StepEnd::TimedOut
        };
        assert_eq!(report.subsystems[0].end, end, "{report}");
    }
}

#[tokio::test]
async fn a_collector_that_hangs_costs_no_probe() {
    let (hanging, entered) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let registry = Registry::default();
    registry.register_collector({
        let (hanging, entered) = (Arc::clone(&hanging), Arc::clone(&entered));
        move |_: &mut cortex_metrics::Samples<'_>| {
            entered.fetch_add(1, Ordering::Relaxed);
            while hanging.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        }
    });
    let server = Server::new(Routes::new()).metrics(&registry).admin(admin());
    let running = server.start("127.0.0.1:0").await.unwrap();
    let addr = running.admin_addr().unwrap();
    let scrapes: Vec<_> = (0..2).map(|_| tokio::spawn(get_from(addr, "/metrics"))).collect();
    until("a scrape hangs", || entered.load(Ordering::Relaxed) > 0).await;
    assert!(get_from(addr, "/livez").await.starts_with("HTTP/1.1 200"));
    hanging.store(false, Ordering::Relaxed);
    for scrape in scrapes {
        assert!(within(scrape).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    running.shutdown();
    within(running.join()).await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_what_to_do() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let server = || Server::new(Routes::new().route("/", get(|| async {})));
    let error = server().start(addr).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    let error = server()
        .admin(Admin::bind(addr.to_string()))
        .start("127.0.0.1:0")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    let error = server().start("not an address").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    let error = server()
        .metrics(&shop.registry)
        .start("127.0.0.1:0")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Metrics);
    assert!(error.to_string().contains("sub-registry"), "{error}");
    let error = server()
        .limits(Limits::new().connections(0))
        .start("127.0.0.1:0")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limits);
    shop.close().await;
}

#[tokio::test]
async fn a_start_that_failed_leaves_the_registry_and_the_health_to_the_next_one() {
    let registry = Registry::default();
    let health = Health::builder()
        .check(Check::from_fn("db", async || Ok::<_, String>(())))
        .build()
        .unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let server = || {
        Server::new(Routes::new())
            .metrics(&registry)
            .health(health.clone())
    };
    let failing = Subsystem::new("db").start(Duration::from_mins(1), async { Err::<(), _>("no") });
    for (server, addr) in [
        (server().admin(admin()), addr),
        (
            server().admin(Admin::bind(addr.to_string())),
            ([127, 0, 0, 1], 0).into(),
        ),
        (
            server().admin(admin()).subsystem(failing),
            ([127, 0, 0, 1], 0).into(),
        ),
    ] {
        server.start(addr).await.unwrap_err();
        assert_eq!(registry.to_text(), "");
    }
    let running = server().admin(admin()).start("127.0.0.1:0").await.unwrap();
    let admin = running.admin_addr().unwrap();
    let ready = async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(Duration::from_mins(1), ready)
        .await
        .expect("it does not drain");
    let text = registry.to_text();
    assert!(
        text.contains("http_server_active_requests 0") && text.contains("cortex_lifecycle_phase 0"),
        "{text}"
    );
    running.shutdown();
    within(running.join()).await;

    // Its metrics are those of the service that has ended.
    let error = Server::new(Routes::new())
        .metrics(&registry)
        .service()
        .unwrap_err();
    assert_eq!(
        (
            error.kind(),
            registry
                .to_text()
                .matches("# TYPE http_server_active_requests")
                .count()
        ),
        (ErrorKind::Metrics, 1)
    );
}

#[test]
fn a_handler_that_blocks_its_thread_is_in_the_report() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (entered, released) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let blocking = {
        let (entered, released) = (Arc::clone(&entered), Arc::clone(&released));
        move || async move {
            entered.wait();
            released.wait();
        }
    };
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(10));
    let server = Server::new(Routes::new().route("/", get(blocking))).lifecycle(lifecycle);
    let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
    let client = runtime.spawn(get_from(running.local_addr(), "/"));
    entered.wait();
    running.shutdown();
    let report = runtime.block_on(running.join());
    released.wait();
    assert_eq!((report.unfinished, report.code()), (1, 3), "{report}");
    runtime.block_on(client).unwrap();
}

/// Streams are tasks of their own; what the report counts are connections.
#[test]
fn a_connection_of_http2_counts_once_however_many_handlers_block() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let (entered, released) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    let blocking = {
        let (entered, released) = (Arc::clone(&entered), Arc::clone(&released));
        move || async move {
            entered.wait();
            released.wait();
        }
    };
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(10));
    let server = Server::new(Routes::new().route("/", get(blocking))).lifecycle(lifecycle);
    let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
    let addr = running.local_addr();
    // A client of its own thread: the workers block.
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
            let io = hyper_util::rt::TokioIo::new(socket);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (send, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            let ask = || {
                let request = http::Request::get("http://a/").body(axum::body::Body::empty());
                send.clone().send_request(request.unwrap())
            };
            let answers = tokio::join!(ask(), ask());
            assert!(answers.0.is_err() && answers.1.is_err(), "{answers:?}");
        });
    });
    entered.wait();
    running.shutdown();
    let report = runtime.block_on(running.join());
    released.wait();
    assert_eq!((report.unfinished, report.code()), (1, 3), "{report}");
    client.join().unwrap();
}

/// A clock that panics on the admin thread once it is told to.
struct Broken(Arc<AtomicBool>);

impl Clock for Broken {
    fn now(&self) -> std::time::Instant {
        let admin = std::thread::current().name() == Some("cortex-admin");
        assert!(!(admin && self.0.load(Ordering::SeqCst)), "seeded");
        SystemClock.now()
    }

    fn wall(&self) -> std::time::SystemTime {
        SystemClock.wall()
    }
}

#[tokio::test]
async fn an_admin_thread_that_panics_ends_the_service() {
    let broken = Arc::new(AtomicBool::new(false));
    let server = Server::new(Routes::new())
        .clock(Broken(Arc::clone(&broken)))
        .admin(admin());
    let running = server.start("127.0.0.1:0").await.unwrap();
    let addr = running.admin_addr().unwrap();
    let mut open = Vec::new();
    for _ in 0..256 {
        open.push(tokio::net::TcpStream::connect(addr).await.unwrap());
    }
    // It has accepted all of them when it has answered the last one.
    let last = open.last_mut().unwrap();
    let request = format!("GET /livez HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    last.write_all(request.as_bytes()).await.unwrap();
    crate::support::read_until(last, "\r\n").await;
    broken.store(true, Ordering::SeqCst);
    // The one that finds it full has it look at the time.
    open.push(tokio::net::TcpStream::connect(addr).await.unwrap());
    let report = tokio::time::timeout(Duration::from_secs(20), running.join()).await;
    let report = report.expect("it ends");
    assert_eq!((report.code(), &*report.reason), (1, "the admin thread panicked"));
}

#[tokio::test]
async fn an_http2_stream_is_cut_and_named_too() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
    let io = hyper_util::rt::TokioIo::new(shop.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut send, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://a/stuck")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tokio::spawn(send.send_request(request));
    shop.gates.until_entered().await;
    let report = shop.close().await;
    assert_eq!(
        (report.cut_total, &*report.cut[0].route, report.code()),
        (1, "/stuck", 3)
    );
    assert!(within(answer).await.unwrap().is_err());
    let _ = within(connection).await.unwrap();
}
