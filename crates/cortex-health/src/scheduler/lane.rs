use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many items wait for who hears them.
const CAPACITY: usize = 1024;

/// As much as checks get that block: what hears is somebody else's code.
const STACK: usize = 512 << 10;

/// What a lane carries.
pub(super) trait Item: Send + 'static {
    /// Says whether it is the first to be left out where there is too much.
    fn gives_way(&self) -> bool;

    /// Makes the item that tells of those that were left out before the next.
    fn missed(count: u64) -> Self;
}

/// Hands items in their order to somebody who may take long, on a thread that is made when the first one comes.
///
/// Who fills the lane never waits. Dropping it ends the thread once all is heard, and nobody waits for that here.
pub(super) struct Lane<T> {
    name: &'static str,
    hear: Arc<dyn Fn(&T) + Send + Sync>,
    inner: Arc<Inner<T>>,
    has_thread: bool,
    /// Held by the thread, too: all of them are gone at its end.
    alive: Sender<Infallible>,
}

/// What became of items that were added.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pushed {
    /// So many were left out by it, or others for them.
    pub(super) missed: u64,
    /// From here on, and not before, some are missing.
    pub(super) begins: bool,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    queue: VecDeque<T>,
    /// How many were left out that nobody was told of.
    missed: u64,
    is_closed: bool,
}

impl<T: Item> Lane<T> {
    pub(super) fn new(
        name: &'static str,
        alive: Sender<Infallible>,
        hear: impl Fn(&T) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            hear: Arc::new(hear),
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    queue: VecDeque::new(),
                    missed: 0,
                    is_closed: false,
                }),
                changed: Condvar::new(),
            }),
            has_thread: false,
            alive,
        }
    }

    /// Adds items.
    pub(super) fn push(&mut self, items: impl IntoIterator<Item = T>) -> Pushed {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return Pushed::default();
        }
        if !self.has_thread {
            self.has_thread = self.spawn(); // where there is none to be had now, the next items try again
        }
        let mut state = self.inner.lock();
        let before = state.missed;
        items.for_each(|item| state.add(item));
        let missed = state.missed - before;
        drop(state);
        self.inner.changed.notify_one();
        Pushed {
            missed,
            begins: before == 0 && missed > 0,
        }
    }

    fn spawn(&self) -> bool {
        let (inner, hear, alive) = (
            Arc::clone(&self.inner),
            Arc::clone(&self.hear),
            self.alive.clone(),
        );
        let thread = thread::Builder::new().name(self.name.into()).stack_size(STACK);
        let work = move || {
            inner.work(&*hear);
            drop((inner, hear)); // before the sign that all is over
            drop(alive);
        };
        thread.spawn(work).is_ok()
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        self.inner.lock().is_closed = true;
        self.inner.changed.notify_one();
    }
}

