use crate::history::Transition;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many transitions wait for one subscriber.
const CAPACITY: usize = 256;

/// The transitions of all checks from [`Health::subscribe`](crate::Health::subscribe) on.
///
/// It holds the last 256 that were not received yet. For whom that is too few the oldest are lost, and counted: the
/// scheduler waits for nobody. It ends when the scheduler does. With the feature `stream` it is a `Stream`.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Health, Status};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
/// let mut transitions = health.subscribe();
/// let running = health.start(&tokio::runtime::Handle::current())?;
/// let first = transitions.recv().await.unwrap();
/// assert_eq!((first.check(), first.from(), first.to()), ("db", Status::Unknown, Status::Up));
///
/// running.stop();
/// assert!(transitions.recv().await.is_none());
/// assert_eq!(transitions.lost(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nobody else can receive from it"]
pub struct Subscription {
    channel: Arc<Channel>,
    /// Where the channel is listed.
    channels: Weak<Mutex<Channels>>,
}

impl Subscription {
    /// Waits for the next transition; `None` once the scheduler has ended and all have been received.
    ///
    /// It needs no runtime in particular.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Arc<Transition>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next transition; the last task that polled is woken.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Transition>>> {
        // Wakers are somebody else's code: they are cloned and dropped where no lock is held.
        let mut waker = Some(cx.waker().clone());
        let polled = self.channel.poll(&mut waker);
        drop(waker);
        polled
    }

    /// Blocks the thread until the next transition.
    ///
    /// # Errors
    ///
    /// There was none in this time ([`Timeout`](RecvTimeoutError::Timeout)), or there will be none any more
    /// ([`Disconnected`](RecvTimeoutError::Disconnected)).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Arc<Transition>, RecvTimeoutError> {
        let empty = |state: &mut State| state.queue.is_empty() && !state.closed;
        let state = self.channel.lock();
        let waited = self.channel.ready.wait_timeout_while(state, timeout, empty);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.queue.pop_front() {
            Some(transition) => Ok(transition),
            None if state.closed => Err(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Takes the next transition if there is one.
    ///
    /// # Errors
    ///
    /// There is none now ([`Empty`](TryRecvError::Empty)) or any more
    /// ([`Disconnected`](TryRecvError::Disconnected)).
    pub fn try_recv(&mut self) -> Result<Arc<Transition>, TryRecvError> {
        let mut state = self.channel.lock();
        match state.queue.pop_front() {
            Some(transition) => Ok(transition),
            None if state.closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Returns how many transitions were lost because they were not received in time.
    pub fn lost(&self) -> u64 {
        self.channel.lock().lost
    }
}

impl Drop for Subscription {
    /// Leaves the list, and drops the waker here, not on the thread of the scheduler if that holds the channel just now.
    fn drop(&mut self) {
        if let Some(channels) = self.channels.upgrade() {
            let own = Arc::as_ptr(&self.channel);
            lock(&channels).list.retain(|channel| channel.as_ptr() != own);
        }
        let waker = self.channel.lock().waker.take();
        drop(waker);
    }
}

#[cfg(feature = "stream")]
impl futures_core::Stream for Subscription {
    type Item = Arc<Transition>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.channel.lock();
        f.debug_struct("Subscription")
            .field("waiting", &state.queue.len())
            .field("lost", &state.lost)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

/// The sending end: knows all subscribers.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Arc<Mutex<Channels>>,
}

#[derive(Default)]
struct Channels {
    list: Vec<Weak<Channel>>,
    closed: bool,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Subscription {
        let mut channels = self.lock();
        let channel = Arc::new(Channel::default());
        channel.lock().closed = channels.closed;
        channels.list.push(Arc::downgrade(&channel));
        Subscription {
            channel,
            channels: Arc::downgrade(&self.channels),
        }
    }

    /// Hands a transition to all subscribers. No code of theirs runs under a lock, so none of them can hold it.
    pub(crate) fn send(&self, transition: &Arc<Transition>) {
        self.tell(|state| {
            if state.queue.len() == CAPACITY {
                state.queue.pop_front();
                state.lost += 1;
            }
            state.queue.push_back(Arc::clone(transition));
        });
    }

    /// Says that there will be no more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.tell(|state| state.closed = true);
    }

    fn tell(&self, change: impl Fn(&mut State)) {
        let mut wakers = Vec::new();
        self.lock().list.retain(|channel| {
            let Some(channel) = channel.upgrade() else {
                return false; // it is about to leave by itself
            };
            let mut state = channel.lock();
            change(&mut state);
            wakers.extend(state.waker.take());
            channel.ready.notify_all();
            true
        });
        for waker in wakers {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())); // somebody else's code
        }
    }

    fn lock(&self) -> MutexGuard<'_, Channels> {
        lock(&self.channels)
    }
}

fn lock(channels: &Mutex<Channels>) -> MutexGuard<'_, Channels> {
    channels.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is between the scheduler and one subscriber.
