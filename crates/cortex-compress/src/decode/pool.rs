use super::decoder::{self, Decoder};
use super::shared::Shared;
use crate::coding::Coding;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The length of a full output frame.
pub(super) const FRAME: usize = 16 << 10;

/// Nanoseconds after which an idle decoder is dropped.
const MAX_IDLE: u64 = 60_000_000_000;

/// A decoder and the buffer it writes to, of [`FRAME`] bytes.
pub(super) struct Worker {
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) out: Box<[u8]>,
}

/// A decoder that nobody has on loan, and since when.
struct Idle {
    worker: Worker,
    since: u64,
}

/// The idle decoders of one coding, the one that came back last at the end: up to one for each processor, as no more
/// can be at work at a time.
///
/// Those that nobody needs for a minute go when another one comes back. None is kept that has grown large.
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    capacity: usize,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            idle: Mutex::default(),
            capacity: std::thread::available_parallelism().map_or(4, usize::from),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, coding: Coding) -> Worker {
        let idle = self.idle().pop().map(|idle| idle.worker);
        idle.unwrap_or_else(|| Worker {
            decoder: decoder::create(coding),
            out: vec![0; FRAME].into(),
        })
    }

    fn give_back(&self, mut worker: Worker, now: u64) {
        if !worker.decoder.reset() {
            return;
        }
        let mut idle = self.idle();
        // In the order in which they came back.
        let old = idle.partition_point(|idle| idle.since.saturating_add(MAX_IDLE) <= now);
        let old: Vec<_> = idle.drain(..old).collect();
        if idle.len() < self.capacity {
            idle.push(Idle { worker, since: now });
        }
        drop(idle);
        drop(old);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
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
pub(super) struct Lease {
    worker: Option<Worker>,
    shared: Arc<Shared>,
    coding: Coding,
    /// What is reserved of the memory budget.
    reserved: usize,
}

const PRESENT: &str = "invariant: only an error or a panic takes the worker, and ends the body";

impl Lease {
    pub(super) fn take(shared: &Arc<Shared>, coding: Coding) -> Self {
        Self {
            worker: Some(shared.pool(coding).take(coding)),
            shared: Arc::clone(shared),
            coding,
            reserved: 0,
        }
    }

    /// Makes the reservation what the worker holds; tells whether there is memory for it.
    pub(super) fn settle(&mut self) -> bool {
        let holds = self
            .worker
            .as_ref()
            .map_or(0, |worker| worker.decoder.memory() + worker.out.len());
        let budget = &self.shared.budget;
        if holds > self.reserved {
            if !budget.reserve(holds - self.reserved) {
                return false;
            }
        } else {
            budget.release(self.reserved - holds);
        }
        self.reserved = holds;
        true
    }

    /// Makes something that names the coding.
    pub(super) fn name<T>(&self, make: impl FnOnce(Coding) -> T) -> T {
        make(self.coding)
    }

    /// Lets the worker do something. If that panics the worker is gone, whoever catches it: its state is not to be trusted.
    pub(super) fn work<T>(&mut self, work: impl FnOnce(&mut Worker) -> T) -> T {
        let mut worker = self.worker.take().expect(PRESENT);
        let done = work(&mut worker);
        self.worker = Some(worker);
        done
    }

    pub(super) fn is_complete(&self) -> bool {
        self.worker.as_ref().expect(PRESENT).decoder.is_complete()
    }

    pub(super) fn out(&self) -> &[u8] {
        &self.worker.as_ref().expect(PRESENT).out
    }

    /// Drops the worker: after an error its state is not to be trusted.
    pub(super) fn discard(&mut self) {
        self.worker = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            let now = self.shared.clock.nanos();
            self.shared.pool(self.coding).give_back(worker, now);
        }
        self.shared.budget.release(self.reserved);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.coding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::body::DecompressBody;
    use crate::decode::decoder::Fault;
    use crate::decode::error::{DecodeErrorKind, DecompressError};
    use crate::decode::limits::Limits;
    use bytes::Bytes;
    use cortex_testkit::ManualClock;
    use http::HeaderMap;
    use http_body::{Body, Frame};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    /// Data in pieces with a pause before each, then trailers or an error.
    struct Pieces {
        data: Bytes,
        paused: bool,
        fails: bool,
        ended: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.paused = !self.paused;
            if self.paused {
                return Poll::Pending;
            }
            if !self.data.is_empty() {
                let length = self.data.len().min(3000);
                return Poll::Ready(Some(Ok(Frame::data(self.data.split_to(length)))));
            }
            if std::mem::replace(&mut self.ended, true) {
                return Poll::Ready(None);
            }
            Poll::Ready(Some(if self.fails {
                Err("gone")
            } else {
                Ok(Frame::trailers(HeaderMap::new()))
            }))
        }
    }

    /// About 60 KB of text in this coding, by the encoders of others.
    fn encode(coding: Coding) -> Bytes {
        let text: String = (0..12_000_u32).map(|at| (at ^ at << 3).to_string()).collect();
        let mut bytes = Vec::new();
        let level = flate2::Compression::fast();
        match coding.as_str() {
            "zstd" => zstd::stream::copy_encode(text.as_bytes(), &mut bytes, 1).unwrap(),
            "br" => {
                let params = ::brotli::enc::BrotliEncoderParams::default();
                ::brotli::BrotliCompress(&mut text.as_bytes(), &mut bytes, &params).unwrap();
            }
            "gzip" => {
                let mut encoder = flate2::read::GzEncoder::new(text.as_bytes(), level);
                std::io::copy(&mut encoder, &mut bytes).unwrap();
            }
            name => {
                assert_eq!(name, "deflate");
                let mut encoder = flate2::read::ZlibEncoder::new(text.as_bytes(), level);
                std::io::copy(&mut encoder, &mut bytes).unwrap();
            }
        }
        bytes.into()
    }

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(Limits::REQUEST))
    }

    type Outcome = Option<Result<(), DecompressError<&'static str>>>;

    /// Polls a body at most that many times, drops it, and tells how it ended, if it did.
    fn drop_after(
        shared: &Arc<Shared>,
        codings: &[Coding],
        polls: usize,
        data: Bytes,
        fails: bool,
    ) -> Outcome {
        let pieces = Pieces {
            data,
            paused: false,
            fails,
            ended: false,
        };
        let mut body = DecompressBody::decode(pieces, shared, codings, 0);
        for _ in 0..polls {
            match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(None) => return Some(Ok(())),
                Poll::Ready(Some(Err(error))) => return Some(Err(error)),
                Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
            }
        }
        None
    }

    #[test]
    fn a_body_dropped_after_any_poll_gives_its_decoder_back() {
        for &coding in Coding::ALL {
            let data = encode(coding);
            for fails in [false, true] {
                let shared = shared();
                for polls in 0.. {
                    let outcome = drop_after(&shared, &[coding], polls, data.clone(), fails);
                    assert_eq!(shared.pool(coding).count(), 1, "{coding} after {polls} polls");
                    if let Some(outcome) = outcome {
                        assert_eq!(outcome.is_err(), fails);
                        assert!(polls > 10, "the work was never divided");
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_decoder_that_failed_is_dropped() {
        for &coding in Coding::ALL {
            let shared = shared();
            let outcome = drop_after(&shared, &[coding], 999, Bytes::from_static(&[0xee; 999]), false);
            assert!(matches!(outcome, Some(Err(DecompressError::Decode(_)))));
            assert_eq!(shared.pool(coding).count(), 0, "{coding}");
        }
    }

    #[test]
    fn idle_decoders_are_bounded() {
        for &coding in Coding::ALL {
            let shared = shared();
            let leases: Vec<_> = (0..200).map(|_| Lease::take(&shared, coding)).collect();
            drop(leases);
            let kept = shared.pool(coding).count();
            assert_eq!(kept, shared.pool(coding).capacity.min(200), "{coding}");
        }
    }

    #[test]
    fn idle_decoders_are_dropped_after_a_minute() {
        let clock = ManualClock::new();
        for &coding in Coding::ALL {
            let mut shared = Shared::new(Limits::REQUEST);
            shared.clock = Arc::new(clock.clone());
            let shared = Arc::new(shared);
            let leases: Vec<_> = (0..200).map(|_| Lease::take(&shared, coding)).collect();
            drop(leases);
            let capacity = shared.pool(coding).capacity;
            assert_eq!(shared.pool(coding).count(), capacity);
            clock.advance(Duration::from_secs(59));
            drop(Lease::take(&shared, coding));
            assert_eq!(shared.pool(coding).count(), capacity, "{coding}: they are young");
            clock.advance(Duration::from_secs(1));
            drop(Lease::take(&shared, coding));
            assert_eq!(shared.pool(coding).count(), 1, "{coding}: the one in use is left");
        }
    }

    /// A decoder with a defect.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Faulty {
        Start,
        Decode,
        /// Neither reads nor writes.
        Stuck,
        Reset,
        Panic,
    }

    impl Decoder for Faulty {
        fn start(&mut self, _: u32) -> Result<(), Fault> {
            match self {
                Self::Start => Err(Fault::Corrupt("a defect")),
                _ => Ok(()),
            }
        }

        fn decode(&mut self, input: &mut &[u8], _: &mut [u8]) -> Result<usize, Fault> {
            match self {
                Self::Decode => return Err(Fault::Corrupt("a defect")),
                Self::Stuck => {}
                Self::Panic => panic!("a defect"),
                _ => *input = &[],
            }
            Ok(0)
        }

        fn is_complete(&self) -> bool {
            true
        }

        fn memory(&self) -> usize {
            0
        }

        fn reset(&mut self) -> bool {
            *self != Self::Reset
        }
    }

    fn through(shared: &Arc<Shared>, coding: Coding, fault: Faulty) -> Outcome {
        let worker = Worker {
            decoder: Box::new(fault),
            out: vec![0; FRAME].into(),
        };
        shared.pool(coding).idle().push(Idle { worker, since: 0 });
        drop_after(shared, &[coding], 999, Bytes::from_static(b"anything"), false)
    }

    #[test]
    fn a_decoder_with_a_defect_ends_the_body_and_is_dropped() {
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        for fault in [Faulty::Start, Faulty::Decode, Faulty::Stuck] {
            let shared = shared();
            let Some(Err(DecompressError::Decode(error))) = through(&shared, coding, fault) else {
                panic!("{fault:?} went through")
            };
            assert_eq!(error.kind(), DecodeErrorKind::Corrupt);
            assert_eq!(shared.pool(coding).count(), 0, "{fault:?}");
        }
        let shared = shared();
        assert!(matches!(through(&shared, coding, Faulty::Reset), Some(Ok(()))));
        assert_eq!(shared.pool(coding).count(), 0);

        let caught = catch_unwind(AssertUnwindSafe(|| through(&shared, coding, Faulty::Panic)));
        assert!(caught.is_err());
        assert_eq!(shared.pool(coding).count(), 0);

        // As a server does that catches the panic of a handler: the body is dropped later.
        let mut leases: Vec<_> = Coding::ALL
            .iter()
            .map(|&coding| Lease::take(&shared, coding))
            .collect();
        for lease in &mut leases {
            let panics = AssertUnwindSafe(|| lease.work(|_| panic!("a defect")));
            assert!(catch_unwind(panics).is_err());
        }
        drop(leases);
        assert_eq!(shared.pool(coding).count(), 0);
    }
}
