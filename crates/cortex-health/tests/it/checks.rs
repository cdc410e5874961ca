use crate::wait::until;
use cortex_health::checks::{self, HttpGet};
use cortex_health::{Check, CheckReport, Health, Status};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Runs a check until its first result.
pub(crate) fn first(check: Check) -> CheckReport {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let health = Health::builder().check(check).build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let report = || health.snapshot().checks().next().unwrap().clone();
    until("the first result", || report().checked().is_some());
    let found = report();
    running.stop();
    found
}

fn down(check: Check) -> String {
    let found = first(check);
    assert_eq!(found.status(), Status::Down, "{found:?}");
    found.message().unwrap().to_owned()
}

/// On a busy machine the scheduler may be the first to say it.
fn is_late(message: &str) -> bool {
    message.ends_with("no answer in time") || message.starts_with("timed out after")
}

fn get(addr: SocketAddr) -> HttpGet {
    HttpGet::new(&format!("http://{addr}/readyz")).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Serves one connection, after the head of its request.
pub(crate) fn serve<R: Send + 'static>(
    serve: impl FnOnce(&mut TcpStream) -> R + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<R>) {
    let (listener, addr) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        serve(&mut stream)
    });
    (addr, server)
}

fn refusing() -> SocketAddr {
    listener().1 // closed again
}

#[test]
fn tcp_is_up_if_something_accepts() {
    let (listener, addr) = listener();
    assert_eq!(first(checks::tcp("db", addr.to_string())).status(), Status::Up);
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it sends nothing and closes");
}

#[test]
fn tcp_says_where_nobody_accepts() {
    let addr = refusing();
    let message = down(checks::tcp("db", addr.to_string()));
    assert!(
        message.starts_with(&format!("connect to {addr}: Connection refused")),
        "{message}"
    );
    for nonsense in ["db", "127.0.0.1:port"] {
        let message = down(checks::tcp("db", nonsense));
        assert!(
            message.starts_with(&format!("connect to {nonsense}: ")),
            "{message}"
        );
    }
}

#[test]
fn tcp_waits_no_longer_than_it_may() {
    // A backlog that is full: the kernel drops further attempts.
    let (listener, addr) = full_backlog();
    let check = checks::tcp("db", addr.to_string()).timeout(Duration::from_millis(200));
    assert!(is_late(&down(check)));
    drop(listener);
}

/// A port whose queue of connections is full, with those that fill it.
fn full_backlog() -> ((socket2::Socket, Vec<TcpStream>), SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
        filling.push(stream);
        assert!(filling.len() < 100, "the queue takes everything");
    }
    ((socket, filling), addr)
}

#[test]
fn dns_finds_a_name_or_says_which_not() {
    assert_eq!(first(checks::dns("dns", "localhost")).status(), Status::Up);
    let message = down(checks::dns("dns", "no\0body")); // refused before any name server is asked
    assert!(message.starts_with("look up no"), "{message}");
}

#[test]
fn http_judges_the_status() {
    let answer = |status: &'static str, get: fn(HttpGet) -> HttpGet| {
        let (addr, server) = serve(move |stream| {
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"
            )
            .unwrap();
        });
        let found = first(checks::http("orders", get(self::get(addr))));
        server.join().unwrap();
        (
            found.status(),
            found
                .message()
                .map(|message| message.replace(&addr.to_string(), "ADDR")),
        )
    };
    assert_eq!(answer("204", |get| get), (Status::Up, None));
    let redirect = Some("http://ADDR/readyz answered 302".to_owned());
    assert_eq!(answer("302", |get| get), (Status::Down, redirect));
    assert_eq!(answer("302", |get| get.status(200..=399)), (Status::Up, None));
    assert_eq!(answer("503", |get| get).0, Status::Down);
}

