//! The layer behind a real connection.

use super::support::encode;
use crate::support::text;
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use cortex_compress::{Coding, RequestDecompressionLayer};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Serves on a free port; the handler tells when it was dropped before it had all of the body.
async fn serve() -> (TcpStream, Arc<Notify>) {
    struct Gone(Arc<Notify>);

    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    let gone = Arc::new(Notify::new());
    let note = Arc::clone(&gone);
    let handler = async move |body: axum::body::Body| {
        let guard = Gone(Arc::clone(&note));
        let read: Result<Bytes, _> = axum::body::to_bytes(body, usize::MAX).await;
        drop(guard);
        read.map_or_else(|error| error.to_string(), |read| read.len().to_string())
    };
    let app = Router::new()
        .route("/", post(handler))
        .layer(RequestDecompressionLayer::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (TcpStream::connect(address).await.unwrap(), gone)
}

/// Reads a head of a response, and nothing of what follows.
async fn head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn d2_10_1_1_a_client_that_waits_is_refused_before_it_sends() {
    for (coding, length, status) in [("compress", 1000, "415"), ("gzip", 9 << 20, "413")] {
        let (mut connection, _) = serve().await;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-encoding: {coding}\r\n\
             content-length: {length}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let head = head(&mut connection).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert_eq!(
            head.contains("accept-encoding: zstd, br, gzip, deflate\r\n"),
            status == "415"
        );
    }
}

#[tokio::test]
async fn a_client_that_waits_for_it_may_go_on() {
    let (mut connection, _) = serve().await;
    let body = encode(Coding::Zstd, &text(100_000));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-encoding: zstd\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut connection).await.starts_with("http/1.1 100 "));
    connection.write_all(&body).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("100000"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_a_byte_at_a_time_gets_its_answer() {
    let (mut connection, _) = serve().await;
    connection.set_nodelay(true).unwrap();
    let body = encode(Coding::Br, &text(3000));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: br\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    for byte in body {
        connection.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("3000"), "{answer}");
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_handler() {
    let (mut connection, gone) = serve().await;
    let body = encode(Coding::Gzip, &text(100_000));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.write_all(&body[..body.len() / 2]).await.unwrap();
    drop(connection);
    gone.notified().await;
}
