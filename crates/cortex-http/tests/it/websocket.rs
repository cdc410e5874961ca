//! WebSockets over HTTP/2 (RFC 8441), which axum's extractor takes as those over HTTP/1.

use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use bytes::{Buf, Bytes, BytesMut};
use cortex_http::{Closing, ExitReport, Lifecycle, Limits, Routes, Running, Server};
use cortex_metrics::Registry;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{read_to_end, read_until, within};

struct Chat {
    running: Running,
    registry: Registry,
}

impl Chat {
    async fn open(polite: bool, change: impl FnOnce(Server) -> Server) -> Self {
        let chat = move |Extension(closing): Extension<Closing>, upgrade: WebSocketUpgrade| async move {
            upgrade.on_upgrade(move |socket| echo(socket, closing, polite)) as Response
        };
        let routes = Routes::new()
            .route("/chat/{room}", any(chat))
            .route("/", get(|| async { "hello" }));
        let registry = Registry::default();
        let server = change(Server::new(routes).metrics(&registry));
        let running = server.start("127.0.0.1:0").await.expect("a free port");
        Self { running, registry }
    }

    async fn close(self) -> ExitReport {
        self.running.shutdown();
        within(self.running.join()).await
    }
}

/// Sends back what it gets; says goodbye when the service closes, if it is polite.
async fn echo(mut socket: WebSocket, closing: Closing, polite: bool) {
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = closing.cancelled(), if polite => {
                let reason = "going away".into();
                let _ = socket.send(Message::Close(Some(CloseFrame { code: 1001, reason }))).await;
                return;
            }
        };
        match message {
            Some(Ok(message @ Message::Text(_))) => socket.send(message).await.expect("it is read"),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => {}
        }
    }
}

/// A WebSocket on a stream of a connection of its own, whose client is the crate h2.
struct Socket {
    requests: h2::client::SendRequest<Bytes>,
    send: SendStream<Bytes>,
    receive: RecvStream,
    left: BytesMut,
}

impl Socket {
    async fn open(chat: &Chat, path: &str) -> Self {
        let socket = TcpStream::connect(chat.running.local_addr())
            .await
            .expect("it listens");
        let (requests, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        let mut requests = within(requests.ready()).await.expect("it is open");
        let allowed = async {
            while !requests.is_extended_connect_protocol_enabled() {
                tokio::task::yield_now().await; // its settings are on their way
            }
        };
        within(allowed).await;
        let request = Request::connect(format!("http://a{path}"))
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"));
        let request = request.body(()).expect("a request");
        let (response, send) = requests.send_request(request, false).expect("it is open");
        let response = within(response).await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self {
            requests,
            send,
            receive: response.into_body(),
            left: BytesMut::new(),
        }
    }

    /// Sends a text, masked by nothing.
    fn say(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("it is short");
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
        self.send.send_data(frame.into(), false).expect("it is open");
    }

    /// Returns the next frame's opcode and what it says; `None` at the end.
    async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let [kind, length, text @ ..] = &*self.left
                && text.len() >= usize::from(*length)
            {
                let (kind, text) = (kind & 0xf, text[..usize::from(*length)].to_vec());
                self.left.advance(2 + text.len());
                return Some((kind, text));
            }
            let data = within(self.receive.data()).await?.ok()?;
            let _ = self.receive.flow_control().release_capacity(data.len());
            self.left.extend_from_slice(&data);
        }
    }
}

#[tokio::test]
async fn it_is_a_request_of_its_route_and_keeps_its_connection() {
    let idle = Limits::new().idle(Duration::from_millis(100));
    let chat = Chat::open(true, |server| server.limits(idle)).await;
    let mut socket = Socket::open(&chat, "/chat/7").await;
    socket.say("ping");
    assert_eq!(socket.hear().await, Some((1, b"ping".to_vec())));
    let text = chat.registry.to_text();
    let labels =
        r#"{http_request_method="CONNECT",http_route="/chat/{room}",http_response_status_code="200"}"#;
    let count = format!("http_server_request_duration_seconds_count{labels} 1\n");
    assert!(text.contains(&count), "{text}");
    assert!(text.contains("http_server_active_requests 0\n"), "{text}");

    // Another connection that is idle for as long shows that the limit has passed, and more than the farewell's time.
    for _ in 0..3 {
        let mut idle = TcpStream::connect(chat.running.local_addr()).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut idle, "hello").await;
        assert_eq!(read_to_end(&mut idle).await, "");
    }
    socket.say("pong");
    assert_eq!(socket.hear().await, Some((1, b"pong".to_vec())));
    // Other streams go on beside it.
    let other = Request::get("http://a/").body(()).unwrap();
    let (response, _) = socket.requests.send_request(other, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 200);

    // Once it has ended the connection is an idle one, which is told to go.
    socket.send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(socket.hear().await, None);
    let gone = async {
        while socket.requests.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;
    let report = chat.close().await;
    assert_eq!((report.code(), report.requests), (0, 5), "{report}");
}

#[tokio::test]
async fn it_is_told_of_the_end_and_waited_for() {
    let chat = Chat::open(true, |server| server).await;
    let mut socket = Socket::open(&chat, "/chat/7").await;
    socket.say("ping");
    assert_eq!(socket.hear().await, Some((1, b"ping".to_vec())));
    chat.running.shutdown();
    let (kind, reason) = socket.hear().await.unwrap();
    assert_eq!((kind, &reason[..2]), (8, &1001_u16.to_be_bytes()[..]));
    drop(socket);
    let report = chat.close().await;
    assert_eq!((report.code(), report.cut_total), (0, 0), "{report}");
}

#[tokio::test]
async fn one_that_does_not_end_is_cut_and_named() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_millis(50));
    let chat = Chat::open(false, |server| server.lifecycle(lifecycle)).await;
    let mut socket = Socket::open(&chat, "/chat/7").await;
    socket.say("ping");
    assert_eq!(socket.hear().await, Some((1, b"ping".to_vec())));
    let registry = chat.registry.clone();
    let report = chat.close().await;
    assert_eq!(
        (report.code(), report.cut_total, report.unfinished),
        (3, 1, 0),
        "{report}"
    );
    let cut = &report.cut[0];
    assert_eq!((cut.method, &*cut.route), ("CONNECT", "/chat/{room}"));
    assert_eq!(socket.hear().await, None);
    let text = registry.to_text();
    assert!(text.contains("http_server_active_connections 0\n"), "{text}");
}

/// As before: a stream is no tunnel to anywhere.
#[tokio::test]
async fn connect_without_a_protocol_is_refused() {
    let chat = Chat::open(true, |server| server).await;
    let mut socket = Socket::open(&chat, "/chat/7").await;
    let plain = Request::connect("a:443").body(()).unwrap();
    let (response, _) = socket.requests.send_request(plain, true).unwrap();
    assert_eq!(within(response).await.unwrap().status(), 501);
    socket.say("ping");
    assert_eq!(socket.hear().await, Some((1, b"ping".to_vec())));
    drop(socket);
    chat.close().await;
}
