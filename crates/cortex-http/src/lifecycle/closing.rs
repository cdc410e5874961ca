use std::fmt;

use tokio_util::sync::CancellationToken;

/// Tells whoever holds it that the service stops accepting connections, and that it is time to come to an end. Clones tell
/// the same.
///
/// Long conversations need it: a drain waits for connections that were upgraded, `CONNECT` tunnels and streams until its time is over, and
/// then cuts them. Who knows of the drain says goodbye and is done.
///
/// - Handlers of requests that ask for an upgrade find one in the extensions of the request.
/// - Any other code gets one that was made before the server, by [`Server::closing`](crate::Server::closing).
///
/// It fires in the phase `closing`, and not when the drain begins, which is the
/// [`drain_delay`](crate::Lifecycle::drain_delay) earlier: until then traffic still comes in, and a client that were sent away
/// would come back to this instance. The [task](crate::Subsystem::task) of a subsystem has a [`Stopping`](crate::Stopping)
/// in its place.
///
/// # Examples
///
/// A WebSocket, or whatever a connection is upgraded to, that ends with the service:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use axum::body::Body;
/// use axum::extract::Request;
/// use axum::response::Response;
/// use axum::routing::get;
/// use cortex_http::{Closing, Routes, Server};
/// use hyper_util::rt::TokioIo;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn chat(mut request: Request) -> Response {
///     let closing = request.extensions().get::<Closing>().cloned().unwrap_or_default();
///     let upgrade = hyper::upgrade::on(&mut request);
///     tokio::spawn(async move {
///         let Ok(upgraded) = upgrade.await else { return };
///         let mut socket = TokioIo::new(upgraded);
///         let mut message = [0; 1024];
///         loop {
///             tokio::select! {
///                 read = socket.read(&mut message) => match read {
///                     Ok(1..) => {} // a message of the client
///                     _ => return,
///                 },
///                 () = closing.cancelled() => {
///                     let _ = socket.write_all(b"\x88\x02\x03\xe9").await; // Close 1001, "going away" (RFC 6455)
///                     return;
///                 }
///             }
///         }
///     });
///     Response::builder()
///         .status(101)
///         .header("connection", "upgrade")
///         .header("upgrade", "websocket") // and Sec-WebSocket-Accept, which a library computes
///         .body(Body::empty())
///         .expect("a valid response")
/// }
///
/// let running = Server::new(Routes::new().route("/chat", get(chat))).start("127.0.0.1:0").await?;
/// let mut client = tokio::net::TcpStream::connect(running.local_addr()).await?;
/// client.write_all(b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
/// client.read_u8().await?; // the head of the answer begins
/// running.shutdown();
/// let mut answer = Vec::new();
/// client.read_to_end(&mut answer).await?;
/// assert!(answer.ends_with(b"\x88\x02\x03\xe9"));
/// assert_eq!(running.join().await.code(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Closing(CancellationToken);

impl Closing {
    /// Makes one that has not fired; it fires when a server that got it closes its listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until it is time to end; returns at once if it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// Says whether it is time to end.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    pub(crate) fn cancel(&self) {
        self.0.cancel();
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
