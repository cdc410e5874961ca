//! What the layer of a server decides before its handlers are asked.

use cortex_compress::{CompressionLayer, EtagPolicy, NotAcceptable};
use cortex_http::Limits;

use crate::support::Shop;

#[tokio::test]
async fn what_cannot_be_encoded_as_the_client_wants_it_is_refused_where_that_is_asked_for() {
    let layer = CompressionLayer::new().not_acceptable(NotAcceptable::Status406BeforeHandler);
    let shop = Shop::with(Limits::new(), |server| server.compression(layer)).await;
    let ask = |method, coding| {
        format!("{method} /big HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n")
    };
    let refused = shop.exchange(ask("GET", "compress, identity;q=0")).await;
    assert!(refused.starts_with("HTTP/1.1 406"), "{refused}");
    for part in [
        "content-type: application/problem+json\r\n",
        "vary: accept-encoding\r\n",
        "There is: zstd, br, gzip",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    let head = shop.exchange(ask("HEAD", "*;q=0")).await;
    assert!(
        head.starts_with("HTTP/1.1 406") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let upload = "POST /big HTTP/1.1\r\nhost: a\r\naccept-encoding: *;q=0\r\ncontent-length: 5\r\n\r\nhello";
    let answer = shop.exchange(upload.to_owned()).await;
    assert!(
        answer.starts_with("HTTP/1.1 406") && answer.contains("connection: close"),
        "{answer}"
    );
    let accepted = shop.exchange(ask("GET", "gzip, identity;q=0")).await;
    assert!(accepted.starts_with("HTTP/1.1 200"), "{accepted}");
    shop.close().await;
}

#[tokio::test]
async fn tags_with_a_suffix_come_back_to_the_handler_as_it_made_them() {
    let layer = CompressionLayer::new().etag(EtagPolicy::Suffix);
    let shop = Shop::with(Limits::new(), |server| server.compression(layer)).await;
    let ask = |held| {
        format!(
            "GET /tagged HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nif-none-match: {held}\r\n\
             connection: close\r\n\r\n"
        )
    };
    let tag = "etag: \"v1~cortex-gzip-5.1\"\r\n";
    let first = shop.exchange(ask("\"v0\"")).await;
    assert!(
        first.starts_with("HTTP/1.1 200") && first.contains(tag),
        "{first}"
    );
    let second = shop.exchange(ask("\"v1~cortex-gzip-5.1\"")).await;
    assert!(
        second.starts_with("HTTP/1.1 304") && second.contains(tag),
        "{second}"
    );
    shop.close().await;
}
