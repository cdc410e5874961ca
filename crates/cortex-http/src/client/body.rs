use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::calling::Bounds;
use super::error::{BoxError, Error, ErrorKind};
use super::received::Received;
use super::watch::Watch;

pin_project! {
    /// The body of an answer, which ends in an [`Error`] if it is too large or too slow.
    ///
    /// Read it frame by frame as any [`http_body::Body`], or all at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before its end closes the connection, on HTTP/2 the stream, unless there is next to nothing left of
    /// it.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use axum::routing::get;
    /// use cortex_http::client::ErrorKind;
    /// use cortex_http::{Client, Routes, Server};
    ///
    /// let stock = Server::new(Routes::new().route("/", get(|| async { "seven" }))).start("127.0.0.1:0").await?;
    /// let address = format!("http://{}/", stock.local_addr());
    ///
    /// let response = Client::builder().build()?.get(address.as_str()).await?;
    /// assert_eq!(response.into_body().text().await?, "seven");
    ///
    /// let response = Client::builder().body_bytes(4).build()?.get(address.as_str()).await?;
    /// assert_eq!(response.status(), 200);
    /// let error = response.into_body().bytes().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub struct Body<B = Received> {
        // None after the end, good or bad.
        #[pin]
        inner: Option<B>,
        bounds: Bounds,
        left: u64,
        // Since when the caller has waited for the next frame.
        waiting: Option<Instant>,
        // Armed at the first pause: a body that arrives at once needs no timer.
        timer: Option<Pin<Box<Sleep>>>,
        // None once the end was counted.
        watch: Option<Box<Watch>>,
    }
}

impl<B: HttpBody> Body<B> {
    pub(super) fn new(inner: B, bounds: Bounds, watch: Option<Box<Watch>>) -> Self {
        let is_over = inner.is_end_stream();
        let mut this = Self {
            inner: Some(inner),
            left: bounds.body_bytes,
            bounds,
            waiting: None,
            timer: None,
            watch,
        };
        if is_over {
            end(&mut this.watch, None); // nobody will poll this body
        }
        this
    }
}

impl<B> Body<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    /// Reads all of it; trailers are dropped.
    ///
    /// # Errors
    ///
    /// It is too large or too slow, or the connection ends before it does.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let mut body = pin!(self);
        let mut all = Gathered::Nothing;
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                all = all.and(data);
            }
        }
        Ok(all.into_bytes())
    }

    /// Reads all of it as UTF-8, whatever `Content-Type` says.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and if it is not UTF-8.
    ///
    /// # Cancel safety
    ///
    /// What was read is lost.
    pub async fn text(self) -> Result<String, Error> {
        let target = self.bounds.target.clone();
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|error| Error::new(ErrorKind::NotText, &target).caused(error.utf8_error()))
    }
}

/// The bytes of a body: most are one piece, which need not be copied.
enum Gathered {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    fn and(self, data: Bytes) -> Self {
        match self {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity((first.len() + data.len()) * 2);
                all.extend_from_slice(&first);
                Self::Many(all).and(data)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&data);
                Self::Many(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(all) => all,
            Self::Many(all) => all.freeze(),
        }
    }
}

impl<B> HttpBody for Body<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let error = if inner.size_hint().lower() > *this.left {
            too_large(this.bounds)
        } else {
            match inner.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    let since = *this.waiting.get_or_insert_with(Instant::now);
                    ready!(poll_expired(this.timer, this.bounds, since, cx))
                }
                // The peer stopped, and said that there is no error, before the length that it had announced.
                Poll::Ready(None) if inner.size_hint().lower() > 0 && !inner.is_end_stream() => {
                    Error::new(ErrorKind::Closed, &this.bounds.target)
                }
                Poll::Ready(None) => {
                    this.inner.set(None);
                    end(this.watch, None);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => Error::below(error.into(), &this.bounds.target),
                Poll::Ready(Some(Ok(frame))) => {
                    *this.waiting = None; // what the caller does with it takes its own time
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    if length > *this.left {
                        too_large(this.bounds)
                    } else if this.bounds.until.is_some_and(|(at, _)| at <= Instant::now()) {
                        this.bounds.over() // one that never pauses has an end, too
                    } else {
                        *this.left -= length;
                        if frame.is_trailers() || inner.is_end_stream() {
                            this.inner.set(None);
                            end(this.watch, None);
                        }
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
            }
        };
        this.inner.set(None);
        end(this.watch, Some(error.kind().as_str()));
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

fn end(watch: &mut Option<Box<Watch>>, error: Option<&'static str>) {
    if let Some(watch) = watch.take() {
        watch.end(error);
    }
}

fn too_large(bounds: &Bounds) -> Error {
    let detail = format!(
        "{} bytes are allowed; raise `body_bytes` if it may be",
        bounds.body_bytes
    );
    Error::with_detail(ErrorKind::BodyTooLarge, &bounds.target, &detail)
}

/// Waits until the body may pause no longer, or the time of the call is over.
fn poll_expired(
    timer: &mut Option<Pin<Box<Sleep>>>,
    bounds: &Bounds,
    since: Instant,
    cx: &mut Context<'_>,
) -> Poll<Error> {
    let pause = since.checked_add(bounds.body_idle);
    let whole = bounds.until.map(|(at, _)| at);
    let Some(at) = pause.into_iter().chain(whole).min() else {
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= at {
            break;
        }
        timer.as_mut().reset(at); // there were frames since it was set
    }
    Poll::Ready(if whole == Some(at) {
        bounds.over()
    } else {
        let detail = format!("{:?}; if it may, raise `body_idle`", bounds.body_idle);
        Error::with_detail(ErrorKind::BodyIdle, &bounds.target, &detail)
    })
}

impl<B> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("target", &self.bounds.target)
            .field("left", &self.left)
            .field("ended", &self.inner.is_none())
            .finish_non_exhaustive()
    }
}
