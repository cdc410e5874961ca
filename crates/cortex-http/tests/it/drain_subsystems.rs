//! What starts before the service, stops after it, and lives beside it.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use cortex_health::Health;
use cortex_http::{
    Admin, ErrorKind, ExitReport, HealthMetrics, Lifecycle, Limits, Routes, Running, Server, StepEnd,
    Subsystem,
};
use cortex_metrics::Registry;
use cortex_trace::{AlwaysOn, ExportError, Exporter, SpanData, Tracer};
use tokio::sync::Notify;

use crate::support::{get_from, until_refused, within};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

/// Notes what happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, event: impl Into<String>) {
        self.0.lock().expect("nobody panics with it").push(event.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    /// A subsystem that notes its start, its task's end and its stop.
    fn subsystem(&self, name: &'static str) -> Subsystem {
        let [start, task, stop] = [(); 3].map(|()| self.clone());
        Subsystem::new(name)
            .start(LONG, async move { start.note(format!("start {name}")) })
            .task(LONG, move |stopping| async move {
                stopping.cancelled().await;
                task.note(format!("end {name}"));
            })
            .stop(LONG, async move { stop.note(format!("stop {name}")) })
    }
}

/// Notes that what was written is flushed.
#[cfg(feature = "logs")]
impl io::Write for Journal {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.note("logs");
        Ok(())
    }
}

#[cfg(feature = "logs")]
impl Journal {
    fn telemetry(&self) -> cortex_trace::Telemetry {
        let tracer = Tracer::builder("shop").sampler(cortex_trace::AlwaysOff);
        let journal = self.clone();
        let logs = cortex_trace::JsonLogs::new(move || journal.clone());
        let (telemetry, _) = cortex_trace::Telemetry::builder(tracer)
            .json_logs(logs)
            .build()
            .expect("a default filter");
        telemetry
    }
}

fn server() -> Server {
    Server::new(Routes::new())
}

async fn end(running: Running) -> ExitReport {
    running.shutdown();
    within(running.join()).await
}

#[tokio::test]
async fn they_start_in_order_and_stop_in_reverse_and_flushes_come_last() {
    let journal = Journal::default();
    let flushed = journal.clone();
    let running = server()
        .subsystem(journal.subsystem("a"))
        .subsystem(journal.subsystem("b"))
        .flush("metrics", LONG, async move { flushed.note("flush") })
        .start("127.0.0.1:0")
        .await
        .unwrap();
    assert_eq!(journal.all(), ["start a", "start b"]);
    let report = end(running).await;
    assert_eq!(
        journal.all(),
        [
            "start a", "start b", "end b", "stop b", "end a", "stop a", "flush"
        ]
    );
    let names: Vec<_> = report.subsystems.iter().map(|step| &*step.name).collect();
    assert_eq!((names, report.code()), (vec!["b", "a"], 0), "{report}");
    assert_eq!(
        (&*report.flushes[0].name, &report.flushes[0].end),
        ("metrics", &StepEnd::Finished)
    );
    let phases: Vec<_> = report.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(phases, ["draining", "closing", "stopping", "flushing"]);
}

/// Takes spans once it is let.
struct Held(mpsc::Receiver<()>);

impl Exporter for Held {
    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        let _ = self.0.recv(); // until the sender is dropped
        Ok(())
    }
}

#[tokio::test]
async fn spans_that_nobody_takes_hold_the_end_for_their_limit_and_are_said_to_be_lost() {
    for (limit, lost) in [(SHORT, true), (LONG, false)] {
        let (release, held) = mpsc::channel();
        let tracer = Tracer::builder("shop").sampler(AlwaysOn).export(Held(held));
        let running = Server::new(Routes::new().route("/", axum::routing::get(|| async { "hello" })))
            .tracer(tracer.build().unwrap())
            .lifecycle(Lifecycle::local().flush_timeout(limit))
            .start("127.0.0.1:0")
            .await
            .unwrap();
        assert!(get_from(running.local_addr(), "/").await.ends_with("hello"));
        let mut release = Some(release).filter(|_| lost); // whoever waits long gets what it waits for
        let report = end(running).await;
        assert_eq!((report.telemetry_lost, report.code()), (lost, 0), "{report}");
        assert_eq!(report.phases.last().map(|phase| phase.name), Some("flushing"));
        release.take();
    }
}

