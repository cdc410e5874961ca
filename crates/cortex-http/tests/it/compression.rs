//! What the layer of a server decides before its handlers are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::routing::post;
use cortex_compress::{
    CompressionLayer, EtagPolicy, Event, MetricsObserver, NotAcceptable, Observer, RequestDecompressionLayer,
    VariantCache,
};
use cortex_http::{Limits, Routes, Server};
use cortex_metrics::Registry;
use tower::{Layer, ServiceExt};

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
    let tag = "etag: \"v1~cortex-gzip-4.1\"\r\n";
    let first = shop.exchange(ask("\"v0\"")).await;
    assert!(
        first.starts_with("HTTP/1.1 200") && first.contains(tag),
        "{first}"
    );
    let second = shop.exchange(ask("\"v1~cortex-gzip-4.1\"")).await;
    assert!(
        second.starts_with("HTTP/1.1 304") && second.contains(tag),
        "{second}"
    );
    shop.close().await;
}

#[tokio::test]
async fn what_becomes_of_responses_is_counted_with_the_other_metrics() {
    let shop = Shop::with(Limits::new(), |server| server).await;
    let ask = |coding| {
        format!("GET /big HTTP/1.1\r\nhost: a\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n")
    };
    for coding in ["gzip", "gzip", "identity"] {
        let answer = shop.exchange(ask(coding)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let encoded = "cortex_compress_encoded_total{coding=\"gzip\",path=\"inline\"}";
    shop.until_metric(encoded, 2.0).await;
    let (input, output) = ["input", "output"]
        .map(|way| {
            shop.metric(&format!(
                "cortex_compress_encoder_{way}_bytes_total{{coding=\"gzip\"}}"
            ))
        })
        .into();
    assert!(output > 0.0 && output * 2.0 < input, "{output} of {input}");
    let skipped = "cortex_compress_skipped_total{reason=\"not_accepted\"}";
    shop.until_metric(skipped, 1.0).await;
    let limit = shop.metric("cortex_compress_memory_limit_bytes");
    assert!((limit - f64::from(256 << 20)).abs() < 1.0, "{limit}");
    shop.close().await;
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Observer for Count {
    fn on_event(&self, _: &Event) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_layer_that_is_observed_already_keeps_its_observer() {
    let count = Arc::new(Count::default());
    let layer = CompressionLayer::new().observe(Arc::clone(&count));
    let shop = Shop::with(Limits::new(), |server| server.compression(layer)).await;
    let answer = shop.get("/big").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(!shop.registry.to_text().contains("cortex_compress_"));
    shop.close().await;
}

#[test]
fn a_registry_with_an_observer_of_compression_asks_for_a_clone_of_it() {
    let registry = Registry::default();
    let observer = MetricsObserver::new(&registry).unwrap();
    let server = || Server::new(Routes::new()).metrics(&registry);
    let error = server().service().unwrap_err().to_string();
    assert!(
        error.contains("give a clone of it to the CompressionLayer of Server::compression"),
        "{error}"
    );
    let layer = CompressionLayer::new().observe(observer);
    drop(server().compression(layer).service().unwrap());
}

#[tokio::test]
async fn what_was_encoded_once_is_taken_from_the_cache() {
    let cache = VariantCache::weighted(1 << 20);
    let layer = CompressionLayer::new().cache(cache.clone());
    let shop = Shop::with(Limits::new(), |server| server.compression(layer)).await;
    let ask = |query| {
        format!(
            "GET /tagged?{query} HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
        )
    };
    let mut lengths = Vec::new();
    for query in ["a", "a", "b"] {
        let answer = shop.exchange(ask(query)).await;
        assert!(answer.contains("etag: W/\"v1\"\r\n"), "{answer}");
        assert!(answer.contains("content-encoding: gzip\r\n"), "{answer}");
        let length = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        lengths.push(length.unwrap().to_owned());
    }
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.misses, stats.hits), (2, 2, 1));
    shop.close().await;
}

/// Encodes as a client does.
async fn gzip(body: Vec<u8>) -> axum::body::Bytes {
    let handler = tower::service_fn(async |_: http::Request<Body>| {
        let response = http::Response::builder().header("content-type", "text/plain");
        Ok::<_, std::convert::Infallible>(response.body(Body::from(body.clone())).expect("a response"))
    });
    let request = http::Request::get("/").header("accept-encoding", "gzip");
    let answer = CompressionLayer::new()
        .layer(handler)
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    axum::body::to_bytes(Body::new(answer.into_body()), usize::MAX)
        .await
        .expect("a body")
}

#[tokio::test]
async fn the_limit_of_bodies_holds_for_what_extractors_decode() {
    let decode = RequestDecompressionLayer::new().max_ratio(10_000);
    let routes = Routes::new()
        .route("/", post(async |body: axum::body::Bytes| body.len().to_string()))
        .map(|router| router.layer(decode));
    let limits = Limits::new().body_bytes(100_000);
    let service = Server::new(routes).limits(limits).service().unwrap();
    let send = async |coding: Option<&str>, body: axum::body::Bytes| {
        let mut request = http::Request::post("/");
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        let request = request.body(Body::from(body)).unwrap();
        service.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    for (length, status) in [(100_000, 200), (100_001, 413), (1 << 20, 413)] {
        let encoded = gzip(vec![b'x'; length]).await;
        assert!(encoded.len() < 10_000);
        assert_eq!(send(Some("gzip"), encoded).await, status, "{length}");
    }
    assert_eq!(send(None, vec![b'x'; 100_000].into()).await, 200);
    assert_eq!(send(None, vec![b'x'; 100_001].into()).await, 413);
}
