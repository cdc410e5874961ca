//! Requests that two parsers could read differently. Each case says what happens to it; none becomes two requests.

use std::time::Duration;

use cortex_http::{Limits, SecurityHeaders};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Shop, within};

/// What a request that is hidden in another one would ask for: a route that answers with its number.
const HIDDEN: &str = "GET /users/666 HTTP/1.1\r\nhost: a\r\n\r\n";

/// A server that does not wait long for the rest of what is sent.
async fn shop() -> Shop {
    let soon = Duration::from_millis(200);
    Shop::open(Limits::new().idle(soon).header(soon).body(soon)).await
}

/// Sends bytes, and returns the status of each answer until the server closes.
async fn statuses(shop: &Shop, sent: &str) -> Vec<u16> {
    let answer = answers(shop, sent).await;
    assert!(
        !answer.contains("\r\n\r\n666"), // a trace id may have these digits
        "{sent:?} smuggled a request in:\n{answer}"
    );
    let status = |part: &str| part.get(..3).and_then(|code| code.parse().ok());
    answer
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|part| status(part.get(2..)?))
        .collect()
}

async fn answers(shop: &Shop, sent: &str) -> String {
    let mut socket = shop.connect().await;
    let _ = socket.write_all(sent.as_bytes()).await; // it may be closed in the midst of it
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await; // a reset where bytes were left unread
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_second_request_that_is_not_hidden_is_answered() {
    let shop = shop().await;
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\n";
    for first in [
        format!("{post}content-length: 5\r\n\r\nhello"),
        format!("{post}transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"),
        // RFC 9112, section 2.2: a recipient may take a bare LF for the end of a line, which cannot hide anything here.
        "GET / HTTP/1.1\nhost: a\n\n".to_owned(),
    ] {
        let answer = answers(&shop, &format!("{first}{HIDDEN}")).await;
        assert!(answer.contains("hello") && answer.ends_with("666"), "{answer}");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_length_beside_chunks_is_ignored_and_the_connection_ends() {
    let shop = shop().await;
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\n";
    let body = format!("0\r\n\r\n{HIDDEN}");
    let length = body.len();
    // RFC 9112, section 6.3: the chunks count, and nothing after them is believed.
    for head in [
        format!("{post}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n"),
    ] {
        assert_eq!(statuses(&shop, &format!("{head}{body}")).await, [200], "{head:?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn two_lengths_of_a_body_are_refused() {
    let shop = shop().await;
    let body = format!("0\r\n\r\n{HIDDEN}");
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\n";
    let length = body.len();
    let heads = [
        format!("{post}content-length: 5\r\ncontent-length: {length}\r\n\r\n"),
        format!("{post}content-length: 5, {length}\r\n\r\n"),
        format!("{post}content-length: +{length}\r\n\r\n"),
        format!("{post}content-length: 0x{length:x}\r\n\r\n"),
        format!("{post}content-length: -1\r\n\r\n"),
        format!("{post}content-length: 18446744073709551621\r\n\r\n"),
        // Other codings than `chunked` once.
        format!("{post}transfer-encoding: chunked, chunked\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"),
        format!("{post}transfer-encoding: gzip, chunked\r\n\r\n"),
        format!("{post}transfer-encoding: identity, chunked\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n"),
        format!("{post}transfer-encoding: chunked, identity\r\n\r\n"),
        format!("{post}transfer-encoding: xchunked\r\n\r\n"),
        format!("{post}transfer-encoding: \u{b}chunked\r\n\r\n"),
    ];
    for head in &heads {
        let found = statuses(&shop, &format!("{head}{body}")).await;
        assert_eq!(found, [400], "{head:?}");
    }
    let counted = r#"http_server_connection_errors_total{kind="bad_request"}"#;
    shop.until_metric(counted, f64::from(u32::try_from(heads.len()).unwrap()))
        .await;
    shop.close().await;
}

#[tokio::test]
async fn heads_that_are_not_well_formed_are_refused() {
    let shop = shop().await;
    for head in [
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\nx: a\r\n transfer-encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\n\tcontent-length: 5\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET /\u{b} HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 x\r\nhost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: a\r\n\r\n",
        ": x\r\n\r\n",
    ] {
        let found = statuses(&shop, &format!("{head}{HIDDEN}")).await;
        assert_eq!(found, [400], "{head:?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn chunks_that_are_not_well_formed_end_the_connection() {
    let shop = shop().await;
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "5\r\nhello0\r\n\r\n".to_owned(),   // no end of the chunk
        "5\nhello\r\n0\r\n\r\n".to_owned(), // a line that ends otherwise
        "+5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "0x5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n".to_owned(),
        "-1\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5;a\nb\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000)),
        format!("0\r\n{}\r\n\r\n", "x: a\r\n".repeat(20_000)),
    ] {
        let found = statuses(&shop, &format!("{post}{chunks}{HIDDEN}")).await;
        assert!(
            found.len() <= 1 && found.iter().all(|status| *status != 200),
            "{chunks:.40?} {found:?}"
        );
    }
    shop.close().await;
}

#[tokio::test]
async fn a_request_that_does_not_name_one_host_is_refused() {
    let soon = Duration::from_millis(200);
    let limits = Limits::new().idle(soon).header(soon).body(soon);
    let shop = Shop::with(limits, |server| server.security_headers(SecurityHeaders::new())).await;
    let heads = [
        "GET / HTTP/1.1\r\naccept: */*\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\naccept: */*\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ];
    for head in heads {
        let sent = format!("{head}{HIDDEN}");
        assert_eq!(statuses(&shop, &sent).await, [400], "{head:?}");
        let answer = answers(&shop, &sent).await;
        for part in [
            "content-type: application/problem+json\r\n",
            "connection: close\r\n",
            "x-content-type-options: nosniff\r\n",
            r#""status":400,"detail":""#,
        ] {
            assert!(
                answer.contains(part),
                "{part:?} in the answer to {head:?}:\n{answer}"
            );
        }
    }
    let count = f64::from(u32::try_from(heads.len() * 2).unwrap());
    let outcomes = r#"http_server_request_outcomes_total{outcome="bad_request"}"#;
    shop.until_metric(outcomes, count).await;
    shop.until_metric(
        r#"http_server_connection_errors_total{kind="bad_request"}"#,
        count,
    )
    .await;
    for head in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1]:80\r\nconnection: close\r\n\r\n",
    ] {
        assert_eq!(statuses(&shop, head).await, [200], "{head:?}");
    }
    shop.close().await;
}