#[tokio::test]
async fn nobody_is_served_before_all_have_started_and_probes_say_so() {
    let admin = free_addr();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let step = {
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        async move {
            begun.notify_one();
            go.notified().await;
        }
    };
    let server = server()
        .admin(Admin::bind(admin.to_string()))
        .subsystem(Subsystem::new("slow").start(LONG, step));
    let starting = tokio::spawn(server.start("127.0.0.1:0"));
    within(begun.notified()).await;
    for (path, status) in [("/startupz", "503"), ("/readyz", "503"), ("/livez", "200")] {
        let answer = get_from(admin, path).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
    }
    go.notify_one();
    let running = starting.await.unwrap().unwrap();
    let ready = async {
        for path in ["/startupz", "/readyz"] {
            while !get_from(admin, path).await.starts_with("HTTP/1.1 200") {}
        }
    };
    within(ready).await;
    end(running).await;
}

/// Returns an address that is free: nobody else listens at this IP.
fn free_addr() -> std::net::SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let ip = std::net::Ipv4Addr::new(127, 77, 0, NEXT.fetch_add(1, Ordering::Relaxed));
    let listener = std::net::TcpListener::bind((ip, 0)).expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[tokio::test]
async fn what_does_not_start_is_named_and_what_started_is_stopped() {
    type Failing = fn() -> Subsystem;
    let failures: [(Failing, &str); 3] = [
        (
            || Subsystem::new("db").start(LONG, async { Err(io::Error::other("no route to it")) }),
            "start subsystem db: it failed",
        ),
        (
            || Subsystem::new("db").start(SHORT, pending::<()>()),
            "start subsystem db: it took longer than 20ms",
        ),
        (
            || Subsystem::new("db").start(LONG, async { panics() }),
            "start subsystem db: it panicked",
        ),
    ];
    for (failing, message) in failures {
        let journal = Journal::default();
        let flushed = journal.clone();
        let (addr, admin) = (free_addr(), free_addr());
        let started = server()
            .lifecycle(Lifecycle::local().drain_delay(LONG)) // for traffic, which there never was
            .admin(Admin::bind(admin.to_string()))
            .subsystem(journal.subsystem("a"))
            .subsystem(failing())
            .subsystem(journal.subsystem("c"))
            .flush("metrics", LONG, async move { flushed.note("flush") })
            .start(addr);
        let error = within(started).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Startup, message.into())
        );
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.is_some(), message.ends_with("failed"), "{source:?}");
        assert_eq!(journal.all(), ["start a", "end a", "stop a", "flush"]);
        for addr in [addr, admin] {
            until_refused(addr).await;
        }
    }
}

/// The error comes when all of that is over, and not before.
#[tokio::test]
async fn what_started_is_stopped_whatever_fails_after_it() {
    let (journal, registry) = (Journal::default(), Registry::default());
    HealthMetrics::register(&registry, &Health::builder().build().unwrap()).unwrap(); // somebody else's
    let flushed = journal.clone();
    let started = server()
        .metrics(&registry)
        .health(Health::builder().build().unwrap())
        .subsystem(journal.subsystem("a"))
        .flush("metrics", LONG, async move { flushed.note("flush") })
        .start("127.0.0.1:0");
    let error = within(started).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Metrics, "{error}");
    assert_eq!(journal.all(), ["start a", "end a", "stop a", "flush"]);

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let free = || std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let endless = Lifecycle::kubernetes().drain_timeout(Duration::MAX);
    let (health, registry) = (Health::builder().build().unwrap(), Registry::default());
    let other = server().health(health.clone()).metrics(&registry).start(free());
    let other = within(other).await.unwrap();
    for (server, addr, kind) in [
        (
            server().admin(Admin::bind(taken.to_string())),
            free(),
            ErrorKind::Bind,
        ),
        (server(), taken, ErrorKind::Bind),
        (server().lifecycle(endless), free(), ErrorKind::Lifecycle),
        (
            server().limits(Limits::new().connections(0)),
            free(),
            ErrorKind::Limits,
        ),
        (server().metrics(&registry), free(), ErrorKind::Metrics),
        (server().health(health.clone()), free(), ErrorKind::System),
    ] {
        let journal = Journal::default();
        let flushed = journal.clone();
        let server = server.flush("metrics", LONG, async move { flushed.note("flush") });
        #[cfg(feature = "logs")]
        let server = server.telemetry(&journal.telemetry());
        let error = within(server.start(addr)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let logs = cfg!(feature = "logs").then_some("logs");
        let expected: Vec<_> = ["flush"].into_iter().chain(logs).collect();
        assert_eq!(journal.all(), expected, "{error}");
    }
    assert!(!health.is_draining(), "the other one goes on");
    assert_eq!(end(other).await.code(), 0);
}