#[test]
fn http_finds_a_text_in_the_body() {
    let with = |body: &'static str, text: &str| {
        let (addr, server) = serve(move |stream| {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let (left, right) = body.split_at(body.len() / 2);
            for text in [head, &chunk(left), &chunk(right), "0\r\n\r\n"] {
                stream.write_all(text.as_bytes()).unwrap();
            }
        });
        let found = first(checks::http("orders", get(addr).body_contains(text)));
        server.join().unwrap();
        (
            found.status(),
            found
                .message()
                .map(|message| message.replace(&addr.to_string(), "ADDR")),
        )
    };
    assert_eq!(with("{\"status\":\"pass\"}", "\"pass\""), (Status::Up, None));
    let message = "http://ADDR/readyz: \"warn\" is not in its answer";
    assert_eq!(
        with("{\"status\":\"pass\"}", "warn"),
        (Status::Down, Some(message.into()))
    );
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn http_reads_of_an_endless_answer_what_it_must() {
    let (addr, server) = serve(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut sent = 0_usize;
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            sent += 4096;
        }
        sent
    });
    let message = down(checks::http("orders", get(addr).body_contains("y")));
    assert!(
        message.ends_with("\"y\" is not in the first 64 KiB of its answer"),
        "{message}"
    );
    server.join().unwrap(); // it could not go on: nobody reads
}

#[test]
fn http_says_what_is_wrong_with_a_connection() {
    let addr = refusing();
    let message = down(checks::http("orders", get(addr)));
    assert!(
        message.starts_with(&format!("get http://{addr}/readyz: Connection refused")),
        "{message}"
    );

    let (addr, server) = serve(|stream| {
        stream.write_all(b"HTTP/1.1 200").unwrap();
        let socket = socket2::SockRef::from(&*stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap(); // its end is a reset
    });
    let message = down(checks::http("orders", get(addr)));
    let of_a_reset = [
        "Connection reset by peer (os error 104)",
        "the answer is not HTTP/1.1: it is cut off",
    ];
    assert!(
        of_a_reset.iter().any(|reason| message.ends_with(reason)),
        "{message}"
    );
    server.join().unwrap();

    let (addr, server) = serve(|stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap());
    let message = down(checks::http("orders", get(addr)));
    assert!(message.ends_with("there is no status line"), "{message}");
    server.join().unwrap();
}

#[test]
fn http_waits_no_longer_than_it_may_for_silence_and_for_a_drip() {
    let (hang_up, held) = mpsc::channel::<()>();
    let (addr, server) = serve(move |_| held.recv());
    let check = |addr| checks::http("orders", get(addr)).timeout(Duration::from_millis(300));
    assert!(is_late(&down(check(addr))));
    drop(hang_up);
    server.join().unwrap().unwrap_err();

    // A byte at a time, each well within the timeout: together they are not.
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let (addr, server) = serve(move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        let mut byte = [0];
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        // A pause that ends at once if the other side has gone.
        while !matches!(stream.read(&mut byte), Ok(0)) && stream.write_all(b"a").is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(is_late(&down(check(addr))));
    server.join().unwrap();
    assert!(sent.load(Ordering::Relaxed) > 3, "it did not drip");
}

#[test]
fn a_state_is_looked_at_without_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let check = checks::state("pool", || Err::<(), _>("12 jobs wait"));
    let panics = checks::state("breaker", || -> bool { panic!("poisoned") });
    let health = Health::builder().check(check).check(panics).build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let message = |name| {
        let report = health.snapshot();
        report.check(name).unwrap().message().map(str::to_owned)
    };
    until("both have a result", || {
        message("pool").is_some() && message("breaker").is_some()
    });
    assert_eq!(message("pool").unwrap(), "12 jobs wait");
    assert_eq!(message("breaker").unwrap(), "panicked: poisoned");
    running.stop();
}

#[test]
fn a_state_that_blocks_fails_and_holds_nobody_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let stuck = checks::state("stuck", move || held.lock().unwrap().recv().is_ok());
    let health = Health::builder()
        .check(stuck.timeout(Duration::from_millis(20)))
        .check(checks::state("lively", || true))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("the one is late and the other up", || {
        let report = health.snapshot();
        let is_late = report.check("stuck").unwrap().hung_since().is_some();
        is_late && report.check("lively").unwrap().status() == Status::Up
    });
    running.stop(); // waits for nobody
    drop(release);
}

#[test]
fn a_runtime_that_is_stuck_is_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let lag = checks::RuntimeLag::new(runtime.handle())
        .degraded_at(Duration::from_millis(100))
        .down_at(Duration::from_millis(200));
    let check = checks::runtime_lag("runtime", lag).every(Duration::from_millis(10));
    let health = Health::builder().check(check).build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let status = || health.snapshot().check("runtime").unwrap().status();
    until("it is up", || status() == Status::Up);
    let (release, held) = mpsc::channel::<()>();
    runtime.spawn(async move { held.recv() });
    until("it is down", || status() == Status::Down);
    drop(release);
    until("it is up again", || status() == Status::Up);
    running.stop();
}
