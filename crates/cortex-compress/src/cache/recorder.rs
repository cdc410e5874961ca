use super::shard::Kept;
use super::slot::Slot;
use bytes::{Bytes, BytesMut};
use std::fmt;

/// Keeps what is sent of a stream, so that the whole can be put into the cache.
pub(crate) struct Recorder {
    slot: Slot,
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Recorder {
    pub(super) const fn new(slot: Slot) -> Self {
        Self {
            slot,
            frames: Vec::new(),
            bytes: 0,
        }
    }

    /// The length that the identity has to have: a body that is shorter or longer is not what its entity tag stands
    /// for.
    pub(crate) const fn length(&self) -> u64 {
        self.slot.length
    }

    /// Takes note of a frame; tells whether it is any use to go on.
    #[must_use]
    pub(crate) fn add(&mut self, frame: &Bytes) -> bool {
        let length = frame.len();
        let cache = &self.slot.cache;
        if self.bytes + length > cache.max_body() || !cache.reserve(length) {
            return false;
        }
        self.bytes += length;
        self.frames.push(frame.clone());
        true
    }

    /// Puts a stream that was sent to its end into the cache.
    pub(crate) fn store(mut self) {
        let mut data = BytesMut::with_capacity(self.bytes);
        for frame in std::mem::take(&mut self.frames) {
            data.extend_from_slice(&frame);
        }
        let kept = Kept::Encoded {
            data: data.freeze(),
            constant: false, // where it was flushed depends on when it came
        };
        self.slot.cache.insert(self.slot.key.clone(), kept);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.slot.cache.release(self.bytes);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
