//! Real signals, sent to a process of its own in every phase of a service's life.
//!
//! The process is this test binary again, which runs one test that is a service as its environment says.

use std::future::pending;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
#[cfg(feature = "logs")]
use std::sync::Mutex;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::routing::get;
use cortex_http::{Admin, Lifecycle, Routes, Server, Subsystem};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{self, Layer, SubscriberExt};

/// Says which service the child is.
const ROLE: &str = "CORTEX_HTTP_TEST_SERVICE";

/// Longer than any test waits: what takes it is stuck.
const STUCK: Duration = Duration::from_hours(1);

/// Shorter than that, and longer than any child lives: one that is stuck is ended, so that its test fails.
const LIFE: Duration = Duration::from_mins(2);

struct Service {
    child: Child,
    /// Dropped, it says that the child has ended.
    _ended: mpsc::Sender<()>,
    /// What it says. Its standard output is the test harness's.
    says: BufReader<ChildStderr>,
}

impl Service {
    /// Starts one in this role.
    fn start(role: &str) -> Self {
        Self::start_with(role, &[])
    }

    fn start_with(role: &str, variables: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("the path of this binary"))
            .args([
                "--exact",
                "drain_signals::is_the_service",
                "--ignored",
                "--nocapture",
            ])
            .env(ROLE, role)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let says = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, ended) = mpsc::channel();
        let id = child.id();
        std::thread::spawn(move || {
            if ended.recv_timeout(LIFE) == Err(mpsc::RecvTimeoutError::Timeout) {
                signal_to(id, "KILL");
            }
        });
        Self {
            child,
            _ended: tell,
            says,
        }
    }

    /// Reads until it says a line that begins so, and returns the rest of that line.
    fn until(&mut self, begin: &str) -> String {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            let read = self.says.read_line(&mut line).expect("it is a pipe");
            assert_ne!(read, 0, "it ended before it said {begin:?}: {before}");
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().into();
            }
            before += &line;
        }
    }

    fn signal(&self, name: &str) {
        signal_to(self.child.id(), name);
    }

    /// Waits for its end; returns its exit code and the rest of what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.says.read_to_string(&mut rest).expect("it is a pipe");
        (self.child.wait().expect("a child").code(), rest)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended, unless a test failed
        let _ = self.child.wait();
    }
}

fn signal_to(process: u32, name: &str) {
    let script = format!("kill -{name} {process}");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.expect("a shell").success());
}

fn says(line: &str) {
    let mut out = std::io::stderr();
    out.write_all(format!("{line}\n").as_bytes())
        .expect("somebody reads");
}

/// Says it, and never ends.
async fn stuck(line: &'static str) {
    says(line);
    pending::<()>().await;
}

fn panics() {
    panic!("seeded")
}

