use std::io;
#[cfg(feature = "tls")]
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "tls")]
use socket2::SockRef;
#[cfg(feature = "tls")]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connection as the kernel gives it.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same to whichever it is.
macro_rules! either {
    ($this:expr, $io:ident => $does:expr) => {
        match $this.get_mut() {
            Self::Tcp($io) => $does,
            Self::Unix($io) => $does,
        }
    };
}

#[cfg(feature = "tls")]
impl Socket {
    /// Waits for the first byte and leaves it where it is; `false` if the other end closed without one.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub(crate) async fn has_bytes(&self) -> io::Result<bool> {
        let mut byte = [MaybeUninit::uninit()];
        let count = match self {
            Self::Tcp(socket) => {
                let peek = || SockRef::from(socket).peek(&mut byte);
                socket.async_io(Interest::READABLE, peek).await
            }
            Self::Unix(socket) => {
                let peek = || SockRef::from(socket).peek(&mut byte);
                socket.async_io(Interest::READABLE, peek).await
            }
        };
        Ok(count? > 0)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true // both are
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
