use super::shard::{Key, Pass};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

/// What a frame holds beside its bytes: its place in the list, a count of references, and what the allocator adds.
const OVERHEAD: usize = 96;

/// Nanoseconds without a frame after which another response may record the same body: a reader that stopped must not
/// keep it out of the cache.
const STALLED: u64 = 1_000_000_000;

/// The recordings of a cache: what was sent so far of bodies that are streamed, one of each body at a time.
///
/// They share their room. The one that has gone longest without a frame makes room for the others, so that slow readers
/// keep nothing out but what they read themselves.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    tapes: HashMap<Key, Tape, BuildHasherDefault<Pass>>,
    /// The keys by the turn at which their recordings got the last frame.
    order: BTreeMap<u64, Key>,
    turn: u64,
    bytes: usize,
}

/// What one recording has.
#[derive(Debug)]
struct Tape {
    /// The turn at which it was begun, which tells it from others of the same body.
    begun: u64,
    /// That of its last frame.
    turn: u64,
    /// When that was, in nanoseconds.
    at: u64,
    frames: Vec<Bytes>,
    bytes: usize,
}

/// What was dropped from the recordings: to be freed outside of their lock.
pub(super) type Gone = Vec<Vec<Bytes>>;

impl Recordings {
    /// Begins to record a body, unless somebody does who has not come to a halt; returns the number of the recording.
    pub(super) fn begin(&mut self, key: &Key, now: u64, gone: &mut Gone) -> Option<u64> {
        if let Some(tape) = self.tapes.get(key) {
            if now.saturating_sub(tape.at) < STALLED {
                return None;
            }
            gone.extend(self.remove(key));
        }
        self.turn += 1;
        let tape = Tape {
            begun: self.turn,
            turn: self.turn,
            at: now,
            frames: Vec::new(),
            bytes: 0,
        };
        self.tapes.insert(key.clone(), tape);
        self.order.insert(self.turn, key.clone());
        Some(self.turn)
    }

    /// Adds a frame, where all recordings together may hold `limit` bytes. Tells whether the recording goes on.
    pub(super) fn add(
        &mut self,
        (key, begun): (&Key, u64),
        frame: &Bytes,
        (now, limit): (u64, usize),
        gone: &mut Gone,
    ) -> bool {
        let Some(tape) = self.tapes.get_mut(key).filter(|tape| tape.begun == begun) else {
            return false; // others needed the room, or have taken over
        };
        self.turn += 1;
        self.order.remove(&tape.turn);
        self.order.insert(self.turn, key.clone());
        (tape.turn, tape.at) = (self.turn, now);
        let weight = frame.len() + OVERHEAD;
        while self.bytes.saturating_add(weight) > limit {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            gone.extend(self.remove(&oldest));
            if oldest == *key {
                return false;
            }
        }
        let Some(tape) = self.tapes.get_mut(key) else {
            return false;
        };
        tape.frames.push(frame.clone());
        tape.bytes += weight;
        self.bytes += weight;
        true
    }

    /// Ends a recording, and returns what it has if it is still there.
    pub(super) fn end(&mut self, key: &Key, begun: u64) -> Option<Vec<Bytes>> {
        let Entry::Occupied(tape) = self.tapes.entry(key.clone()) else {
            return None;
        };
        if tape.get().begun != begun {
            return None;
        }
        self.remove(key)
    }

    /// Drops all recordings: none of them goes on.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.bytes = 0;
        (std::mem::take(&mut self.tapes), std::mem::take(&mut self.order))
    }

    fn remove(&mut self, key: &Key) -> Option<Vec<Bytes>> {
        let tape = self.tapes.remove(key)?;
        self.order.remove(&tape.turn);
        self.bytes -= tape.bytes;
        Some(tape.frames)
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const WEIGHT: usize = 100 + OVERHEAD;

    fn key(number: u64) -> Key {
        Key {
            hash: number,
            bytes: Arc::from(number.to_be_bytes()),
        }
    }

    fn frame() -> Bytes {
        Bytes::from_static(&[7; 100])
    }

    /// Keeps at most three frames.
    fn add(recordings: &mut Recordings, number: u64, begun: u64) -> bool {
        let limit = (0, 3 * WEIGHT);
        recordings.add((&key(number), begun), &frame(), limit, &mut Gone::new())
    }

    #[test]
    fn the_one_that_has_gone_longest_without_a_frame_makes_room() {
        let mut recordings = Recordings::default();
        let begun = [1, 2, 3].map(|number| recordings.begin(&key(number), 0, &mut Gone::new()).unwrap());
        let [one, two, three] = begun;
        assert!(add(&mut recordings, 1, one) && add(&mut recordings, 2, two));
        assert!(add(&mut recordings, 1, one), "the third frame");
        assert!(add(&mut recordings, 3, three), "in the place of 2");
        assert!(!add(&mut recordings, 2, two));
        assert_eq!(recordings.end(&key(1), one).map(|frames| frames.len()), Some(2));
        assert_eq!(recordings.end(&key(2), two), None);
        assert!(add(&mut recordings, 3, three) && add(&mut recordings, 3, three));
        assert!(!add(&mut recordings, 3, three), "it is too much alone");
        assert_eq!(
            (recordings.bytes, recordings.order.len(), recordings.tapes.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_body_is_recorded_once_at_a_time_unless_its_reader_has_stopped() {
        let mut recordings = Recordings::default();
        let mut gone = Gone::new();
        let first = recordings.begin(&key(1), 10, &mut gone).unwrap();
        assert!(recordings.add((&key(1), first), &frame(), (20, 1000), &mut gone));
        assert_eq!(recordings.begin(&key(1), 19 + STALLED, &mut gone), None);
        assert!(gone.is_empty());
        let second = recordings.begin(&key(1), 20 + STALLED, &mut gone).unwrap();
        assert_eq!((gone.len(), recordings.bytes), (1, 0));
        assert!(!recordings.add((&key(1), first), &frame(), (20, 1000), &mut gone));
        assert_eq!(recordings.end(&key(1), first), None, "it is another one's now");
        assert_eq!(recordings.end(&key(1), second), Some(Vec::new()));
        assert!(recordings.begin(&key(1), 0, &mut gone).is_some());
    }
}
