use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the first bytes tell the protocol; returns what was read, or `None` if the client closed before.
///
/// # Cancel safety
///
/// Dropping it loses the bytes read so far: the caller closes the connection then.
pub(crate) async fn sniff(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Protocol, BytesMut)>> {
    let mut read = BytesMut::with_capacity(4 << 10);
    loop {
        if io.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
        let compared = read.len().min(PREFACE.len());
        if read[..compared] != PREFACE[..compared] {
            return Ok(Some((Protocol::Http1, read)));
        }
        if compared == PREFACE.len() {
            return Ok(Some((Protocol::Http2, read)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_the_protocol_and_keeps_every_byte() {
        for (sent, protocol) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n", Protocol::Http1),
            (b"P\r", Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Protocol::Http2),
        ] {
            // A chain of one-byte reads: the worst way to send it.
            let mut io = tokio_test_io(sent);
            let (found, read) = sniff(&mut io).await.unwrap().unwrap();
            assert_eq!((found, &sent[..read.len()]), (protocol, &*read));
        }
        assert!(sniff(&mut &b""[..]).await.unwrap().is_none());
        assert!(sniff(&mut &b"PRI * "[..]).await.unwrap().is_none());
    }

    fn tokio_test_io(bytes: &[u8]) -> OneByOne<'_> {
        OneByOne(bytes)
    }

    struct OneByOne<'a>(&'a [u8]);

    impl AsyncRead for OneByOne<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let (now, later) = self.0.split_at(self.0.len().min(1));
            buf.put_slice(now);
            self.0 = later;
            std::task::Poll::Ready(Ok(()))
        }
    }
}
