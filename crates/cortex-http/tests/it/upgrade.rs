//! Connections that speak another protocol: counted, told of the drain, cut and named.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::get;
use cortex_http::{Closing, Lifecycle, Limits, Routes, Running, Server};
use cortex_metrics::Registry;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{LONG, get_from, read_to_end, read_until, within};

const OPEN: &str = "http_server_active_connections";
const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";

/// What becomes of an upgraded connection.
#[derive(Clone, Copy)]
enum Manners {
    /// Says goodbye when the service drains.
    Polite,
    /// Reads until it cannot.
    Stubborn,
    /// Reads in one task, writes in another.
    Split,
}

struct Chat {
    running: Running,
    registry: Registry,
    /// What the tasks of connections say at their end.
    said: UnboundedReceiver<&'static str>,
}

impl Chat {
    async fn open(manners: Manners, change: impl FnOnce(Server) -> Server) -> Self {
        let (says, said) = unbounded_channel();
        let chat = move |request| std::future::ready(chat(request, manners, says.clone()));
        let routes = Routes::new()
            .route("/chat", get(chat.clone()))
            .map(|router| router.fallback(chat));
        let registry = Registry::default();
        let server = change(Server::new(routes).metrics(&registry));
        let running = server.start("127.0.0.1:0").await.expect("a free port");
        Self {
            running,
            registry,
            said,
        }
    }

    async fn connect(&self, head: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.running.local_addr())
            .await
            .expect("it listens");
        socket.write_all(head).await.expect("it reads");
        let answer = read_until(&mut socket, "\r\n\r\n").await;
        assert!(!answer.contains("connection: close"), "{answer}");
        socket
    }

    async fn until_open(&self, count: usize) {
        let line = format!("{OPEN} {count}\n");
        let reached = async {
            while !self.registry.to_text().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached)
            .await
            .expect("the connections to be counted");
    }

    async fn next(&mut self) -> &'static str {
        let said = tokio::time::timeout(LONG, self.said.recv()).await;
        said.expect("in bounded time")
            .expect("the handlers hold a sender")
    }
}

fn chat(mut request: Request, manners: Manners, says: UnboundedSender<&'static str>) -> Response {
    let closing = request.extensions().get::<Closing>().cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    let status = if request.method() == http::Method::CONNECT {
        200
    } else {
        101
    };
    tokio::spawn(async move {
        let (closing, io) = (
            closing.expect("it asked for one"),
            upgrade.await.expect("upgraded"),
        );
        let mut io = TokioIo::new(io);
        match manners {
            Manners::Polite => {
                let mut buf = [0; 16];
                loop {
                    tokio::select! {
                        read = io.read(&mut buf) => match read {
                            Ok(0) | Err(_) => return,
                            Ok(count) => io.write_all(&buf[..count]).await.expect("it is read"),
                        },
                        () = closing.cancelled() => {
                            io.write_all(b"bye").await.expect("it is read");
                            says.send("polite").expect("heard");
                            return;
                        }
                    }
                }
            }
            Manners::Stubborn => {
                let mut buf = [0; 16];
                while let Ok(1..) = io.read(&mut buf).await {
                    io.write_all(b"pong!").await.expect("it is read");
                }
                says.send("stubborn").expect("heard");
            }
            Manners::Split => {
                let (mut read, mut write) = tokio::io::split(io);
                let told = says.clone();
                tokio::spawn(async move {
                    while write.write_all(&[b'x'; 4 << 10]).await.is_ok() {}
                    told.send("writer").expect("heard");
                });
                let mut buf = [0; 16];
                while let Ok(1..) = read.read(&mut buf).await {}
                says.send("reader").expect("heard");
            }
        }
    });
    let response = Response::builder().status(status);
    let response = match status {
        101 => response.header("connection", "upgrade").header("upgrade", "chat"),
        _ => response,
    };
    response.body(Body::empty()).expect("a valid response")
}

#[tokio::test]
async fn it_counts_as_open_and_takes_its_place_until_it_is_dropped() {
    let one = |server: Server| server.limits(Limits::new().connections(1));
    let chat = Chat::open(Manners::Polite, one).await;
    let mut socket = chat.connect(UPGRADE).await;
    socket.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut socket, "ping").await, "ping");
    chat.until_open(1).await;

    // The second connection waits in the backlog for the place of the first.
    let mut second = TcpStream::connect(chat.running.local_addr()).await.unwrap();
    second.write_all(UPGRADE).await.unwrap();
    socket.write_all(b"pong").await.unwrap();
    assert_eq!(read_until(&mut socket, "pong").await, "pong");
    assert!(second.try_read(&mut [0; 1]).is_err(), "nobody answers it yet");
    drop(socket);
    assert!(
        read_until(&mut second, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 101")
    );
    drop(second);
    chat.until_open(0).await;
    chat.running.shutdown();
    let report = within(chat.running.join()).await;
    assert_eq!(
        (report.code(), report.requests, report.connections),
        (0, 2, 2),
        "{report}"
    );
}