impl<T: Item> State<T> {
    fn add(&mut self, item: T) {
        if self.queue.len() >= CAPACITY {
            self.missed += 1;
            match self.queue.iter().position(T::gives_way) {
                Some(first) => _ = self.queue.remove(first),
                None if item.gives_way() => return,
                None => _ = self.queue.pop_front(),
            }
        }
        self.queue.push_back(item);
    }
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Item> Inner<T> {
    fn work(&self, hear: &dyn Fn(&T)) {
        let hear = |item: T| {
            // `hear` catches what it calls; this is for what it drops.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(&item)));
        };
        let mut batch = VecDeque::new();
        while let Some(missed) = self.take(&mut batch) {
            if missed > 0 {
                hear(T::missed(missed));
            }
            batch.drain(..).for_each(hear);
        }
    }

    /// Waits for items and takes all that there are; returns how many were left out before them, `None` at the end.
    fn take(&self, batch: &mut VecDeque<T>) -> Option<u64> {
        let is_idle = |state: &mut State<T>| state.queue.is_empty() && state.missed == 0 && !state.is_closed;
        let waited = self.changed.wait_while(self.lock(), is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let missed = std::mem::take(&mut state.missed);
        if state.queue.is_empty() && missed == 0 {
            return None;
        }
        std::mem::swap(batch, &mut state.queue);
        Some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Test {
        News(u64),
        Run(u64),
        Missed(u64),
    }

    impl Item for Test {
        fn gives_way(&self) -> bool {
            matches!(self, Self::Run(_))
        }

        fn missed(count: u64) -> Self {
            Self::Missed(count)
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    /// A lane whose end takes an item only when somebody waits for it, what it hears, and the sign of its end.
    fn lane() -> (Lane<Test>, mpsc::Receiver<Test>, mpsc::Receiver<Infallible>) {
        let (send, heard) = mpsc::sync_channel(0);
        let (alive, ended) = mpsc::channel();
        let hear = move |item: &Test| _ = send.send(*item);
        (Lane::new("test", alive, hear), heard, ended)
    }

    fn rest(heard: &mpsc::Receiver<Test>) -> Vec<Test> {
        heard.iter().collect() // until the thread is gone
    }

    #[test]
    fn all_is_heard_in_order_and_then_it_ends() {
        let (mut lane, heard, ended) = lane();
        assert!(!lane.push([]).begins);
        assert!(!lane.has_thread, "made before there was anything to say");
        assert!(!lane.push((0..600).map(Test::News)).begins);
        assert_eq!(heard.recv_timeout(LONG), Ok(Test::News(0)));
        assert!(!lane.push([Test::Run(600), Test::News(601)]).begins);
        drop(lane);
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        let rest = rest(&heard);
        assert_eq!(rest.len(), 601);
        assert!(
            rest[..599]
                .iter()
                .zip(1..)
                .all(|(item, number)| *item == Test::News(number))
        );
        assert_eq!(rest[599..], [Test::Run(600), Test::News(601)]);
        assert_eq!(
            ended.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }

    #[test]
    fn one_that_never_had_anything_to_say_has_ended() {
        let (lane, _, ended) = lane();
        drop(lane);
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    /// Makes a lane whose thread is at the first item and takes no other.
    fn stuck() -> (Lane<Test>, mpsc::Receiver<Test>) {
        let (mut lane, heard, _) = lane();
        lane.push([Test::News(0)]);
        while !lane.inner.lock().queue.is_empty() {
            thread::yield_now();
        }
        (lane, heard)
    }

    #[test]
    fn what_is_too_much_is_counted_and_runs_give_way_to_news() {
        let (mut lane, heard) = stuck();
        assert!(!lane.push((0..1000).map(Test::Run)).begins);
        assert_eq!(lane.push((1..=24).map(Test::News)).missed, 0);
        let pushed = lane.push([Test::News(25), Test::Run(1000)]);
        assert!(pushed.begins && pushed.missed == 2, "from here on: {pushed:?}");
        let pushed = lane.push((26..=1000).map(Test::News));
        assert!(!pushed.begins && pushed.missed == 975, "it was said: {pushed:?}");
        drop(lane);
        let mut rest = rest(&heard);
        assert_eq!(
            rest[..2],
            [Test::News(0), Test::Missed(977)],
            "before what is left"
        );
        let runs = rest.extract_if(.., |item| item.gives_way()).count();
        let news: Vec<_> = (1..=1000).map(Test::News).collect();
        assert_eq!(
            (runs, &rest[2..]),
            (24, &news[..]),
            "no change is lost where a run can be"
        );
    }

    #[test]
    fn news_that_are_too_many_are_lost_from_the_oldest_on() {
        let (mut lane, heard) = stuck();
        assert!(lane.push((1..=1030).map(Test::News)).begins);
        assert_eq!(lane.push([Test::Run(0)]).missed, 1, "there is no room for it");
        drop(lane);
        let rest = rest(&heard);
        assert_eq!(rest[..3], [Test::News(0), Test::Missed(7), Test::News(7)]);
        assert_eq!((rest.len(), rest.last()), (2 + 1024, Some(&Test::News(1030))));
    }

    #[test]
    fn a_panic_is_no_end() {
        let (alive, ended) = mpsc::channel();
        let (send, heard) = mpsc::channel();
        let mut lane = Lane::new("test", alive, move |item: &Test| {
            assert_ne!(*item, Test::News(0), "as asked");
            send.send(*item).unwrap();
        });
        lane.push([Test::News(0), Test::News(1)]);
        drop(lane);
        assert_eq!(rest(&heard), [Test::News(1)]);
        assert_eq!(
            ended.recv_timeout(LONG),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
