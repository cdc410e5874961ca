//! Proxies that say who they speak for before the first byte of HTTP.

use std::time::Duration;

use cortex_http::{Limits, Listener, TrustedProxies};
use cortex_trace::{InMemory, Tracer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::listeners::Directory;
use crate::support::{LONG, Shop, read_to_end, within};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn trusting(proxy: &str) -> TrustedProxies {
    TrustedProxies::new([proxy]).expect("an address")
}

fn errors(kind: &str) -> String {
    format!(r#"http_server_connection_errors_total{{kind="{kind}"}}"#)
}

/// A header for a client at 192.0.2.7:50000.
fn header() -> Vec<u8> {
    let addresses = [
        &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1][..],
        &50000_u16.to_be_bytes(),
        &[0, 80],
    ];
    [SIGNATURE, &addresses.concat()].concat()
}

/// A server that expects the header on a second port; clients of the first one need none.
async fn behind(proxy: &str, limits: Limits, spans: &InMemory) -> (Shop, std::net::SocketAddr) {
    let tracer = Tracer::builder("shop")
        .export(spans.clone())
        .build()
        .expect("a thread");
    let listener = Listener::tcp("127.0.0.1:0").proxy_protocol(trusting(proxy));
    let shop = Shop::with(limits, |server| server.tracer(tracer).listen(listener)).await;
    let cortex_http::ListenAddr::Tcp(addr) = shop.running.addrs()[1] else {
        panic!("a port");
    };
    (shop, addr)
}

async fn send(addr: std::net::SocketAddr, parts: &[&[u8]]) -> String {
    let mut socket = tokio::net::TcpStream::connect(addr)
        .await
        .expect("somebody listens");
    for part in parts {
        if socket.write_all(part).await.is_err() {
            break; // refused already
        }
    }
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await; // a reset where bytes were left unread
    String::from_utf8_lossy(&answer).into_owned()
}

fn peers(spans: &InMemory) -> Vec<Option<String>> {
    let text = |span: &cortex_trace::SpanData| {
        Some(format!(
            "{}:{}",
            span.attribute("network.peer.address")?,
            span.attribute("network.peer.port")?
        ))
    };
    spans.take().iter().map(text).collect()
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_the_peer() {
    let spans = InMemory::new();
    let (shop, addr) = behind("127.0.0.0/8", Limits::new(), &spans).await;
    let header = header();
    // In one piece, and byte by byte.
    assert!(send(addr, &[&header, ASK]).await.ends_with("hello"));
    let sent = [&header[..], ASK].concat();
    let bytes: Vec<_> = sent.chunks(1).collect();
    assert!(send(addr, &bytes).await.ends_with("hello"));
    let line = b"PROXY TCP6 2001:db8::7 ::1 50001 80\r\n";
    assert!(send(addr, &[line, ASK]).await.ends_with("hello"));
    // A health check of the proxy itself.
    let local = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    assert!(send(addr, &[&local, ASK]).await.ends_with("hello"));
    assert!(shop.get("/").await.ends_with("hello")); // the other port expects nothing
    shop.close().await;
    let peers: Vec<_> = peers(&spans)
        .into_iter()
        .map(|peer| peer.expect("a peer"))
        .collect();
    assert_eq!(&peers[..2], ["192.0.2.7:50000", "192.0.2.7:50000"]);
    assert_eq!(peers[2], "2001:db8::7:50001");
    assert!(peers[3].starts_with("127.0.0.1:") && peers[4].starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn who_is_no_proxy_is_closed_whatever_it_says() {
    let spans = InMemory::new();
    let (shop, addr) = behind("10.0.0.0/8", Limits::new(), &spans).await;
    assert_eq!(send(addr, &[&header(), ASK]).await, "");
    assert_eq!(send(addr, &[ASK]).await, "");
    shop.until_metric(&errors("untrusted_proxy"), 2.0).await;
    shop.close().await;
    assert!(peers(&spans).is_empty());
}

#[tokio::test]
async fn a_header_that_is_missing_wrong_or_late_ends_the_connection() {
    let spans = InMemory::new();
    let limits = Limits::new().first_byte(Duration::from_millis(100));
    let (shop, addr) = behind("127.0.0.1", limits, &spans).await;
    let endless = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &vec![0; 70_000]].concat();
    for wrong in [ASK, &endless, b"PROXY TCP4 1.2.3.4\r\n", &header()[..14]] {
        assert_eq!(send(addr, &[wrong]).await, "");
    }
    // The last one was not whole and nothing followed: it ran into the limit.
    shop.until_metric(&errors("proxy_header"), 3.0).await;
    shop.until_metric(&errors("first_byte_timeout"), 1.0).await;
    // Who only looks whether the port is open does no wrong.
    drop(tokio::net::TcpStream::connect(addr).await.unwrap());
    shop.until_metric("http_server_connections_total", 5.0).await;
    shop.close().await;
    assert!(peers(&spans).is_empty());
}

#[tokio::test]
async fn on_a_unix_socket_the_permissions_decide_who_is_believed() {
    let directory = Directory::new("proxied");
    let path = directory.path("shop.sock");
    let spans = InMemory::new();
    let tracer = Tracer::builder("shop").export(spans.clone()).build().unwrap();
    let listener = Listener::unix(&path).proxy_protocol(TrustedProxies::new([""; 0]).unwrap());
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer).listen(listener)).await;
    for head in [header(), [SIGNATURE, &[0x20, 0, 0, 0]].concat()] {
        let mut socket = UnixStream::connect(&path).await.unwrap();
        socket.write_all(&[&head[..], ASK].concat()).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    }
    shop.close().await;
    assert_eq!(peers(&spans), [Some("192.0.2.7:50000".to_owned()), None]);
}

#[tokio::test]
async fn a_peer_has_so_many_connections_as_the_proxy_names_it() {
    let spans = InMemory::new();
    let (shop, addr) = behind("127.0.0.1", Limits::new().per_peer(1), &spans).await;
    let mut first = tokio::net::TcpStream::connect(addr).await.unwrap();
    first.write_all(&header()).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    crate::support::read_until(&mut first, "hello").await;
    assert_eq!(send(addr, &[&header(), ASK]).await, "");
    shop.until_metric(&errors("per_peer"), 1.0).await;
    let other = b"PROXY TCP4 192.0.2.8 10.0.0.1 50000 80\r\n";
    assert!(send(addr, &[other, ASK]).await.ends_with("hello"));
    // The proxy itself is another peer, and has one place too.
    let mut own = shop.connect().await;
    own.write_all(ASK).await.unwrap();
    assert!(read_to_end(&mut own).await.ends_with("hello"));
    drop(first);
    let freed = async { while !send(addr, &[&header(), ASK]).await.ends_with("hello") {} };
    tokio::time::timeout(LONG, freed).await.unwrap();
    shop.close().await;
}
