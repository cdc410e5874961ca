use super::error::DecompressError;
use super::shared::Shared;
use super::stream::Stream;
use crate::coding::Coding;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A body that is decoded while it is read, or was not encoded.
///
/// Reads from the inner body only when it is read from, so that back-pressure passes through. Holds one frame of input,
/// 16 KiB of output for each coding, and the state of the decoders, most of which are their windows:
///
/// - gzip and deflate have 32 KiB.
/// - zstd has what a frame asks for, up to 8 MiB; it is allocated when the frame begins, and used as far as it decodes.
/// - br has what was decoded and up to half as much again, 16 MiB at most, whatever the body says it has. Its tables
///   take some 20 KiB beside it, and up to 5 MiB in a body that is made for that.
///
/// A body of no bytes at all is taken for an empty one, whatever its coding.
///
/// # Cancel safety
///
/// Dropping the body at any time gives its decoders back to the layer. After an error it has ended.
///
/// # Performance
///
/// After about 250 us of decoding a poll wakes its task again and is pending, so that others may run. (A block of
/// zstd is decoded as a whole: 128 KiB that hardly compress at all take up to 800 us. So is the header of a block of
/// br, at most one between two looks at the clock: one that is made for that takes 350 us.)
///
/// The decoders are those of zlib-rs and libzstd, and one of our own for br, which can be stopped after any byte: that
/// of the brotli crate, which takes between half and two thirds of the time for text, decodes a whole window at once.
/// What is around them costs 4 to 11 % more.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use cortex_compress::{CompressBody, CompressionLayer, DecompressBody, ResponseDecompressionLayer};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use std::convert::Infallible;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(ResponseDecompressionLayer::new())
///     .layer(CompressionLayer::new())
///     .service_fn(async |_: Request<()>| {
///         let text = Full::from("again and ".repeat(1000));
///         Ok::<_, Infallible>(Response::builder().header("content-type", "text/plain").body(text).unwrap())
///     });
/// let response = service.oneshot(Request::new(())).await.unwrap();
/// assert!(!response.headers().contains_key("content-encoding"));
/// let body: DecompressBody<CompressBody<Full<bytes::Bytes>>> = response.into_body();
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "again and ".repeat(1000));
/// # });
/// # }
/// ```
pub struct DecompressBody<B> {
    inner: B,
    /// Boxed to keep the body small: most are not encoded.
    stream: Option<Box<Stream>>,
}

impl<B: Body> DecompressBody<B> {
    pub(super) const fn identity(inner: B) -> Self {
        Self { inner, stream: None }
    }

    /// Undoes the codings, of which there is at least one.
    pub(super) fn decode(inner: B, shared: &Arc<Shared>, codings: &[Coding], length: u64) -> Self {
        Self {
            inner,
            stream: Some(Box::new(Stream::new(shared, codings, length))),
        }
    }
}

impl<B: Body + Unpin> Body for DecompressBody<B> {
    type Data = Bytes;
    type Error = DecompressError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { inner, stream } = self.get_mut();
        match stream {
            Some(stream) => stream.poll(inner, cx),
            None => Pin::new(inner).poll_frame(cx).map(|next| {
                next.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
                    Err(error) => Err(DecompressError::Inner(error)),
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.is_done(),
            None => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(stream) if stream.is_done() => SizeHint::with_exact(0),
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}

impl<B> fmt::Debug for DecompressBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecompressBody")
            .field("decoding", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}
