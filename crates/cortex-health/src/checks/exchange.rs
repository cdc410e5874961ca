//! One request and its answer by HTTP/1.1 (RFC 9112), each part of it bounded.

use super::budget::{Budget, reason};
use super::url::Url;
use http::HeaderMap;
use http::header::HOST;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The most bytes of an answer's head, with those of interim answers before it.
const MOST_HEAD: usize = 16 << 10;

/// The most header lines of an answer.
const MOST_HEADERS: usize = 100;

/// The most bytes of a body that are looked at.
pub(super) const MOST_BODY: usize = 64 << 10;

/// The longest line that tells the size of a chunk.
const MOST_CHUNK_LINE: usize = 256;

/// A connection that takes no longer than the run may, however slowly it talks.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) stream: TcpStream,
    pub(super) budget: Budget,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.budget.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.budget.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The first [`MOST_BODY`] bytes, if they were wanted.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Malformed(&'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => f.write_str(&reason(error)),
            Self::Malformed(why) => write!(f, "the answer is not HTTP/1.1: {why}"),
        }
    }
}

/// Asks and reads the answer; its body only if `wants_body`.
pub(super) fn get(
    stream: &mut (impl Read + Write),
    url: &Url,
    headers: &HeaderMap,
    wants_body: bool,
) -> Result<Answer, Fault> {
    stream.write_all(&request(url, headers))?;
    stream.flush()?;
    let mut reader = Reader::new(stream);
    let mut left = MOST_HEAD;
    loop {
        let head = reader.head(&mut left)?;
        if head.status == 101 {
            return Err(Fault::Malformed("it switches protocols, which nobody asked for"));
        }
        if head.status < 200 {
            continue; // an interim answer; how many is bounded by the size of all heads
        }
        let body = match head.framing {
            _ if !wants_body || matches!(head.status, 204 | 304) => Vec::new(),
            Framing::Length(length) => reader.exactly(length)?,
            Framing::Chunked => reader.chunks()?,
            Framing::Rest => reader.rest()?,
        };
        return Ok(Answer {
            status: head.status,
            body,
        });
    }
}

fn request(url: &Url, headers: &HeaderMap) -> Vec<u8> {
    let mut out = format!("GET {} HTTP/1.1\r\n", url.path).into_bytes();
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    if !headers.contains_key(HOST) {
        line(b"host", url.authority.as_bytes());
    }
    for (name, value) in [
        ("user-agent", concat!("cortex-health/", env!("CARGO_PKG_VERSION"))),
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
    ] {
        if !headers.contains_key(name) {
            line(name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in headers {
        line(name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"connection: close\r\n\r\n");
    out
}

struct Head {
    status: u16,
    framing: Framing,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    Rest,
}

struct Reader<'a, S> {
    stream: &'a mut S,
    buffer: Vec<u8>,
    at: usize,
}

impl<'a, S: Read> Reader<'a, S> {
    fn new(stream: &'a mut S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            at: 0,
        }
    }

    fn head(&mut self, left: &mut usize) -> Result<Head, Fault> {
        let status = status(&self.line(left)?)?;
        let mut framing = None;
        let mut is_chunked = false;
        for count in 0.. {
            let line = self.line(left)?;
            if line.is_empty() {
                break;
            }
            if count == MOST_HEADERS {
                return Err(Fault::Malformed("it has more than 100 headers"));
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                return Err(Fault::Malformed("a header has no colon"));
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Malformed("its transfer encoding is not `chunked`"));
                }
                is_chunked = true;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                let length = digits(value, 10).ok_or(Fault::Malformed("its length is no number"))?;
                if framing.is_some_and(|before| before != length) {
                    return Err(Fault::Malformed("it has two lengths"));
                }
                framing = Some(length);
            }
        }
        // RFC 9112, section 6.3: the transfer encoding has precedence over the length.
        let framing = match framing {
            _ if is_chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Rest,
        };
        Ok(Head { status, framing })
    }

    /// Reads a line without its end. It counts against `left`, so that no answer has too many or too long ones.
    fn line(&mut self, left: &mut usize) -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                None => return Err(Fault::Malformed("it is cut off")),
                Some(b'\n') => break,
                Some(byte) => line.push(byte),
            }
            *left = left
                .checked_sub(1)
                .ok_or(Fault::Malformed("its head is too long"))?;
        }
        *left = left.saturating_sub(1);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn exactly(&mut self, length: u64) -> Result<Vec<u8>, Fault> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(MOST_BODY);
        let mut body = Vec::new();
        self.append(&mut body, wanted)?;
        Ok(body)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.line(&mut { MOST_CHUNK_LINE })?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = digits(size.trim_ascii(), 16).ok_or(Fault::Malformed("a chunk has no size"))?;
            if size == 0 {
                return Ok(body); // trailers say nothing that matters here
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let wanted = size.min(MOST_BODY - body.len());
            self.append(&mut body, wanted)?;
            if body.len() == MOST_BODY {
                return Ok(body);
            }
            if !self.line(&mut { MOST_CHUNK_LINE })?.is_empty() {
                return Err(Fault::Malformed("a chunk is longer than its size"));
            }
        }
    }

    fn rest(&mut self) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while body.len() < MOST_BODY {
            match self.byte() {
                Ok(Some(byte)) => body.push(byte),
                Ok(None) => break,
                // Servers of TLS that just hang up: what came is all there is.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(body)
    }

    fn append(&mut self, body: &mut Vec<u8>, count: usize) -> Result<(), Fault> {
        for _ in 0..count {
            body.push(self.byte()?.ok_or(Fault::Malformed("its body is cut off"))?);
        }
        Ok(())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            self.buffer.resize(4 << 10, 0);
            let count = loop {
                match self.stream.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            self.at = 0;
            self.buffer.truncate(*count.as_ref().unwrap_or(&0));
            count?;
        }
        let byte = self.buffer.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }
}

