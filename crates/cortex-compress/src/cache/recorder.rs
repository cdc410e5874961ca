use super::shard::Kept;
use super::slot::Slot;
use bytes::{Bytes, BytesMut};
use std::fmt;

/// What a frame holds beside its bytes: its place in the list, a count of references, and what the allocator adds.
const OVERHEAD: usize = 96;

/// Keeps what is sent of a stream, so that the whole can be put into the cache.
pub(crate) struct Recorder {
    slot: Slot,
    frames: Vec<Bytes>,
    bytes: usize,
    /// What is reserved of the room for recordings.
    reserved: usize,
    /// It was flushed before its end, which costs size.
    flushed: bool,
}

impl Recorder {
    pub(super) const fn new(slot: Slot) -> Self {
        Self {
            slot,
            frames: Vec::new(),
            bytes: 0,
            reserved: 0,
            flushed: false,
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
        if self.bytes + length > cache.max_body() || !cache.reserve(length + OVERHEAD) {
            return false;
        }
        self.reserved += length + OVERHEAD;
        self.bytes += length;
        self.frames.push(frame.clone());
        true
    }

    /// Takes note that the stream was flushed, and goes on.
    pub(crate) const fn flushed(&mut self) {
        self.flushed = true;
    }

    /// Puts a stream that was sent to its end into the cache, or that it was no use.
    ///
    /// Of one that was flushed it cannot be told: the same body may get smaller when it comes in larger pieces.
    pub(crate) fn store(mut self) {
        if self.bytes as u64 >= self.slot.length {
            if !self.flushed {
                self.slot.cache.insert(self.slot.key.clone(), Kept::NotSmaller);
            }
            return;
        }
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
        self.slot.cache.release(self.reserved);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