/// Says it, and keeps the thread.
fn blocks(line: &str) {
    says(line);
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "a process of its own, which the tests of this file start by `--ignored --exact drain_signals::is_the_service`"]
fn is_the_service() {
    let Ok(role) = std::env::var(ROLE) else {
        return; // somebody runs what is ignored, too
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(if ["cut", "a reload blocks"].contains(&&*role) {
            2
        } else {
            1
        })
        .enable_all()
        .build()
        .unwrap();
    match &*role {
        "dropped" => return runtime.block_on(dropped()),
        "not started" => return runtime.block_on(not_started()),
        "not started, and hangs" => return runtime.block_on(not_started_and_hangs()),
        "dropped, and hangs" => return runtime.block_on(dropped_and_hangs()),
        "drained before" => return runtime.block_on(drained_before(Duration::ZERO)),
        "drains already" => return runtime.block_on(drained_before(STUCK)),
        "another one before" => runtime.block_on(another_one()),
        "a signal meanwhile" => {
            runtime.block_on(another_one());
            interrupted_by_its_report();
        }
        _ => {}
    }
    let report = runtime.block_on(serve(&role)).unwrap();
    says(&format!("report: {report}"));
    if WAITING.contains(&&*role) {
        drop(runtime); // waits for the worker, as the end of `main` does
    }
    report.exit();
}

/// Roles in which something holds a thread of the runtime for ever.
const WAITING: [&str; 4] = [
    "a worker blocks",
    "blocking work hangs",
    "a stop blocks",
    "a signal meanwhile",
];

async fn serve(role: &str) -> Result<cortex_http::ExitReport, cortex_http::Error> {
    let routes = Routes::new()
        .route("/stuck", get(|| stuck("handling")))
        .route(
            "/cut",
            get(|| async {
                let witness = Cut;
                stuck("handling").await;
                drop(witness);
            }),
        )
        .route("/blocks", get(|| async { blocks("handling") }))
        .route(
            "/blocking",
            get(|| async {
                tokio::task::spawn_blocking(|| blocks("blocking"));
            }),
        );
    let server = Server::new(routes);
    let server = match role {
        "a reload panics" => server.on_reload("config", STUCK, || {
            says("reloading");
            panics();
            pending::<()>()
        }),
        "a reload blocks" => server.on_reload("config", Duration::from_millis(20), || {
            blocks("reloading");
            pending::<()>()
        }),
        _ => server.on_reload("config", STUCK, || async { says("reloading") }),
    };
    let timely = Lifecycle::local();
    let server = match role {
        "start" => server
            .subsystem(Subsystem::new("a").stop(STUCK, async { says("stopping a") }))
            .subsystem(Subsystem::new("b").start(STUCK, stuck("starting b"))),
        "draining" => server
            .subsystem(Subsystem::new("a").stop(STUCK, async { says("stopping a") }))
            .lifecycle(timely.drain_delay(STUCK)),
        "closing" => server.lifecycle(timely.drain_timeout(STUCK)),
        "cut" | "a worker blocks" => server.lifecycle(timely.drain_timeout(Duration::from_millis(20))),
        "a stop blocks" | "a signal meanwhile" => server
            .subsystem(Subsystem::new("a").stop(Duration::from_millis(20), async { blocks("stopping a") })),
        "stopping" => server.subsystem(Subsystem::new("a").stop(STUCK, stuck("stopping a"))),
        "flushing" => server.flush("metrics", STUCK, stuck("flushing metrics")),
        #[cfg(feature = "logs")]
        "telemetry" => {
            let telemetry = cortex_trace::Telemetry::from_env("shop").expect("good variables");
            server
                .telemetry(&telemetry.install().expect("the first one"))
                .admin(Admin::bind("127.0.0.1:0"))
                .lifecycle(timely.flush_timeout(STUCK))
        }
        _ => server,
    };
    if role == "start" {
        return server.serve("127.0.0.1:0").await;
    }
    if role == "with signals" {
        let running = server.start_with_signals("127.0.0.1:0").await?;
        says(&format!("listens on {}", running.local_addr()));
        return Ok(running.join().await);
    }
    let running = server.start("127.0.0.1:0").await?;
    let addr = running.local_addr();
    if let Some(addr) = running.admin_addr() {
        says(&format!("administers on {addr}"));
    }
    let ended = running.serve_until_signal();
    if role == "draining" {
        tell_of_sigterm();
    }
    says(&format!("listens on {addr}"));
    ended.await
}

/// Says that its handler is cut.
struct Cut;

impl Drop for Cut {
    fn drop(&mut self) {
        says("cut");
    }
}

/// Drops what serves while it starts, and while it runs; each time all of it ends.
async fn dropped() {
    for phase in ["starting", "running"] {
        let (begun, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, tell) = (Arc::clone(&begun), Arc::clone(&ended));
        let last = Subsystem::new("last");
        let last = match phase {
            "starting" => last.start(STUCK, async move {
                told.notify_one();
                pending::<()>().await;
            }),
            _ => last.task(STUCK, |stop| async move {
                told.notify_one();
                stop.cancelled().await;
            }),
        };
        let server = Server::new(Routes::new())
            .subsystem(Subsystem::new("first").stop(STUCK, async move { tell.notify_one() }))
            .subsystem(last);
        tokio::select! {
            ended = server.serve("127.0.0.1:0") => panic!("{ended:?}"),
            () = begun.notified() => {}
        }
        ended.notified().await;
    }
    let server = Server::new(Routes::new());
    let running = server.start("127.0.0.1:0").await.expect("a free port");
    let addr = running.local_addr();
    drop(running.serve_until_signal());
    while tokio::net::TcpStream::connect(addr).await.is_ok() {}
    until_one_thread().await;
    says("gone");
}

/// A service that signals might have ended, and which has ended without one.
async fn another_one() {
    let running = Server::new(Routes::new()).start("127.0.0.1:0").await;
    let running = running.expect("a free port");
    running.shutdown();
    assert_eq!(running.serve_until_signal().await.expect("signals").code(), 0);
}

/// A service that a `preStop` hook drains. `main` has something to do when Kubernetes sends its signal, and never ends.
async fn drained_before(delay: Duration) {
    let server = Server::new(Routes::new()).admin(Admin::bind("127.0.0.1:0"));
    let running = server
        .lifecycle(Lifecycle::local().drain_delay(delay))
        .start_with_signals("127.0.0.1:0")
        .await
        .expect("free ports");
    let mut terminate = signal(SignalKind::terminate()).expect("handlers");
    if delay == STUCK {
        tell_of_sigterm();
    }
    says(&format!("drains on {}", running.admin_addr().expect("a port")));
    let report = running.join().await;
    says(&format!("report: {report}"));
    if report.forced {
        report.exit();
    }
    terminate.recv().await;
    stuck("finishing").await;
}

/// Says when a SIGTERM has come, to all who wait for one: what is sent after that comes after it.
fn tell_of_sigterm() {
    let mut terminate = signal(SignalKind::terminate()).expect("handlers");
    tokio::spawn(async move {
        terminate.recv().await;
        says("got SIGTERM");
    });
}

/// Has the process get a signal in the last moment of its service, when its report has been logged and not yet told.
fn interrupted_by_its_report() {
    on_report(|| signal_to(std::process::id(), "INT"));
}

/// Does this when a report has been logged.
fn on_report(act: impl Fn() + Send + Sync + 'static) {
    struct Log<F>(F);

    impl<S: Subscriber, F: Fn() + 'static> Layer<S> for Log<F> {
        fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
            event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
                if field.name() == "message" && format!("{value:?}").starts_with("drained after") {
                    self.0();
                }
            });
        }
    }

    let subscriber = tracing_subscriber::registry().with(Log(act));
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
}

