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
    if let [one] = slices {
        return io.poll_write(cx, one);
    }
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
pub(crate) mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes a write, and notes what was asked for.
    #[derive(Default)]
    pub(crate) struct Writes {
        most: usize,
        /// Of one place: how many bytes.
        pub(crate) joined: Vec<usize>,
        /// Of several: how many places.
        pub(crate) vectored: Vec<usize>,
        pub(crate) bytes: Vec<u8>,
    }

    impl Writes {
        pub(crate) fn taking(most: usize) -> Self {
            Self {
                most,
                ..Self::default()
            }
        }

        fn take(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.most);
            self.bytes.extend_from_slice(&bytes[..count]);
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

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_is_small_is_one_write_and_what_is_large_is_not_copied() {
        let mut io = Writes::taking(700);
        for (body, writes, vectored) in [
            (
                JOINED - 100,
                vec![JOINED, JOINED - 700, JOINED - 1400, JOINED - 2100, 1296, 596],
                0,
            ),
            (13, vec![113], 0),
            (0, vec![100], 0),
            (JOINED - 99, vec![3397, 2697, 1997, 1297, 597], 1),
        ] {
            (io.joined, io.vectored, io.bytes) = (vec![], vec![], vec![]);
            let (head, body) = ([b'h'; 100], vec![b'b'; body]);
            let mut slices = &mut [IoSlice::new(&head), IoSlice::new(&body)][..];
            while slices.iter().any(|slice| !slice.is_empty()) {
                let count = poll_fn(|cx| poll_write_joined(Pin::new(&mut io), cx, slices)).await;
                IoSlice::advance_slices(&mut slices, count.unwrap());
            }
            assert_eq!(io.bytes, [&head[..], &body].concat());
            assert_eq!((&io.joined, io.vectored.len()), (&writes, vectored));
        }
    }
}
