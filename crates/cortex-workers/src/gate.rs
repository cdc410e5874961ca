use crate::invalid::InvalidSetting;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::{Mutex, lock};

/// Places for tasks that wait, which several pools share: all of them together have no more in their queues. Give it to
/// [`Builder::gate`](crate::Builder::gate).
///
/// Each pool has some to itself, so that none starves however much the others have; the rest is for whoever comes
/// first. A place is taken when a task enters the queue, and is free again when a worker takes the task or it ends. A
/// task that an idle worker will take at once needs none, so for a moment there may be as many more in the queues as
/// there are threads. The bound of each pool's own queue holds, too. Pools that wait for places get them by turns: while
/// one waits, no other one takes a place out of turn.
///
/// Clones are the same gate. A pool has left it once it has been shut down.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Gate, Pool};
///
/// let gate = Gate::new(1000);
/// let builder = Pool::<Closures>::builder("web").threads(2).gate(&gate, 200);
/// let web = builder.build_blocking().unwrap();
/// let builder = Pool::<Closures>::builder("reports").threads(1).gate(&gate, 50);
/// let reports = builder.build_blocking().unwrap();
/// assert_eq!(gate.free(), 750);
/// # drop((web, reports));
/// ```
#[derive(Clone)]
pub struct Gate(Arc<Places>);

struct Places {
    total: usize,
    state: Mutex<State>,
}

struct State {
    /// How many pools have to themselves, all together.
    reserved: usize,
    /// How many of the others are free; less than none if a pool has come that has some of those to itself that others
    /// are in.
    free: isize,
    /// Who waits for a place, the first first.
    wanting: VecDeque<Weak<dyn Member>>,
    /// How many have their turns, and take what is free before others do.
    turns: usize,
}

/// A pool that shares places.
pub(crate) trait Member: Send + Sync {
    /// Looks whether there are places now for those that wait.
    fn admit(self: Arc<Self>);
}

impl Gate {
    /// Makes so many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Places {
            total: places,
            state: Mutex::new(State {
                reserved: 0,
                free: signed(places),
                wanting: VecDeque::new(),
                turns: 0,
            }),
        }))
    }

    /// Returns how many places there are.
    pub fn places(&self) -> usize {
        self.0.total
    }

    /// Returns how many are free of those that no pool has to itself.
    pub fn free(&self) -> usize {
        usize::try_from(lock(&self.0.state).free).unwrap_or(0)
    }

    pub(crate) fn check(&self, reserve: usize) -> Result<(), InvalidSetting> {
        let left = self.0.total - lock(&self.0.state).reserved;
        (reserve <= left).then_some(()).ok_or_else(|| too_much(reserve))
    }

    /// Has a pool take part.
    pub(crate) fn join(&self, reserve: usize, pool: Weak<dyn Member>) -> Result<Share, InvalidSetting> {
        let mut state = lock(&self.0.state);
        if reserve > self.0.total - state.reserved {
            return Err(too_much(reserve));
        }
        state.reserved += reserve;
        state.free -= signed(reserve);
        drop(state);
        Ok(Share {
            gate: self.clone(),
            pool,
            reserve,
            used: 0,
            has_turn: false,
        })
    }

    /// Has those look that wait for places, while there are any. No lock may be held.
    #[cold]
    pub(crate) fn call(&self) {
        while let Some(turn) = self.next() {
            if let Some(pool) = turn.pool.upgrade() {
                pool.admit();
            }
        }
    }

    fn next(&self) -> Option<Turn<'_>> {
        let mut state = lock(&self.0.state);
        if state.free <= 0 {
            return None;
        }
        let pool = state.wanting.pop_front()?;
        state.turns += 1;
        Some(Turn { gate: self, pool })
    }
}

/// The turn of a pool, until this is dropped. Whoever holds it looks then whose turn is next, so that nobody is forgotten who was sent
/// to wait in between.
struct Turn<'a> {
    gate: &'a Gate,
    pool: Weak<dyn Member>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.gate.0.state).turns -= 1;
    }
}

