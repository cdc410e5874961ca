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
    body: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// Requests still to be answered in this run, the one under way included.
    left: usize,
    answer: Box<[u8; 16 << 10]>,
    filled: usize,
}

impl Load {
    /// Opens `connections` to a server that must answer `GET path` with 200 and `body`.
    ///
    /// # Errors
    ///
    /// A connection failed.
    pub fn connect(address: SocketAddr, connections: usize, path: &str, body: &[u8]) -> io::Result<Self> {
        let connections = (0..connections)
            .map(|_| {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Ok(Connection {
                    socket,
                    left: 0,
                    answer: Box::new([0; 16 << 10]),
                    filled: 0,
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            connections,
            request: format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes(),
            body: body.to_vec(),
        })
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
                if !connection.read_answer(&self.body)? {
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
    /// Reads what has come and says whether the answer is complete.
    fn read_answer(&mut self, body: &[u8]) -> io::Result<bool> {
        match self.socket.read(&mut self.answer[self.filled..]) {
            Ok(0) => return Err(unexpected("cut short, or too long", &self.answer[..self.filled])),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let answer = &self.answer[..self.filled];
        match check(answer, body) {
            Answer::Partial => Ok(false),
            Answer::Expected => {
                self.filled = 0;
                Ok(true)
            }
            Answer::Other(what) => Err(unexpected(what, answer)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Partial,
    Expected,
    Other(&'static str),
}

fn check(answer: &[u8], body: &[u8]) -> Answer {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let seen = answer.len().min(OK.len());
    if answer[..seen] != OK[..seen] {
        return Answer::Other("not a 200");
    }
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer::Partial;
    };
    match content_length(&answer[..head]) {
        Some(length) if length == body.len() => {}
        _ => return Answer::Other("not the expected length"),
    }
    let got = &answer[head + 4..];
    match got.len().cmp(&body.len()) {
        std::cmp::Ordering::Less => Answer::Partial,
        std::cmp::Ordering::Equal if got == body => Answer::Expected,
        _ => Answer::Other("not the expected body"),
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"content-length")
            .then(|| str::from_utf8(value).ok()?.parse().ok())?
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

    #[test]
    fn judges_answers_whole_and_in_parts() {
        let good = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(check(good, b"hello"), Answer::Expected);
        for end in 0..good.len() {
            assert_eq!(check(&good[..end], b"hello"), Answer::Partial, "{end}");
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
            assert_eq!(check(answer, b"hello"), Answer::Other(what));
        }
    }

    #[test]
    fn reads_an_answer_that_comes_byte_by_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::connect(listener.local_addr().unwrap(), 1, "/", b"hi").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.set_nodelay(true).unwrap();
        let connection = &mut load.connections[0];
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        for (n, byte) in whole.iter().enumerate() {
            assert_eq!(connection.filled, n);
            server.write_all(&[*byte]).unwrap();
            while connection.filled == n {
                if connection.read_answer(b"hi").unwrap() {
                    assert_eq!(n + 1, whole.len());
                    break;
                }
            }
        }
        assert_eq!(connection.filled, 0, "ready for the next answer");
        server.write_all(&whole[..9]).unwrap();
        drop(server);
        let error = loop {
            match connection.read_answer(b"hi") {
                Ok(complete) => assert!(!complete),
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
