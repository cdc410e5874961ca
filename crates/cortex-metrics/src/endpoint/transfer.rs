use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::limit::Permit;

/// Small enough that a slow reader holds the connection back, not the memory.
pub(super) const CHUNK: usize = 64 << 10;

/// About as much as a server queues for a connection. Chunks of a longer exposition are copied: otherwise what is queued
/// for a reader that is too slow would keep all of it.
const SHARED: usize = 8 * CHUNK;

/// An exposition on its way: its place among the scrapes in flight, and what is left to send. Both are held until
/// nobody has it any more, or until the reader had time enough.
#[derive(Debug)]
pub(super) struct Transfer {
    deadline: Instant,
    is_long: bool,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    rest: Bytes,
    _permit: Permit,
}

impl Transfer {
    pub(super) fn start(bytes: Bytes, permit: Permit, deadline: Instant) -> Arc<Self> {
        let transfers = permit.transfers();
        let transfer = Arc::new(Self {
            deadline,
            is_long: bytes.len() > SHARED,
            held: Mutex::new(Some(Held {
                rest: bytes,
                _permit: permit,
            })),
        });
        transfers.add(&transfer);
        transfer
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes so many bytes, which are there; nothing if the time is over.
    pub(super) fn take(&self, length: usize) -> Option<Bytes> {
        let chunk = self.held.lock().as_mut()?.rest.split_to(length);
        Some(if self.is_long {
            Bytes::copy_from_slice(&chunk)
        } else {
            chunk
        })
    }

    /// Gives up what is held if the time is over, and says whether it is.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let is_over = now >= self.deadline;
        if is_over {
            let held = self.held.lock().take();
            drop(held); // not under the lock
        }
        is_over
    }
}
