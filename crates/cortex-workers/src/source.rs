use crate::call::{Answer, Call, Options};
use crate::error::Error;
use crate::flights::Flights;
use crate::job::Request;
use crate::overflow::Overflow;
use crate::pool::Pool;
use crate::priority::Priority;
use crate::worker::Worker;
use cortex_core::Context;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Where the work of a pool comes from, if not from calls: a queue of other machines, a table of a database.
///
/// [`feed`] takes jobs from it. Each is delivered with a [`Receipt`], which is told what became of it.
///
/// # Examples
///
/// A list, in which what a worker could not do is put back:
///
/// ```
/// use cortex_workers::{Delivery, Error, Pool, Receipt, Source, TaskCx, Worker, WorkerCx, feed};
/// use std::collections::VecDeque;
/// use std::convert::Infallible;
/// use std::sync::{Arc, Mutex};
///
/// struct Mail(u32);
///
/// impl Worker for Mail {
///     type Request = String;
///     type Response = ();
///     type Error = &'static str;
///
///     fn init(_: &WorkerCx<'_>) -> Result<Self, &'static str> {
///         Ok(Self(0))
///     }
///
///     fn run(&mut self, _: String, _: &TaskCx<'_>) -> Result<(), &'static str> {
///         self.0 += 1;
///         if self.0 == 1 { Err("try again") } else { Ok(()) }
///     }
/// }
///
/// #[derive(Clone, Default)]
/// struct List(Arc<Mutex<VecDeque<String>>>);
///
/// struct Letter(List, String);
///
/// impl Source<Mail> for List {
///     type Receipt = Letter;
///     type Error = Infallible;
///
///     async fn next(&mut self) -> Result<Option<Delivery<Mail, Letter>>, Infallible> {
///         let next = self.0.lock().unwrap().pop_front();
///         Ok(next.map(|text| Delivery::new(text.clone(), Letter(self.clone(), text))))
///     }
/// }
///
/// impl Receipt<Mail> for Letter {
///     type Error = Infallible;
///
///     async fn ack(self, _: ()) -> Result<(), Infallible> {
///         Ok(())
///     }
///
///     async fn nak(self, _: Error<String, &'static str>) -> Result<(), Infallible> {
///         self.0.0.lock().unwrap().push_back(self.1);
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Mail>::builder("mail").threads(1).build().await.unwrap();
/// let mut list = List::default();
/// list.0.lock().unwrap().push_back("to Ada".to_owned());
/// let (mut answered, mut returned) = (0, 0);
/// while !list.0.lock().unwrap().is_empty() {
///     let fed = feed(&pool, &mut list).await.unwrap();
///     answered += fed.answered;
///     returned += fed.returned;
/// }
/// assert_eq!((answered, returned), (1, 1));
/// # });
/// ```
pub trait Source<W: Worker>: Send {
    /// What is told what became of a job.
    type Receipt: Receipt<W, Error = Self::Error>;
    /// Why there is none.
    type Error: Send;

    /// Waits for a job; `None` if there will be no more.
    ///
    /// # Errors
    ///
    /// There can't be: [`feed`] then ends.
    ///
    /// # Cancel safety
    ///
    /// No job may be lost if the future is dropped.
    fn next(&mut self) -> impl Future<Output = Next<W, Self>> + Send;
}

/// What a source says when it is asked for a job.
type Next<W, S> = Result<Option<Delivery<W, <S as Source<W>>::Receipt>>, <S as Source<W>>::Error>;

/// What is told what became of a job. One that is dropped instead was told nothing, as [`feed`] was dropped: most queues deliver the job
/// again after a while.
pub trait Receipt<W: Worker>: Send {
    /// Why it can't be told.
    type Error: Send;