/// What `main` does after that never ends.
async fn not_started_and_hangs() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it is bound");
    assert!(Server::new(Routes::new()).serve(addr).await.is_err());
    stuck("listens on nothing").await;
}

/// The start is given up after a while, and what `main` does then never ends.
async fn dropped_and_hangs() {
    let (begun, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, tell) = (Arc::clone(&begun), Arc::clone(&ended));
    on_report(move || tell.notify_one());
    let slow = Subsystem::new("slow").start(STUCK, async move {
        told.notify_one();
        pending::<()>().await;
    });
    tokio::select! {
        ended = Server::new(Routes::new()).subsystem(slow).serve("127.0.0.1:0") => panic!("{ended:?}"),
        () = begun.notified() => {}
    }
    ended.notified().await;
    stuck("listens on nothing").await;
}

/// Fails to start in all ways that come after the thread of the lifecycle.
async fn not_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it is bound");
    let server = || Server::new(Routes::new());
    assert!(server().start(addr).await.is_err());
    assert!(server().serve(addr).await.is_err());
    let admin = server().admin(Admin::bind(addr.to_string()));
    assert!(admin.serve("127.0.0.1:0").await.is_err());
    let failing = Subsystem::new("db").start(STUCK, async { Err::<(), _>("no") });
    assert!(server().subsystem(failing).serve("127.0.0.1:0").await.is_err());
    until_one_thread().await;
    says("gone");
}

/// Waits until no thread of a lifecycle is left but the one that stays for the signals.
async fn until_one_thread() {
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("comm")).ok()
    };
    loop {
        let names = std::fs::read_dir("/proc/self/task")
            .expect("Linux")
            .filter_map(name);
        // The system keeps 15 characters of it.
        let threads = names.filter(|name| name.trim() == &"cortex-lifecycle"[..15]);
        if threads.count() <= 1 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Sends a request, and keeps its connection.
fn ask(addr: &str, path: &str) -> std::net::TcpStream {
    let addr: SocketAddr = addr.parse().expect("an address");
    let mut socket = std::net::TcpStream::connect(addr).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("it reads");
    socket
}

#[test]
fn the_first_one_drains() {
    for (signal, name) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        for role in ["plain", "with signals"] {
            let mut service = Service::start(role);
            service.until("listens on ");
            service.signal(signal);
            let (code, said) = service.end();
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains(&format!("({name})")), "{said}");
        }
    }
}

#[test]
fn one_that_comes_while_it_starts_ends_it_without_an_error() {
    let mut service = Service::start("start");
    service.until("starting b");
    service.signal("TERM");
    service.until("stopping a"); // what had started stops
    let (code, said) = service.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("(SIGTERM)") && !said.contains("stopping b"),
        "{said}"
    );
}

