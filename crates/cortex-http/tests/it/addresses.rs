//! Who spans say that a request comes from.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use cortex_http::{ClientAddress, Forwarded, Limits, Listener, RateLimit, Routes, Server, TrustedProxies};
use cortex_trace::{InMemory, Tracer};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use crate::listeners::Directory;
use crate::support::{Shop, read_to_end, within};

const KEYS: [&str; 3] = ["client.address", "network.peer.address", "network.peer.port"];

/// What the headers of proxies hold, with what the client had put there before.
const HEADERS: [(&str, &str); 4] = [
    ("forwarded", "for=6.6.6.6"),
    (
        "forwarded",
        "for=\"[2001:db8::9]:4711\";proto=https, for=127.0.0.1",
    ),
    ("x-forwarded-for", "6.6.6.6, 198.51.100.7"),
    ("x-forwarded-for", "127.0.0.1"),
];

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        headers.append(name, value.parse().expect("a value"));
    }
    headers
}

fn loopback() -> TrustedProxies {
    TrustedProxies::new(["127.0.0.0/8"]).expect("a network")
}

/// Sends a request with such headers over a version of HTTP; returns what its span has under [`KEYS`], and the address
/// that it came from.
async fn ask(http2: bool, change: impl FnOnce(Server) -> Server) -> ([Option<String>; 3], SocketAddr) {
    let kept = InMemory::new();
    let builder = Tracer::builder("shop").export(kept.clone());
    let tracer = builder.build().expect("a thread can be started");
    let shop = Shop::with(Limits::new(), |server| change(server.tracer(tracer))).await;
    let socket = shop.connect().await;
    let from = socket.local_addr().expect("it is connected");
    let io = TokioIo::new(socket);
    let mut request = http::Request::new(Body::empty());
    *request.headers_mut() = headers();
    let response = if http2 {
        *request.uri_mut() = "http://shop.example/".parse().expect("an address");
        let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .expect("a preface");
        tokio::spawn(connection);
        send.send_request(request).await
    } else {
        let host = "shop.example".parse().expect("a value");
        request.headers_mut().insert("host", host);
        let (mut send, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .expect("no bytes yet");
        tokio::spawn(connection);
        send.send_request(request).await
    };
    let body = response.expect("an answer").into_body().collect().await;
    assert_eq!(body.expect("a whole one").to_bytes(), "hello");
    shop.close().await;
    let spans = kept.take();
    assert_eq!(spans.len(), 1);
    let version = spans[0].attribute("network.protocol.version");
    let version = version.map(ToString::to_string);
    assert_eq!(version.as_deref(), Some(if http2 { "2" } else { "1.1" }));
    let text = |key| spans[0].attribute(key).map(ToString::to_string);
    (KEYS.map(text), from)
}

fn peer(from: SocketAddr) -> [Option<String>; 2] {
    [Some(from.ip().to_string()), Some(from.port().to_string())]
}

#[tokio::test]
async fn a_span_names_the_other_end_of_the_connection_and_no_client() {
    for http2 in [false, true] {
        let (found, from) = ask(http2, |server| server).await;
        let [address, port] = peer(from);
        assert_eq!(found, [None, address, port]);
    }
}

#[tokio::test]
async fn a_span_names_nobody_if_it_is_not_to() {
    for http2 in [false, true] {
        let (found, _) = ask(http2, |server| server.peer_address(false)).await;
        assert_eq!(found, [None, None, None]);
    }
}

#[tokio::test]
async fn a_span_names_the_client_that_the_setting_says() {
    let stranger = || TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    for http2 in [false, true] {
        for (client, expected) in [
            (ClientAddress::Peer, "127.0.0.1"),
            (ClientAddress::Forwarded(loopback()), "2001:db8::9"),
            (ClientAddress::XForwardedFor(loopback()), "198.51.100.7"),
            (ClientAddress::Forwarded(stranger()), "127.0.0.1"),
            (ClientAddress::XForwardedFor(stranger()), "127.0.0.1"),
        ] {
            let (found, from) = ask(http2, |server| server.client_address(client.clone())).await;
            let [address, port] = peer(from);
            assert_eq!(found, [Some(expected.to_owned()), address, port], "{client:?}");
        }
        // The one does not need the other.
        let client = ClientAddress::Forwarded(loopback());
        let (found, _) = ask(http2, |server| server.client_address(client).peer_address(false)).await;
        assert_eq!(found, [Some("2001:db8::9".to_owned()), None, None]);
    }
}

#[tokio::test]
async fn without_a_socket_nobody_is_believed() {
    let kept = InMemory::new();
    let tracer = Tracer::builder("shop").export(kept.clone()).build().unwrap();
    let routes = Routes::new().route("/", axum::routing::get(|| async { "hello" }));
    let service = Server::new(routes)
        .tracer(tracer.clone())
        .client_address(ClientAddress::Forwarded(loopback()))
        .service()
        .unwrap();
    let mut request = http::Request::new(Body::empty());
    *request.headers_mut() = headers();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    tracer.shutdown(Duration::from_mins(2)).await.unwrap();
    let spans = kept.spans();
    assert_eq!(KEYS.map(|key| spans[0].attribute(key)), [None, None, None]);
}

async fn tell(
    Forwarded {
        client, scheme, host, ..
    }: Forwarded,
) -> String {
    let scheme = scheme.map_or("-".to_owned(), |scheme| scheme.to_string());
    let host = host.map_or("-".to_owned(), |host| host.to_string());
    format!(
        "{} {scheme} {host}",
        client.map_or("-".to_owned(), |client| client.to_string())
    )
}

/// What a handler hears of a request with such headers, and the attributes of the request's span.
async fn hear(change: impl FnOnce(Server) -> Server) -> (String, [String; 4]) {
    let kept = InMemory::new();
    let builder = Tracer::builder("shop").export(kept.clone());
    let tracer = builder.build().expect("a thread can be started");
    let routes = Routes::new().route("/", axum::routing::get(tell));
    let server = change(Server::new(routes).tracer(tracer));
    let running = server.start("127.0.0.1:0").await.expect("a port is free");
    let headers = "forwarded: for=6.6.6.6;host=evil.example\r\n\
                   forwarded: for=192.0.2.7;proto=https;host=\"shop.example:8443\", for=127.0.0.2;proto=http;host=inner\r\n\
                   x-forwarded-for: 192.0.2.8\r\nx-forwarded-proto: https\r\nx-forwarded-host: x.example\r\n";
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    let mut socket = tokio::net::TcpStream::connect(running.local_addr())
        .await
        .expect("it listens");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let response = read_to_end(&mut socket).await;
    running.shutdown();
    within(running.join()).await;
    let spans = kept.take();
    let keys = ["client.address", "url.scheme", "server.address", "server.port"];
    let attributes = keys.map(|key| {
        spans[0]
            .attribute(key)
            .map(ToString::to_string)
            .unwrap_or_default()
    });
    (response, attributes)
}

#[tokio::test]
async fn handlers_hear_what_trusted_proxies_say() {
    let forwarded = || ClientAddress::Forwarded(loopback());
    for (client, heard, recorded) in [
        (
            forwarded(),
            "192.0.2.7 https shop.example:8443",
            ["192.0.2.7", "https", "shop.example", "8443"],
        ),
        (
            ClientAddress::XForwarded(loopback()),
            "192.0.2.8 https x.example",
            ["192.0.2.8", "https", "x.example", ""],
        ),
        (
            ClientAddress::XForwardedFor(loopback()),
            "192.0.2.8 - -",
            ["192.0.2.8", "", "", ""],
        ),
        (ClientAddress::Peer, "127.0.0.1 - -", ["127.0.0.1", "", "", ""]),
    ] {
        let (response, attributes) = hear(|server| server.client_address(client.clone())).await;
        assert!(
            response.starts_with("HTTP/1.1 200") && response.ends_with(heard),
            "{client:?}: {response}"
        );
        assert_eq!(attributes[0], recorded[0], "{client:?}");
        if !recorded[1].is_empty() {
            assert_eq!(attributes[1..3], recorded[1..3], "{client:?}");
        }
        if !recorded[3].is_empty() {
            assert_eq!(attributes[3], recorded[3]);
        }
    }
    // A handler may know what no span says.
    let change = |server: Server| server.client_address(forwarded()).client_address_in_spans(false);
    let (response, attributes) = hear(change).await;
    assert!(
        response.ends_with("192.0.2.7 https shop.example:8443"),
        "{response}"
    );
    assert_eq!(attributes[..3], ["", "https", "shop.example"]);
}

#[tokio::test]
async fn a_handler_that_asks_where_nobody_is_trusted_is_told_nothing() {
    let (response, _) = hear(|server| server).await;
    assert!(response.starts_with("HTTP/1.1 500"), "{response}");
    assert!(
        response.contains("application/problem+json") && !response.contains("192.0.2"),
        "{response}"
    );
}

#[tokio::test]
async fn without_a_server_a_test_says_where_a_request_came_from() {
    let alone = axum::Router::new().route("/", axum::routing::get(tell));
    let mut request = http::Request::new(Body::empty());
    let mut given = Forwarded::default();
    given.client = Some("192.0.2.7".parse().unwrap());
    request.extensions_mut().insert(given);
    let response = alone.oneshot(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "192.0.2.7 - -"
    );

    // With one, but without a socket, nobody knows.
    let routes = Routes::new().route("/", axum::routing::get(tell));
    let service = Server::new(routes)
        .client_address(ClientAddress::Forwarded(loopback()))
        .service()
        .unwrap();
    let mut request = http::Request::new(Body::empty());
    *request.headers_mut() = headers();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "- - -");
}

