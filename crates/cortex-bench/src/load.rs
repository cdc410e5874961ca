use std::cmp::Ordering;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use cortex_core::{Clock, SystemClock};

/// A load generator: keep-alive HTTP/1.1 connections, each with one request under way.
///
/// One thread that looks at its sockets in turn and never sleeps: a sleeping client would have the server's thread pay
/// for waking it, a third of the price of a small request. So it needs a core of its own, and one core of it keeps one
/// core of any server busy. Each answer is checked: a server that fails fast must not look fast.
///
/// # Examples
///
/// ```
/// use cortex_bench::Load;
/// use std::io::{Read, Write};
/// use std::net::TcpListener;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let server = std::thread::spawn(move || -> std::io::Result<()> {
///     let (mut socket, _) = listener.accept()?;
///     while socket.read(&mut [0; 1024])? > 0 {
///         socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")?;
///     }
///     Ok(())
/// });
/// let mut load = Load::connect(address, 1, "/", b"hi")?;
/// load.run(10)?;
/// drop(load);
/// server.join().expect("no panic")?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Load {
    connections: Vec<Connection>,
    request: Vec<u8>,
    expected: Expected,
}

/// What each answer has to be.
#[derive(Debug)]
enum Expected {
    /// This body, as it is.
    Plain(Vec<u8>),
    /// A body in this coding, about as long as the first one was.
    Coded { coding: String, length: Option<usize> },
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// Requests still to be answered in this run, the one under way included.
    left: usize,
    answer: Vec<u8>,
    filled: usize,
}

/// The room for an answer, to begin with.
const ROOM: usize = 16 << 10;

