use crate::sync::{AtomicU64, Ordering};

/// How calls ended over the last while, in ten buckets of time.
#[derive(Debug)]
pub(super) struct Window {
    /// How long a bucket is, in nanoseconds.
    width: u64,
    buckets: [Bucket; BUCKETS as usize],
}

const BUCKETS: u32 = 10;

/// Calls of one bucket. Each word is an epoch and a count, 32 bits each, so that counting for a new epoch empties it in the same
/// step.
#[derive(Debug, Default)]
struct Bucket {
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Window {
    pub(super) fn new(period: u64) -> Self {
        Self {
            width: period / u64::from(BUCKETS),
            buckets: std::array::from_fn(|_| Bucket::default()),
        }
    }

    /// Returns the epoch of a time. Words of zero are of none: their count says so.
    #[expect(clippy::cast_possible_truncation, reason = "epochs are compared as they wrap")]
    fn epoch(&self, now: u64) -> u32 {
        (now / self.width) as u32
    }

    /// Counts a call.
    pub(super) fn add(&self, now: u64, ok: bool) {
        let epoch = self.epoch(now);
        let bucket = &self.buckets[(epoch % BUCKETS) as usize];
        let word = if ok { &bucket.ok } else { &bucket.failed };
        // Nothing happens if a later epoch has come: the thread was not run for a whole period.
        let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (has, count) = split(word);
            match epoch.wrapping_sub(has) {
                _ if count == 0 => Some(pack(epoch, 1)),
                0 => count.checked_add(1).map(|count| pack(epoch, count)),
                ahead if ahead < 1 << 31 => Some(pack(epoch, 1)),
                _ => None,
            }
        });
    }

    /// Returns how many calls failed.
    pub(super) fn failed(&self, now: u64) -> u64 {
        self.sum(now, |bucket| &bucket.failed)
    }

    /// Returns how many calls succeeded.
    pub(super) fn ok(&self, now: u64) -> u64 {
        self.sum(now, |bucket| &bucket.ok)
    }

    fn sum(&self, now: u64, word: impl Fn(&Bucket) -> &AtomicU64) -> u64 {
        let epoch = self.epoch(now);
        let counts = self.buckets.iter().map(|bucket| {
            let (has, count) = split(word(bucket).load(Ordering::Relaxed));
            // One that is ahead was counted by who read the clock later: it is of now.
            let age = epoch.wrapping_sub(has);
            let counts = age.wrapping_add(BUCKETS) < 2 * BUCKETS;
            if counts { u64::from(count) } else { 0 }
        });
        counts.sum()
    }
}

const fn pack(epoch: u32, count: u32) -> u64 {
    (epoch as u64) << 32 | count as u64
}

#[expect(clippy::cast_possible_truncation, reason = "each is one half")]
const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_by_the_first_call_of_its_next_turn() {
        let window = Window::new(100);
        for _ in 0..3 {
            window.add(5, true);
        }
        window.add(15, false);
        assert_eq!((window.ok(99), window.failed(99)), (3, 1));
        assert_eq!((window.ok(100), window.failed(100)), (0, 1));
        window.add(105, true);
        assert_eq!((window.ok(105), window.failed(109)), (1, 1));
        assert_eq!((window.ok(205), window.failed(110)), (0, 0));
        window.add(5, true); // by a thread that has slept
        assert_eq!(window.ok(105), 1);
        assert_eq!(window.ok(99), 1); // by a clock that steps back
    }

    #[test]
    fn epochs_wrap_and_counts_do_not() {
        let window = Window::new(10);
        let end = u64::from(u32::MAX);
        window.add(end - 1, true);
        window.add(end + 1, true);
        assert_eq!(window.ok(end + 2), 2);
        assert_eq!(window.ok(end + 50), 0);
        let epoch = window.epoch(end);
        window.buckets[(epoch % BUCKETS) as usize]
            .failed
            .store(pack(epoch, u32::MAX), Ordering::Relaxed);
        window.add(end, false);
        assert_eq!(window.failed(end), u64::from(u32::MAX));
    }
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`
#[cfg(all(test, cortex_loom))]
mod model {
    use super::*;

    #[test]
    fn model_a_new_turn_empties_once_and_loses_no_call() {
        loom::model(|| {
            let window = loom::sync::Arc::new(Window::new(100));
            window.add(0, true);
            let other = {
                let window = window.clone();
                loom::thread::spawn(move || window.add(100, true))
            };
            window.add(101, true);
            other.join().unwrap();
            assert_eq!(window.ok(101), 2);
        });
    }
}
