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
        if let Some(worker) = self.worker.take() {
            self.offer().pool.give_back(worker);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({:?})", self.offer())
    }
}
