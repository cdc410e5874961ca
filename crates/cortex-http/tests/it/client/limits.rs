use std::time::Duration;

use bytes::Bytes;
use cortex_http::Limits;
use cortex_http::client::{Body, ClientBuilder, ClientLayer, ErrorKind};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{LATER, SOON, answering, measured, url};
use crate::support::Shop;

/// Reads an answer to its end under these limits; returns how it failed, and the status and name in the metrics.
async fn fail(bytes: &str, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (ErrorKind, String) {
    let addr = answering(bytes).await;
    let calls = measured(change);
    let (status, error) = match calls.client.get(url(addr, "/")).await {
        Err(error) => ("", error),
        Ok(response) => (
            "200",
            response.into_body().bytes().await.expect_err("it breaks a limit"),
        ),
    };
    calls.until_quiet().await; // whatever happened, the connection is closed
    let text = calls.registry.to_text();
    assert_eq!(calls.ended(addr, status, error.kind().as_str()), 1, "{text}");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn answers_are_bounded_in_bytes_and_in_time() {
    let small = |client: ClientBuilder| client.body_bytes(8).header_bytes(8 << 10);
    let declared = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n4\r\n6789\r\n";
    for answer in [declared, chunked] {
        let (kind, message) = fail(answer, small).await;
        assert_eq!(kind, ErrorKind::BodyTooLarge);
        assert!(
            message.contains("8 bytes are allowed; raise `body_bytes`"),
            "{message}"
        );
    }
    let bomb = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(10_000));
    assert_eq!(fail(&bomb, small).await.0, ErrorKind::HeadTooLarge);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(150));
    assert_eq!(fail(&many, small).await.0, ErrorKind::HeadTooLarge);
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(1500));
    assert_eq!(fail(&endless, small).await.0, ErrorKind::HeadTooLarge);

    let (kind, message) = fail("", |client| client.timeout(SOON)).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(message.contains("raise `timeout`"), "{message}");
    let half = "HTTP/1.1 200 OK\r\ncontent-le";
    assert_eq!(
        fail(half, |client| client.timeout(SOON)).await.0,
        ErrorKind::Timeout
    );
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    assert_eq!(
        fail(half, |client| client.timeout(SOON)).await.0,
        ErrorKind::Timeout
    );
    let (kind, message) = fail(half, |client| client.body_idle(SOON)).await;
    assert_eq!(kind, ErrorKind::BodyIdle);
    assert!(message.contains("raise `body_idle`"), "{message}");
}

#[tokio::test]
async fn what_is_just_allowed_comes_through() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n3\r\n678\r\n0\r\n\r\n";
    for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n12345678", chunked] {
        let addr = answering(answer).await;
        let calls = measured(|client| client.body_bytes(8));
        let response = calls.client.get(url(addr, "/")).await.unwrap();
        assert_eq!(response.into_body().bytes().await.unwrap(), "12345678");
        assert_eq!(calls.ended(addr, "200", ""), 1);
    }
}

#[tokio::test]
async fn a_body_without_an_end_ends_over_either_protocol() {
    for http2 in [false, true] {
        let shop = Shop::open(Limits::new()).await;
        let addr = shop.running.local_addr();
        let protocol = |client: ClientBuilder| {
            if http2 {
                client.http2_prior_knowledge()
            } else {
                client
            }
        };
        let bytes = measured(|client| protocol(client).body_bytes(1 << 20));
        let response = bytes.client.get(url(addr, "/endless")).await.unwrap();
        let error = response.into_body().bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BodyTooLarge);

        // One that never pauses has an end in time, too.
        let time = measured(|client| protocol(client).body_bytes(u64::MAX).timeout(LATER));
        let mut body = time.client.get(url(addr, "/endless")).await.unwrap().into_body();
        let error = loop {
            if let Err(error) = body.frame().await.expect("it has no end") {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(body.frame().await.is_none());
        drop((bytes, time));
        shop.close().await;
    }
}

type Pieces = Channel<Bytes, std::io::Error>;

/// Returns an answer whose body may pause for 10 s, and what sends that.
async fn in_pieces(layer: ClientLayer) -> (Sender<Bytes, std::io::Error>, Body<Pieces>) {
    let (sender, body) = Pieces::new(1);
    let mut body = Some(body);
    let service = service_fn(move |_: http::Request<()>| {
        let body = body.take().expect("one request");
        async move { Ok::<_, std::io::Error>(http::Response::new(body)) }
    });
    let service = layer.body_idle(Duration::from_secs(10)).layer(service);
    let response = service.oneshot(http::Request::new(())).await;
    (sender, response.expect("an answer").into_body())
}

#[tokio::test(start_paused = true)]
async fn the_time_that_its_reader_takes_is_no_pause_of_a_body() {
    let (mut sender, mut body) = in_pieces(ClientLayer::new().timeout(Duration::MAX)).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_mins(1)).await; // on the piece before, or before the first
        let later = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            sender.send_data(Bytes::from_static(b"x")).await
        };
        let (frame, sent) = tokio::join!(body.frame(), later);
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "x");
        sent.unwrap();
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let waiting = tokio::time::Instant::now();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), waiting.elapsed().as_secs()),
        (ErrorKind::BodyIdle, 10)
    );
}

#[tokio::test(start_paused = true)]
async fn each_piece_of_a_body_earns_it_another_pause() {
    let (mut sender, body) = in_pieces(ClientLayer::new().timeout(Duration::from_mins(1))).await;
    let started = tokio::time::Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            sender
                .send_data(Bytes::from_static(b"x"))
                .await
                .expect("it is read");
        }
        std::future::pending::<()>().await;
    });
    let error = body.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BodyIdle);
    assert_eq!(started.elapsed().as_secs(), 4 * 9 + 10);
    sending.abort();
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for builder in [
        cortex_http::Client::builder().timeout(Duration::ZERO),
        cortex_http::Client::builder().connect_timeout(Duration::ZERO),
        cortex_http::Client::builder().body_idle(Duration::ZERO),
        cortex_http::Client::builder().header_bytes(100),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("allow at least"), "{error}");
    }
}
