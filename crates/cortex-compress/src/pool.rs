use crate::coding::Coding;
use crate::encoder::{self, Encoder};
use crate::shared::{Offer, Shared};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The length of a full output frame.
pub(crate) const FRAME: usize = 16 << 10;

/// The longest scratch buffer that an idle worker keeps.
const KEPT_SCRATCH: usize = 128 << 10;

/// An encoder and the buffer it writes to.
pub(crate) struct Worker {
    pub(crate) encoder: Box<dyn Encoder>,
    /// Scratch of at least [`FRAME`] bytes; what it holds is only of meaning while the worker is on lease.
    pub(crate) out: Vec<u8>,
}

/// The idle encoders of one coding and level.
///
/// Setting an encoder up costs several times what a small body costs, so they are kept: up to one for each processor,
/// as no more can be at work at a time.
pub(crate) struct Pool {
    idle: Mutex<Vec<Worker>>,
    capacity: usize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        let capacity = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            idle: Mutex::new(Vec::with_capacity(capacity)),
            capacity,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, coding: Coding, level: u8) -> Worker {
        let idle = self.idle().pop();
        idle.unwrap_or_else(|| Worker {
            encoder: encoder::create(coding, level),
            out: vec![0; FRAME],
        })
    }

    fn give_back(&self, mut worker: Worker) {
        if !worker.encoder.reset() {
            return;
        }
        if worker.out.len() > KEPT_SCRATCH {
            worker.out.truncate(FRAME);
            worker.out.shrink_to_fit();
        }
        let mut idle = self.idle();
        if idle.len() < self.capacity {
            idle.push(worker);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.idle().len()
    }
}

/// A changed layer starts with a pool of its own.
impl Clone for Pool {
    fn clone(&self) -> Self {
        Self::new()
    }
}

/// A worker on loan from its pool: it is owned, not borrowed, so that it may wait inside a body on any thread.
///
/// Dropping the lease gives the worker back.
pub(crate) struct Lease {
    worker: Option<Worker>,
    shared: Arc<Shared>,
    offer: usize,
}

impl Lease {
    /// Takes an idle worker, or makes one. The coding has to be on offer.
    pub(crate) fn take(shared: &Arc<Shared>, coding: Coding) -> Self {
        let index = shared.find(coding);
        let offer = shared.offer_at(index);
        Self {
            worker: Some(offer.pool.take(offer.coding, offer.level)),
            shared: Arc::clone(shared),
            offer: index,
        }
    }

    pub(crate) fn offer(&self) -> &Offer {
        self.shared.offer_at(self.offer)
    }

