use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "bridge")]
use std::{
    sync::{Mutex, atomic::AtomicBool},
    time::Instant,
};

#[cfg(feature = "bridge")]
use cortex_core::{Clock, SystemClock};

#[cfg(feature = "bridge")]
use super::complaint::{Line, Told};
#[cfg(feature = "bridge")]
use super::completion::lock;

/// Spans for which there was no room, so that no exporter could ever have them, and what is told of them.
///
/// The workers share it: whichever has time tells, for there may be no batch, and an exporter may hang.
#[derive(Debug, Default)]
pub(crate) struct Untracked {
    count: AtomicU64,
    /// The workers have heard that there is something to tell, and each looks again when it is time.
    #[cfg(feature = "bridge")]
    noticed: AtomicBool,
    #[cfg(feature = "bridge")]
    told: Mutex<Told>,
}

impl Untracked {
    pub(crate) fn count(&self) -> u64 {
        // In one order with `noticed`: who finds that set knows that `next_line` has yet to read this.
        self.count.load(Ordering::SeqCst)
    }
}

#[cfg(feature = "bridge")]
impl Untracked {
    /// Counts one more; says whether the workers have to be woken for it.
    pub(crate) fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst);
        !self.noticed.load(Ordering::SeqCst) && !self.noticed.swap(true, Ordering::SeqCst)
    }

    /// Returns when there is something to tell again; `None` if a worker can sleep until it is woken.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.told).due()
    }

    /// Warns through `tracing` if there are more since the last line, or says that it is over; once a minute at most.
    pub(super) fn tell(&self) {
        let line = self.next_line(SystemClock.now());
        tell(line); // foreign code, which no other worker waits for
    }

    /// Warns of what is not told yet: there may be no later line.
    pub(super) fn finish(&self) {
        let line = lock(&self.told).rest(self.count(), SystemClock.now());
        tell(line);
    }

    fn next_line(&self, now: Instant) -> Option<Line> {
        let mut told = lock(&self.told);
        let line = told.next(self.count(), now);
        if told.due().is_some() {
            return line;
        }
        self.noticed.store(false, Ordering::SeqCst);
        // Who counted one before that has woken nobody.
        let late = told.next(self.count(), now);
        line.or(late)
    }
}

/// Nobody counts without the bridge.
#[cfg(not(feature = "bridge"))]
#[expect(clippy::unused_self, reason = "as with the bridge")]
impl Untracked {
    pub(super) const fn due(&self) -> Option<std::time::Instant> {
        None
    }

    pub(super) const fn tell(&self) {}

    pub(super) const fn finish(&self) {}
}

#[cfg(feature = "bridge")]
fn tell(line: Option<Line>) {
    match line {
        Some(Line::Lost(spans)) => {
            tracing::warn!(
                spans,
                "spans were not traced: there was no room for more open ones"
            );
        }
        Some(Line::Over(spans)) => tracing::info!(spans, "there is room for spans again"),
        None => {}
    }
}

#[cfg(all(test, feature = "bridge"))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn wakes_the_workers_when_there_is_something_to_tell_and_lets_them_sleep_when_it_is_over() {
        let (untracked, start) = (Untracked::default(), SystemClock.now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!((untracked.next_line(at(0)), untracked.due()), (None, None));
        // The first one wakes them, those after it do not.
        assert_eq!([untracked.add(), untracked.add()], [true, false]);
        assert_eq!(untracked.next_line(at(1)), Some(Line::Lost(2)));
        assert_eq!(untracked.due(), Some(at(61)));
        assert!(!untracked.add());
        assert_eq!(untracked.next_line(at(2)), None); // another worker, or a batch
        assert_eq!(untracked.next_line(at(61)), Some(Line::Lost(1)));
        assert_eq!(untracked.due(), Some(at(121)));
        assert_eq!(untracked.next_line(at(121)), Some(Line::Over(3)));
        assert_eq!((untracked.next_line(at(500)), untracked.due()), (None, None));
        // The next time.
        assert!(untracked.add());
        assert_eq!(untracked.next_line(at(501)), Some(Line::Lost(1)));
        assert_eq!(untracked.count(), 4);
    }

    #[test]
    fn what_is_told_at_the_end_is_told_once() {
        let untracked = Untracked::default();
        untracked.add();
        let rest = || lock(&untracked.told).rest(untracked.count(), SystemClock.now());
        assert_eq!((rest(), rest()), (Some(Line::Lost(1)), None));
        untracked.add();
        assert_eq!((rest(), rest()), (Some(Line::Lost(1)), None));
    }

    /// Every span is told, whoever counts it while somebody finds that it is over.
    #[test]
    fn nothing_is_forgotten_between_two_threads() {
        const SPANS: u64 = 20_000;
        let (untracked, start) = (&Untracked::default(), SystemClock.now());
        let mut told = 0;
        let mut look = |minute: u64| {
            if let Some(Line::Lost(spans)) = untracked.next_line(start + Duration::from_mins(minute)) {
                told += spans;
            }
        };
        std::thread::scope(|scope| {
            let counts = scope.spawn(|| {
                let woken = (0..SPANS).filter(|_| untracked.add()).count();
                assert!(woken > 0);
            });
            let mut minute = 0;
            while !counts.is_finished() {
                look(minute);
                minute += 1;
            }
            // Whoever was not woken has a time to look again.
            while untracked.due().is_some() || untracked.noticed.load(Ordering::SeqCst) {
                look(minute);
                minute += 1;
            }
        });
        assert_eq!(told, SPANS);
    }
}
