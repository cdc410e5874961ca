use crate::call::{Answer, Call};
use crate::job::Work;
use crate::shared::Shared;
use crate::sync::{Mutex, lock};
use crate::ticket::Turnstile;
use crate::worker::Worker;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Calls under way whose answers one caller takes as they come, each with what it knows them by.
///
/// Those that have an answer ring, so a look costs what rang and not what is under way.
pub(crate) struct Flights<'a, W: Worker, P: Work<W>, K> {
    shared: &'a Arc<Shared<W>>,
    seats: Vec<Seat<'a, W, P, K>>,
    free: Vec<usize>,
    /// Those that waited for a worker when they were looked at last, oldest first, by seat and serial number.
    waiting: VecDeque<(usize, u64)>,
    /// Some of them may wait no more behind others that do.
    is_mixed: bool,
    serial: u64,
    /// How many may wait for a worker.
    limit: usize,
    /// Rings once half of those that wait were taken: that there may be more is worth a wake-up then.
    turnstile: Arc<Turnstile>,
    desk: Arc<Desk>,
    rung: VecDeque<usize>,
}

struct Seat<'a, W: Worker, P: Work<W>, K> {
    bell: Waker,
    flight: Option<Flight<'a, W, P, K>>,
}

struct Flight<'a, W: Worker, P: Work<W>, K> {
    serial: u64,
    key: K,
    call: Call<'a, W, P>,
}

impl<'a, W: Worker, P: Work<W>, K> Flights<'a, W, P, K> {
    /// By default half of the queue may be taken, so that others get their turn.
    pub(crate) fn new(shared: &'a Arc<Shared<W>>) -> Self {
        Self {
            shared,
            seats: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            is_mixed: false,
            serial: 0,
            limit: (shared.settings.capacity / 2).max(1),
            turnstile: Arc::default(),
            desk: Arc::default(),
            rung: VecDeque::new(),
        }
    }

    pub(crate) const fn shared(&self) -> &'a Arc<Shared<W>> {
        self.shared
    }

    pub(crate) const fn limit(&mut self, places: usize) {
        self.limit = if places == 0 { 1 } else { places };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.seats.len()
    }

    /// Says whether one more may be launched; if not, [`poll_landed`](Self::poll_landed) wakes once workers have taken some, too. What an
    /// idle worker will take at once does not wait.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.is_below_limit() {
            return true;
        }
        if self.turnstile.is_set() {
            return false;
        }
        // It counts those that are there when it is set, so those that were taken before that must not be among them.
        self.turnstile.set(self.limit.div_ceil(2));
        self.is_mixed = true;
        self.is_below_limit()
    }

    fn is_below_limit(&mut self) -> bool {
        while self.waiting.front().is_some_and(|&entry| !self.waits(entry)) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= self.limit && std::mem::take(&mut self.is_mixed) {
            let mut waiting = std::mem::take(&mut self.waiting);
            waiting.retain(|&entry| self.waits(entry));
            self.waiting = waiting;
        }
        let waiting = self.waiting.len();
        waiting < self.limit || waiting - self.limit < self.shared.hub.idle()
    }

    /// Gives up the calls under way, the oldest first.
    pub(crate) fn into_calls(self) -> impl Iterator<Item = (K, Call<'a, W, P>)> {
        let mut flights: Vec<_> = self.seats.into_iter().filter_map(|seat| seat.flight).collect();
        flights.sort_unstable_by_key(|flight| flight.serial);
        flights.into_iter().map(|flight| (flight.key, flight.call))
    }

    fn waits(&self, (seat, serial): (usize, u64)) -> bool {
        let flight = self.seats[seat].flight.as_ref();
        flight.is_some_and(|flight| flight.serial == serial && flight.call.is_waiting())
    }

    /// Offers a call; returns its answer if it is there at once.
    pub(crate) fn launch(&mut self, key: K, call: Call<'a, W, P>) -> Option<(K, Answer<W, P>)> {
        let seat = self.free.pop().unwrap_or_else(|| {
            let bell = Waker::from(Arc::new(Bell {
                seat: self.seats.len(),
                desk: Arc::clone(&self.desk),
            }));
            self.seats.push(Seat { bell, flight: None });
            self.seats.len() - 1
        });
        let place = &mut self.seats[seat];
        let mut call = call.counted(&self.turnstile);
        if let Poll::Ready(answer) = Pin::new(&mut call).poll(&mut Context::from_waker(&place.bell)) {
            self.free.push(seat);
            return Some((key, answer));
        }
        let serial = self.serial;
        self.serial += 1;
        place.flight = Some(Flight { serial, key, call });
        self.waiting.push_back((seat, serial));
        None
    }

    /// Takes an answer that has come. Pending also if nothing is under way.
    pub(crate) fn poll_landed(&mut self, cx: &Context<'_>) -> Poll<(K, Answer<W, P>)> {
        loop {
            while let Some(seat) = self.rung.pop_front() {
                let place = &mut self.seats[seat];
                let Some(flight) = &mut place.flight else {
                    continue; // it rang for an earlier one
                };
                let bell = &mut Context::from_waker(&place.bell);
                // It has an answer, or was taken and with it others.
                self.is_mixed |= self.waiting.front() != Some(&(seat, flight.serial));
                if let Poll::Ready(answer) = Pin::new(&mut flight.call).poll(bell)
                    && let Some(flight) = place.flight.take()
                {
                    self.free.push(seat);
                    return Poll::Ready((flight.key, answer));
                }
            }
            if !self.desk.take(&mut self.rung, cx.waker()) {
                return Poll::Pending;
            }
        }
    }
}

/// Where those ring that have an answer.
#[derive(Default)]
struct Desk(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    seats: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Desk {
    /// Takes what has rung; if nothing has, this one is woken once something does.
    fn take(&self, into: &mut VecDeque<usize>, waker: &Waker) -> bool {
        let mut new = None; // wakers are not ours: they are cloned and dropped without the lock
        loop {
            let mut rung = lock(&self.0);
            if !rung.seats.is_empty() {
                std::mem::swap(&mut rung.seats, into);
                return true;
            }
            if rung.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                return false;
            }
            if let Some(new) = new.take() {
                let old = rung.waker.replace(new);
                drop(rung);
                drop(old);
                return false;
            }
            drop(rung);
            new = Some(waker.clone());
        }
    }
}

struct Bell {
    seat: usize,
    desk: Arc<Desk>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut rung = lock(&self.desk.0);
        rung.seats.push_back(self.seat);
        let waker = rung.waker.take();
        drop(rung);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
