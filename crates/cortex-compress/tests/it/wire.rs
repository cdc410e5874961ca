//! What a client gets of a real server, byte by byte.

use crate::support::{decode, text};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use cortex_compress::{Coding, CompressionLayer};
use http::Response;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PIECE: usize = 10_000;

/// A file that may be shorter than it was when it was opened.
struct File {
    pieces: usize,
    /// What it says of the length that is left, if it does not leave that to the header.
    exact: Option<u64>,
}

impl http_body::Body for File {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pieces == 0 {
            return Poll::Ready(None);
        }
        self.pieces -= 1;
        self.exact = self.exact.map(|exact| exact - PIECE as u64);
        Poll::Ready(Some(Ok(Frame::data(text(PIECE)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A file with this many pieces left of as many as it promises, by a hint or by the header.
fn file(left: usize, promised: usize, declared: bool) -> Response<Body> {
    let length = promised * PIECE;
    let mut response = Response::builder().header("content-type", "text/csv");
    if declared {
        response = response.header("content-length", length);
    }
    let exact = (!declared).then_some(length as u64);
    response.body(Body::new(File { pieces: left, exact })).unwrap()
}

async fn serve() -> TcpStream {
    let app = Router::new()
        .route(
            "/page",
            get(async || ([("content-type", "text/html")], text(PIECE))),
        )
        .route("/declared", get(async || file(50, 50, true)))
        .route("/declared/cut", get(async || file(49, 50, true)))
        .route("/hinted", get(async || file(50, 50, false)))
        .route("/hinted/cut", get(async || file(49, 50, false)))
        .route("/whole", get(async || file(2, 2, false)))
        .route("/whole/cut", get(async || file(1, 2, false)))
        .layer(CompressionLayer::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    TcpStream::connect(address).await.unwrap()
}

/// Takes a response from the front of what was received: its head, and a body of the length that it declares.
fn take<'a>(received: &mut &'a [u8]) -> Option<(String, &'a [u8])> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&received[..end])
        .unwrap()
        .to_ascii_lowercase();
    let length = head.split_once("content-length: ")?.1.split_once('\r')?.0;
    let rest = received.get(end + length.parse::<usize>().unwrap()..)?;
    let body = &received[end..received.len() - rest.len()];
    *received = rest;
    Some((head, body))
}

#[tokio::test]
async fn h4_a_file_that_is_cut_while_it_is_served_breaks_the_connection() {
    const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
    for &coding in Coding::ALL {
        for path in ["/declared", "/hinted", "/whole"] {
            for cut in ["", "/cut"] {
                let mut connection = serve().await;
                let request = format!(
                    "GET {path}{cut} HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n"
                );
                connection.write_all(request.as_bytes()).await.unwrap();
                let mut received = Vec::new();
                connection.read_to_end(&mut received).await.unwrap();
                let complete = received.ends_with(LAST_CHUNK) || take(&mut &received[..]).is_some();
                assert_eq!(complete, cut.is_empty(), "{coding} {path}{cut}");
                // What was not flushed yet when the body failed may be lost as a whole.
                let begun = received.starts_with(b"HTTP/1.1 200 OK");
                assert!(begun || !complete && received.is_empty(), "{coding} {path}{cut}");
            }
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_each_with_its_length() {
    for &coding in Coding::ALL {
        let mut connection = serve().await;
        let request = format!("GET /page HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\n\r\n");
        let mut requests = request.repeat(39);
        requests += &request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        connection.write_all(requests.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        connection.read_to_end(&mut received).await.unwrap();
        let mut received = &received[..];
        for at in 0..40 {
            let (head, body) = take(&mut received).unwrap();
            assert!(
                head.contains(&format!("content-encoding: {coding}\r\n")),
                "{head}"
            );
            let whole = (text(PIECE).to_vec(), true);
            assert!(decode(coding, body) == whole, "{coding} {at}");
        }
        assert!(received.is_empty());
    }
}