/// What two clients hear behind a proxy on a Unix socket that serves each of them one request, the first one twice.
async fn hear_on_unix(name: &str, proxies: &[&str]) -> [String; 3] {
    let directory = Directory::new(name);
    let path = directory.path("shop.sock");
    let client = ClientAddress::XForwarded(TrustedProxies::new(proxies).expect("networks"));
    let limit = RateLimit::new(1, Duration::from_hours(1)).by_client(client.clone());
    let running = Server::new(Routes::new().route("/", axum::routing::get(tell)))
        .client_address(client)
        .admission(limit)
        .start(Listener::unix(&path))
        .await
        .expect("a path is free");
    let mut heard = Vec::new();
    for client in ["192.0.2.7", "192.0.2.7", "192.0.2.8"] {
        let mut socket = tokio::net::UnixStream::connect(&path).await.expect("it listens");
        let request = format!(
            "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-forwarded-for: {client}\r\n\
             x-forwarded-proto: https\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut response = String::new();
        within(socket.read_to_string(&mut response))
            .await
            .expect("an answer");
        let status = response.split(' ').nth(1).expect("a status").to_owned();
        heard.push(match response.split_once("\r\n\r\n") {
            Some((_, body)) if status == "200" => body.to_owned(),
            _ => status,
        });
    }
    running.shutdown();
    within(running.join()).await;
    heard.try_into().expect("as many as were asked")
}

#[tokio::test]
async fn a_proxy_on_a_unix_socket_is_believed_if_it_is_named() {
    let heard = hear_on_unix("named", &["unix:"]).await;
    assert_eq!(heard, ["192.0.2.7 https -", "429", "192.0.2.8 https -"]);
    // Otherwise all are one that nobody knows.
    let heard = hear_on_unix("unnamed", &["0.0.0.0/0"]).await;
    assert_eq!(heard, ["- - -", "429", "429"]);
}