/// Reads a status line (RFC 9112, section 4); some servers end it after the code.
fn status(line: &[u8]) -> Result<u16, Fault> {
    let rest = line.strip_prefix(b"HTTP/1.");
    if let Some([minor, b' ', code @ ..]) = rest
        && minor.is_ascii_digit()
        && let Some((code, rest)) = code.split_first_chunk::<3>()
        && matches!(rest, [] | [b' ', ..])
        && let Some(code @ 100..=999) = digits(code, 10)
    {
        return Ok(u16::try_from(code).unwrap_or(u16::MAX));
    }
    Err(Fault::Malformed("there is no status line"))
}

/// Reads a number that has digits and nothing else.
fn digits(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        number.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A peer that says this, in pieces of some size, and hears what it is asked.
    struct Peer<'a> {
        says: &'a [u8],
        piece: usize,
        heard: Vec<u8>,
    }

    impl Read for Peer<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.says.len().min(self.piece).min(buffer.len());
            let (now, later) = self.says.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.says = later;
            Ok(count)
        }
    }

    impl Write for Peer<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn url() -> Url {
        Url::parse("http://shop:81/a?b=c").expect("a URL")
    }

    fn answer(says: &[u8]) -> Result<(u16, String), String> {
        let ask = |piece| {
            let mut peer = Peer {
                says,
                piece,
                heard: Vec::new(),
            };
            let answer = get(&mut peer, &url(), &HeaderMap::new(), true);
            let answer = answer.map_err(|fault| fault.to_string())?;
            Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
        };
        let whole = ask(usize::MAX);
        assert_eq!(whole, ask(1), "pieces make a difference");
        whole
    }

    fn malformed(says: &[u8]) -> String {
        let fault = answer(says).unwrap_err();
        let why = fault.strip_prefix("the answer is not HTTP/1.1: ");
        why.unwrap_or_else(|| panic!("{fault}")).to_owned()
    }

    #[test]
    fn asks_for_one_thing() {
        let mut headers = HeaderMap::new();
        headers.insert("accept", "text/plain".parse().unwrap());
        headers.insert("authorization", "Bearer x".parse().unwrap());
        let text = String::from_utf8(request(&url(), &headers)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "GET /a?b=c HTTP/1.1\r\nhost: shop:81\r\nuser-agent: cortex-health/{version}\r\naccept-encoding: identity\r\n\
             accept: text/plain\r\nauthorization: Bearer x\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(text, expected);
        headers.insert("host", "other".parse().unwrap());
        let text = String::from_utf8(request(&url(), &headers)).unwrap();
        assert!(
            text.contains("host: other\r\n") && !text.contains("shop"),
            "{text}"
        );
    }

    #[test]
    fn bodies_end_in_three_ways() {
        let own = |status, body: &str| Ok((status, body.to_owned()));
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"),
            own(200, "abc")
        );
        assert_eq!(answer(b"HTTP/1.0 200\r\n\r\nto the end"), own(200, "to the end"));
        let chunked = b"HTTP/1.1 503 No\r\nTransfer-Encoding: Chunked\r\ncontent-length: 1\r\n\r\n\
                        3;x=y\r\nabc\r\n0A\r\n0123456789\r\n0\r\nsome: trailer\r\n\r\n";
        assert_eq!(answer(chunked), own(503, "abc0123456789"));
        assert_eq!(answer(b"HTTP/1.1 204 Nothing\r\n\r\n"), own(204, ""));
        let interim = b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 201 \n\nx";
        assert_eq!(answer(interim), own(201, "x"));
    }

    #[test]
    fn a_body_nobody_wants_is_not_read() {
        let says = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        let mut peer = Peer {
            says,
            piece: 8,
            heard: Vec::new(),
        };
        let answer = get(&mut peer, &url(), &HeaderMap::new(), false).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }

    #[test]
    fn what_is_no_http_is_told_apart() {
        assert_eq!(malformed(b"SSH-2.0-OpenSSH_9.2\r\n"), "there is no status line");
        for line in [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1  200",
            "HTTP/2 200",
            "HTTP/1.1 +20 x",
            "HTTP/1.1 099 x",
        ] {
            assert_eq!(
                malformed(format!("{line}\r\n\r\n").as_bytes()),
                "there is no status line",
                "{line}"
            );
        }
        let with = |rest: &str| malformed(format!("HTTP/1.1 200 OK\r\n{rest}").as_bytes());
        assert_eq!(with(""), "it is cut off");
        assert_eq!(with("odd\r\n\r\n"), "a header has no colon");
        assert_eq!(with("content-length: -1\r\n\r\n"), "its length is no number");
        assert_eq!(
            with("content-length: 1\r\ncontent-length: 2\r\n\r\n"),
            "it has two lengths"
        );
        assert_eq!(
            with("transfer-encoding: gzip, chunked\r\n\r\n"),
            "its transfer encoding is not `chunked`"
        );
        assert_eq!(with("content-length: 4\r\n\r\nabc"), "its body is cut off");
        assert_eq!(
            with("transfer-encoding: chunked\r\n\r\nx\r\n"),
            "a chunk has no size"
        );
        assert_eq!(
            with("transfer-encoding: chunked\r\n\r\n1\r\nab\r\n"),
            "a chunk is longer than its size"
        );
        let switch = b"HTTP/1.1 101 Switch\r\n\r\n";
        assert_eq!(malformed(switch), "it switches protocols, which nobody asked for");
    }

    #[test]
    fn every_part_is_bounded() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(MOST_HEAD));
        assert_eq!(malformed(long.as_bytes()), "its head is too long");
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(malformed(many.as_bytes()), "it has more than 100 headers");
        let endless = "HTTP/1.1 100 Go on\r\n\r\n".repeat(MOST_HEAD);
        assert_eq!(malformed(endless.as_bytes()), "its head is too long");
        let size = "0".repeat(MOST_CHUNK_LINE + 1);
        let chunk = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{size}");
        assert_eq!(malformed(chunk.as_bytes()), "its head is too long");
        let huge = "x".repeat(MOST_BODY + 1000);
        for head in ["content-length: 99999999999\r\n", ""] {
            let (_, body) = answer(format!("HTTP/1.1 200 OK\r\n{head}\r\n{huge}").as_bytes()).unwrap();
            assert_eq!(body.len(), MOST_BODY, "{head}");
        }
        let chunks =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n{huge}");
        assert_eq!(answer(chunks.as_bytes()).unwrap().1.len(), MOST_BODY);
    }

    proptest! {
        #[test]
        fn nothing_is_too_strange(head in "(HTTP/1.1 [0-9]{3} )?\\PC{0,20}", rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut says = head.into_bytes();
            says.extend(rest);
            let mut peer = Peer { says: &says, piece: 7, heard: Vec::new() };
            let _ = get(&mut peer, &url(), &HeaderMap::new(), true);
        }
    }
}
