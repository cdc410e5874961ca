/// When what a streamed body has yielded is flushed out to the client; see
/// [`CompressionLayer::flush`](crate::CompressionLayer::flush).
///
/// There is no policy of a least number of bytes, nor of a least time between two flushes: what it held back would have to be
/// sent by somebody once the time is over, and a body has no timer. Who wants to send less often lets the source yield less
/// often.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use bytes::Bytes;
/// use cortex_compress::{CompressionLayer, FlushPolicy};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, channel::Channel};
/// use std::convert::Infallible;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// for (policy, frames) in [(FlushPolicy::OnPause, 3), (FlushPolicy::OnEnd, 1)] {
///     let (mut sender, body) = Channel::<Bytes>::new(1);
///     let mut response = Some(Response::builder().header("content-type", "text/csv").body(body).unwrap());
///     let service = ServiceBuilder::new().layer(CompressionLayer::new().flush(policy)).service_fn(
///         move |_: Request<()>| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())),
///     );
///     let request = Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
///     let mut body = service.oneshot(request).await.unwrap().into_body();
///     let read = tokio::join!(
///         async {
///             let mut count = 0;
///             while let Some(frame) = body.frame().await {
///                 count += usize::from(frame.unwrap().is_data());
///             }
///             count
///         },
///         async move {
///             for line in ["a,b\n", "1,2\n"] {
///                 sender.send_data(line.into()).await.unwrap();
///                 for _ in 0..3 {
///                     tokio::task::yield_now().await; // it takes its time
///                 }
///             }
///         },
///     );
///     assert_eq!(read.0, frames, "{policy:?}");
/// }
/// # });
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlushPolicy {
    /// Whenever the source pauses with something yet to be sent: nothing waits for what comes next.
    ///
    /// A source is asked twice before that counts as a pause, as one that yields piece by piece from another task often has the
    /// next one by then. Each flush costs some bytes, and what the encoder would have found across it.
    #[default]
    OnPause,
    /// At the end alone, for the fewest bytes: until then what the encoder has made is sent in full frames of 16 KiB, and it
    /// holds the rest back for as long as the source takes.
    ///
    /// For sources that pause often, only to go on soon, such as files and queries. A client that waits for a piece to arrive
    /// before it does something may wait for ever. Streams of events are still flushed at each pause.
    OnEnd,
}