#[test]
fn the_second_one_ends_it_in_every_phase() {
    for role in ["draining", "closing", "cut", "stopping", "flushing"] {
        let mut service = Service::start(role);
        let addr = service.until("listens on ");
        let paths: &[&str] = match role {
            "closing" => &["/stuck"],
            "cut" => &["/cut", "/blocks"], // the second one does not notice
            _ => &[],
        };
        let mut held = Vec::new();
        for path in paths {
            held.push(ask(&addr, path));
            service.until("handling");
        }
        service.signal("TERM");
        match role {
            "stopping" => drop(service.until("stopping a")),
            "flushing" => drop(service.until("flushing metrics")),
            "cut" => drop(service.until("cut")),
            "draining" => drop(service.until("got SIGTERM")), // and then nothing for an hour
            _ => while std::net::TcpStream::connect(&addr).is_ok() {},
        }
        service.signal("INT");
        let (code, said) = service.end();
        assert_eq!(code, Some(130), "{role}: {said}");
        assert!(
            said.contains("forced after") && said.contains("(SIGTERM)"),
            "{role}: {said}"
        );
        for path in paths.iter().filter(|path| **path != "/blocks") {
            assert!(said.contains(&format!("cut GET {path}")), "{role}: {said}");
        }
        drop(held);
    }
}

#[test]
fn what_is_cut_without_a_second_one_is_told_by_the_code() {
    let mut service = Service::start("cut");
    let addr = service.until("listens on ");
    let _held = ask(&addr, "/stuck");
    service.until("handling");
    service.signal("TERM");
    let (code, said) = service.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("cut GET /stuck"), "{said}");
}

/// The end of `main` waits for the worker, and would for ever.
#[test]
fn the_second_one_ends_a_process_whose_workers_block() {
    let mut service = Service::start("a worker blocks");
    let addr = service.until("listens on ");
    let _held = ask(&addr, "/blocks");
    service.until("handling");
    service.signal("TERM");
    let report = service.until("report: ");
    assert!(report.starts_with("drained"), "{report}");
    service.until("  1 connections could not be ended");
    service.signal("TERM");
    let (code, said) = service.end();
    assert_eq!(code, Some(143), "{said}");
}

/// Nothing of the service was left to wait for, and `main` never ends all the same.
#[test]
fn the_one_after_the_report_ends_a_process_that_something_else_holds() {
    for (role, asked, says) in [
        ("blocking work hangs", Some("/blocking"), ", 0 cut"),
        ("a stop blocks", None, ", 0 cut"),
    ] {
        let mut service = Service::start(role);
        let addr = service.until("listens on ");
        let _held = asked.map(|path| {
            let held = ask(&addr, path);
            service.until("blocking");
            held
        });
        service.signal("TERM");
        let report = service.until("report: ");
        assert!(
            report.starts_with("drained") && report.contains(says),
            "{role}: {report}"
        );
        service.signal("HUP"); // nothing is left to reload
        service.signal("INT");
        let (code, said) = service.end();
        assert_eq!(code, Some(130), "{role}: {said}");
    }
    for role in ["not started, and hangs", "dropped, and hangs"] {
        let mut service = Service::start(role);
        service.until("listens on ");
        service.signal("TERM");
        let (code, said) = service.end();
        assert_eq!(code, Some(143), "{role}: {said}");
    }
}

/// As Kubernetes does it: a `preStop` hook drains, and then SIGTERM comes in any case.
#[test]
fn the_first_one_after_a_drain_that_none_asked_for_lets_main_finish() {
    let mut service = Service::start("drained before");
    let admin = service.until("drains on ");
    cortex_http::drain(&admin, None, LIFE).unwrap();
    let report = service.until("report: ");
    assert!(report.contains("(POST /drain)"), "{report}");
    service.signal("TERM");
    service.until("finishing");
    service.signal("INT");
    let (code, said) = service.end();
    assert_eq!(code, Some(130), "{said}");

    // And while it still drains.
    let mut service = Service::start("drains already");
    let admin = service.until("drains on ");
    cortex_http::drain(&admin, None, LIFE).unwrap();
    service.signal("TERM");
    service.until("got SIGTERM");
    service.signal("INT");
    let report = service.until("report: ");
    assert!(
        report.starts_with("forced") && report.contains("(POST /drain)"),
        "{report}"
    );
    let (code, said) = service.end();
    assert_eq!(code, Some(130), "{said}");
}

/// `main` waits for a step that blocks, and another service of the process was there before.
#[test]
fn the_second_one_is_not_lost_in_the_moment_in_which_the_service_ends() {
    let mut service = Service::start("a signal meanwhile");
    service.until("listens on ");
    service.signal("TERM");
    let (code, said) = service.end();
    assert_eq!(code, Some(130), "{said}");
}