fn panics() {
    panic!("seeded")
}

/// The error itself is only the source of the one that a start returns.
#[tokio::test]
async fn what_an_error_tells_is_masked_and_bounded() {
    let told = || format!("postgres://shop:hunter2@db/shop: {}", "no ".repeat(1000));
    let running = server()
        .subsystem(Subsystem::new("stop").stop(LONG, async move { Err::<(), _>(told()) }))
        .subsystem(Subsystem::new("task").task(LONG, move |_| async move { Err::<(), _>(told()) }))
        .flush("flush", LONG, async move { Err::<(), _>(told()) })
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let report = within(running.join()).await;
    let text = format!("{report} {report:?}");
    assert!(
        !text.contains("hunter2") && text.contains("shop:***@db"),
        "{text}"
    );
    assert!(
        report.reason.len() < 600 && report.to_string().len() < 3000,
        "{report}"
    );
    let failing = Subsystem::new("db").start(LONG, async move { Err::<(), _>(told()) });
    let error = server()
        .subsystem(failing)
        .start("127.0.0.1:0")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "start subsystem db: it failed");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), told());
}

/// What the task still uses is not stopped beneath it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_blocks_its_thread_is_not_stopped_while_it_runs() {
    let journal = Journal::default();
    let stopped = journal.clone();
    let (release, released) = mpsc::channel::<()>();
    let blocks = Subsystem::new("blocks")
        .task(SHORT, |stop| async move {
            stop.cancelled().await;
            let _ = released.recv();
        })
        .stop(LONG, async move { stopped.note("stop blocks") });
    let running = server()
        .subsystem(journal.subsystem("a"))
        .subsystem(blocks)
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let report = end(running).await;
    assert_eq!(report.subsystems[0].end, StepEnd::TimedOut);
    assert_eq!(journal.all(), ["start a", "end a", "stop a"]);
    drop(release);
}

#[tokio::test]
async fn what_does_not_stop_keeps_nobody_and_is_named() {
    let journal = Journal::default();
    let released = Arc::new(());
    let held = Arc::clone(&released);
    let running = server()
        .subsystem(journal.subsystem("a"))
        .subsystem(Subsystem::new("fails").stop(LONG, async { Err::<(), _>("disk full") }))
        .subsystem(Subsystem::new("panics").stop(LONG, async { panics() }))
        .subsystem(Subsystem::new("hangs").stop(SHORT, pending::<()>()))
        .subsystem(Subsystem::new("stays").task(SHORT, |_| async move {
            pending::<()>().await;
            drop(held);
        }))
        .flush("full", LONG, async { Err::<(), _>("queue full") })
        .flush("hangs", SHORT, pending::<()>())
        .flush("panics", LONG, async { panics() })
        .start("127.0.0.1:0")
        .await
        .unwrap();
    let report = end(running).await;
    let ends: Vec<_> = report
        .subsystems
        .iter()
        .map(|step| (&*step.name, &step.end))
        .collect();
    assert_eq!(
        ends,
        [
            ("stays", &StepEnd::TimedOut),
            ("hangs", &StepEnd::TimedOut),
            ("panics", &StepEnd::Panicked),
            ("fails", &StepEnd::Failed("disk full".into())),
            ("a", &StepEnd::Finished),
        ]
    );
    let flushes: Vec<_> = report.flushes.iter().map(|step| step.end.clone()).collect();
    let full = StepEnd::Failed("queue full".into());
    assert_eq!(flushes, [full, StepEnd::TimedOut, StepEnd::Panicked]);
    assert_eq!(report.code(), 3);
    assert!(
        report
            .to_string()
            .contains("stopping fails failed: disk full after"),
        "{report}"
    );
    let aborted = async {
        while Arc::strong_count(&released) > 1 {
            tokio::task::yield_now().await;
        }
    };
    within(aborted).await;
}

