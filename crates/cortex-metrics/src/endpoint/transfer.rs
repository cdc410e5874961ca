use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::limit::Permit;

/// Small enough that a slow reader holds the connection back, not the memory.
pub(super) const CHUNK: usize = 64 << 10;

/// How many chunks may be on their way at once. hyper queues six or seven of them and does not ask for more then, not
/// even when the deadline wakes it; of two it asks. With one, whoever holds the last chunk it had, even with nothing
/// left of it, while it asks for the next, as compressing layers do, would wait for itself.
const CHUNKS: usize = 2;

/// About as much as any socket takes at once, and all that may be left to write when a server has everything: it counts
/// down from the length, and does not ask any more then.
pub(super) const SHORT: usize = 16 << 10;

/// An exposition on its way: its place among the scrapes in flight, and what is left to send. Both are held until
/// nobody has it any more, or until the reader had time enough.
#[derive(Debug)]
pub(super) struct Transfer {
    deadline: Instant,
    is_short: bool,
    /// Whether chunks are copied: one that is kept by a stream of HTTP/2 without a window, which nobody asks for more,
    /// would keep all of the exposition otherwise.
    copies: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Nothing when the time is over.
    held: Option<Held>,
    /// How many chunks are not written yet.
    unwritten: usize,
    /// Who waits until one is.
    waiting: Option<Waker>,
}

#[derive(Debug)]
struct Held {
    rest: Bytes,
    _permit: Permit,
}

/// Bytes on their way: servers queue the last chunk and drop the body before it is written.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    transfer: Arc<Transfer>,
}

impl Transfer {
    pub(super) fn start(bytes: Bytes, permit: Permit, deadline: Instant) -> Arc<Self> {
        let transfers = permit.transfers();
        let transfer = Arc::new(Self {
            deadline,
            is_short: bytes.len() <= SHORT,
            copies: bytes.len() > CHUNKS * CHUNK,
            state: Mutex::new(State {
                held: Some(Held {
                    rest: bytes,
                    _permit: permit,
                }),
                unwritten: 0,
                waiting: None,
            }),
        });
        transfers.add(&transfer);
        transfer
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes the next chunk of what is left, as soon as enough of those before are written; nothing if the time is
    /// over.
    pub(super) fn poll_take(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.lock();
        let unwritten = state.unwritten;
        let Some(held) = &mut state.held else {
            return Poll::Ready(None);
        };
        let left = held.rest.len();
        if unwritten >= CHUNKS {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = match left.checked_sub(SHORT) {
            None => left,
            Some(_) if self.is_short => left,
            // The last two chunks, which may be queued together.
            Some(0) => SHORT / CHUNKS,
            Some(more) => CHUNK.min(more),
        };
        let bytes = held.rest.split_to(length);
        state.unwritten += 1;
        drop(state);
        Poll::Ready(Some(Bytes::from_owner(Chunk {
            bytes: if self.copies {
                Bytes::copy_from_slice(&bytes)
            } else {
                bytes
            },
            transfer: Arc::clone(self),
        })))
    }

    /// Gives up what is held if the time is over, and says whether it is.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let is_over = now >= self.deadline;
        if is_over {
            let held = self.state.lock().held.take();
            drop(held); // not under the lock
        }
        is_over
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.transfer.state.lock();
            state.unwritten -= 1;
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake(); // not under the lock
        }
    }
}
