use std::time::Duration;

use crate::id;

const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before each attempt but the first: twice as long each time, and a random part of it less, so that
/// those whom a collector turned away do not all come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration) -> Self {
        Self { next: first }
    }

    /// Returns the next wait, between a half and the whole of its time.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next.min(LONGEST);
        self.next = whole * 2;
        whole.mul_f64(id::fraction().mul_add(0.5, 0.5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let whole = Duration::from_secs(seconds);
            let wait = backoff.next();
            assert!((whole / 2..=whole).contains(&wait), "{wait:?} of {whole:?}");
        }
    }
}