    pub(crate) fn worker(&mut self) -> &mut Worker {
        self.worker
            .as_mut()
            .expect("invariant: only drop and discard take the worker")
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Drops the worker: after an error its state is not to be trusted.
    pub(crate) fn discard(mut self) {
        self.worker = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A panic may have left the encoder in the middle of something.
        if let Some(worker) = self.worker.take().filter(|_| !std::thread::panicking()) {
            self.offer().pool.give_back(worker);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.offer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compressor::Compressor;
    use crate::encoder::{Drained, Size};
    use crate::error::EncodeError;
    use crate::service::Compress;
    use bytes::Bytes;
    use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
    use http::{HeaderMap, Request, Response};
    use http_body::{Body, Frame, SizeHint};
    use std::convert::Infallible;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};
    use tower::{Service, service_fn};

    /// The length of a piece: several slices of any coding.
    const LENGTH: usize = 198_000;

    /// Pieces with a pause of two polls before each, so that they are flushed, then trailers or an error; or one piece of known length, without a pause.
    struct Pieces {
        left: usize,
        paused: u8,
        exact: Option<u64>,
        fails: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.paused = (self.paused + 1) % 3;
            match self.left {
                _ if self.paused > 0 && self.exact.is_none() => Poll::Pending,
                0 => Poll::Ready(None),
                1 if self.fails => Poll::Ready(Some(Err("gone"))),
                1 if self.exact.is_none() => {
                    self.left = 0;
                    Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new()))))
                }
                _ => {
                    self.left -= 1;
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from(
                        "{\"id\":17},".repeat(LENGTH / 11),
                    )))))
                }
            }
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }

        fn size_hint(&self) -> SizeHint {
            self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    /// Polls a response and its body that many times, drops it, and returns how many workers are idle then, and
    /// whether all of it was read.
    fn drop_after(shared: &Arc<Shared>, offer: usize, polls: usize, body: Pieces) -> (usize, bool) {
        let mut body = Some(body);
        let handler = service_fn(move |_: Request<()>| {
            let mut response = Response::new(body.take().unwrap());
            let plain = HeaderValue::from_static("text/plain");
            response.headers_mut().insert(CONTENT_TYPE, plain);
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let mut request = Request::new(());
        let coding = HeaderValue::from_static(shared.offer_at(offer).coding.as_str());
        request.headers_mut().insert(ACCEPT_ENCODING, coding);

        let mut cx = Context::from_waker(Waker::noop());
        let mut done = false;
        {
            let mut future = pin!(Compress::new(handler, Compressor::new(Arc::clone(shared))).call(request));
            let mut body = None;
            for _ in 0..polls {
                match &mut body {
                    None => {
                        if let Poll::Ready(response) = future.as_mut().poll(&mut cx) {
                            body = Some(response.unwrap().into_body());
                        }
                    }
                    Some(body) => {
                        let frame = Pin::new(body).poll_frame(&mut cx);
                        done = matches!(frame, Poll::Ready(None | Some(Err(_))));
                        if done {
                            break;
                        }
                    }
                }
            }
        }
        (shared.offer_at(offer).pool.count(), done)
    }

    #[test]
    fn a_response_dropped_after_any_poll_gives_its_worker_back() {
        for offer in 0..Coding::ALL.len() {
            for (left, exact, fails) in [(4, None, false), (4, None, true), (1, Some(LENGTH as u64), false)] {
                let shared = Arc::new(Shared::new());
                for polls in 1.. {
                    let body = Pieces {
                        left,
                        paused: 0,
                        exact,
                        fails,
                    };
                    let (idle, done) = drop_after(&shared, offer, polls, body);
                    assert_eq!(idle, 1, "{:?} after {polls} polls", shared.offer_at(offer));
                    if done {
                        assert!(polls > 3, "the work was never divided");
                        break;
                    }
                }
            }
        }
    }

    /// An encoder with a defect.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Faulty {
        Start,
        Encode,
        /// Neither reads nor writes.
        Stuck,
        Flush,
        Finish,
        FinishStuck,
        Reset,
        Panic,
    }

    const FAULT: EncodeError = EncodeError::new("test", "a defect");

    impl Encoder for Faulty {
        fn start(&mut self, _: Size) -> Result<(), EncodeError> {
            if *self == Self::Start { Err(FAULT) } else { Ok(()) }
        }

        fn encode(&mut self, input: &mut &[u8], _: &mut [u8]) -> Result<usize, EncodeError> {
            match self {
                Self::Encode => return Err(FAULT),
                Self::Stuck => {}
                Self::Panic => panic!("a defect"),
                _ => *input = &[],
            }
            Ok(0)
        }

        fn flush(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            let done = Drained {
                written: 0,
                done: true,
            };
            if *self == Self::Flush {
                Err(FAULT)
            } else {
                Ok(done)
            }
        }

        fn finish(&mut self, _: &mut [u8]) -> Result<Drained, EncodeError> {
            let done = *self != Self::FinishStuck;
            if *self == Self::Finish {
                Err(FAULT)
            } else {
                Ok(Drained { written: 0, done })
            }
        }

        fn reset(&mut self) -> bool {
            *self != Self::Reset
        }
    }

    /// Sends two pieces, or one of known length, through a faulty encoder.
    fn through(fault: Faulty, exact: bool) -> (usize, bool) {
        send_through(&Arc::new(Shared::new()), fault, exact)
    }

    fn send_through(shared: &Arc<Shared>, fault: Faulty, exact: bool) -> (usize, bool) {
        let mut idle = shared.offer_at(0).pool.idle();
        idle.push(Worker {
            encoder: Box::new(fault),
            out: vec![0; FRAME],
        });
        drop(idle);
        let body = Pieces {
            left: if exact { 1 } else { 3 },
            paused: 0,
            exact: exact.then_some(LENGTH as u64),
            fails: false,
        };
        drop_after(shared, 0, 200, body)
    }

    #[test]
    fn a_worker_that_failed_is_dropped_and_the_body_ends() {
        if Coding::ALL.is_empty() {
            return;
        }
        for fault in [
            Faulty::Start,
            Faulty::Encode,
            Faulty::Stuck,
            Faulty::Flush,
            Faulty::Finish,
            Faulty::FinishStuck,
            Faulty::Reset,
        ] {
            assert_eq!(through(fault, false), (0, true), "{fault:?}, streaming");
        }
        for fault in [Faulty::Start, Faulty::Encode, Faulty::Stuck, Faulty::Finish] {
            assert_eq!(through(fault, true), (0, true), "{fault:?}, in one go");
        }
    }

    #[test]
    fn a_worker_that_panicked_is_dropped_and_the_pool_goes_on() {
        if Coding::ALL.is_empty() {
            return;
        }
        let shared = Arc::new(Shared::new());
        for exact in [false, true] {
            let sent = std::panic::AssertUnwindSafe(|| send_through(&shared, Faulty::Panic, exact));
            assert!(std::panic::catch_unwind(sent).is_err());
            assert_eq!(shared.offer_at(0).pool.count(), 0);
        }
        assert_eq!(send_through(&shared, Faulty::Reset, false), (0, true));
    }
}
