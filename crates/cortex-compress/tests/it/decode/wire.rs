//! The layer behind a real connection.

use super::support::encode;
use crate::support::text;
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use cortex_compress::{Coding, DecodeError, RequestDecompressionLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What became of a handler: it was dropped (`None`), or has read its body.
type Outcome = Option<Result<Bytes, axum::Error>>;

/// Serves on a free port, and tells what becomes of each request.
async fn serve() -> (TcpStream, UnboundedReceiver<Outcome>) {
    struct Note(UnboundedSender<Outcome>, Outcome);

    impl Drop for Note {
        fn drop(&mut self) {
            let _ = self.0.send(self.1.take());
        }
    }

    let (sender, outcomes) = unbounded_channel();
    let handler = async move |body: axum::body::Body| {
        let mut note = Note(sender.clone(), None);
        let read = axum::body::to_bytes(body, usize::MAX).await;
        let answer = match &read {
            Ok(read) => read.len().to_string(),
            Err(error) => error.to_string(),
        };
        note.1 = Some(read);
        answer
    };
    let app = Router::new()
        .route("/", post(handler))
        .layer(RequestDecompressionLayer::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (TcpStream::connect(address).await.unwrap(), outcomes)
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
    for &coding in Coding::ALL {
        let (mut connection, mut outcomes) = serve().await;
        let body = encode(coding, &text(100_000));
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        connection.write_all(&body[..body.len() / 2]).await.unwrap();
        drop(connection);
        // Either the server drops the handler, or that learns of it by an error, which is not one of decoding.
        match outcomes.recv().await.unwrap() {
            None => {}
            Some(Ok(read)) => panic!("{} bytes of half a body in {coding}", read.len()),
            Some(Err(error)) => assert_eq!(DecodeError::status_of(&error), None, "{coding}: {error:?}"),
        }
    }
}