#[tokio::test]
async fn the_service_ends_with_a_task_that_it_depends_on() {
    type Ending = fn(Subsystem, Arc<Notify>) -> Subsystem;
    let endings: [(Ending, &str); 3] = [
        (
            |subsystem, go| subsystem.task(LONG, |_| async move { go.notified().await }),
            "task consumer ended",
        ),
        (
            |subsystem, go| {
                subsystem.task(LONG, |_| async move {
                    go.notified().await;
                    Err::<(), _>("broker gone")
                })
            },
            "task consumer failed: broker gone",
        ),
        (
            |subsystem, go| {
                subsystem.task(LONG, |_| async move {
                    go.notified().await;
                    panics();
                })
            },
            "task consumer panicked",
        ),
    ];
    for (ending, reason) in endings {
        let (journal, go) = (Journal::default(), Arc::new(Notify::new()));
        let running = server()
            .subsystem(journal.subsystem("a"))
            .subsystem(ending(Subsystem::new("consumer"), Arc::clone(&go)))
            .start("127.0.0.1:0")
            .await
            .unwrap();
        go.notify_one();
        let report = within(running.join()).await;
        assert_eq!((report.code(), &*report.reason, report.failed), (1, reason, true));
        assert_eq!(journal.all(), ["start a", "end a", "stop a"]);
    }
}

#[tokio::test]
async fn times_that_exceed_the_grace_period_do_not_start() {
    let stop = Subsystem::new("queue").stop(Duration::from_secs(6), async {});
    let server = server().subsystem(stop).lifecycle(Lifecycle::kubernetes());
    let error = server.start("127.0.0.1:0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lifecycle);
    assert!(error.to_string().contains("are 31.25s"), "{error}");
}

#[tokio::test]
async fn a_reload_runs_all_of_them_and_an_error_or_a_panic_ends_nothing() {
    let journal = Journal::default();
    let (done, noted) = (Arc::new(Notify::new()), journal.clone());
    let told = Arc::clone(&done);
    let running = server()
        .on_reload("bad", LONG, || async { Err::<(), _>("no such file") })
        .on_reload("worse", LONG, || async { panics() })
        .on_reload("slow", SHORT, pending::<()>)
        .on_reload("good", LONG, move || {
            let (noted, told) = (noted.clone(), Arc::clone(&told));
            async move {
                noted.note("reload");
                told.notify_one();
            }
        })
        .start("127.0.0.1:0")
        .await
        .unwrap();
    for _ in 0..2 {
        running.reload();
        within(done.notified()).await;
    }
    assert_eq!(journal.all(), ["reload", "reload"]);
    assert_eq!(end(running).await.code(), 0);
}

/// Everything that the service was given is dropped, wherever its future was.
#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing() {
    let (journal, begun, held) = (Journal::default(), Arc::new(Notify::new()), Arc::new(()));
    let (told, kept) = (Arc::clone(&begun), Arc::clone(&held));
    let addr = free_addr();
    let server = server()
        .subsystem(journal.subsystem("a"))
        .subsystem(Subsystem::new("slow").start(LONG, async move {
            told.notify_one();
            pending::<()>().await;
            drop(kept);
        }));
    let starting = tokio::spawn(server.start(addr));
    within(begun.notified()).await;
    starting.abort();
    gone(Arc::downgrade(&held), held).await;
    let stopped = async {
        while journal.all().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    within(stopped).await;
    assert_eq!(journal.all(), ["start a", "end a", "stop a"]);
    until_refused(addr).await;
}

/// Neither while something starts, nor while what has started is stopped again.
#[tokio::test]
async fn a_start_that_is_dropped_leaves_the_health_to_another_try() {
    for fails in [false, true] {
        let health = Health::builder().build().unwrap();
        let (begun, go, over) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
        );
        let [slow_start, slow_stop] = [!fails, fails].map(|slow| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                if slow {
                    begun.notify_one();
                    go.notified().await;
                }
            }
        });
        let told = Arc::clone(&over);
        let failing = async move { if fails { Err("no") } else { Ok(()) } };
        let dropped = server()
            .health(health.clone())
            .subsystem(Subsystem::new("a").start(LONG, slow_start).stop(LONG, slow_stop))
            .subsystem(Subsystem::new("b").start(LONG, failing))
            .flush("end", LONG, async move { told.notify_one() });
        let starting = tokio::spawn(dropped.start("127.0.0.1:0"));
        within(begun.notified()).await;
        starting.abort();
        assert!(starting.await.unwrap_err().is_cancelled());
        assert!(!health.is_draining());
        go.notify_one();
        within(over.notified()).await;

        let next = server().health(health).admin(Admin::bind("127.0.0.1:0"));
        let running = next.start("127.0.0.1:0").await.unwrap();
        let admin = running.admin_addr().unwrap();
        within(async { while !get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200") {} }).await;
        assert_eq!(end(running).await.code(), 0);
    }
}

