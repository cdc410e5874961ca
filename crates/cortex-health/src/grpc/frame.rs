//! How messages are framed: a byte that says whether they are compressed, four of their length.

use super::code::{Code, Refusal};
use bytes::{Buf, Bytes};
use http_body::Body;
use std::future;
use std::pin::pin;
use std::time::Duration;

/// The most bytes of a request: names of services are short.
const MOST: usize = 4 << 10;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

const PREFIX: usize = 5;

/// Puts the prefix before a message.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX); // lists are bounded far below
    let mut out = Vec::with_capacity(PREFIX + message.len());
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

/// Reads the one message of a request. `is_encoded`: the request names an encoding, which one message may use.
pub(super) async fn read(body: impl Body, is_encoded: bool) -> Result<Vec<u8>, Refusal> {
    match tokio::time::timeout(PATIENCE, collect(body)).await {
        Ok(bytes) => message(bytes?, is_encoded),
        Err(_) => Err(Refusal::new(
            Code::DeadlineExceeded,
            "the request did not arrive within 5 s",
        )),
    }
}

async fn collect(body: impl Body) -> Result<Vec<u8>, Refusal> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err(Refusal::new(Code::Internal, "the request broke off"));
        };
        let Ok(mut data) = frame.into_data() else {
            continue; // trailers, which a client does not send
        };
        if bytes.len() + data.remaining() > PREFIX + MOST {
            return Err(Refusal::new(
                Code::ResourceExhausted,
                "the request has more than 4 KiB",
            ));
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            data.advance(length);
        }
    }
    Ok(bytes)
}

fn message(mut bytes: Vec<u8>, is_encoded: bool) -> Result<Vec<u8>, Refusal> {
    let one = Refusal::new(Code::Internal, "the request is not one whole message");
    let Some((&[compressed, ref length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(one);
    };
    let &[a, b, c, d] = length;
    match compressed {
        0 => {}
        1 if is_encoded => return Err(Refusal::encoding()),
        1 => {
            let why = "the request is flagged as compressed and names no encoding";
            return Err(Refusal::new(Code::Internal, why));
        }
        _ => return Err(one),
    }
    if usize::try_from(u32::from_be_bytes([a, b, c, d])) != Ok(rest.len()) {
        return Err(one);
    }
    bytes.drain(..PREFIX);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::Full;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    async fn of(bytes: &'static [u8]) -> Result<Vec<u8>, Code> {
        let whole = read(Full::new(Bytes::from_static(bytes)), false).await;
        whole.map_err(|refusal| refusal.code)
    }

    #[tokio::test]
    async fn a_request_is_one_message() {
        assert_eq!(of(b"\0\0\0\0\x03abc").await, Ok(b"abc".to_vec()));
        assert_eq!(of(b"\0\0\0\0\0").await, Ok(Vec::new()));
        assert_eq!(
            of(&[frame(b"abc")].concat().leak()[..]).await,
            Ok(b"abc".to_vec())
        );
        for bad in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x04abc",
            b"\0\0\0\0\x02abc",
            b"\x02\0\0\0\x03abc",
            b"\0\0\0\0\0\0\0\0\0\0",
            b"\0\xff\xff\xff\xffabc",
            b"\x01\0\0\0\x03abc",
        ] {
            assert_eq!(of(bad).await, Err(Code::Internal), "{bad:?}");
        }
        assert_eq!(of(&[0; PREFIX + MOST + 1]).await, Err(Code::ResourceExhausted));
    }

    #[tokio::test]
    async fn an_encoding_is_for_messages_with_the_flag() {
        let of = async |bytes: &'static [u8]| read(Full::new(Bytes::from_static(bytes)), true).await;
        assert_eq!(of(b"\0\0\0\0\x03abc").await, Ok(b"abc".to_vec()));
        assert_eq!(of(b"\x01\0\0\0\x03abc").await, Err(Refusal::encoding()));
    }

    /// Sends these pieces and ends, or repeats the last one, or falls silent after it.
    struct Pieces(Vec<&'static [u8]>, Then);

    #[derive(PartialEq)]
    enum Then {
        End,
        Repeat,
        Nothing,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match (&self.0[..], &self.1) {
                ([], Then::End) => Poll::Ready(None),
                ([], _) => Poll::Pending,
                ([last], Then::Repeat) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(last))))),
                _ => {
                    let piece = self.0.remove(0);
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_end_is_refused() {
        let code = async |pieces, then| read(Pieces(pieces, then), false).await.unwrap_err().code;
        assert_eq!(
            code(vec![&[0; 16][..]], Then::Repeat).await,
            Code::ResourceExhausted
        );
        assert_eq!(code(vec![b"\0\0"], Then::Nothing).await, Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        let pieces = vec![&b"\0\0"[..], b"\0\0\x03a", b"", b"bc"];
        assert_eq!(read(Pieces(pieces, Then::End), false).await.unwrap(), b"abc");
    }
}
