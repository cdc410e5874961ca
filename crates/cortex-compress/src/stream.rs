use crate::encoder::{Size, slice};
use crate::error::{CompressError, EncodeError};
use crate::headers::remove_digests;
use crate::pool::{Lease, Worker};
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};

type Polled<E> = Poll<Option<Result<Frame<Bytes>, CompressError<E>>>>;

/// Work that counts as input for each frame of the inner body, so that empty ones cannot keep a poll going for ever.
const FRAME_COST: usize = 64;

/// A sync marker of gzip wants room, or it is written twice.
const MIN_ROOM: usize = 64;

/// Encodes a body as it comes, a frame at a time.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Until the stream is finished or has failed.
    lease: Option<Lease>,
    phase: Phase,
    /// Input that waits to be encoded.
    chunk: Bytes,
    /// Output that waits to be sent, at the start of the worker's buffer.
    filled: usize,
    /// There is input inside the encoder that no flush has brought out.
    dirty: bool,
    /// The inner body was pending at the last poll already.
    paused: bool,
    /// Input since the last time the task gave its thread away.
    spent: usize,
    bytes_in: u64,
    bytes_out: u64,
    trailers: Option<Box<HeaderMap>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Encoding,
    Flushing,
    Finishing,
    Trailers,
    Done,
}

