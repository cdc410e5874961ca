//! A writer that holds up nobody.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use cortex_testkit::{ManualClock, Recorder};
use cortex_trace::{Background, DuplicateLimit, JsonLogs, LogStats, TextLogs};
use tracing::info;
use tracing_subscriber::layer::SubscriberExt;

use crate::log_support::{read, writer};
use crate::support::block_on;

const LONG: Duration = Duration::from_mins(1);

/// A writer that waits for leave before each write.
struct Gated {
    leave: Receiver<io::Result<()>>,
    output: Recorder,
}

impl Gated {
    fn new() -> (Sender<io::Result<()>>, Recorder, Self) {
        let ((open, leave), output) = (channel(), Recorder::new());
        let gated = Self {
            leave,
            output: output.clone(),
        };
        (open, output, gated)
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails when nobody holds the gate any more: it is open then.
        if let Ok(leave) = self.leave.recv() {
            leave?;
        }
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    const LINES: u64 = 20_000;
    let (reader, pipe) = io::pipe().unwrap();
    let pipe = std::sync::Mutex::new(pipe);
    let logs = JsonLogs::new(pipe)
        .clock(ManualClock::new())
        .background(100)
        .unwrap();
    let handle = logs.handle();
    let log = |subscriber| {
        tracing::subscriber::with_default(subscriber, || (0..LINES).for_each(|n| info!(n, "line")));
    };
    log(tracing_subscriber::registry().with(logs)); // comes to an end

    let dropped = handle.stats().dropped;
    assert!(dropped > 0 && dropped < LINES, "{dropped}"); // the pipe holds some
    assert!(handle.flush_blocking(Duration::ZERO).unwrap_err().is_timeout());
    assert!(
        block_on(handle.shutdown(Duration::ZERO))
            .unwrap_err()
            .is_timeout()
    );

    // Once somebody reads, all that was not dropped arrives, and how many were.
    let reading = std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines();
        lines.map(|line| read(&line.unwrap())).collect::<Vec<_>>()
    });
    handle.shutdown_blocking(LONG).unwrap();
    assert_eq!(handle.stats().dropped, dropped);
    drop(handle);
    let lines = reading.join().unwrap();
    let (notices, lines): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.get("dropped").is_some());
    assert_eq!(lines.len() as u64, LINES - dropped);
    let numbers: Vec<_> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted());
    let told: u64 = notices.iter().map(|line| line["dropped"].as_u64().unwrap()).sum();
    assert_eq!(told, dropped);
    assert_eq!(
        (&notices[0]["level"], &notices[0]["target"]),
        (&"WARN".into(), &"cortex_trace".into())
    );
}

#[test]
fn every_line_is_somewhere() {
    let (gate, output, gated) = Gated::new();
    let lines = Background::new(gated, 3).unwrap();
    let push = |line: &str| (&lines).write_all(line.as_bytes()).unwrap();
    (0..5).for_each(|n| push(&format!("{n}\n")));
    let stats = lines.stats();
    assert_eq!((stats.queued, stats.dropped, stats.written), (3, 2, 0));
    // Leave for every write that may come: how many lines go into one is up to the threads.
    (0..3).for_each(|_| gate.send(Ok(())).unwrap());
    lines.flush_blocking(LONG).unwrap();
    assert_eq!(output.text(), "0\n1\n2\n");
    let stats = lines.stats();
    assert_eq!((stats.queued, stats.dropped, stats.written), (0, 2, 3));
    assert!(format!("{lines:?}").contains("written: 3"));

    drop(gate);
    push("last\n");
    block_on(lines.clone().shutdown(LONG)).unwrap();
    push("too late\n");
    lines.shutdown_blocking(LONG).unwrap();
    lines.flush_blocking(LONG).unwrap();
    assert_eq!(output.text(), "0\n1\n2\nlast\n");
    let stats = lines.stats();
    assert_eq!(
        (stats.queued, stats.dropped, stats.written, stats.failed),
        (0, 3, 4, 0)
    );
}

