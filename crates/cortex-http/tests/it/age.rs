//! Connections that are older than they are to be.

use std::time::Duration;

use cortex_http::Limits;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{Shop, read_to_end, read_until, within};

/// So long that what is to happen before happens in time, on most days.
const AGE: Duration = Duration::from_secs(1);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Asks once; says whether the answer is the last one.
async fn ask(socket: &mut TcpStream) -> bool {
    within(socket.write_all(ASK)).await.expect("it is open");
    let head = read_until(socket, "\r\n\r\n").await;
    read_until(socket, "hello").await;
    head.contains("connection: close\r\n")
}

/// Waits until a connection of the same age has surely passed it: one that is busy, and hears of it.
async fn wait_for_age(shop: &Shop) {
    let mut socket = shop.connect().await;
    within(async { while !ask(&mut socket).await {} }).await;
    assert_eq!(read_to_end(&mut socket).await, ""); // and that is its end
}

/// Returns a connection that was answered before it was old. On a machine that is too busy for that it is another one.
async fn young(shop: &Shop) -> TcpStream {
    let opened = async {
        loop {
            let mut socket = shop.connect().await;
            if !ask(&mut socket).await {
                return socket;
            }
        }
    };
    within(opened).await
}

#[tokio::test]
async fn an_old_connection_ends_with_its_next_response() {
    let shop = Shop::open(Limits::new().max_age(AGE)).await;
    let mut idle = young(&shop).await;
    for _ in 0..2 {
        wait_for_age(&shop).await; // the spread may make one live longer than another, never than two
    }
    // It was not closed in the meantime: a request on its way then would be lost.
    idle.write_all(ASK).await.unwrap();
    let answer = read_to_end(&mut idle).await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
    assert_eq!(shop.close().await.cut_total, 0);
}

#[tokio::test]
async fn an_old_connection_of_http2_goes_away_after_its_streams() {
    let shop = Shop::open(Limits::new().max_age(AGE)).await;
    let io = TokioIo::new(shop.connect().await);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| {
        let request = http::Request::get(format!("http://a{path}"));
        request.body(Empty::<bytes::Bytes>::new()).expect("a request")
    };
    let stuck = tokio::spawn(send.send_request(request("/stuck")));
    shop.gates.until_entered().await;
    // The client hears that the connection goes away, and opens no more streams on it.
    let told = async {
        while send.ready().await.is_ok() && !send.is_closed() {
            let Ok(response) = send.send_request(request("/")).await else {
                break;
            };
            response.into_body().collect().await.unwrap();
        }
    };
    within(told).await;
    shop.gates.release.notify_one();
    let response = within(stuck).await.unwrap().unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), "released");
    within(connection).await.unwrap().unwrap();
    assert_eq!(shop.close().await.cut_total, 0);
}