impl Stream {
    /// Begins a stream with what has been read of the body already.
    pub(crate) const fn new(lease: Lease, chunk: Bytes) -> Self {
        Self {
            lease: Some(lease),
            phase: Phase::Starting,
            chunk,
            filled: 0,
            dirty: false,
            paused: false,
            spent: 0,
            bytes_in: 0,
            bytes_out: 0,
            trailers: None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(crate) fn poll<B>(&mut self, inner: &mut B, cx: &mut Context<'_>) -> Polled<B::Error>
    where
        B: Body + Unpin,
    {
        loop {
            let step = match self.phase {
                Phase::Starting => self.start(),
                Phase::Encoding if self.spent >= self.slice() => {
                    self.spent = 0;
                    cx.waker().wake_by_ref(); // others may run, and what was sent so far reaches the socket
                    return Poll::Pending;
                }
                Phase::Encoding if self.chunk.is_empty() => match Pin::new(&mut *inner).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        self.take(frame);
                        Ok(None)
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.end(); // without the end of the stream
                        return Poll::Ready(Some(Err(CompressError::Inner(error))));
                    }
                    Poll::Ready(None) => {
                        self.phase = Phase::Finishing;
                        Ok(None)
                    }
                    Poll::Pending => {
                        self.spent = 0;
                        if !self.dirty {
                            return Poll::Pending;
                        }
                        if !self.paused {
                            // Whoever feeds the body may be about to go on: a flush for each piece would cost size.
                            self.paused = true;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        self.phase = Phase::Flushing;
                        Ok(None)
                    }
                },
                Phase::Encoding => self.encode(),
                Phase::Flushing => self.flush(),
                Phase::Finishing => self.finish(),
                Phase::Trailers => {
                    self.phase = Phase::Done;
                    match self.trailers.take() {
                        Some(trailers) => Ok(Some(Frame::trailers(*trailers))),
                        None => return Poll::Ready(None),
                    }
                }
                Phase::Done => return Poll::Ready(None),
            };
            match step {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Err(error) => {
                    if let Some(lease) = self.lease.take() {
                        lease.discard();
                    }
                    self.end();
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn take<D: Buf>(&mut self, frame: Frame<D>) {
        self.spent += FRAME_COST;
        match frame.into_data() {
            Ok(mut data) => self.chunk = data.copy_to_bytes(data.remaining()),
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    remove_digests(&mut trailers);
                    self.trailers = Some(Box::new(trailers));
                    self.phase = Phase::Finishing;
                }
            }
        }
    }

    fn start(&mut self) -> Result<Option<Frame<Bytes>>, EncodeError> {
        if let Some(worker) = worker(&mut self.lease) {
            worker.encoder.start(Size::Unknown)?;
        }
        self.phase = Phase::Encoding;
        Ok(None)
    }

    fn encode(&mut self) -> Result<Option<Frame<Bytes>>, EncodeError> {
        let most = self.chunk.len().min(self.slice() - self.spent);
        let mut input = &self.chunk[..most];
        let Some(Worker { encoder, out }) = worker(&mut self.lease) else {
            return Ok(None);
        };
        let written = encoder.encode(&mut input, &mut out[self.filled..])?;
        let read = most - input.len();
        if read == 0 && written == 0 {
            return Err(self.stuck());
        }
        self.chunk.advance(read);
        self.spent += read;
        self.bytes_in += read as u64;
        self.filled += written;
        self.dirty = true;
        self.paused = false;
        Ok(self.full_frame(0))
    }

    fn flush(&mut self) -> Result<Option<Frame<Bytes>>, EncodeError> {
        if let Some(frame) = self.full_frame(MIN_ROOM) {
            return Ok(Some(frame));
        }
        let Some(Worker { encoder, out }) = worker(&mut self.lease) else {
            return Ok(None);
        };
        let drained = encoder.flush(&mut out[self.filled..])?;
        self.filled += drained.written;
        if drained.done {
            self.dirty = false;
            self.paused = false;
            self.phase = Phase::Encoding;
            return Ok(self.frame());
        }
        self.more_room_needed(drained.written)
    }

    fn finish(&mut self) -> Result<Option<Frame<Bytes>>, EncodeError> {
        let Some(Worker { encoder, out }) = worker(&mut self.lease) else {
            return Ok(None);
        };
        let drained = encoder.finish(&mut out[self.filled..])?;
        self.filled += drained.written;
        if !drained.done {
            return self.more_room_needed(drained.written);
        }
        let frame = self.frame();
        if let Some(lease) = self.lease.take() {
            lease
                .shared()
                .encoded(lease.offer().coding, self.bytes_in, self.bytes_out);
        }
        self.phase = if self.trailers.is_some() {
            Phase::Trailers
        } else {
            Phase::Done
        };
        Ok(frame)
    }

    /// Makes room for an encoder that says it has more to write.
    fn more_room_needed(&mut self, written: usize) -> Result<Option<Frame<Bytes>>, EncodeError> {
        match self.full_frame(MIN_ROOM) {
            None if written == 0 => Err(self.stuck()),
            frame => Ok(frame),
        }
    }

    /// Takes the output as a frame if there is less room left than this, or none.
    fn full_frame(&mut self, room: usize) -> Option<Frame<Bytes>> {
        let length = worker(&mut self.lease).map_or(0, |worker| worker.out.len());
        if self.filled + room >= length {
            self.frame()
        } else {
            None
        }
    }

    fn frame(&mut self) -> Option<Frame<Bytes>> {
        let out = &worker(&mut self.lease)?.out[..self.filled];
        if out.is_empty() {
            return None;
        }
        let data = Bytes::copy_from_slice(out);
        self.bytes_out += data.len() as u64;
        self.filled = 0;
        Some(Frame::data(data))
    }

    fn slice(&self) -> usize {
        self.lease.as_ref().map_or(usize::MAX, |lease| {
            slice(lease.offer().coding, lease.offer().level, Size::Unknown)
        })
    }

    fn stuck(&self) -> EncodeError {
        let coding = self
            .lease
            .as_ref()
            .map_or("identity", |lease| lease.offer().coding.as_str());
        EncodeError::new(coding, "the encoder makes no progress")
    }

    /// Gives everything up; what was sent stays without an end.
    fn end(&mut self) {
        self.lease = None;
        self.chunk = Bytes::new();
        self.trailers = None;
        self.phase = Phase::Done;
    }
}

fn worker(lease: &mut Option<Lease>) -> Option<&mut Worker> {
    lease.as_mut().map(Lease::worker)
}