#[test]
fn long_lines_do_not_fill_the_memory() {
    let (gate, output, gated) = Gated::new();
    let lines = Background::new(gated, 8).unwrap();
    let long = vec![b'x'; 100_000];
    (&lines).write_all(&long).unwrap(); // alone it passes
    for _ in 0..4 {
        (&lines).write_all(&long).unwrap();
        (&lines).write_all(b"short").unwrap();
    }
    assert_eq!(lines.stats().dropped, 8);
    drop(gate);
    lines.flush_blocking(LONG).unwrap();
    assert_eq!(output.len(), long.len());
    (&lines).write_all(b"short").unwrap();
    lines.shutdown_blocking(LONG).unwrap();
    assert_eq!(output.len(), long.len() + 5);
}

#[test]
fn a_writer_that_fails_or_panics_gets_the_next_lines_all_the_same() {
    struct Odd(Recorder);
    impl Write for Odd {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match bytes {
                b"fail" => Err(io::Error::other("disk full")),
                b"panic" => std::panic::resume_unwind(Box::new("seeded")),
                _ => self.0.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Recorder::new();
    let lines = Background::new(Odd(output.clone()), 8).unwrap();
    let push = |line: &str| {
        (&lines).write_all(line.as_bytes()).unwrap();
        lines.flush_blocking(LONG)
    };
    push("one").unwrap();
    let error = push("fail").unwrap_err();
    assert!(error.to_string().contains("logs: disk full"), "{error}");
    assert!(
        push("panic")
            .unwrap_err()
            .failed()
            .all(|(_, error)| error.is_panic())
    );
    push("two").unwrap();
    assert_eq!(output.text(), "onetwo");
    let stats = lines.stats();
    assert_eq!((stats.written, stats.failed, stats.queued), (2, 2, 0));
}

#[test]
fn a_writer_that_logs_does_not_feed_itself() {
    struct Echo(Recorder, std::sync::Arc<std::sync::OnceLock<Background>>);
    impl Write for Echo {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.get().unwrap().clone().write_all(b"echo")?;
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (output, itself) = (Recorder::new(), std::sync::Arc::default());
    let lines = Background::new(Echo(output.clone(), std::sync::Arc::clone(&itself)), 8).unwrap();
    itself.set(lines.clone()).unwrap();
    (&lines).write_all(b"one").unwrap();
    lines.shutdown_blocking(LONG).unwrap();
    assert_eq!((output.text().as_str(), lines.stats().dropped), ("one", 1));
}

#[test]
fn the_thread_ends_with_the_last_clone_and_writes_what_it_has() {
    let (mut reader, pipe) = io::pipe().unwrap();
    let lines = Background::new(pipe, 8).unwrap();
    let mut other = lines.clone();
    drop(lines);
    other.write_all(b"one\n").unwrap();
    drop(other);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap(); // ends when the thread drops its end of the pipe
    assert_eq!(text, "one\n");
}

#[test]
fn many_threads_lose_nothing_that_is_not_counted() {
    let output = Recorder::new();
    let lines = Background::new(output.clone(), 64).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut lines = lines.clone();
            scope.spawn(move || {
                for n in 0..1000 {
                    lines.write_all(format!("{thread} {n}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    lines.shutdown_blocking(LONG).unwrap();
    let stats = lines.stats();
    assert_eq!(
        (stats.written + stats.dropped, stats.failed, stats.queued),
        (4000, 0, 0)
    );
    let text = output.text();
    assert_eq!(text.lines().count() as u64, stats.written);
}

#[test]
fn it_goes_with_every_format_and_limit() {
    let output = Recorder::new();
    let logs = TextLogs::new(writer(&output))
        .clock(ManualClock::new())
        .limit_duplicates(DuplicateLimit::per_second(1))
        .background(8)
        .unwrap();
    let handle = logs.handle();
    assert!(format!("{logs:?} {handle:?}").contains("Background"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
        (0..3).for_each(|_| info!(target: "shop", "again"));
    });
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(handle.shutdown(LONG))
        .unwrap();
    let text = output.text();
    assert!(
        text.starts_with("2026-01-01T00:00:00.000000Z  INFO shop: again\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
    assert_eq!(handle.stats().suppressed, 2);
    assert_eq!(LogStats::default().dropped, handle.stats().dropped);
}

#[test]
fn without_it_failures_of_the_writer_are_counted() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let logs = JsonLogs::new(|| Closed);
    let handle = logs.handle();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || info!("lost"));
    assert_eq!(handle.stats().failed, 1);
    assert!(!handle.flush_blocking(LONG).unwrap_err().is_timeout());
    assert!(block_on(handle.flush(LONG)).is_err());
}

#[test]
fn without_it_a_writer_that_panics_is_told() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            std::panic::resume_unwind(Box::new("seeded"))
        }
    }
    let handle = JsonLogs::new(|| Panics).handle();
    for _ in 0..2 {
        let error = handle.flush_blocking(LONG).unwrap_err();
        assert!(error.failed().all(|(_, error)| error.is_panic()) && !error.is_timeout());
    }
}

#[test]
fn without_it_a_writer_that_hangs_holds_up_nobody_who_flushes() {
    /// Waits for leave, and says that it does.
    #[derive(Clone)]
    struct Stuck(
        Sender<&'static str>,
        std::sync::Arc<std::sync::Mutex<Receiver<()>>>,
    );
    impl Stuck {
        fn wait(&self, what: &'static str) {
            self.0.send(what).unwrap();
            let _ = self.1.lock().unwrap().recv();
        }
    }
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.wait("write");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.wait("flush");
            Ok(())
        }
    }
    let ((says, said), (open, leave)) = (channel(), channel());
    let stuck = Stuck(says, std::sync::Arc::new(std::sync::Mutex::new(leave)));
    let logs = JsonLogs::new(move || stuck.clone())
        .clock(ManualClock::new())
        .limit_duplicates(DuplicateLimit::per_second(0));
    let handle = logs.handle();
    let subscriber = tracing_subscriber::registry().with(logs);
    tracing::subscriber::with_default(subscriber, || {
        info!("suppressed"); // and told by the first flush, which hangs with it
        for _ in 0..20 {
            assert_eq!(
                handle.flush_blocking(Duration::ZERO).unwrap_err().late(),
                ["logs"]
            );
            assert!(block_on(handle.flush(Duration::ZERO)).unwrap_err().is_timeout());
        }
        assert!(
            block_on(handle.clone().shutdown(Duration::ZERO))
                .unwrap_err()
                .is_timeout()
        );
        assert!(handle.shutdown_blocking(Duration::ZERO).unwrap_err().is_timeout());
        assert_eq!(said.recv_timeout(LONG), Ok("write"));
        assert!(said.try_recv().is_err()); // all the others wait for that one
        drop(open);
        block_on(handle.flush(LONG)).unwrap();
        handle.shutdown_blocking(LONG).unwrap();
        drop(handle);
    });
    assert!(said.try_iter().all(|what| what == "flush"));
}

#[test]
fn a_clock_that_panics_does_not_end_the_thread() {
    /// Does not work on the thread that writes.
    struct Fragile(ManualClock);
    impl cortex_core::Clock for Fragile {
        fn now(&self) -> std::time::Instant {
            self.0.now()
        }

        fn wall(&self) -> std::time::SystemTime {
            if std::thread::current().name() == Some("cortex-logs") {
                std::panic::resume_unwind(Box::new("seeded panic"));
            }
            self.0.wall()
        }
    }

    let (open, output, gated) = Gated::new();
    let logs = JsonLogs::new(std::sync::Mutex::new(gated))
        .clock(Fragile(ManualClock::new()))
        .background(1)
        .unwrap();
    let handle = logs.handle();
    let subscriber = tracing_subscriber::registry().with(logs);
    tracing::subscriber::with_default(subscriber, || {
        info!("first");
        info!("dropped"); // which cannot be told
        drop(open);
        handle.flush_blocking(LONG).unwrap();
        info!("second");
        handle.shutdown_blocking(LONG).unwrap();
    });
    let text = output.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(handle.stats().dropped, 1);
}