#[test]
fn those_of_a_service_are_not_taken_by_what_stays_of_another() {
    let mut service = Service::start("another one before");
    service.until("listens on ");
    service.signal("TERM");
    let (code, said) = service.end();
    assert!(code == Some(0) && said.contains("(SIGTERM)"), "{code:?}: {said}");
}

#[test]
fn a_reload_that_panics_or_blocks_keeps_neither_the_next_one_nor_the_end() {
    for role in ["a reload panics", "a reload blocks"] {
        let mut service = Service::start(role);
        service.until("listens on ");
        service.signal("HUP");
        service.until("reloading");
        if role == "a reload panics" {
            service.signal("HUP");
            service.until("reloading");
        }
        service.signal("TERM");
        let (code, said) = service.end();
        assert!(
            code == Some(0) && said.contains("(SIGTERM)"),
            "{role} {code:?}: {said}"
        );
    }
}

/// Who takes logs, and what is to be said to a service that sends them here.
#[cfg(feature = "logs")]
fn collector(
    runtime: &tokio::runtime::Runtime,
    routes: Routes,
) -> (cortex_http::Running, [(&'static str, String); 5]) {
    let running = runtime
        .block_on(Server::new(routes).start("127.0.0.1:0"))
        .expect("a free port");
    let stuck = STUCK.as_millis().to_string();
    let variables = [
        (
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            format!("http://{}/v1/logs", running.local_addr()),
        ),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none".into()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", stuck.clone()),
        ("OTEL_TRACES_EXPORTER", "none".into()),
        ("OTEL_BLRP_SCHEDULE_DELAY", stuck),
    ];
    (running, variables)
}

#[cfg(feature = "logs")]
fn one_worker() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The exporter waits for more to send together; `ExitReport::exit` does not wait for the exporter.
#[cfg(feature = "logs")]
#[test]
fn the_last_line_of_the_log_reaches_the_collector() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&got);
    let routes = Routes::new().route(
        "/v1/logs",
        axum::routing::post(async move |body: axum::body::Bytes| {
            keep.lock()
                .expect("nobody panics with it")
                .extend_from_slice(&body);
            [("content-type", "application/x-protobuf")]
        }),
    );
    let runtime = one_worker();
    let (_collector, variables) = collector(&runtime, routes);
    let mut service = Service::start_with("telemetry", &variables);
    service.until("listens on ");
    service.signal("TERM");
    let (code, said) = service.end();
    assert_eq!(code, Some(0), "{said}");
    let got = got.lock().unwrap();
    let text = String::from_utf8_lossy(&got);
    assert!(text.contains("drained after"), "{text}");
}

/// The report has been logged by then, and the collector has it and does not say so.
#[cfg(feature = "logs")]
#[test]
fn the_second_one_is_in_the_report_and_the_admin_port_open_while_the_last_line_is_flushed() {
    let (tell, told) = mpsc::channel();
    let routes = Routes::new().route(
        "/v1/logs",
        axum::routing::post(async move |body: axum::body::Bytes| {
            if String::from_utf8_lossy(&body).contains("drained after") {
                tell.send(()).expect("somebody waits");
                pending::<()>().await;
            }
            [("content-type", "application/x-protobuf")]
        }),
    );
    let runtime = one_worker();
    let (_collector, variables) = collector(&runtime, routes);
    let mut service = Service::start_with("telemetry", &variables);
    let admin = service.until("administers on ");
    service.until("listens on ");
    service.signal("TERM");
    told.recv_timeout(LIFE).expect("it flushes its logs");
    let answer = runtime.block_on(crate::support::get_from(
        admin.parse().expect("an address"),
        "/livez",
    ));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.signal("INT");
    let (code, said) = service.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("report: forced after"), "{said}");
}

#[test]
fn nothing_is_left_of_what_was_dropped_or_did_not_start() {
    for role in ["dropped", "not started"] {
        let mut service = Service::start(role);
        service.until("gone");
        assert_eq!(service.end().0, Some(0), "{role}");
    }
}

#[test]
fn a_hangup_reloads_and_ends_nothing() {
    let mut service = Service::start("plain");
    service.until("listens on ");
    for _ in 0..2 {
        service.signal("HUP");
        service.until("reloading");
    }
    service.signal("TERM");
    let (code, said) = service.end();
    assert_eq!(code, Some(0), "{said}");
}
