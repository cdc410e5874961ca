//! HTTP/2 as an attacker speaks it: frame by frame.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::routing::get;
use cortex_http::{Lifecycle, Limits, Routes};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Gates, LONG, Shop, routes, within};

const SHORT: Duration = Duration::from_millis(100);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const ENHANCE_YOUR_CALM: u32 = 11;

fn errors(kind: &str) -> String {
    format!(r#"http_server_connection_errors_total{{kind="{kind}"}}"#)
}

fn outcome(outcome: &str) -> String {
    format!(r#"http_server_request_outcomes_total{{outcome="{outcome}"}}"#)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short");
    let head = [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header block for `GET` of a path, without a table.
fn block(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("it is short");
    let method_and_scheme = [0x82, 0x86];
    // The names are in the static table: `:path` is 4, `:authority` 1.
    [
        &method_and_scheme[..],
        &[0x04, length],
        path.as_bytes(),
        &[0x01, 1, b'a'],
    ]
    .concat()
}

fn ask(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(path))
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A client that sends what it wants.
struct Raw(TcpStream);

impl Raw {
    async fn connect(shop: &Shop, settings: &[u8]) -> Self {
        let mut this = Self(shop.connect().await);
        this.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat())
            .await;
        this
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the connection is open");
    }

    async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        let read = tokio::time::timeout(LONG, self.0.read_exact(&mut head));
        read.await.expect("a frame or an end in bounded time").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        within(self.0.read_exact(&mut payload)).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// Reads until a frame of this kind comes.
    async fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().await.expect("the connection is open");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end; returns the last reason to go away.
    async fn reason(mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.read().await {
            if frame.kind == GOAWAY {
                reason = frame.payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
        reason
    }

    /// Waits until the server has seen all that was sent.
    async fn settle(&mut self) {
        self.send(&frame(PING, 0, 0, b"settled?")).await;
        while !matches!(self.until(PING).await, Frame { flags: ACK, payload, .. } if payload == b"settled?") {
        }
    }
}

#[tokio::test]
async fn a_burst_of_requests_that_are_taken_back_ends_the_connection() {
    let shop = Shop::open(Limits::new()).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    let burst: Vec<u8> = (0..500)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [
                ask(stream, "/stuck"),
                frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
            ]
            .concat()
        })
        .collect();
    let _ = raw.0.write_all(&burst).await; // it may be closed in the midst of it
    assert_eq!(raw.reason().await, Some(ENHANCE_YOUR_CALM));
    shop.until_metric(&errors("http2_flood"), 1.0).await;
    assert!(shop.get("/").await.ends_with("hello")); // others are not harmed
    assert_eq!(shop.close().await.cut_total, 0);
}

#[tokio::test]
async fn requests_that_are_taken_back_one_by_one_leave_nothing_behind() {
    let shop = Shop::open(Limits::new().streams(4)).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    for number in 0..200 {
        let stream = number * 2 + 1;
        raw.send(&ask(stream, "/stuck")).await;
        shop.gates.until_entered().await;
        raw.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()))
            .await;
        assert!(shop.metric("http_server_active_requests") <= 5.0);
    }
    shop.until_metric(&outcome("client_cancel"), 200.0).await;
    raw.send(&ask(401, "/")).await;
    assert_eq!(raw.until(DATA).await.payload, b"hello");
    drop(raw);
    assert_eq!(shop.close().await.cut_total, 0);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let shop = Shop::open(Limits::new().streams(2)).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.settle().await;
    raw.send(&frame(SETTINGS, ACK, 0, &[])).await;
    raw.send(&[ask(1, "/stuck"), ask(3, "/stuck"), ask(5, "/")].concat())
        .await;
    let refused = raw.until(RST_STREAM).await;
    assert_eq!(
        (refused.stream, refused.payload),
        (5, 7_u32.to_be_bytes().to_vec())
    ); // REFUSED_STREAM
    drop(raw);
    shop.until_metric(&outcome("client_cancel"), 2.0).await;
    shop.close().await;
}

#[tokio::test]
async fn questions_whose_answers_nobody_reads_are_not_collected() {
    for kind in [SETTINGS, PING] {
        let shop = Shop::open(Limits::new().write_stall(SHORT)).await;
        let raw = Raw::connect(&shop, &[]).await;
        let question = frame(kind, 0, 0, if kind == PING { b"question" } else { b"" });
        let flood = question.repeat(1000);
        let (_reading, mut writing) = raw.0.into_split();
        // The server reads on only when an answer is on its way, so it is the client that has to wait, until it is closed.
        let flooding = async { while writing.write_all(&flood).await.is_ok() {} };
        let others = async {
            for _ in 0..20 {
                assert!(shop.get("/").await.ends_with("hello"));
            }
        };
        let both = async { tokio::join!(flooding, others) };
        tokio::time::timeout(LONG, both).await.unwrap();
        shop.until_metric(&errors("write_stall"), 1.0).await;
        shop.close().await;
    }
}

#[tokio::test]
async fn a_flood_of_questions_that_reads_the_answers_harms_nobody_else() {
    for kind in [SETTINGS, PING] {
        let shop = Shop::open(Limits::new()).await;
        let raw = Raw::connect(&shop, &[]).await;
        let question = frame(kind, 0, 0, if kind == PING { b"question" } else { b"" });
        let flood = question.repeat(100);
        let (mut reading, mut writing) = raw.0.into_split();
        let answers =
            tokio::spawn(async move { tokio::io::copy(&mut reading, &mut tokio::io::sink()).await });
        let flooding = tokio::spawn(async move { while writing.write_all(&flood).await.is_ok() {} });
        for _ in 0..5 {
            assert!(shop.get("/").await.ends_with("hello"));
        }
        assert!(!flooding.is_finished());
        flooding.abort();
        let answered = answers.await.unwrap().unwrap_or_default();
        assert!(answered > 0);
        shop.close().await;
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    // Empty pieces, pieces that say nothing, and ones that are more than is allowed.
    for (piece, count) in [
        (vec![], 100_000),
        (vec![0x82], 100_000),
        (vec![0x82; 16_000], 100),
    ] {
        let shop = Shop::open(Limits::new()).await;
        let mut raw = Raw::connect(&shop, &[]).await;
        raw.send(&frame(HEADERS, END_STREAM, 1, &block("/"))).await;
        let piece = frame(CONTINUATION, 0, 1, &piece);
        for _ in 0..count {
            if raw.0.write_all(&piece).await.is_err() {
                break; // closed
            }
        }
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(LONG, raw.0.read_to_end(&mut rest))
            .await
            .expect("it is closed");
        let counted = async {
            while shop.metric(&errors("http2_flood")) + shop.metric(&errors("http2_protocol")) < 1.0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, counted).await.unwrap();
        assert!(shop.get("/").await.ends_with("hello"));
        shop.close().await;
    }
}

#[tokio::test]
async fn a_head_that_unpacks_to_far_too_much_is_refused() {
    let shop = Shop::open(Limits::new()).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.send(&frame(SETTINGS, ACK, 0, &[])).await;
    // One field of 4000 bytes is put into the table, and named again by one byte each.
    let mut bomb = block("/");
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]); // a name of one byte, a value of 127 + 33 + 30 * 128 = 4000
    bomb.extend([b'a'; 4000]);
    bomb.extend([0xbe; 8000]); // the newest entry of the table
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb))
        .await;
    assert_eq!(raw.reason().await, Some(ENHANCE_YOUR_CALM));
    shop.until_metric(&errors("http2_flood"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_body_of_nothing_in_many_frames_ends_the_connection() {
    let shop = Shop::open(Limits::new()).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    let mut post = block("/echo");
    post[0] = 0x83; // POST
    raw.send(&frame(HEADERS, END_HEADERS, 1, &post)).await;
    let nothing = frame(DATA, 0, 1, b"").repeat(1000);
    for _ in 0..100 {
        if raw.0.write_all(&nothing).await.is_err() {
            break;
        }
    }
    let mut rest = Vec::new();
    let _ = within(raw.0.read_to_end(&mut rest)).await;
    shop.until_metric(&errors("http2_flood"), 1.0).await;
    assert!(shop.get("/").await.ends_with("hello"));
    shop.close().await;
}

#[tokio::test]
async fn what_the_protocol_forbids_is_counted() {
    let shop = Shop::open(Limits::new()).await;
    for forbidden in [
        frame(DATA, 0, 0, b"on no stream"),
        frame(CONTINUATION, 0, 1, b""),
        frame(SETTINGS, 0, 0, b"odd"),
        ask(2, "/"),
    ] {
        let mut raw = Raw::connect(&shop, &[]).await;
        raw.send(&forbidden).await;
        assert!(raw.reason().await.is_some_and(|reason| reason != 0));
    }
    shop.until_metric(&errors("http2_protocol"), 4.0).await;
    shop.close().await;
}

/// Settings of a client that gives streams this window at first.
fn window(size: u32) -> Vec<u8> {
    [&4_u16.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_stream_without_window_is_reset_and_the_others_go_on() {
    let shop = Shop::open(Limits::new().write_stall(SHORT)).await;
    let mut raw = Raw::connect(&shop, &window(0)).await;
    raw.send(&[ask(1, "/big"), ask(3, "/endless"), ask(5, "/stuck")].concat())
        .await;
    let mut reset = Vec::new();
    while reset.len() < 2 {
        let frame = raw.until(RST_STREAM).await;
        assert_eq!(frame.payload, 8_u32.to_be_bytes()); // CANCEL
        reset.push(frame.stream);
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    shop.until_metric(&errors("stream_stall"), 2.0).await;
    // A handler that takes its time keeps nobody waiting for window, and is not reset.
    shop.gates.release.notify_one();
    raw.send(&frame(WINDOW_UPDATE, 0, 5, &100_u32.to_be_bytes()))
        .await;
    assert_eq!(raw.until(DATA).await.payload, b"released");
    drop(raw);
    assert_eq!(shop.close().await.cut_total, 0);
}

#[tokio::test]
async fn a_client_that_takes_it_slowly_gets_all_of_it() {
    let gates = Gates::default();
    let whole = Bytes::from(vec![b'x'; 100_000]);
    let routes: Routes = routes(&gates).route("/large", get(move || async move { whole }));
    let limit = Duration::from_millis(1500);
    let shop = Shop::of(routes, gates, Limits::new().write_stall(limit).idle(limit)).await;
    let pauses = Shop::open(Limits::new().first_byte(limit / 4)).await;
    let mut raw = Raw::connect(&shop, &window(0)).await;
    raw.send(&ask(1, "/large")).await;
    let start = tokio::time::Instant::now();
    let mut received = 0;
    while received < 100_000 {
        let more = 20_000_u32.to_be_bytes();
        raw.send(
            &[
                frame(WINDOW_UPDATE, 0, 0, &more),
                frame(WINDOW_UPDATE, 0, 1, &more),
            ]
            .concat(),
        )
        .await;
        let before = received;
        while received < (before + 20_000).min(100_000) {
            received += raw.until(DATA).await.payload.len();
        }
        pauses.exchange("").await; // closed for its silence, after a part of the limit
    }
    // All in all it took longer than a stream without window, and an idle connection, may take.
    assert!(start.elapsed() > limit);
    drop(raw);
    pauses.close().await;
    shop.close().await;
}

#[tokio::test]
async fn a_body_that_has_nothing_to_say_for_long_is_not_a_stall() {
    let gates = Gates::default();
    let waiting = gates.clone();
    let routes = routes(&gates).route(
        "/events",
        get(move || async move {
            let (sender, body) = http_body_util::channel::Channel::<Bytes, std::convert::Infallible>::new(1);
            tokio::spawn(async move {
                let mut sender = sender;
                sender.send_data("first".into()).await.expect("somebody reads");
                waiting.release.notified().await;
                sender.send_data("second".into()).await.expect("somebody reads");
            });
            Body::new(body)
        }),
    );
    let shop = Shop::of(routes, gates, Limits::new().write_stall(SHORT)).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.send(&ask(1, "/events")).await;
    assert_eq!(raw.until(DATA).await.payload, b"first");
    // Another stream that is reset for its stall shows that the time has passed.
    let mut stalled = Raw::connect(&shop, &window(0)).await;
    stalled.send(&ask(1, "/")).await;
    stalled.until(RST_STREAM).await;
    shop.gates.release.notify_one();
    assert_eq!(raw.until(DATA).await.payload, b"second");
    drop((raw, stalled));
    shop.close().await;
}

#[tokio::test]
async fn a_stream_with_a_byte_of_window_is_reset_too() {
    let shop = Shop::open(Limits::new().write_stall(SHORT)).await;
    let mut raw = Raw::connect(&shop, &window(1)).await;
    raw.send(&ask(1, "/big")).await;
    let reset = raw.until(RST_STREAM).await;
    assert_eq!((reset.stream, reset.payload), (1, 8_u32.to_be_bytes().to_vec())); // CANCEL
    shop.until_metric(&errors("stream_stall"), 1.0).await;
    drop(raw);
    shop.close().await;
}

#[tokio::test]
async fn a_stream_waits_longer_while_its_client_takes_others() {
    let limit = SHORT * 10; // in which even a busy machine reads a frame
    let shop = Shop::open(Limits::new().write_stall(limit)).await;
    let mut raw = Raw::connect(&shop, &window(0)).await;
    raw.send(&[ask(1, "/big"), ask(3, "/endless")].concat()).await;
    let much = 1_u32 << 28;
    let more = [0, 3].map(|stream| frame(WINDOW_UPDATE, 0, stream, &much.to_be_bytes()));
    let more = more.concat();
    raw.send(&[&*more, &more].concat()).await;
    let start = tokio::time::Instant::now();
    let mut taken = 0;
    // As often as it may, and no longer: what is downloaded would keep it for ever.
    let reset = loop {
        let frame = raw.read().await.expect("the connection is open");
        match frame.kind {
            RST_STREAM => break frame,
            DATA => taken += frame.payload.len(),
            _ => {}
        }
        // All windows that there are would be used up before, on a machine that is fast.
        if taken >= much as usize {
            taken -= much as usize;
            raw.send(&more).await;
        }
    };
    assert_eq!(reset.stream, 1);
    assert!(start.elapsed() > limit * 3 / 2, "{:?}", start.elapsed());
    drop(raw);
    shop.close().await;
}

/// Answers the PING that comes before the last GOAWAY.
async fn farewell(raw: &mut Raw) {
    let goaway = raw.until(GOAWAY).await;
    assert_eq!(goaway.payload[4..8], [0; 4]); // NO_ERROR
    let ping = raw.until(PING).await;
    raw.send(&frame(PING, ACK, 0, &ping.payload)).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_away() {
    let shop = Shop::open(Limits::new().idle(SHORT * 5)).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.send(&ask(1, "/")).await;
    assert_eq!(raw.until(DATA).await.payload, b"hello");
    farewell(&mut raw).await;
    assert_eq!(raw.reason().await, Some(0)); // and then it ends
    // Who does not answer is closed after a while.
    let mut mute = Raw::connect(&shop, &[]).await;
    mute.until(GOAWAY).await;
    while mute.read().await.is_some() {}
    assert_eq!(shop.close().await.cut_total, 0);
}

#[tokio::test]
async fn a_connection_that_ends_takes_what_its_client_still_sends() {
    let shop = Shop::open(Limits::new()).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.settle().await;
    let closing = tokio::spawn(shop.close());
    farewell(&mut raw).await;
    while raw.read().await.is_some() {}
    // All but the first would fail if nobody listened any more, and a client may write before it has read its answers.
    for _ in 0..3 {
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())).await;
    }
    drop(raw);
    assert_eq!(closing.await.unwrap().cut_total, 0);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_does_not_hold_up_the_end() {
    let lifecycle = Lifecycle::local().drain_timeout(Duration::from_mins(1));
    let shop = Shop::with(Limits::new(), |server| server.lifecycle(lifecycle)).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    raw.send(&ask(1, "/")).await;
    assert_eq!(raw.until(DATA).await.payload, b"hello");
    shop.until_metric(&outcome("ok"), 1.0).await;
    let report = tokio::time::timeout(LONG, shop.close())
        .await
        .expect("it does not wait for the client");
    assert_eq!((report.cut_total, report.unfinished), (0, 0));
    raw.until(GOAWAY).await;
}

#[tokio::test]
async fn a_host_that_is_not_the_authority_is_refused() {
    let shop = Shop::open(Limits::new()).await;
    let mut raw = Raw::connect(&shop, &[]).await;
    for (stream, host, status) in [(1, b'a', 0x88), (3, b'b', 0x8c)] {
        // The name `host` is 38 in the static table; the statuses 200 and 400 are 8 and 12.
        let block = [&block("/")[..], &[0x0f, 23, 1, host]].concat();
        raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block))
            .await;
        assert_eq!(raw.until(HEADERS).await.payload[0], status);
    }
    shop.until_metric(&outcome("bad_request"), 1.0).await;
    shop.until_metric(&errors("bad_request"), 1.0).await;
    raw.send(&ask(5, "/")).await; // the connection goes on
    raw.until(HEADERS).await;
    drop(raw);
    shop.close().await;
}

#[tokio::test]
async fn connect_is_answered_501() {
    let shop = Shop::open(Limits::new()).await;
    let io = TokioIo::new(shop.connect().await);
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::connect("a:443").body(Empty::<Bytes>::new());
    let response = send.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 501);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("CONNECT over HTTP/2 is served with a :protocol alone."),
        "{body}"
    );
    shop.until_metric(&outcome("not_implemented"), 1.0).await;
    drop(send);
    shop.close().await;
}
