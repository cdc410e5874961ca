use std::error::Error as _;
use std::sync::Arc;

use cortex_http::Limits;
use cortex_http::client::{ClientBuilder, ErrorKind};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::support::{SOON, answering, closing_after, measured, raw, read_head, url};
use crate::support::{Shop, within};

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let calls = measured(|client| client);
    let error = calls.client.get(url(port, "/?token=secret")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_unsent() && !error.is_timeout());
    let shown = error.to_string();
    assert!(
        shown.contains(&port.to_string()) && shown.contains("does somebody listen?"),
        "{shown}"
    );
    assert!(!shown.contains("secret"));
    assert!(error.source().is_some());
    assert_eq!(calls.ended(port, "", "connect"), 1);

    let error = calls
        .client
        .get("http://no-such-host.invalid/")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    calls.until_quiet().await;
}

#[tokio::test]
async fn servers_that_close_early_or_talk_nonsense() {
    let cases: [(&'static [u8], _, _); 8] = [
        (b"", "", ErrorKind::Closed),
        (b"HTTP/1.1 200 OK\r\ncontent-", "", ErrorKind::Closed),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            "200",
            ErrorKind::Closed,
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
            "200",
            ErrorKind::Closed,
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
            "200",
            ErrorKind::Closed,
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "", ErrorKind::Protocol),
        (b"HTTP/1.1 abc OK\r\n\r\n", "", ErrorKind::Protocol),
        (b"\x15\x03\x03\x00\x02\x02\x16", "", ErrorKind::Protocol),
    ];
    for (bytes, status, kind) in cases {
        let addr = closing_after(bytes).await;
        let calls = measured(|client| client);
        let error = match calls.client.get(url(addr, "/")).await {
            Err(error) => error,
            Ok(response) => response.into_body().bytes().await.unwrap_err(),
        };
        let sent = String::from_utf8_lossy(bytes);
        assert_eq!(error.kind(), kind, "{sent}: {error:?}");
        assert!(!error.is_unsent(), "{sent}");
        assert_eq!(calls.ended(addr, status, kind.as_str()), 1, "{sent}");
        calls.until_quiet().await;
    }
}

/// Answers over HTTP/2 with half of what it announces, and stops without an error once that was read; to `HEAD`, it sends nothing.
async fn stop(socket: TcpStream, go_on: Arc<Notify>) {
    let mut connection = h2::server::handshake(socket).await.expect("it speaks HTTP/2");
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let go_on = Arc::clone(&go_on);
        tokio::spawn(async move {
            let head = Response::builder().header("content-length", 8).body(());
            let head = head.expect("a length");
            let mut body = respond.send_response(head, false).expect("a connection");
            if request.method() == Method::HEAD {
                return body.send_data(Bytes::new(), true).expect("a stream");
            }
            let half = Bytes::from_static(b"half");
            body.send_data(half, false).expect("a stream");
            go_on.notified().await;
            body.send_reset(h2::Reason::NO_ERROR);
        });
    }
}

