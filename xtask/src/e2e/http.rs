use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The longest that any answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// An answer, whole.
#[derive(Debug, PartialEq)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Sends one request on a connection of its own.
pub(super) fn request(addr: SocketAddr, head: &str, body: &[u8]) -> Result<Response> {
    let mut stream = connect(addr)?;
    stream.write_all(&message(head, body.len()))?;
    stream.write_all(body)?;
    Response::parse(&to_end(&mut stream)?)
}

pub(super) fn get(addr: SocketAddr, path: &str) -> Result<Response> {
    request(addr, &format!("GET {path}"), b"")
}

pub(super) fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// Writes the head of a request from its first words and, on lines of their own, further headers.
pub(super) fn message(head: &str, length: usize) -> Vec<u8> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in headers.lines() {
        text += header;
        text += "\r\n";
    }
    if length > 0 {
        text += "content-length: ";
        text += &length.to_string();
        text += "\r\n";
    }
    (text + "\r\n").into_bytes()
}

/// Reads until the server closes; a reset after some bytes counts as closed.
pub(super) fn to_end(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => Ok(bytes),
        Err(error) => Err(error.into()),
    }
}

impl Response {
    /// Reads an answer, which has to be whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let end = bytes
            .windows(4)
            .position(|it| it == b"\r\n\r\n")
            .context("the head is cut off")?;
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').context("a header without a colon")?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<_>>()?;
        let mut response = Self {
            status: status.with_context(|| format!("no status in {head:?}"))?,
            headers,
            body: bytes[end + 4..].to_vec(),
        };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunk(&response.body)?;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse()?;
            ensure!(
                response.body.len() == length,
                "{} of {length} bytes arrived",
                response.body.len()
            );
        }
        Ok(response)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as text, provided that all is well.
    pub(super) fn text(self) -> Result<String> {
        ensure!(self.status == 200, "answered {}", self.status);
        Ok(String::from_utf8(self.body)?)
    }
}

fn unchunk(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|it| it == b"\r\n")
            .context("a chunk's size is cut off")?;
        let size = std::str::from_utf8(&bytes[..end])?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16)?;
        let data = &bytes[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        if data.len() < size + 2 {
            bail!("a chunk is cut off");
        }
        body.extend_from_slice(&data[..size]);
        bytes = &data[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_framings() {
        let sized = Response::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: a:b\r\n\r\nhi").unwrap();
        assert_eq!(
            (sized.status, sized.header("x"), &*sized.body),
            (200, Some("a:b"), &b"hi"[..])
        );
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(Response::parse(chunked).unwrap().text().unwrap(), "hi0123456789");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for bad in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\nhi\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(Response::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let missing = Response::parse(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
        assert_eq!(missing.text().unwrap_err().to_string(), "answered 404");
    }

    #[test]
    fn writes_a_head() {
        assert_eq!(
            String::from_utf8(message("POST /x\naccept: a", 3)).unwrap(),
            "POST /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept: a\r\ncontent-length: 3\r\n\r\n"
        );
    }
}
