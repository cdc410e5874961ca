//! TLS on real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cortex_http::rustls::pki_types::pem::PemObject;
use cortex_http::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use cortex_http::rustls::{ClientConfig, RootCertStore, crypto::ring};
use cortex_http::{
    ClientCertificate, ErrorKind, Limits, ListenAddr, Listener, Routes, Server, Tls, TrustedProxies,
};
use cortex_trace::{InMemory, Tracer};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::access::logged;
use crate::listeners::Directory;
use crate::support::{LONG, Shop, until, within};

const SHORT: Duration = Duration::from_millis(100);
const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn errors(kind: &str) -> String {
    format!(r#"http_server_connection_errors_total{{kind="{kind}"}}"#)
}

/// A certificate of its own, and its key, in files.
struct Pair {
    directory: Directory,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Self {
        let directory = Directory::new(name);
        let (certificate, key) = (directory.path("tls.crt"), directory.path("tls.key"));
        let this = Self {
            directory,
            certificate,
            key,
        };
        this.renew();
        this
    }

    /// Writes another certificate, and returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
        std::fs::write(&self.certificate, own.cert.pem()).expect("a file");
        std::fs::write(&self.key, own.signing_key.serialize_pem()).expect("a file");
        own.cert.der().clone()
    }

    fn current(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).expect("a certificate")
    }

    fn tls(&self) -> Tls {
        Tls::pem_files(&self.certificate, &self.key).expect("they belong together")
    }
}

/// A server that speaks TLS on its second port.
async fn secure(tls: Tls, limits: Limits) -> (Shop, SocketAddr) {
    let shop = Shop::with(limits, |server| {
        server.listen(Listener::tcp("127.0.0.1:0").tls(tls))
    })
    .await;
    let addr = second(&shop);
    (shop, addr)
}

fn second(shop: &Shop) -> SocketAddr {
    let ListenAddr::Tcp(addr) = shop.running.addrs()[1] else {
        panic!("a port");
    };
    addr
}

/// Who a client trusts, who it says it is, and what it speaks.
struct Client {
    trusts: CertificateDer<'static>,
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    alpn: &'static [&'static str],
}

impl Client {
    fn of(trusts: CertificateDer<'static>) -> Self {
        Self {
            trusts,
            identity: None,
            alpn: &[],
        }
    }

    async fn connect(self, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(addr).await?;
        self.over(socket).await
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin>(self, socket: S) -> std::io::Result<TlsStream<S>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate], key)
                .expect("a key"),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) -> std::io::Result<String> {
    stream.write_all(ASK).await?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn http1_and_http2_are_served_as_the_client_asks() {
    let (pair, spans) = (Pair::new("alpn"), InMemory::new());
    let tracer = Tracer::builder("shop").export(spans.clone()).build().unwrap();
    let listener = Listener::tcp("127.0.0.1:0").tls(pair.tls());
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer).listen(listener)).await;
    for alpn in [&[][..], &["http/1.1"], &["http/1.1", "h3"]] {
        let client = Client {
            alpn,
            ..Client::of(pair.current())
        };
        let mut stream = client.connect(second(&shop)).await.unwrap();
        assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
    }
    let client = Client {
        alpn: &["http/1.1", "h2"],
        ..Client::of(pair.current())
    };
    let stream = client.connect(second(&shop)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("https://localhost/big").body(Empty::<bytes::Bytes>::new());
    let response = send.send_request(request.unwrap()).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes().len(),
        10_000
    );
    drop(send);
    assert!(shop.get("/").await.ends_with("hello")); // the other port speaks plainly
    assert_eq!(shop.close().await.code(), 0);
    let scheme = |span: &cortex_trace::SpanData| span.attribute("url.scheme").map(ToString::to_string);
    let schemes: Vec<_> = spans.take().iter().map(scheme).collect();
    let https = Some("https".to_owned());
    assert_eq!(schemes[..4], [https.clone(), https.clone(), https.clone(), https]);
    assert_ne!(schemes[4].as_deref(), Some("https"));
}

