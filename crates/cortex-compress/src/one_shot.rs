use crate::encoder::{Size, slice};
use crate::pool::Lease;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The longest body that is encoded before its header is sent.
pub(crate) const ONE_SHOT_MAX: u64 = 256 << 10;

/// What of a body was there when it was looked at.
pub(crate) enum Read<E> {
    /// All of it, in one frame.
    Whole {
        data: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// Its first frame, or nothing yet.
    Part(Bytes),
    /// It failed, or ended before the promised length.
    Broken { data: Option<Bytes>, error: Option<E> },
}

/// Reads a body that promises a length, as far as it is ready.
pub(crate) fn read<B>(body: &mut B, length: u64, cx: &mut Context<'_>) -> Read<B::Error>
where
    B: Body + Unpin,
{
    let data = match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Pending => return Read::Part(Bytes::new()),
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(mut data) => data.copy_to_bytes(data.remaining()),
            Err(_) => {
                return Read::Broken {
                    data: None,
                    error: None,
                };
            }
        },
        Poll::Ready(Some(Err(error))) => {
            return Read::Broken {
                data: None,
                error: Some(error),
            };
        }
        Poll::Ready(None) => {
            return Read::Broken {
                data: None,
                error: None,
            };
        }
    };
    if data.len() as u64 != length {
        return Read::Part(data);
    }
    if body.is_end_stream() {
        return Read::Whole { data, trailers: None };
    }
    match Pin::new(body).poll_frame(cx) {
        Poll::Pending => Read::Part(data),
        Poll::Ready(None) => Read::Whole { data, trailers: None },
        Poll::Ready(Some(Err(error))) => Read::Broken {
            data: Some(data),
            error: Some(error),
        },
        Poll::Ready(Some(Ok(frame))) => match frame.into_trailers() {
            Ok(trailers) => Read::Whole {
                data,
                trailers: Some(trailers),
            },
            Err(frame) => match frame.into_data() {
                Ok(more) => Read::Part(Bytes::from([&data[..], &collect(more)[..]].concat())),
                Err(_) => Read::Whole { data, trailers: None },
            },
        },
    }
}

fn collect(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// Encodes a whole body, so that its length is known before its header is sent.
#[derive(Debug)]
pub(crate) struct OneShot {
    lease: Lease,
    input: Bytes,
    read: usize,
    filled: usize,
    started: bool,
}

/// How a [`OneShot`] ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Smaller(Bytes),
    NotSmaller,
    Failed,
}

impl OneShot {
    /// `input` may not be empty.
    pub(crate) const fn new(lease: Lease, input: Bytes) -> Self {
        Self {
            lease,
            input,
            read: 0,
            filled: 0,
            started: false,
        }
    }

    pub(crate) fn input(&self) -> &Bytes {
        &self.input
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Drops the encoder instead of giving it back, and returns the input.
    pub(crate) fn discard(self) -> Bytes {
        self.lease.discard();
        self.input
    }

    /// Encodes one slice, and gives the thread away where the input has more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let offer = self.lease.offer();
        let slice = slice(offer.coding, offer.level, Size::Known(self.input.len()));
        let worker = self.lease.worker();
        if !self.started {
            self.started = true;
            if self.input.len() <= slice
                && let Some(result) = worker.encoder.one_pass(&self.input, &mut worker.out)
            {
                return Poll::Ready(match result {
                    Ok(length) if length < self.input.len() => {
                        Outcome::Smaller(Bytes::copy_from_slice(&worker.out[..length]))
                    }
                    Ok(_) => Outcome::NotSmaller,
                    Err(_) => Outcome::Failed,
                });
            }
            if worker.encoder.start(Size::Known(self.input.len())).is_err() {
                return Poll::Ready(Outcome::Failed);
            }
        }

        let limit = self.input.len() - 1; // whatever does not fit is not worth it
        if worker.out.len() < limit {
            worker.out.resize(limit, 0);
        }
        let stop = self.input.len().min(self.read + slice);
        while self.read < stop {
            if self.filled == limit {
                return Poll::Ready(Outcome::NotSmaller);
            }
            let mut input = &self.input[self.read..stop];
            match worker
                .encoder
                .encode(&mut input, &mut worker.out[self.filled..limit])
            {
                Ok(0) if input.len() == stop - self.read => return Poll::Ready(Outcome::Failed),
                Ok(written) => {
                    self.read = stop - input.len();
                    self.filled += written;
                }
                Err(_) => return Poll::Ready(Outcome::Failed),
            }
        }
        if self.read < self.input.len() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.filled == limit {
            return Poll::Ready(Outcome::NotSmaller);
        }
        Poll::Ready(match worker.encoder.finish(&mut worker.out[self.filled..limit]) {
            Ok(drained) if drained.done => Outcome::Smaller(Bytes::copy_from_slice(
                &worker.out[..self.filled + drained.written],
            )),
            Ok(_) => Outcome::NotSmaller,
            Err(_) => Outcome::Failed,
        })
    }
}
