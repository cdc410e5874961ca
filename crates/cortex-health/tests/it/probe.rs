use cortex_health::{ProbeError, probe};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// Answers one connection with these pieces and closes; returns what was asked.
fn server(pieces: &'static [&'static [u8]]) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        for piece in pieces {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
        }
        String::from_utf8(request).unwrap()
    });
    (addr, server)
}

fn answer(pieces: &'static [&'static [u8]]) -> Result<(), ProbeError> {
    let (addr, server) = server(pieces);
    let result = probe(addr, "/readyz?verbose", LONG);
    let request = server.join().unwrap();
    assert!(
        request.starts_with("GET /readyz?verbose HTTP/1.1\r\nHost: 127.0.0.1:"),
        "{request}"
    );
    result
}

#[test]
fn success_is_200_to_399() {
    answer(&[b"HTTP/1.1 200 OK\r\n\r\n"]).unwrap();
    answer(&[b"HTTP/1.0 399 \r\n\r\n"]).unwrap();
    answer(&[b"HT", b"TP/1.1 20", b"4", b"\r\n\r\n"]).unwrap();
    let failures: [(&'static [&'static [u8]], u16); 3] = [
        (&[b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], 503),
        (&[b"HTTP/1.1 199 Odd\r\n\r\n"], 199),
        (&[b"HTTP/1.1 400 Bad\r\n\r\n"], 400),
    ];
    for (pieces, code) in failures {
        let error = answer(pieces).unwrap_err();
        assert!(
            matches!(error, ProbeError::Status(status) if status == code),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            format!("pass the probe: the answer was {code}")
        );
        assert!(error.source().is_none());
    }
}

#[test]
fn other_answers_are_not_http() {
    let answers: [&'static [&'static [u8]]; 6] = [
        &[b"SSH-2.0-OpenSSH_9.2\r\n"],
        &[b"HTTP/2.0 200 OK\r\n\r\n"],
        &[b"HTTP/1.x 200 OK\r\n\r\n"],
        &[b"HTTP/1.1 +20 OK\r\n\r\n"],
        &[b"HTTP/1.1 2000 OK\r\n\r\n"],
        &[b"HTTP/1.1"],
    ];
    for pieces in answers {
        let error = answer(pieces).unwrap_err();
        assert!(matches!(error, ProbeError::Malformed), "{pieces:?}: {error:?}");
    }
}

#[test]
fn silence_ends_at_the_timeout() {
    let (hang_up, held) = mpsc::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let accepted = listener.accept().unwrap();
        let _ = held.recv(); // holds the connection open
        drop(accepted);
    });
    let error = probe(addr, "/", Duration::from_millis(20)).unwrap_err();
    let ProbeError::Exchange(cause) = &error else {
        panic!("{error:?}");
    };
    assert!(
        matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{cause:?}"
    );
    assert_eq!(error.to_string(), "get an answer from the probe endpoint");
    drop(hang_up);
    server.join().unwrap();
}

#[test]
fn nobody_there_is_no_connection() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = probe(addr, "/", LONG).unwrap_err();
    assert_eq!(error.to_string(), "connect to the probe endpoint");
    assert!(error.source().is_some());
    for none in [
        probe(&[][..], "/", LONG),
        probe(addr, "/", Duration::ZERO),
        probe("no port", "/", LONG),
    ] {
        assert!(matches!(none, Err(ProbeError::Connect(_))), "{none:?}");
    }
}

#[test]
fn a_path_cannot_smuggle_a_header() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for path in ["", "readyz", "/a b", "/\r\nX-Evil: 1", "/é"] {
        let error = probe(addr, path, LONG).unwrap_err();
        assert!(matches!(error, ProbeError::InvalidPath), "{path:?}: {error:?}");
    }
}