#[tokio::test]
async fn a_handle_or_a_join_that_is_dropped_leaves_nothing() {
    let drops: [fn(Running); 2] = [drop, |running| drop(running.join())];
    for drops in drops {
        let (journal, held) = (Journal::default(), Arc::new(()));
        let (in_stop, in_reload) = (Arc::clone(&held), Arc::clone(&held));
        let stop = async move { drop(in_stop) };
        let running = server()
            .subsystem(Subsystem::new("holds").stop(LONG, stop))
            .subsystem(journal.subsystem("a"))
            .on_reload("holds too", LONG, move || {
                let kept = Arc::clone(&in_reload);
                async move { drop(kept) }
            })
            .start("127.0.0.1:0")
            .await
            .unwrap();
        let addr = running.local_addr();
        drops(running);
        gone(Arc::downgrade(&held), held).await;
        assert_eq!(journal.all(), ["start a", "end a", "stop a"]);
        until_refused(addr).await;
    }
}

async fn gone(weak: Weak<()>, held: Arc<()>) {
    drop(held);
    let gone = async {
        while weak.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
}

#[test]
fn the_futures_of_a_server_can_be_spawned() {
    fn check<T: Send>(_: T) {}
    check(server().serve("127.0.0.1:0"));
    check(server().start("127.0.0.1:0"));
}

/// The future of a start that takes too long uses what is before it for as long as it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_takes_too_long_is_gone_before_what_it_uses_stops() {
    struct Slow(mpsc::Receiver<()>, Arc<AtomicBool>);

    impl Drop for Slow {
        fn drop(&mut self) {
            // Far less than what is aborted gets.
            let stopped_beside = self.0.recv_timeout(Duration::from_millis(5)).is_ok();
            self.1.store(stopped_beside, Ordering::SeqCst);
        }
    }

    let (stopped, waits) = mpsc::channel();
    let beside = Arc::new(AtomicBool::new(false));
    let slow = Slow(waits, Arc::clone(&beside));
    let server = server()
        .subsystem(Subsystem::new("pool").stop(LONG, async move { stopped.send(()) }))
        .subsystem(Subsystem::new("cache").start(SHORT, async move {
            let _slow = slow;
            pending::<()>().await;
        }));
    let error = within(server.start("127.0.0.1:0")).await.unwrap_err();
    assert!(error.to_string().contains("cache"), "{error}");
    assert!(!beside.load(Ordering::SeqCst));
}