    /// The job was done.
    ///
    /// # Errors
    ///
    /// It can't be told: the job may be delivered again.
    fn ack(self, answer: W::Response) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The job was not done: it was discarded, came too late, failed or panicked. What was not begun comes along.
    ///
    /// # Errors
    ///
    /// It can't be told.
    fn nak(self, why: Error<W::Request, W::Error>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A job from a [`Source`].
#[derive(Debug)]
pub struct Delivery<W: Worker, R> {
    request: W::Request,
    receipt: R,
    context: Context,
    priority: Priority,
}

impl<W: Worker, R> Delivery<W, R> {
    /// Makes one of a request, and of what is told what became of it.
    pub const fn new(request: W::Request, receipt: R) -> Self {
        Self {
            request,
            receipt,
            context: Context::new(),
            priority: Priority::Normal,
        }
    }

    /// Sets the context it came with: the trace, and the deadline.
    #[must_use]
    pub const fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Sets which tasks it comes before; [`Priority::Normal`] by default.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// What came of the jobs of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fed {
    /// How many were done.
    pub answered: u64,
    /// How many were not.
    pub returned: u64,
}

/// Feeds a pool from a source until that has no more, or the pool is shut down: takes a job when it has a place, and tells the
/// receipt what became of it.
///
/// Half of the queue is left to others. Jobs wait for a place in it whatever the pool's policy is, so that none comes back because others
/// have filled it, and they wait for workers that make their states again, as after a panic. What was taken when the pool is shut down is still done if the drain has time for it, and
/// returned if not.
///
/// # Errors
///
/// The first that the source or a receipt had. No job is taken after it, and those under way are ended as others.
///
/// # Cancel safety
///
/// What is under way is cancelled, and its receipts are dropped.
pub async fn feed<W: Worker, S: Source<W>>(pool: &Pool<W>, source: &mut S) -> Result<Fed, S::Error> {
    let shared = pool.shared();
    let mut line = Line {
        flights: Flights::new(shared),
        fed: Fed::default(),
        error: None,
    };
    let closing = shared.ending.listen();
    'taking: while line.error.is_none() {
        let mut next = pin!(source.next());
        let delivery = loop {
            let event = poll_fn(|cx| {
                if let Poll::Ready((receipt, answer)) = line.flights.poll_landed(cx) {
                    return Poll::Ready(Event::Landed(receipt, answer));
                }
                if shared.ending.poll_begun(&closing, cx).is_ready() {
                    return Poll::Ready(Event::Closed);
                }
                if line.flights.has_room() {
                    return next.as_mut().poll(cx).map(Event::Delivered);
                }
                Poll::Pending
            });
            match event.await {
                Event::Landed(receipt, answer) => line.settle(receipt, answer).await,
                Event::Closed | Event::Delivered(Ok(None)) => break 'taking,
                Event::Delivered(Ok(Some(delivery))) => break delivery,
                Event::Delivered(Err(error)) => {
                    line.error = Some(error);
                    break 'taking;
                }
            }
            if line.error.is_some() {
                break 'taking;
            }
        };
        line.launch(pool, delivery).await;
    }
    while !line.flights.is_empty() {
        let (receipt, answer) = poll_fn(|cx| line.flights.poll_landed(cx)).await;
        line.settle(receipt, answer).await;
    }
    line.error.map_or(Ok(line.fed), Err)
}

enum Event<R, A, N> {
    Landed(R, A),
    Delivered(N),
    Closed,
}

/// What is under way.
struct Line<'a, W: Worker, R: Receipt<W>> {
    flights: Flights<'a, W, Request<W::Request>, R>,
    fed: Fed,
    /// The first there was.
    error: Option<R::Error>,
}

impl<'a, W: Worker, R: Receipt<W>> Line<'a, W, R> {
    async fn launch(&mut self, pool: &'a Pool<W>, delivery: Delivery<W, R>) {
        let Delivery {
            request,
            receipt,
            context,
            priority,
        } = delivery;
        let options = Options {
            priority,
            overflow: Some(Overflow::Wait),
            outlasts: true,
            is_fed: true,
            ..Options::default()
        };
        let call = Call::new(pool.shared(), Request(request)).with(options);
        let attached = context.attach();
        let answer = self.flights.launch(receipt, call);
        drop(attached);
        if let Some((receipt, answer)) = answer {
            self.settle(receipt, answer).await;
        }
    }

    async fn settle(&mut self, receipt: R, answer: Answer<W, Request<W::Request>>) {
        let told = match answer {
            Ok(answer) => {
                self.fed.answered += 1;
                receipt.ack(answer).await
            }
            Err(why) => {
                self.fed.returned += 1;
                receipt.nak(why).await
            }
        };
        if let Err(error) = told {
            self.error.get_or_insert(error);
        }
    }
}