#[tokio::test]
async fn a_server_that_stops_before_the_length_that_it_announced() {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let addr = raw(move |socket| stop(socket, Arc::clone(&wait))).await;
    let calls = measured(ClientBuilder::http2_prior_knowledge);
    let mut body = calls.client.get(url(addr, "/")).await.unwrap().into_body();
    let half = within(body.frame()).await.unwrap().unwrap();
    assert_eq!(half.into_data().unwrap(), "half");
    go_on.notify_one();
    let error = within(body.frame()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(calls.ended(addr, "200", "closed"), 1);
    // What `HEAD` announces does not come.
    let request = Request::head(url(addr, "/")).body(String::new()).unwrap();
    let answer = within(calls.client.send(request)).await.unwrap();
    assert_eq!(answer.headers()["content-length"], "8");
    assert_eq!(within(answer.into_body().bytes()).await.unwrap(), "");
}

#[tokio::test]
async fn a_server_that_closes_without_a_look_at_the_request() {
    let addr = raw(|socket| async move { drop(socket) }).await;
    let calls = measured(ClientBuilder::http1_only);
    let error = calls.client.get(url(addr, "/")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Closed | ErrorKind::Cancelled),
        "{error:?}"
    );
    calls.until_quiet().await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2() {
    let addr = answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let calls = measured(ClientBuilder::http2_prior_knowledge);
    let error = calls.client.get(url(addr, "/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
    calls.until_quiet().await;
}

#[tokio::test]
async fn a_handler_that_panics_in_its_body_breaks_the_answer_off() {
    for http2 in [false, true] {
        let shop = Shop::open(Limits::new()).await;
        let calls = measured(|client| {
            if http2 {
                client.http2_prior_knowledge()
            } else {
                client
            }
        });
        let response = calls
            .client
            .get(url(shop.running.local_addr(), "/broken"))
            .await
            .unwrap();
        let error = response.into_body().bytes().await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Closed | ErrorKind::Protocol),
            "{error:?}"
        );
        drop(calls);
        shop.close().await;
    }
}

/// Sends a piece, then fails with what it has.
struct Broken<E>(Option<Bytes>, Option<E>);

impl<E> Broken<E> {
    fn with(error: E) -> StreamBody<Self> {
        StreamBody::new(Self(Some(Bytes::from_static(b"first")), Some(error)))
    }
}

impl<E: Unpin> futures_core::Stream for Broken<E> {
    type Item = Result<Frame<Bytes>, E>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let piece = self.0.take().map(|piece| Ok(Frame::data(piece)));
        std::task::Poll::Ready(piece.or_else(|| self.1.take().map(Err)))
    }
}

#[tokio::test]
async fn a_request_whose_body_fails() {
    let shop = Shop::open(Limits::new()).await;
    let calls = measured(|client| client);
    let request = Request::post(url(shop.running.local_addr(), "/echo"));
    let request = request
        .body(Broken::with(std::io::Error::other("seeded")))
        .unwrap();
    let error = calls.client.send(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestBody, "{error:?}");
    calls.until_quiet().await;
    shop.close().await;
}

/// What a body is made of may fail in ways that say of this call the opposite.
#[tokio::test]
async fn a_request_whose_body_is_that_of_another_call_which_fails() {
    let shop = Shop::open(Limits::new()).await;
    let stalls = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    for http2 in [false, true] {
        let calls = measured(|client| {
            if http2 {
                client.http2_prior_knowledge()
            } else {
                client
            }
        });
        let echo = || Request::post(url(shop.running.local_addr(), "/echo"));
        let never_begun = calls
            .client
            .get("http://no-such-host.invalid/")
            .await
            .unwrap_err();
        assert!(never_begun.is_unsent());
        let request = echo().body(Broken::with(never_begun)).unwrap();
        let begun = calls.client.send(request).await.unwrap_err();

        let hasty = measured(|client| client.body_idle(SOON)).client;
        let stalled = hasty.get(url(stalls, "/")).await.unwrap().into_body();
        let request = echo().body(stalled).unwrap();
        let stopped = calls.client.send(request).await.unwrap_err();
        for error in [begun, stopped] {
            assert!(!error.is_unsent() && !error.is_timeout(), "{error:?}");
            if !http2 {
                assert_eq!(error.kind(), ErrorKind::RequestBody, "{error:?}");
            }
        }
        drop((hasty, calls));
    }
    shop.close().await;
}

#[test]
fn a_runtime_that_ends_takes_its_connections_along() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (server, first) = (build(), build());
    let (seen, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let addr = server.block_on(raw(move |mut socket| {
        let seen = seen.clone();
        async move {
            let _ = seen.send(read_head(&mut socket).await);
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    }));
    let serving = std::thread::spawn(move || server.block_on(std::future::pending::<()>()));
    let calls = measured(|client| client);
    let mut call = Box::pin(calls.client.get(url(addr, "/")));
    first.block_on(async {
        tokio::select! {
            _ = &mut call => panic!("it is not answered"),
            head = heads.recv() => assert!(head.is_some()),
        }
    });
    drop(first);
    let error = build().block_on(call).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
    assert!(!error.is_unsent() && !serving.is_finished());
}