fn too_much(reserve: usize) -> InvalidSetting {
    let allowed = "no more than other pools have left of the gate";
    InvalidSetting::new("gate", reserve.to_string(), allowed)
}

fn signed(places: usize) -> isize {
    isize::try_from(places).unwrap_or(isize::MAX)
}

/// What a pool has of a gate; used under the lock of its hub.
pub(crate) struct Share {
    gate: Gate,
    pool: Weak<dyn Member>,
    reserve: usize,
    used: usize,
    has_turn: bool,
}

impl Share {
    /// Says whether the pool has its turn: then it takes places though others wait for some.
    pub(crate) const fn set_turn(&mut self, has_turn: bool) {
        self.has_turn = has_turn;
    }

    /// Takes a place. If there is none, or others wait for it, the pool is told when it may have one.
    pub(crate) fn take(&mut self) -> bool {
        if self.used >= self.reserve {
            let mut state = lock(&self.gate.0.state);
            let is_own = |pool: &Weak<dyn Member>| Weak::ptr_eq(pool, &self.pool);
            let others_wait = state.turns > 0 || state.wanting.iter().any(|pool| !is_own(pool));
            if state.free <= 0 || others_wait && !self.has_turn {
                if !state.wanting.iter().any(is_own) {
                    state.wanting.push_back(Weak::clone(&self.pool));
                }
                return false;
            }
            state.free -= 1;
        }
        self.used += 1;
        true
    }

    /// Gives a place back; returns the gate if somebody else waits for it.
    pub(crate) fn give(&mut self) -> Option<Gate> {
        self.used -= 1;
        if self.used < self.reserve {
            return None;
        }
        let mut state = lock(&self.gate.0.state);
        state.free += 1;
        (!state.wanting.is_empty()).then(|| self.gate.clone())
    }
}

/// No lock of a hub may be held.
impl Drop for Share {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.0.state);
        state.reserved -= self.reserve;
        state.free += signed(self.used.max(self.reserve));
        state.wanting.retain(|pool| !Weak::ptr_eq(pool, &self.pool));
        drop(state);
        self.gate.call();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("places", &self.places())
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Called(AtomicUsize);

    impl Member for Called {
        fn admit(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn member(called: &Arc<Called>) -> Weak<dyn Member> {
        Arc::downgrade(called) as Weak<dyn Member>
    }

    #[test]
    fn each_has_its_own_and_the_rest_goes_round() {
        let (one, other) = (Arc::new(Called::default()), Arc::new(Called::default()));
        let gate = Gate::new(5);
        let mut first = gate.join(2, member(&one)).unwrap();
        let mut second = gate.join(1, member(&other)).unwrap();
        assert!(gate.check(3).is_err() && gate.join(3, member(&one)).is_err());
        assert_eq!((0..6).filter(|_| first.take()).count(), 4, "its own and the rest");
        assert_eq!(gate.free(), 0);
        assert!(second.take(), "its own is kept");
        assert!(!second.take() && !second.take());
        let told = first.give().expect("somebody waits");
        told.call();
        assert_eq!(
            (one.0.load(Ordering::SeqCst), other.0.load(Ordering::SeqCst)),
            (1, 1)
        );
        assert!(second.take());
        assert!(second.give().is_none(), "nobody waits any more");
        drop(first);
        assert_eq!(gate.free(), 4);
        drop(second);
        assert_eq!(gate.free(), 5);
    }

    #[test]
    fn who_comes_late_has_its_own_once_others_have_given_it_back() {
        let one = Arc::new(Called::default());
        let gate = Gate::new(2);
        let mut first = gate.join(0, member(&one)).unwrap();
        assert!(first.take() && first.take());
        let mut second = gate.join(1, member(&one)).unwrap();
        assert!(second.take(), "for a while there are more than there are places");
        assert!(first.give().is_none());
        assert!(!first.take());
        first.give();
        assert!(first.take());
    }
}
