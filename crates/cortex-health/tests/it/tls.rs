use crate::checks::{first, serve};
use cortex_health::Status;
use cortex_health::checks::{self, HttpGet};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A server of one connection with a certificate for `name`, and that certificate in PEM.
fn server(name: &str) -> (SocketAddr, String, JoinHandle<()>) {
    let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return, // the client does not like us
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\npass");
    });
    (addr, own.cert.pem(), server)
}

fn get(addr: SocketAddr, pem: &str) -> HttpGet {
    let url = format!("https://localhost:{}/readyz", addr.port());
    HttpGet::new(&url)
        .unwrap()
        .ca_certificate_pem(pem)
        .unwrap()
        .body_contains("pass")
}

#[test]
fn https_is_asked_with_the_authorities_that_are_given() {
    let (addr, pem, server) = server("localhost");
    let found = first(checks::http("orders", get(addr, &pem)));
    assert_eq!(found.status(), Status::Up, "{found:?}");
    server.join().unwrap();
}

#[test]
fn a_certificate_of_another_or_by_another_is_refused() {
    let (addr, pem, handle) = server("elsewhere");
    let found = first(checks::http("orders", get(addr, &pem)));
    let message = found.message().unwrap();
    assert!(
        found.status() == Status::Down && message.contains("TLS: invalid peer certificate"),
        "{message}"
    );
    handle.join().unwrap();

    let (addr, _, handle) = server("localhost");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let found = first(checks::http("orders", get(addr, &stranger.cert.pem())));
    let message = found.message().unwrap();
    assert!(
        found.status() == Status::Down && message.contains("TLS: invalid peer certificate"),
        "{message}"
    );
    handle.join().unwrap();
}

#[test]
fn a_server_without_tls_is_not_understood() {
    let (addr, server) = serve(|stream| _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n"));
    let (_, pem, _) = self::server("localhost");
    let found = first(checks::http("orders", get(addr, &pem)));
    let message = found.message().unwrap();
    assert!(
        found.status() == Status::Down && message.contains("TLS: "),
        "{message}"
    );
    drop(server); // it waits for the end of a head that never comes, until the connection closes
}

#[test]
fn this_machine_does_not_trust_a_stranger() {
    let (addr, _, server) = server("localhost");
    let url = format!("https://localhost:{}/readyz", addr.port());
    let found = first(checks::http("orders", HttpGet::new(&url).unwrap()).timeout(Duration::from_secs(20)));
    let message = found.message().unwrap();
    let reasons = [
        "TLS: invalid peer certificate",
        "this machine trusts no authority",
    ]; // some have no certificates at all
    assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");
    assert_eq!(found.status(), Status::Down);
    server.join().unwrap();
}