#[derive(Default)]
struct Channel {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Transition>>,
    lost: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl Channel {
    /// Takes the next transition, or leaves the waker and takes the one before.
    fn poll(&self, waker: &mut Option<Waker>) -> Poll<Option<Arc<Transition>>> {
        let mut state = self.lock();
        match state.queue.pop_front() {
            Some(transition) => Poll::Ready(Some(transition)),
            None if state.closed => Poll::Ready(None),
            None => {
                std::mem::swap(&mut state.waker, waker);
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Event;
    use crate::status::Status;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;
    use std::time::SystemTime;

    fn transition(after: u64) -> Arc<Transition> {
        let event = Event::Transition {
            check: "db".into(),
            from: Status::Up,
            to: Status::Down,
            at: SystemTime::UNIX_EPOCH,
            after: Duration::from_secs(after),
            latency: None,
            message: None,
            causes: Arc::default(),
            flapping: false,
        };
        Arc::new(Transition::of(&event).expect("it is one"))
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_slow_loses_the_oldest_and_knows_it() {
        let hub = Hub::default();
        let (mut slow, mut fast) = (hub.subscribe(), hub.subscribe());
        for after in 0..300 {
            hub.send(&transition(after));
            assert_eq!(fast.try_recv().unwrap().after().as_secs(), after);
        }
        assert_eq!((slow.lost(), fast.lost()), (44, 0));
        assert!(format!("{slow:?}").contains("waiting: 256, lost: 44"));
        for after in 44..300 {
            assert_eq!(slow.try_recv().unwrap().after().as_secs(), after);
        }
        assert_eq!(slow.try_recv().unwrap_err(), TryRecvError::Empty);
    }

    #[test]
    fn who_is_gone_is_forgotten_at_once() {
        let hub = Hub::default();
        let mut kept = hub.subscribe();
        for _ in 0..1000 {
            let (one, other) = (hub.subscribe(), hub.subscribe());
            drop(one);
            assert_eq!(hub.lock().list.len(), 2);
            drop(other);
        }
        assert_eq!(hub.lock().list.len(), 1);
        hub.send(&transition(1));
        assert!(kept.try_recv().is_ok(), "the others were not it");
        drop(hub);
        drop(kept); // there is no list any more
    }

    #[test]
    fn it_ends_with_what_it_listens_to() {
        let hub = Hub::default();
        let mut early = hub.subscribe();
        hub.send(&transition(1));
        hub.close();
        assert!(early.try_recv().is_ok());
        assert_eq!(early.try_recv().unwrap_err(), TryRecvError::Disconnected);
        let long = Duration::from_mins(1);
        assert_eq!(
            early.recv_timeout(long).unwrap_err(),
            RecvTimeoutError::Disconnected
        );
        assert!(
            hub.subscribe()
                .try_recv()
                .is_err_and(|error| error == TryRecvError::Disconnected)
        );

        let hub = Hub::default();
        let mut forgotten = hub.subscribe();
        drop(hub);
        assert_eq!(forgotten.try_recv().unwrap_err(), TryRecvError::Disconnected);
    }

    #[test]
    fn a_thread_without_a_runtime_waits() {
        let hub = Hub::default();
        let mut subscription = hub.subscribe();
        assert_eq!(
            subscription.recv_timeout(Duration::ZERO).unwrap_err(),
            RecvTimeoutError::Timeout
        );
        let waiter = thread::spawn(move || {
            subscription
                .recv_timeout(Duration::from_mins(1))
                .map(|it| it.after())
        });
        hub.send(&transition(7));
        assert_eq!(waiter.join().unwrap().unwrap(), Duration::from_secs(7));
    }

    #[test]
    fn the_last_task_that_polled_is_woken_once() {
        struct Angry;

        impl Wake for Angry {
            fn wake(self: Arc<Self>) {
                panic!("do not wake me");
            }
        }

        let hub = Hub::default();
        let (mut first, mut second) = (hub.subscribe(), hub.subscribe());
        let wakes = Arc::new(Wakes::default());
        let (loud, quiet) = (Arc::new(Angry).into(), Arc::clone(&wakes).into());
        let (mut loud, mut quiet) = (Context::from_waker(&loud), Context::from_waker(&quiet));
        assert!(first.poll_recv(&mut loud).is_pending());
        assert!(second.poll_recv(&mut loud).is_pending());
        assert!(second.poll_recv(&mut quiet).is_pending());
        hub.send(&transition(1));
        hub.send(&transition(2));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(second.poll_recv(&mut quiet).is_ready());
    }

    #[cfg(feature = "stream")]
    #[test]
    fn it_is_a_stream() {
        let hub = Hub::default();
        let mut subscription = hub.subscribe();
        let mut poll = || {
            let mut cx = Context::from_waker(Waker::noop());
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut subscription), &mut cx)
        };
        assert!(poll().is_pending());
        hub.send(&transition(1));
        assert!(matches!(poll(), Poll::Ready(Some(_))));
        hub.close();
        assert!(matches!(poll(), Poll::Ready(None)));
    }
}
