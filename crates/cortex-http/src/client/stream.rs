use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use cortex_metrics::LevelGauge;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use crate::join::poll_write_joined;

/// A connection, which says which protocol was agreed upon, and is counted while it is open.
#[derive(Debug)]
pub(super) struct Stream {
    io: Io,
    _open: Option<Open>,
}

#[derive(Debug)]
pub(super) enum Io {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(super) struct Open(LevelGauge);

impl Open {
    pub(super) fn new(gauge: LevelGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Stream {
    pub(super) const fn new(io: Io, open: Option<Open>) -> Self {
        Self { io, _open: open }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match &self.io {
            Io::Plain(tcp) => tcp.connected(),
            #[cfg(feature = "tls")]
            Io::Tls(stream) => {
                let (tcp, tls) = stream.get_ref();
                let connected = tcp.connected();
                if tls.alpn_protocol() == Some(b"h2") {
                    connected.negotiated_h2()
                } else {
                    connected
                }
            }
        }
    }
}

/// Does the same with either.
macro_rules! either {
    ($this:expr, $io:ident => $work:expr) => {
        match &mut $this.get_mut().io {
            Io::Plain(io) => {
                let $io = Pin::new(io);
                $work
            }
            #[cfg(feature = "tls")]
            Io::Tls(io) => {
                let $io = Pin::new(&mut **io);
                $work
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => poll_write_joined(io, cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            #[cfg(feature = "tls")]
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }
}
