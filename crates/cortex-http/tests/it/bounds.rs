use std::time::Duration;

use cortex_http::{Lifecycle, Limits};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{LONG, Shop, read_to_end, read_until, within};

const SHORT: Duration = Duration::from_millis(100);

fn errors(kind: &str) -> String {
    format!(r#"http_server_connection_errors_total{{kind="{kind}"}}"#)
}

fn outcome(outcome: &str) -> String {
    format!(r#"http_server_request_outcomes_total{{outcome="{outcome}"}}"#)
}

#[tokio::test]
async fn a_socket_that_sends_nothing_is_closed() {
    let shop = Shop::open(Limits::new().first_byte(SHORT)).await;
    assert_eq!(shop.exchange("").await, "");
    assert_eq!(shop.exchange("PRI * HTTP/2").await, ""); // the beginning of HTTP/2's preface and no more
    shop.until_metric(&errors("first_byte_timeout"), 2.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_answered_408() {
    let shop = Shop::open(Limits::new().header(SHORT)).await;
    for partial in ["G", "GET / HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        assert!(
            shop.exchange(partial)
                .await
                .starts_with("HTTP/1.1 408 Request Timeout\r\n")
        );
    }
    // The second head of a connection has the same limit, counted from its own first byte.
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut socket, "hello").await;
    socket.write_all(b"GET / HT").await.unwrap();
    assert!(read_to_end(&mut socket).await.starts_with("HTTP/1.1 408"));
    shop.until_metric(&errors("header_timeout"), 3.0).await;
    shop.close().await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_limit_and_ends_at_its_own() {
    let idle = Duration::from_secs(2); // so long that a busy machine asks again in time
    let limits = Limits::new().header(Duration::from_millis(1)).idle(idle);
    let shop = Shop::open(limits).await;
    let mut socket = shop.connect().await;
    for _ in 0..3 {
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut socket, "hello").await;
    }
    assert_eq!(read_to_end(&mut socket).await, ""); // closed without a word: nothing was asked
    assert!(shop.metric(&errors("header_timeout")) < 1.0);
    shop.close().await;
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_answered_and_counted() {
    let shop = Shop::open(Limits::new().header_bytes(8 << 10)).await;
    assert!(
        shop.exchange("GET / HTTP/1.1\r\nno colon here\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        shop.exchange("\0\x01\x02\x03 nonsense\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    // More than fits is sent on: the answer must arrive all the same, not a reset.
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n",
        "a".repeat(300 << 10)
    );
    assert!(shop.exchange(large).await.starts_with("HTTP/1.1 431"));
    shop.until_metric(&errors("bad_request"), 2.0).await;
    shop.until_metric(&errors("header_too_large"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413() {
    let shop = Shop::open(Limits::new().body_bytes(1000)).await;
    let declared = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 400000\r\n\r\n{}",
        "a".repeat(400_000)
    );
    let answer = shop.exchange(declared).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close\r\n"),
        "{answer}"
    );

    let chunk = format!("{:x}\r\n{}\r\n", 700, "a".repeat(700));
    let chunked = format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    assert!(shop.exchange(chunked).await.starts_with("HTTP/1.1 413"));
    shop.until_metric(&outcome("too_large"), 2.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_body_that_does_not_end_is_answered_408() {
    let shop = Shop::open(Limits::new().body(SHORT)).await;
    let answer = shop
        .exchange("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!")
        .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    shop.until_metric(&outcome("timeout"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    let shop = Shop::open(Limits::new().write_stall(SHORT)).await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    shop.until_metric(&errors("write_stall"), 1.0).await; // the client has not read a byte
    shop.until_metric(&outcome("aborted"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_room() {
    let shop = Shop::open(Limits::new().connections(1)).await;
    let mut first = shop.connect().await;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut first, "hello").await;
    let mut second = shop.connect().await;
    second
        .write_all(b"GET /users/2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(shop.metric("http_server_active_connections") < 2.0);
    drop(first);
    assert!(read_to_end(&mut second).await.ends_with("\r\n\r\n2"));
    shop.close().await;
}

#[tokio::test]
async fn an_upgraded_connection_has_no_limits_of_http() {
    let limits = Limits::new().header(SHORT).idle(SHORT);
    let shop = Shop::open(limits).await;
    let mut socket = shop.connect().await;
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut socket, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 101")
    );
    socket.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut socket, "ping").await, "ping");
    // Another connection that is idle for as long shows that the limit has passed.
    let mut idle = shop.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "hello").await;
    assert_eq!(read_to_end(&mut idle).await, "");
    socket.write_all(b"pong").await.unwrap();
    assert_eq!(read_until(&mut socket, "pong").await, "pong");
}

#[tokio::test]
async fn a_body_that_is_read_after_the_answer_is_not_taken_for_a_head() {
    let shop = Shop::open(Limits::new().header(SHORT).idle(SHORT)).await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"POST /late HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfive!")
        .await
        .unwrap();
    read_until(&mut socket, "later").await;
    let mut idle = shop.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "hello").await;
    assert_eq!(read_to_end(&mut idle).await, "");
    let mut stray = [0; 1];
    let nothing = socket.try_read(&mut stray).unwrap_err();
    assert_eq!(
        nothing.kind(),
        std::io::ErrorKind::WouldBlock,
        "a 408 for a head that nobody sends"
    );
    assert_eq!(
        shop.metric(&errors("header_timeout")).to_bits(),
        0.0_f64.to_bits()
    );
    shop.running.kill();
    assert_eq!(shop.close().await.cut_total, 0);
}

/// Waits until the server has no connection any more.
async fn until_alone(shop: &Shop) {
    let alone = async {
        while shop.metric("http_server_active_connections") > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    within(alone).await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_the_place_of_its_peer() {
    let shop = Shop::open(Limits::new().per_peer(1)).await;
    let mut upgraded = shop.connect().await;
    let head = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    upgraded.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut upgraded, "\r\n\r\n").await;
    upgraded.write_all(b"ping").await.unwrap();
    read_until(&mut upgraded, "ping").await;
    assert_eq!(shop.exchange("").await, "");
    shop.until_metric(&errors("per_peer"), 1.0).await;
    drop(upgraded);
    until_alone(&shop).await;
    assert!(shop.get("/").await.ends_with("hello"));
    shop.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_is_silent_is_asked_whether_it_is_there() {
    let shop = Shop::open(Limits::new()).await;
    let mut socket = shop.connect().await;
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut socket, "hello").await;
    let port = |addr: std::net::SocketAddr| format!(":{:04X}", addr.port());
    let (server, client) = (
        port(shop.running.local_addr()),
        port(socket.local_addr().unwrap()),
    );
    // `sl local remote st tx:rx tr:when`, where `tr` is 02 while the timer of keepalive runs.
    let kept_alive = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().any(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields[1].ends_with(&server) && fields[2].ends_with(&client) && fields[5].starts_with("02:")
        })
    };
    let seen = async {
        while !kept_alive() {
            tokio::task::yield_now().await; // the answer may have to be acknowledged yet
        }
    };
    within(seen).await;
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_reads_steadily_is_not_closed_however_slow_it_is() {
    const PIECE: usize = 16 << 10;
    let limit = Duration::from_secs(3);
    let shop = Shop::open(Limits::new().write_stall(limit)).await;
    let socket = TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4 * PIECE).unwrap();
    let mut socket = socket.connect(shop.running.local_addr()).await.unwrap();
    socket
        .write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // 128 KiB/s: what makes the socket of a server writable by itself, some 800 KiB, takes longer than the limit.
    let mut ticks = tokio::time::interval(Duration::from_millis(1000 * PIECE as u64 / (128 << 10)));
    let start = tokio::time::Instant::now();
    let mut piece = vec![0; PIECE];
    while start.elapsed() < limit * 3 {
        ticks.tick().await;
        within(socket.read_exact(&mut piece))
            .await
            .expect("it is not closed");
    }
    assert_eq!(shop.metric(&errors("write_stall")).to_bits(), 0.0_f64.to_bits());
    drop(socket);
    shop.close().await;
}

#[tokio::test]
async fn who_waits_in_the_backlog_when_the_service_closes_is_answered() {
    use std::io::{Read, Write};
    let lifecycle = Lifecycle::local().linger(Duration::ZERO);
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
    // The server runs on this very thread, and so hears of the connection only when it closes already.
    let mut socket = std::net::TcpStream::connect(shop.running.local_addr()).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    shop.running.shutdown();
    let asked = tokio::time::Instant::now();
    while shop.metric("cortex_lifecycle_phase") < 2.0 {
        assert!(asked.elapsed() < LONG, "it closes");
        std::thread::yield_now();
    }
    assert_eq!(shop.close().await.code(), 0);
    let mut answer = String::new();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
}
