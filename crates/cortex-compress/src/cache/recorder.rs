use super::shard::Kept;
use super::slot::Slot;
use bytes::{Bytes, BytesMut};
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;

/// Keeps what is sent of a stream, so that the whole can be put into the cache.
pub(crate) struct Recorder {
    slot: Slot,
    /// The number of the recording.
    begun: u64,
    clock: Arc<dyn Clock>,
    bytes: usize,
    /// It was flushed before its end, which costs size.
    flushed: bool,
}

impl Recorder {
    /// Begins to record, unless somebody does already, or it could not be kept.
    pub(super) fn new(slot: Slot, clock: &Arc<dyn Clock>) -> Option<Self> {
        if slot.epoch != slot.cache.epoch() {
            return None;
        }
        let begun = slot.cache.begin_recording(&slot.key, clock.nanos())?;
        Some(Self {
            slot,
            begun,
            clock: Arc::clone(clock),
            bytes: 0,
            flushed: false,
        })
    }

    /// The length that the identity has to have: a body that is shorter or longer is not what its entity tag stands
    /// for.
    pub(crate) const fn length(&self) -> u64 {
        self.slot.length
    }

    /// Takes note of a frame; tells whether it is any use to go on.
    #[must_use]
    pub(crate) fn add(&mut self, frame: &Bytes) -> bool {
        self.bytes += frame.len();
        let Slot { cache, key, .. } = &self.slot;
        self.bytes <= cache.max_body() && cache.record(key, self.begun, frame, self.clock.nanos())
    }

    /// Takes note that the stream was flushed, and goes on.
    pub(crate) const fn flushed(&mut self) {
        self.flushed = true;
    }

    /// Puts a stream that was sent to its end into the cache, or that it was no use.
    ///
    /// Of one that was flushed it cannot be told: the same body may get smaller when it comes in larger pieces.
    pub(crate) fn store(self) {
        if self.bytes as u64 >= self.slot.length {
            if !self.flushed {
                self.slot.keep(Kept::NotSmaller);
            }
            return;
        }
        let Some(frames) = self.slot.cache.end_recording(&self.slot.key, self.begun) else {
            return;
        };
        let mut data = BytesMut::with_capacity(self.bytes);
        for frame in frames {
            data.extend_from_slice(&frame);
        }
        let kept = Kept::Encoded {
            data: data.freeze(),
            constant: false, // where it was flushed depends on when it came
        };
        self.slot.keep(kept);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.slot.cache.end_recording(&self.slot.key, self.begun));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
