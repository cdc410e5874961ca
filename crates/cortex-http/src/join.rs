use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};

/// Up to how many bytes are joined.
pub(crate) const JOINED: usize = 4 << 10;

/// Writes from several places, and joins what is small before: to copy so few bytes costs less than it costs Linux to write from
/// two places, some 200 ns.
pub(crate) fn poll_write_joined<W: AsyncWrite>(
    io: Pin<&mut W>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if slices.iter().map(|slice| slice.len()).sum::<usize>() > JOINED {
        return io.poll_write_vectored(cx, slices);
    }
    let mut joined = [MaybeUninit::uninit(); JOINED];
    let mut joined = ReadBuf::uninit(&mut joined);
    for slice in slices {
        joined.put_slice(slice);
    }
    io.poll_write(cx, joined.filled())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes a write, and notes what was asked for.
    struct Writes {
        most: usize,
        joined: Vec<usize>,
        vectored: Vec<usize>,
        bytes: Vec<u8>,
    }

    impl Writes {
        fn take(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.bytes = bytes[..count].to_vec();
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Writes {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.joined.push(bytes.len());
            this.take(bytes)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            this.vectored.push(slices.len());
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            this.take(&all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_head_and_a_small_body_are_one_write_and_a_large_body_is_not_copied() {
        let mut io = Writes {
            most: 700,
            joined: vec![],
            vectored: vec![],
            bytes: vec![],
        };
        for (body, written) in [(JOINED - 100, 700), (13, 113), (0, 100), (JOINED - 99, 700)] {
            let (head, body) = ([b'h'; 100], vec![b'b'; body]);
            let slices = [IoSlice::new(&head), IoSlice::new(&body)];
            let count = poll_fn(|cx| poll_write_joined(Pin::new(&mut io), cx, &slices)).await;
            assert_eq!(count.unwrap(), written);
            assert_eq!(io.bytes, [&head[..], &body].concat()[..written]);
        }
        assert_eq!(io.joined, [JOINED, 113, 100]);
        assert_eq!(io.vectored, [2]);
    }
}
