//! A drain under load that never pauses: whoever keeps a connection, or is about to use one, gets an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use cortex_http::{Lifecycle, Limits, Server};
use http_body_util::BodyExt;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Shop, read_to_end, read_until, until, within};

const LONG: Duration = Duration::from_secs(20);
const HELLO: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Asks over one connection, again and again, until an answer says that it closes; returns how many were answered.
async fn keeps_asking(addr: std::net::SocketAddr, answered: Arc<AtomicUsize>, ending: Arc<AtomicBool>) {
    let io = TokioIo::new(TcpStream::connect(addr).await.expect("it listens"));
    let (mut send, connection): (SendRequest<Body>, _) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("a handshake");
    tokio::spawn(connection);
    loop {
        let request = http::Request::get("/").header("host", "a").body(Body::empty());
        let answer = send.send_request(request.expect("a valid request")).await;
        let answer = answer.expect("no request is lost");
        assert_eq!(answer.status(), 200);
        let last = answer
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close");
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("no answer is cut")
            .to_bytes();
        assert_eq!(body, "hello");
        answered.fetch_add(1, Ordering::Relaxed);
        if last {
            assert!(ending.load(Ordering::Relaxed), "closed before the drain");
            return;
        }
        send.ready().await.expect("it is kept, as it said");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_on_a_connection_that_is_kept_is_lost() {
    // Without a delay: closing comes while every connection is in use. How long they linger is as it is in production.
    let lifecycle = Lifecycle::kubernetes().drain_delay(Duration::ZERO);
    for _ in 0..10 {
        let shop = Shop::with(Limits::new(), |server: Server| server.lifecycle(lifecycle)).await;
        let (answered, ending) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let clients: Vec<_> = (0..32)
            .map(|_| {
                let (answered, ending) = (Arc::clone(&answered), Arc::clone(&ending));
                tokio::spawn(keeps_asking(shop.running.local_addr(), answered, ending))
            })
            .collect();
        until("200 are answered", || answered.load(Ordering::Relaxed) >= 200).await;
        ending.store(true, Ordering::Relaxed);
        shop.running.shutdown();
        for client in clients {
            within(client).await.unwrap();
        }
        let report = shop.close().await;
        let answered = u64::try_from(answered.load(Ordering::Relaxed)).unwrap();
        assert_eq!((report.code(), report.requests), (0, answered), "{report}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_still_answered_while_it_lingers() {
    let lifecycle = Lifecycle::local().drain_timeout(LONG).linger(LONG);
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
    let mut used = shop.connect().await;
    used.write_all(HELLO).await.unwrap();
    read_until(&mut used, "hello").await;
    let mut fresh = shop.connect().await;
    shop.until_metric("http_server_active_connections", 2.0).await;
    shop.running.shutdown();
    let addr = shop.running.local_addr();
    let closed = async { while TcpStream::connect(addr).await.is_ok() {} };
    tokio::time::timeout(LONG, closed).await.unwrap();
    for socket in [&mut used, &mut fresh] {
        socket.write_all(HELLO).await.unwrap();
        let answer = read_to_end(socket).await;
        assert!(
            answer.contains("connection: close\r\n") && answer.ends_with("hello"),
            "{answer}"
        );
    }
    assert_eq!(shop.close().await.code(), 0);
}

#[tokio::test]
async fn a_connection_that_stays_quiet_is_closed_after_that() {
    let linger = Duration::from_millis(50);
    for drain_timeout in [LONG, Duration::from_millis(10)] {
        let lifecycle = Lifecycle::local().drain_timeout(drain_timeout).linger(linger);
        let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
        let mut used = shop.connect().await;
        used.write_all(HELLO).await.unwrap();
        read_until(&mut used, "hello").await;
        let mut fresh = shop.connect().await;
        shop.until_metric("http_server_active_connections", 2.0).await;
        shop.running.shutdown();
        for socket in [&mut used, &mut fresh] {
            assert_eq!(within(socket.read(&mut [0; 1])).await.unwrap(), 0);
        }
        let report = shop.close().await;
        // An idle connection is nobody's loss, also when there is no time for all of it.
        assert_eq!((report.code(), report.cut_total), (0, 0), "{report}");
        assert!(report.drained_in < Duration::from_secs(10), "{report}");
    }
}
