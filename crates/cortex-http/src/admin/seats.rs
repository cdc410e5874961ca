use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The connections that a listener of the admin port serves at once.
///
/// There is always room for one more: whoever has been idle for longest leaves. So clients that connect and say nothing,
/// however many they are, keep no probe out, as they would if it had to wait for one of them to leave. Whoever has sent
/// less than a request is idle, too.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Mutex<Vec<Arc<State>>>,
    limit: usize,
    /// Counts what happens on all of them, to tell what was first.
    clock: Arc<AtomicU64>,
}

/// The place of one connection; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    state: Arc<State>,
}

/// What a connection tells its seat.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<State>);

/// A request that waits for its answer, until this is dropped.
#[derive(Debug)]
pub(super) struct Asking(Arc<State>);

#[derive(Debug)]
struct State {
    /// Requests that wait for their answer.
    asking: AtomicUsize,
    /// When something happened last.
    last: AtomicU64,
    clock: Arc<AtomicU64>,
    evicted: CancellationToken,
}

impl Seats {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            limit,
            clock: Arc::default(),
        })
    }

    /// Takes a place; says whether another connection lost its own for that.
    pub(super) fn take(self: &Arc<Self>) -> (Seat, bool) {
        let state = Arc::new(State {
            asking: AtomicUsize::new(0),
            last: AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed)),
            clock: Arc::clone(&self.clock),
            evicted: CancellationToken::new(),
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = taken.len() >= self.limit;
        if is_full && let Some(longest) = longest_idle(&taken) {
            taken.swap_remove(longest).evicted.cancel();
        }
        taken.push(Arc::clone(&state));
        drop(taken);
        let seats = Arc::clone(self);
        (Seat { seats, state }, is_full)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken.lock().expect("no panic").len()
    }
}

/// Who waits for an answer leaves only if all do.
fn longest_idle(taken: &[Arc<State>]) -> Option<usize> {
    let key = |state: &State| {
        let is_asking = state.asking.load(Ordering::Relaxed) > 0;
        (is_asking, state.last.load(Ordering::Relaxed))
    };
    (0..taken.len()).min_by_key(|index| key(&taken[*index]))
}

impl Seat {
    /// Returns what tells the seat of requests.
    pub(super) fn activity(&self) -> Activity {
        Activity(Arc::clone(&self.state))
    }

    /// Waits until somebody else needs the place.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub(super) async fn evicted(&self) {
        self.state.evicted.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|state| !Arc::ptr_eq(state, &self.state));
    }
}

impl Activity {
    /// Notes that a request waits for its answer.
    pub(super) fn asks(&self) -> Asking {
        self.0.asking.fetch_add(1, Ordering::Relaxed);
        self.0.touch();
        Asking(Arc::clone(&self.0))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

impl State {
    fn touch(&self) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(seat: &Seat) -> bool {
        seat.state.evicted.is_cancelled()
    }

    #[test]
    fn who_has_been_idle_for_longest_makes_room_and_who_waits_for_an_answer_does_not() {
        let seats = Seats::new(3);
        let (asking, answered, silent) = (seats.take().0, seats.take().0, seats.take().0);
        let asks = asking.activity().asks();
        drop(answered.activity().asks());

        let (next, evicting) = seats.take();
        assert!(evicting && is_evicted(&silent) && !is_evicted(&answered) && !is_evicted(&asking));
        let after = seats.take().0;
        assert!(is_evicted(&answered) && !is_evicted(&asking));
        let (last, _) = seats.take();
        assert!(is_evicted(&next) && !is_evicted(&asking) && !is_evicted(&after));
        assert_eq!(seats.len(), 3);
        drop((silent, answered, next));
        assert_eq!(seats.len(), 3, "who was evicted has no place to give back");
        drop(asks);
        drop((asking, after, last));
        assert_eq!(seats.len(), 0);
        assert!(!seats.take().1);
    }

    #[test]
    fn if_all_wait_the_one_that_waits_for_longest_leaves() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take().0, seats.take().0);
        let _asking = (second.activity().asks(), first.activity().asks());
        let (_third, evicting) = seats.take();
        assert!(evicting && is_evicted(&second) && !is_evicted(&first));
    }
}