impl Load {
    /// Opens `connections` to a server that must answer `GET path` with 200 and `body`.
    ///
    /// # Errors
    ///
    /// A connection failed.
    pub fn connect(address: SocketAddr, connections: usize, path: &str, body: &[u8]) -> io::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        Self::open(address, connections, request, Expected::Plain(body.to_vec()))
    }

    /// Opens `connections` to a server that must answer `GET path` with 200 and a body in `coding`.
    ///
    /// The first body is not looked at, see [`first`](Self::first); the others must be as long, within a twentieth.
    ///
    /// # Errors
    ///
    /// A connection failed.
    pub fn coded(address: SocketAddr, connections: usize, path: &str, coding: &str) -> io::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: {coding}\r\n\r\n");
        let expected = Expected::Coded {
            coding: coding.into(),
            length: None,
        };
        Self::open(address, connections, request, expected)
    }

    fn open(
        address: SocketAddr,
        connections: usize,
        request: String,
        expected: Expected,
    ) -> io::Result<Self> {
        let connections = (0..connections)
            .map(|_| {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Ok(Connection {
                    socket,
                    left: 0,
                    answer: vec![0; ROOM],
                    filled: 0,
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            connections,
            request: request.into_bytes(),
            expected,
        })
    }

    /// Makes one request and returns the body of its answer: what the others will be measured by, to be looked at.
    ///
    /// # Errors
    ///
    /// As of [`run`](Self::run), or there is no connection.
    pub fn first(&mut self) -> io::Result<Vec<u8>> {
        let Some(connection) = self.connections.first_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        connection.socket.write_all(&self.request)?;
        let asked = SystemClock.now();
        loop {
            if let Some(body) = connection.read_answer(&mut self.expected)? {
                return Ok(body);
            }
            if SystemClock.now().saturating_duration_since(asked) > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Makes `requests` requests, rounded up to a multiple of the connections, and returns how many it made.
    ///
    /// When it returns, every request has been answered.
    ///
    /// # Errors
    ///
    /// An answer was not the expected one, nothing came for five seconds, or a connection broke.
    pub fn run(&mut self, requests: usize) -> io::Result<usize> {
        let each = requests.div_ceil(self.connections.len().max(1));
        if each == 0 {
            return Ok(0);
        }
        for connection in &mut self.connections {
            connection.left = each;
            connection.socket.write_all(&self.request)?;
        }
        let mut busy = self.connections.len();
        let mut heard = SystemClock.now();
        while busy > 0 {
            let mut answered = false;
            for connection in self
                .connections
                .iter_mut()
                .filter(|connection| connection.left > 0)
            {
                if connection.read_answer(&mut self.expected)?.is_none() {
                    continue;
                }
                answered = true;
                connection.left -= 1;
                match connection.left {
                    0 => busy -= 1,
                    _ => connection.socket.write_all(&self.request)?,
                }
            }
            let now = SystemClock.now();
            if answered {
                heard = now;
            } else if now.saturating_duration_since(heard) > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(each * self.connections.len())
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

impl Connection {
    /// Reads what has come, and returns the body if the answer is complete.
    fn read_answer(&mut self, expected: &mut Expected) -> io::Result<Option<Vec<u8>>> {
        if self.filled == self.answer.len() {
            self.answer.resize(2 * self.filled, 0);
        }
        match self.socket.read(&mut self.answer[self.filled..]) {
            Ok(0) => return Err(unexpected("cut short, or too long", &self.answer[..self.filled])),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let answer = &self.answer[..self.filled];
        match check(answer, expected) {
            Answer::Partial => Ok(None),
            Answer::Expected(body) => {
                self.filled = 0;
                Ok(Some(body))
            }
            Answer::Other(what) => Err(unexpected(what, answer)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Partial,
    Expected(Vec<u8>),
    Other(&'static str),
}

fn check(answer: &[u8], expected: &mut Expected) -> Answer {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let seen = answer.len().min(OK.len());
    if answer[..seen] != OK[..seen] {
        return Answer::Other("not a 200");
    }
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer::Partial;
    };
    let (head, got) = (&answer[..head], &answer[head + 4..]);
    match expected {
        Expected::Plain(body) => {
            if content_length(head) != Some(body.len()) {
                return Answer::Other("not the expected length");
            }
            match got.len().cmp(&body.len()) {
                Ordering::Less => Answer::Partial,
                // Nobody looks at it.
                Ordering::Equal if got == body => Answer::Expected(Vec::new()),
                _ => Answer::Other("not the expected body"),
            }
        }
        Expected::Coded { coding, length } => {
            if field(head, "content-encoding") != Some(coding.as_bytes()) {
                return Answer::Other("not in the expected coding");
            }
            let body = match content_length(head) {
                Some(length) if got.len() < length => return Answer::Partial,
                Some(length) if got.len() == length => got.to_vec(),
                Some(_) => return Answer::Other("longer than it says"),
                None if field(head, "transfer-encoding") == Some(b"chunked") => match unchunk(got) {
                    Chunks::Partial => return Answer::Partial,
                    Chunks::Whole(body) => body,
                    Chunks::Malformed => return Answer::Other("not well chunked"),
                },
                None => return Answer::Other("without a length"),
            };
            let usual = *length.get_or_insert(body.len());
            if body.len().abs_diff(usual) > usual / 20 {
                return Answer::Other("not about as long as the first one");
            }
            Answer::Expected(body)
        }
    }
}

enum Chunks {
    Partial,
    Whole(Vec<u8>),
    Malformed,
}

/// Puts chunks together, to which nothing may be added: neither extensions nor trailers.
fn unchunk(mut bytes: &[u8]) -> Chunks {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
            return Chunks::Partial;
        };
        let size = str::from_utf8(&bytes[..end]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return Chunks::Malformed;
        };
        let Some((data, rest)) = bytes[end + 2..].split_at_checked(size) else {
            return Chunks::Partial;
        };
        let Some((line, rest)) = rest.split_at_checked(2) else {
            return Chunks::Partial;
        };
        match (line, size) {
            (b"\r\n", 0) if rest.is_empty() => return Chunks::Whole(body),
            (b"\r\n", 1..) => body.extend_from_slice(data),
            _ => return Chunks::Malformed,
        }
        bytes = rest;
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    str::from_utf8(field(head, "content-length")?).ok()?.parse().ok()
}

fn field<'a>(head: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        name.eq_ignore_ascii_case(wanted.as_bytes()).then_some(value)
    })
}

fn unexpected(what: &str, answer: &[u8]) -> io::Error {
    let answer = String::from_utf8_lossy(&answer[..answer.len().min(200)]);
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("an answer is {what}: {answer:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    fn plain(answer: &[u8], body: &[u8]) -> Answer {
        check(answer, &mut Expected::Plain(body.to_vec()))
    }

    fn gzipped(answer: &[u8], length: usize) -> Answer {
        let coding = "gzip".into();
        check(
            answer,
            &mut Expected::Coded {
                coding,
                length: Some(length),
            },
        )
    }

    #[test]
    fn judges_answers_whole_and_in_parts() {
        let good = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(plain(good, b"hello"), Answer::Expected(Vec::new()));
        for end in 0..good.len() {
            assert_eq!(plain(&good[..end], b"hello"), Answer::Partial, "{end}");
        }
        let bad: [(&[u8], &str); 5] = [
            (b"HTTP/1.1 503 Service", "not a 200"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello", "not the expected length"),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n",
                "not the expected length",
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhullo",
                "not the expected body",
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello!",
                "not the expected body",
            ),
        ];
        for (answer, what) in bad {
            assert_eq!(plain(answer, b"hello"), Answer::Other(what));
        }
    }

    #[test]
    fn judges_encoded_answers_by_coding_framing_and_length() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n";
        let answer = |rest: &str| format!("{HEAD}{rest}").into_bytes();
        let whole = [
            answer("content-length: 5\r\n\r\nhello"),
            answer("transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ];
        for good in whole {
            assert_eq!(gzipped(&good, 5), Answer::Expected(b"hello".to_vec()));
            for end in 0..good.len() {
                assert_eq!(gzipped(&good[..end], 5), Answer::Partial, "{end}");
            }
            assert_eq!(
                gzipped(&good, 100),
                Answer::Other("not about as long as the first one")
            );
        }
        for (rest, what) in [
            ("\r\n", "without a length"),
            ("content-length: 2\r\n\r\nhello", "longer than it says"),
            ("transfer-encoding: chunked\r\n\r\nx\r\n", "not well chunked"),
            ("transfer-encoding: chunked\r\n\r\n2\r\nhello", "not well chunked"),
            (
                "transfer-encoding: chunked\r\n\r\n0\r\n\r\nmore",
                "not well chunked",
            ),
        ] {
            assert_eq!(gzipped(&answer(rest), 5), Answer::Other(what), "{rest}");
        }
        let other = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(gzipped(other, 5), Answer::Other("not in the expected coding"));
    }

    #[test]
    fn an_encoded_answer_may_be_longer_than_the_room_for_it() {
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 100000\r\n\r\n";
        let answer = format!("{head}{}", "x".repeat(100_000));
        let (address, server) = server(1, Box::leak(answer.into_boxed_str()).as_bytes());
        let mut load = Load::coded(address, 1, "/x", "br").unwrap();
        assert_eq!(load.first().unwrap().len(), 100_000);
        assert_eq!(load.run(3).unwrap(), 3);
        drop(load);
        assert_eq!(server.join().unwrap(), [4]);
        let error = Load::connect(address, 0, "/x", b"").unwrap().first().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn reads_an_answer_that_comes_byte_by_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::connect(listener.local_addr().unwrap(), 1, "/", b"hi").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nodelay(true).unwrap();
        let (connection, mut expected) = (&mut load.connections[0], Expected::Plain(b"hi".to_vec()));
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        for (n, byte) in whole.iter().enumerate() {
            assert_eq!(connection.filled, n);
            server.write_all(&[*byte]).unwrap();
            while connection.filled == n {
                if connection.read_answer(&mut expected).unwrap().is_some() {
                    assert_eq!(n + 1, whole.len());
                    break;
                }
            }
        }
        assert_eq!(connection.filled, 0, "ready for the next answer");
        server.write_all(&whole[..9]).unwrap();
        drop(server);
        let error = loop {
            match connection.read_answer(&mut expected) {
                Ok(complete) => assert!(complete.is_none()),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("cut short"), "{error}");
    }

    /// Answers on `connections` connections and returns how many requests each one made.
    fn server(connections: usize, answer: &'static [u8]) -> (SocketAddr, JoinHandle<Vec<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let serving: Vec<_> = (0..connections)
                .map(|_| {
                    let (mut socket, _) = listener.accept().unwrap();
                    thread::spawn(move || {
                        let mut requests = 0;
                        let mut buffer = [0; 1024];
                        while let Ok(read @ 1..) = socket.read(&mut buffer) {
                            assert!(buffer[..read].starts_with(b"GET /x HTTP/1.1\r\nhost: 127.0.0.1:"));
                            assert!(buffer[..read].ends_with(b"\r\n\r\n"));
                            requests += 1;
                            socket.write_all(answer).unwrap();
                        }
                        requests
                    })
                })
                .collect();
            serving.into_iter().map(|thread| thread.join().unwrap()).collect()
        };
        (address, thread::spawn(serve))
    }

    #[test]
    fn makes_as_many_requests_as_it_says() {
        let (address, server) = server(3, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        let mut load = Load::connect(address, 3, "/x", b"hi").unwrap();
        assert_eq!(load.run(0).unwrap(), 0);
        assert_eq!(load.run(7).unwrap(), 9);
        assert_eq!(load.run(3).unwrap(), 3);
        drop(load);
        assert_eq!(server.join().unwrap(), [4, 4, 4]);
    }

    #[test]
    fn stops_at_a_wrong_answer() {
        let (address, server) = server(
            1,
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        );
        let mut load = Load::connect(address, 1, "/x", b"hi").unwrap();
        let error = load.run(1).unwrap_err();
        assert!(error.to_string().contains("not a 200"), "{error}");
        drop(load);
        assert_eq!(server.join().unwrap(), [1]);
    }
}