#[tokio::test]
async fn it_is_told_of_the_drain_and_waited_for() {
    for head in [UPGRADE, b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"] {
        let given = Closing::new();
        let mut chat = Chat::open(Manners::Polite, |server| server.closing(&given)).await;
        let mut socket = chat.connect(head).await;
        assert!(!given.is_cancelled());
        chat.running.shutdown();
        assert_eq!(read_to_end(&mut socket).await, "bye");
        assert_eq!(chat.next().await, "polite");
        within(given.cancelled()).await;
        let report = within(chat.running.join()).await;
        assert_eq!((report.code(), report.cut_total), (0, 0), "{report}");
    }
}

/// An extension costs an allocation.
#[tokio::test]
async fn other_requests_carry_nothing() {
    let look =
        |request: Request| std::future::ready(request.extensions().get::<Closing>().is_some().to_string());
    let routes = Routes::new().route("/", get(look));
    let running = Server::new(routes).start("127.0.0.1:0").await.unwrap();
    let addr = running.local_addr();
    assert!(get_from(addr, "/").await.ends_with("false"));
    let mut socket = TcpStream::connect(addr).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    socket.write_all(head).await.unwrap();
    read_until(&mut socket, "true").await; // asked for an upgrade, and got an answer
    running.shutdown();
    assert_eq!(within(running.join()).await.code(), 0);
}

#[tokio::test]
async fn it_is_told_when_the_listener_closes_and_not_before() {
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_hours(1));
    let given = Closing::new();
    let server = |server: Server| server.lifecycle(lifecycle).closing(&given);
    let mut chat = Chat::open(Manners::Polite, server).await;
    chat.running.shutdown();
    let mut socket = chat.connect(UPGRADE).await; // still accepted
    socket.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut socket, "ping").await, "ping");
    assert!(!given.is_cancelled());
    chat.running.kill();
    let _ = within(socket.read_to_end(&mut Vec::new())).await;
    within(given.cancelled()).await;
    assert!(within(chat.running.join()).await.forced);
    let _ = chat.said.try_recv();
}

#[tokio::test]
async fn what_does_not_end_is_cut_and_named() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    let mut chat = Chat::open(Manners::Stubborn, |server| server.lifecycle(lifecycle)).await;
    let mut socket = chat.connect(UPGRADE).await;
    socket.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut socket, "pong!").await, "pong!");
    chat.running.shutdown();
    assert_eq!(chat.next().await, "stubborn");
    assert_eq!(read_to_end(&mut socket).await, "");
    let report = within(chat.running.join()).await;
    assert_eq!(
        (report.code(), report.cut_total, report.unfinished),
        (3, 1, 0),
        "{report}"
    );
    let cut = &report.cut[0];
    assert_eq!((cut.method, &*cut.route, cut.bytes), ("GET", "/chat", 5));
    assert!(report.to_string().contains("cut GET /chat after"), "{report}");
}

#[tokio::test]
async fn both_halves_of_it_hear_of_the_cut() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    let mut chat = Chat::open(Manners::Split, |server| server.lifecycle(lifecycle)).await;
    let _socket = chat.connect(UPGRADE).await; // takes nothing, so that the writer waits too
    chat.running.shutdown();
    let mut said = [chat.next().await, chat.next().await];
    said.sort_unstable();
    assert_eq!(said, ["reader", "writer"]);
    let report = within(chat.running.join()).await;
    assert_eq!((report.cut_total, report.unfinished), (1, 0), "{report}");
    assert!(report.cut[0].bytes > 0);
}

#[tokio::test]
async fn who_holds_it_and_does_nothing_cannot_keep_the_service() {
    let (gives, mut taken) = unbounded_channel();
    let hold = move |mut request: Request| {
        let gives = gives.clone();
        async move {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move { gives.send(upgrade.await.expect("upgraded")) });
            Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "chat")
                .body(Body::empty())
                .expect("a valid response")
        }
    };
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(10));
    let server = Server::new(Routes::new().route("/chat", get(hold))).lifecycle(lifecycle);
    let running = server.start("127.0.0.1:0").await.unwrap();
    let mut socket = TcpStream::connect(running.local_addr()).await.unwrap();
    socket.write_all(UPGRADE).await.unwrap();
    let upgraded = within(taken.recv()).await.unwrap();
    running.shutdown();
    let report = within(running.join()).await;
    assert_eq!((report.unfinished, report.code()), (1, 3), "{report}");
    drop(upgraded);
}
