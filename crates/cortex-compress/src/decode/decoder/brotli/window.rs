/// What is there past the end of the window, so that short copies may be done as long ones.
///
/// That overwrites as many bytes ahead of the next one: those that are furthest back. No distance reaches them.
const SLACK: usize = GAP;

/// The furthest bytes of a window, which cannot be copied (section 9.1).
const GAP: usize = 16;

/// By how much a window grows at a time, at least: as much as is decoded at a time.
const GROWTH: usize = 16 << 10;

/// A window that is larger than this is not kept.
const KEPT: usize = 256 << 10;

/// The last bytes that were decoded: a ring, which grows to its size with what is decoded.
#[derive(Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    size: usize,
    /// Where the next byte comes to.
    at: usize,
    /// What was before that and is not handed out yet.
    pending: usize,
    /// Every place has been written to.
    full: bool,
}

impl Window {
    /// Begins to decode with a window of this size.
    pub(super) fn start(&mut self, size: usize) {
        (self.size, self.at, self.pending, self.full) = (size, 0, 0, false);
    }

    pub(super) fn reset(&mut self) {
        if self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
        self.start(0);
    }

    pub(super) const fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    /// Returns how much may be written before something is handed out, where so much is wanted in all.
    #[inline]
    pub(super) fn room(&self, wanted: usize) -> usize {
        (wanted - self.pending.min(wanted)).min(self.size - self.at)
    }

    /// Hands out what is pending, as far as there is room.
    pub(super) fn hand_out(&mut self, out: &mut [u8]) -> usize {
        let count = self.pending.min(out.len());
        let start = self.at - self.pending;
        out[..count].copy_from_slice(&self.bytes[start..start + count]);
        self.pending -= count;
        if self.pending == 0 && self.at == self.size && self.size > 0 {
            (self.at, self.full) = (0, true);
        }
        count
    }

    /// Returns how far back can be copied from.
    #[inline]
    pub(super) fn reach(&self) -> usize {
        let most = self.size.saturating_sub(GAP);
        if self.full { most } else { self.at.min(most) }
    }

    /// Returns the last byte, and the one before; 0 where there is none (section 7.1).
    #[inline]
    pub(super) fn last_two(&self) -> (u8, u8) {
        let back = |distance: usize| match self.at.checked_sub(distance) {
            Some(at) => self.bytes[at],
            None if self.full => self.bytes[self.size + self.at - distance],
            None => 0,
        };
        (back(1), back(2))
    }

    /// Takes back what was written last, of which nothing was handed out.
    pub(super) fn take_back(&mut self, count: usize) {
        self.at -= count;
        self.pending -= count;
    }

    /// Returns the next places, of which there is [room](Self::room), to be [written](Self::wrote).
    #[inline]
    pub(super) fn next(&mut self, count: usize) -> &mut [u8] {
        self.grow(count);
        &mut self.bytes[self.at..self.at + count]
    }

    #[inline]
    pub(super) fn wrote(&mut self, count: usize) {
        self.at += count;
        self.pending += count;
    }

    /// Copies bytes from further back to where there is [room](Self::room) for them. They are within
    /// [reach](Self::reach).
    #[inline]
    pub(super) fn copy(&mut self, distance: usize, count: usize) {
        self.grow(count);
        let at = self.at;
        self.wrote(count);
        if distance >= GAP && count <= GAP && distance <= at {
            let from = at - distance;
            let short: [u8; GAP] = *self.bytes[from..]
                .first_chunk()
                .expect("invariant: there is slack");
            self.bytes[at..at + GAP].copy_from_slice(&short);
        } else {
            self.copy_long(distance, at, count);
        }
    }

    fn copy_long(&mut self, distance: usize, at: usize, count: usize) {
        let (size, bytes) = (self.size, &mut self.bytes[..]);
        let (mut to, until) = (at, at + count);
        let from = if let Some(from) = at.checked_sub(distance) {
            from
        } else {
            // First from the end of the ring.
            let from = size + at - distance;
            let first = count.min(size - from);
            bytes.copy_within(from..from + first, at);
            to += first;
            0
        };
        if distance == 1 {
            let byte = bytes[from];
            bytes[to..until].fill(byte);
        } else {
            while to < until {
                let step = (until - to).min(to - from); // more with each, where it overlaps
                bytes.copy_within(from..from + step, to);
                to += step;
            }
        }
    }

    #[inline]
    fn grow(&mut self, count: usize) {
        let needed = self.at + count + SLACK;
        if self.bytes.len() < needed {
            self.grow_to(needed);
        }
    }

    #[cold]
    fn grow_to(&mut self, needed: usize) {
        let length = needed.max(self.bytes.len() + GROWTH).min(self.size + SLACK);
        if length > self.bytes.capacity() {
            let half = self.bytes.len() / 2;
            let capacity = length.max(self.bytes.len() + half).min(self.size + SLACK);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.resize(length, 0); // no more, as it takes time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that changes as it likes.
    struct Any(u64);

    impl Any {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 40).unwrap() % most
        }
    }

    #[test]
    fn what_is_copied_is_what_was_there_wherever_the_ring_ends() {
        let mut any = Any(0x9e37_79b9_7f4a_7c15);
        for size in [1 << 10, 1 << 12, 1 << 17] {
            let mut window = Window::default();
            window.start(size);
            let mut all: Vec<u8> = Vec::new(); // every byte, without a ring
            let mut out = Vec::new();
            let mut buffer = vec![0; 3000];
            while all.len() < 3 * size + 5000 {
                let room = window.room(buffer.len());
                if room == 0 {
                    let count = window.hand_out(&mut buffer);
                    out.extend_from_slice(&buffer[..count]);
                    continue;
                }
                let most = 1 + any.below(400);
                let count = 1 + any.below(room.min(most));
                assert_eq!(window.reach(), all.len().min(size - GAP));
                let back = |distance: usize| all.len().checked_sub(distance).map_or(0, |at| all[at]);
                assert_eq!(window.last_two(), (back(1), back(2)));
                if all.is_empty() || any.below(4) == 0 {
                    let byte = any.below(256).to_le_bytes()[0];
                    window.next(count).fill(byte);
                    window.wrote(count);
                    all.extend(std::iter::repeat_n(byte, count));
                } else {
                    let most = window.reach();
                    let distance = 1 + match any.below(3) {
                        0 => any.below(most.min(20)),
                        1 => most - 1 - any.below(most.min(20)), // as far as it goes
                        _ => any.below(most),
                    };
                    window.copy(distance, count);
                    for _ in 0..count {
                        all.push(all[all.len() - distance]);
                    }
                }
            }
            loop {
                let count = window.hand_out(&mut buffer);
                if count == 0 {
                    break;
                }
                out.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(window.pending(), 0);
            assert!(out == all, "{size}");
            assert!(window.bytes.capacity() <= size + SLACK);
        }
    }

    #[test]
    fn a_window_is_as_large_as_what_was_decoded_and_large_ones_are_not_kept() {
        let mut window = Window::default();
        window.start(1 << 24);
        let mut buffer = vec![0; GROWTH];
        for round in 1..=64 {
            window.next(GROWTH).fill(1);
            window.wrote(GROWTH);
            assert_eq!(window.hand_out(&mut buffer), GROWTH);
            assert!(window.bytes.capacity() <= (round + 1) * GROWTH * 3 / 2 + SLACK);
        }
        window.reset();
        assert_eq!(window.bytes.capacity(), 0);
    }
}