#[tokio::test]
async fn a_client_that_speaks_only_another_protocol_is_told_so() {
    let pair = Pair::new("h3");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    let client = Client {
        alpn: &["h3"],
        ..Client::of(pair.current())
    };
    let error = client.connect(addr).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    shop.until_metric(&errors("tls"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_are_open() {
    let pair = Pair::new("reload");
    let tls = pair.tls();
    let (shop, addr) = secure(tls.clone(), Limits::new()).await;
    let old = pair.current();
    let mut open = Client::of(old.clone()).connect(addr).await.unwrap();

    let new = pair.renew();
    tls.reload().unwrap();
    let mut stream = Client::of(new.clone()).connect(addr).await.unwrap();
    assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
    assert!(Client::of(old).connect(addr).await.is_err());
    assert!(ask(&mut open).await.unwrap().ends_with("hello")); // begun before, and not harmed

    // What cannot be used is refused, and the one before stays.
    let key = std::fs::read(&pair.key).unwrap();
    pair.renew();
    std::fs::write(&pair.key, key).unwrap();
    let error = tls.reload().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("must fit the private key"), "{error}");
    for wrong in [
        "",
        "rubbish",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&pair.certificate, wrong).unwrap();
        let error = tls.reload().unwrap_err();
        assert!(error.to_string().contains("tls.crt"), "{error}");
    }
    std::fs::remove_file(&pair.certificate).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("readable file"));
    let mut stream = Client::of(new).connect(addr).await.unwrap();
    assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
    // A client that does not trust ours says so.
    shop.until_metric(&errors("tls_alert"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn files_that_change_are_taken_without_a_word() {
    let pair = Pair::new("watch");
    let tls = pair.tls().check_every(Duration::from_millis(1));
    let (shop, addr) = secure(tls, Limits::new()).await;
    // In two steps, as a careless tool does it: for a moment they do not belong together.
    let key = std::fs::read(&pair.key).unwrap();
    let new = pair.renew();
    let new_key = std::fs::read(&pair.key).unwrap();
    std::fs::write(&pair.key, key).unwrap();
    std::fs::write(&pair.key, new_key).unwrap();
    let taken = async { while Client::of(new.clone()).connect(addr).await.is_err() {} };
    tokio::time::timeout(LONG, taken).await.unwrap();
    assert_eq!(shop.close().await.code(), 0);
}

#[tokio::test]
async fn files_that_are_gone_are_told_of_once_and_taken_when_they_are_back() {
    let (lines, _logging) = logged();
    let told = || lines.text().matches("the certificate was not reloaded").count();
    let pair = Pair::new("gone");
    let tls = pair.tls().check_every(Duration::from_millis(1));
    let (shop, addr) = secure(tls, Limits::new()).await;
    for times in 1..=2 {
        let before = pair.current();
        std::fs::remove_file(&pair.key).unwrap();
        until("it is told", || told() == times).await;
        for _ in 0..20 {
            // Together they take longer than it takes until the files are looked at again.
            let mut stream = Client::of(before.clone()).connect(addr).await.unwrap();
            assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
        }
        assert_eq!(told(), times, "{}", lines.text());
        let new = pair.renew();
        let taken = async { while Client::of(new.clone()).connect(addr).await.is_err() {} };
        tokio::time::timeout(Duration::from_mins(1), taken).await.unwrap();
    }
    assert_eq!(shop.close().await.code(), 0);
}

#[tokio::test]
async fn a_unix_socket_speaks_tls_too_and_who_leaves_without_a_word_is_no_error() {
    let pair = Pair::new("unix");
    let path = pair.directory.path("shop.sock");
    let listener = Listener::unix(&path).tls(pair.tls());
    let shop = Shop::with(Limits::new(), |server| server.listen(listener)).await;
    let socket = UnixStream::connect(&path).await.unwrap();
    let mut stream = Client::of(pair.current()).over(socket).await.unwrap();
    assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
    drop(UnixStream::connect(&path).await.unwrap()); // as a balancer looks whether there is somebody
    shop.until_metric("http_server_connections_total", 2.0).await;
    let text = shop.registry.to_text();
    assert_eq!(shop.close().await.code(), 0);
    let wrong = text
        .lines()
        .find(|line| line.starts_with("http_server_connection_errors_total") && !line.ends_with(" 0"));
    assert_eq!(wrong, None, "{text}");
}

#[tokio::test]
async fn a_service_that_reloads_takes_its_certificates() {
    let pair = Pair::new("hangup");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    let new = pair.renew();
    shop.running.reload(); // as SIGHUP does
    let taken = async { while Client::of(new.clone()).connect(addr).await.is_err() {} };
    tokio::time::timeout(LONG, taken).await.unwrap();
    shop.close().await;
}

/// An authority, and a client it vouches for.
fn authority() -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let client = CertificateParams::new(["client".to_owned()]).expect("a name");
    let client = client.signed_by(&key, &authority).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
    (authority.pem(), client.der().clone(), key)
}

#[tokio::test]
async fn clients_are_asked_for_a_certificate() {
    let pair = Pair::new("mutual");
    let (ca, certificate, key) = authority();
    let path = pair.directory.path("ca.crt");
    std::fs::write(&path, ca).unwrap();
    let (_, stranger, stranger_key) = authority();
    for required in [true, false] {
        let tls = pair.tls().client_ca(&path, required).unwrap();
        let (shop, addr) = secure(tls, Limits::new()).await;
        let ask_as = async |identity| {
            let client = Client {
                identity,
                ..Client::of(pair.current())
            };
            // With TLS 1.3 a client learns only with the first read that it was turned away.
            ask(&mut client.connect(addr).await?).await
        };
        let known = ask_as(Some((certificate.clone(), key.clone_key()))).await;
        assert!(known.unwrap().ends_with("hello"));
        assert_eq!(ask_as(None).await.is_ok(), !required);
        assert!(
            ask_as(Some((stranger.clone(), stranger_key.clone_key())))
                .await
                .is_err()
        );
        let refused = if required { 2.0 } else { 1.0 };
        shop.until_metric(&errors("tls_client_certificate"), refused)
            .await;
        shop.close().await;
    }
    let error = pair.tls().client_ca(&pair.key, true).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Tls && error.to_string().contains("tls.key"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_counted() {
    let pair = Pair::new("plain");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(ASK).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP")); // an alert of TLS at most
    shop.until_metric(&errors("tls"), 1.0).await;
    // Who only looks whether the port is open does no wrong.
    drop(TcpStream::connect(addr).await.unwrap());
    shop.until_metric("http_server_connections_total", 2.0).await;
    let text = shop.registry.clone();
    shop.close().await;
    assert_eq!(
        text.to_text()
            .matches("http_server_connection_errors_total{")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let pair = Pair::new("slow");
    let limits = Limits::new().first_byte(SHORT * 5).handshake(SHORT * 30); // time for a real one
    let (shop, addr) = secure(pair.tls(), limits).await;
    let mut silent = TcpStream::connect(addr).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    shop.until_metric(&errors("first_byte_timeout"), 1.0).await;
    let mut partial = TcpStream::connect(addr).await.unwrap();
    partial.write_all(&[22, 3, 1, 1, 0, 1]).await.unwrap(); // the beginning of a ClientHello
    let _ = partial.read(&mut [0; 1]).await; // an end, or a reset: bytes were left unread
    shop.until_metric(&errors("handshake_timeout"), 1.0).await;
    // Once it is over the limits of HTTP begin anew.
    let mut stream = Client::of(pair.current()).connect(addr).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    shop.until_metric(&errors("first_byte_timeout"), 2.0).await;
    shop.close().await;
}

#[tokio::test]
async fn limits_of_http_hold_within_tls() {
    let pair = Pair::new("limits");
    let (shop, addr) = secure(pair.tls(), Limits::new().header(SHORT)).await;
    let mut stream = Client::of(pair.current()).connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    shop.until_metric(&errors("header_timeout"), 1.0).await;
    shop.close().await;
}

#[tokio::test]
async fn a_handshake_under_way_does_not_hold_up_the_end() {
    let pair = Pair::new("end");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    let mut partial = TcpStream::connect(addr).await.unwrap();
    partial.write_all(&[22, 3, 1]).await.unwrap();
    shop.until_metric("http_server_active_connections", 1.0).await;
    shop.running.kill();
    let report = shop.close().await;
    assert_eq!((report.unfinished, report.cut_total), (0, 0));
}

#[tokio::test]
async fn a_proxy_may_say_who_it_speaks_for_before_tls() {
    let pair = Pair::new("proxied-tls");
    let spans = InMemory::new();
    let tracer = Tracer::builder("shop").export(spans.clone()).build().unwrap();
    let listener = Listener::tcp("127.0.0.1:0")
        .tls(pair.tls())
        .proxy_protocol(TrustedProxies::new(["127.0.0.1"]).unwrap());
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer).listen(listener)).await;
    let mut socket = TcpStream::connect(second(&shop)).await.unwrap();
    socket
        .write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 50000 443\r\n")
        .await
        .unwrap();
    let mut stream = Client::of(pair.current()).over(socket).await.unwrap();
    assert!(ask(&mut stream).await.unwrap().ends_with("hello"));
    shop.close().await;
    let spans = spans.take();
    let peer = spans[0]
        .attribute("network.peer.address")
        .map(ToString::to_string);
    assert_eq!(peer.as_deref(), Some("192.0.2.7"));
}

#[test]
fn files_that_cannot_be_used_are_refused_at_once() {
    let (pair, other) = (Pair::new("files"), Pair::new("files-other"));
    for (certificate, key, why) in [
        (&pair.certificate, &other.key, "must fit the private key"),
        (&pair.key, &pair.key, "certificates as PEM"),
        (&pair.certificate, &pair.certificate, "one private key as PEM"),
        (&pair.directory.path("none"), &pair.key, "readable file"),
    ] {
        let error = Tls::pem_files(certificate, key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(!format!("{:?}", pair.tls()).contains("BEGIN"));
}

#[tokio::test]
async fn handlers_see_the_certificate_of_a_client_that_has_one() {
    let pair = Pair::new("seen");
    let (ca, certificate, key) = authority();
    let path = pair.directory.path("ca.crt");
    std::fs::write(&path, ca).unwrap();
    let shown = certificate.clone();
    let see = async move |seen: Option<ClientCertificate>| match seen {
        None => "nobody",
        Some(seen) if *seen.der() == shown && seen.chain().len() == 1 => "the client",
        Some(_) => "somebody else",
    };
    let routes = Routes::new().route("/", axum::routing::get(see)).route(
        "/known",
        axum::routing::get(|_: ClientCertificate| async { "come in" }),
    );
    let tls = pair.tls().client_ca(&path, false).unwrap();
    let running = Server::new(routes)
        .start(Listener::tcp("127.0.0.1:0").tls(tls))
        .await
        .unwrap();
    for (identity, seen, status) in [
        (Some((certificate, key)), "the client", "HTTP/1.1 200"),
        (None, "nobody", "HTTP/1.1 403"),
    ] {
        let client = Client {
            identity,
            ..Client::of(pair.current())
        };
        let mut stream = client.connect(running.local_addr()).await.unwrap();
        // Each request of the connection has it.
        stream
            .write_all(b"GET /known HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let answers = ask(&mut stream).await.unwrap();
        assert!(
            answers.starts_with(status) && answers.ends_with(seen),
            "{answers}"
        );
    }
    running.shutdown();
    within(running.join()).await;
}

#[tokio::test]
async fn a_peer_has_so_many_places_before_their_handshakes() {
    let pair = Pair::new("places");
    let (shop, addr) = secure(pair.tls(), Limits::new().per_peer(1)).await;
    let mut first = TcpStream::connect(addr).await.unwrap();
    first.write_all(&[22, 3, 1]).await.unwrap(); // the beginning of a ClientHello, and no more
    shop.until_metric("http_server_active_connections", 1.0).await;
    let mut second = TcpStream::connect(addr).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0);
    shop.until_metric(&errors("per_peer"), 1.0).await;
    shop.running.kill();
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_without_farewell_between_requests_does_no_wrong() {
    let pair = Pair::new("farewell");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    let mut stream = Client::of(pair.current()).connect(addr).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert_ne!(within(stream.read_buf(&mut answer)).await.unwrap(), 0);
    }
    drop(stream.into_inner());
    drop(
        Client::of(pair.current())
            .connect(addr)
            .await
            .unwrap()
            .into_inner(),
    ); // and before the first one
    shop.until_metric("http_server_connections_total", 2.0).await;
    let gone = async {
        while shop.metric("http_server_active_connections") > 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
    let text = shop.registry.to_text();
    assert!(!text.contains("http_server_connection_errors_total{"), "{text}");
    shop.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_seen_with_and_without_farewell() {
    let pair = Pair::new("leaves");
    let (shop, addr) = secure(pair.tls(), Limits::new()).await;
    for (farewell, left) in [(true, 1.0), (false, 2.0)] {
        let mut stream = Client::of(pair.current()).connect(addr).await.unwrap();
        let request = b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        shop.gates.until_entered().await;
        if farewell {
            stream.shutdown().await.unwrap();
        }
        drop(stream.into_inner());
        let cancelled = r#"http_server_request_outcomes_total{outcome="client_cancel"}"#;
        shop.until_metric(cancelled, left).await;
    }
    shop.until_metric(&errors("incomplete_message"), 1.0).await; // the other is a reset
    shop.close().await;
}
