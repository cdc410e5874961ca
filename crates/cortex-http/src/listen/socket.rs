#[cfg(feature = "tls")]
use std::io;
#[cfg(feature = "tls")]
use std::mem::MaybeUninit;

#[cfg(feature = "tls")]
use socket2::SockRef;
#[cfg(feature = "tls")]
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::delegate::delegate_io;

/// A connection as the kernel gives it.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

delegate_io!(Socket { Tcp, Unix });

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
