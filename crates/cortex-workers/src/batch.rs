use crate::block_on::block_on;
use crate::call::{Answer, Call, Options};
use crate::cancel::CancelToken;
use crate::error::Error;
use crate::flights::Flights;
use crate::job::{Closure, Request, Work};
use crate::overflow::Overflow;
use crate::pool::Pool;
use crate::priority::Priority;
use crate::task_cx::TaskCx;
use crate::worker::Worker;
use cortex_core::Deadline;
use std::fmt;
use std::future::poll_fn;
use std::iter::Map;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Many calls as one; made by [`Pool::call_batch`] and [`Pool::run_batch`].
///
/// They are offered piece by piece, so that at most half of the queue is taken by it ([`most_waiting`](Self::most_waiting)) and others
/// get their turn; what is to be done may be taken from an iterator without end. While all workers wait to make their states again, as
/// after a panic, its calls wait for them in the queue. To await it is to wait for all answers, in the order of
/// the requests; [`next`](Self::next) returns them as they come, and [`or_first_error`](Self::or_first_error) gives up at the first
/// error.
///
/// # Cancel safety
///
/// Dropping it cancels each of its calls that has no answer; what was not offered yet never is.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool, TaskCx};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("squares").threads(2).queue(8).build().await.unwrap();
/// let tasks = (0..100_u64).map(|number| move |_: &mut Closures, _: &TaskCx<'_>| number * number);
/// let squares = pool.run_batch(tasks).or_first_error().await.unwrap();
/// assert_eq!(squares[99], 9801);
/// # });
/// ```
#[must_use = "batches do nothing unless they are awaited or waited for"]
pub struct Batch<'a, W: Worker, I: Iterator<Item: Work<W>>> {
    flights: Flights<'a, W, I::Item, usize>,
    /// What is left to offer.
    works: Option<I>,
    taken: usize,
    options: Options,
    token: Option<CancelToken>,
    /// The answers that have come, by the number of the request.
    answers: Vec<Option<Answer<W, I::Item>>>,
}

/// How many requests and answers are dealt with until others on the thread of the caller get their turn.
const BUDGET: u32 = 128;

/// The requests of a batch as a pool takes them.
type Requests<W, I> = Map<I, fn(<W as Worker>::Request) -> Request<<W as Worker>::Request>>;

/// The closures of a batch as a pool takes them.
type Works<I, F> = Map<I, fn(F) -> Closure<F>>;

/// What comes next, with the number of its request.
type Landed<W, P> = Option<(usize, Answer<W, P>)>;

impl<W: Worker> Pool<W> {
    /// Asks workers many things, and answers in the same order.
    ///
    /// # Errors
    ///
    /// Each answer has its own, as [`Error`] says.
    pub fn call_batch<I>(&self, requests: I) -> Batch<'_, W, Requests<W, I::IntoIter>>
    where
        I: IntoIterator<Item = W::Request>,
    {
        Batch::new(self, requests.into_iter().map(Request))
    }

    /// Runs many closures on workers, each with the state of its own, and answers in the same order.
    ///
    /// # Errors
    ///
    /// Each answer has its own, as [`Error`] says.
    pub fn run_batch<I, F, T>(&self, closures: I) -> Batch<'_, W, Works<I::IntoIter, F>>
    where
        I: IntoIterator<Item = F>,
        F: FnOnce(&mut W, &TaskCx<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        Batch::new(self, closures.into_iter().map(Closure))
    }
}

impl<'a, W: Worker, I: Iterator<Item: Work<W>>> Batch<'a, W, I> {
    fn new(pool: &'a Pool<W>, works: I) -> Self {
        Self {
            flights: Flights::new(pool.shared()),
            answers: Vec::new(),
            works: Some(works),
            taken: 0,
            options: Options {
                outlasts: true,
                ..Options::default()
            },
            token: None,
        }
    }

    /// Sets which tasks its calls come before; [`Priority::Normal`] by default.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sets until when somebody waits for the answers; the earlier of this and the deadline of the context counts.
    pub fn deadline(mut self, deadline: Deadline) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Sets how long each task may run, counted from when a worker takes it; in place of the pool's.
    pub fn run_timeout(mut self, time: Duration) -> Self {
        self.options.run_timeout = Some(time);
        self
    }

    /// Sets what happens if the queue is full; in place of the pool's.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.options.overflow = Some(overflow);
        self
    }

    /// Has each of its calls cancelled with this token, those that were not offered yet, too; in place of one that was given before.
    pub fn cancel_with(mut self, token: &CancelToken) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// Says whose tasks they are, as [`Call::submitter`].
    pub fn submitter(mut self, number: u64) -> Self {
        self.options.submitter = Some(number);
        self
    }

    /// Sets how many of its tasks may wait for a worker at a time; half as many as the queue has places by default, and at least one.
    pub fn most_waiting(mut self, tasks: usize) -> Self {
        self.flights.limit(tasks);
        self
    }

    /// Returns the next answer that comes, with the number of its request; `None` once there are no more.
    ///
    /// # Errors
    ///
    /// Each answer has its own, as [`Error`] says.
    ///
    /// # Cancel safety
    ///
    /// No answer is lost.
    pub async fn next(&mut self) -> Landed<W, I::Item> {
        poll_fn(|cx| {
            let mut budget = BUDGET;
            self.poll_next(cx, &mut budget)
        })
        .await
    }

    /// Waits for all answers, or until there is an error: then the rest is cancelled.
    pub const fn or_first_error(self) -> TryBatch<'a, W, I> {
        TryBatch(Some(self))
    }

    /// Waits for all answers on this thread.
    ///
    /// On a thread of the same pool each call is done as by [`Call::wait`], one after the other.
    pub fn wait(self) -> Vec<Answer<W, I::Item>> {
        if self.waits_for_others() {
            return block_on(self);
        }
        in_order(self.here().collect())
    }

    /// Says whether workers do it: not on a thread of the same pool, where that could wait for itself.
    fn waits_for_others(&self) -> bool {
        !self.flights.shared().is_own_thread()
    }

    /// Waits for what is under way and does the rest here, one after the other; each with its number.
    fn here(self) -> impl Iterator<Item = (usize, Answer<W, I::Item>)> {
        let (shared, options, token) = (self.flights.shared(), self.options, self.token);
        let kept = self.answers.into_iter().enumerate();
        let kept = kept.filter_map(|(number, answer)| Some((number, answer?)));
        let offered = self
            .flights
            .into_calls()
            .map(|(number, call)| (number, call.wait()));
        let rest = (self.taken..).zip(self.works.into_iter().flatten());
        let rest = rest.map(move |(number, work)| {
            let call = Call::new(shared, work).with(options).below(token.as_ref());
            (number, call.wait())
        });
        kept.chain(offered).chain(rest)
    }

    /// Returns an answer before it offers more: what makes the requests may wait for what becomes of earlier ones.
    fn poll_next(&mut self, cx: &Context<'_>, budget: &mut u32) -> Poll<Landed<W, I::Item>> {
        loop {
            if *budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            *budget -= 1;
            if let Poll::Ready(landed) = self.flights.poll_landed(cx) {
                return Poll::Ready(Some(landed));
            }
            if self.works.is_none() && self.flights.is_empty() {
                return Poll::Ready(None);
            }
            if self.works.is_none() || !self.flights.has_room() {
                return Poll::Pending;
            }
            let Some(work) = self.works.as_mut().and_then(Iterator::next) else {
                self.works = None;
                continue;
            };
            let number = self.taken;
            self.taken += 1;
            let call = Call::new(self.flights.shared(), work);
            let call = call.with(self.options).below(self.token.as_ref());
            if let Some(answer) = self.flights.launch(number, call) {
                return Poll::Ready(Some(answer));
            }
        }
    }

    /// Keeps an answer until its turn comes.
    fn keep(&mut self, number: usize, answer: Answer<W, I::Item>) {
        if self.answers.len() <= number {
            self.answers.resize_with(number + 1, || None);
        }
        self.answers[number] = Some(answer);
    }

    /// Takes the answers, all of which are there but for those that [`next`](Self::next) has returned.
    fn take(&mut self) -> impl Iterator<Item = Answer<W, I::Item>> {
        std::mem::take(&mut self.answers).into_iter().flatten()
    }
}

/// Puts answers in the order of their requests.
fn in_order<T>(mut answers: Vec<(usize, T)>) -> Vec<T> {
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What it holds is never pinned.
impl<W: Worker, I: Iterator<Item: Work<W>>> Unpin for Batch<'_, W, I> {}

impl<W: Worker, I: Iterator<Item: Work<W>>> Future for Batch<'_, W, I> {
    type Output = Vec<Answer<W, I::Item>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut budget = BUDGET;
        loop {
            match self.poll_next(cx, &mut budget) {
                Poll::Ready(Some((number, answer))) => self.keep(number, answer),
                Poll::Ready(None) => return Poll::Ready(self.take().collect()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<W: Worker, I: Iterator<Item: Work<W>>> fmt::Debug for Batch<'_, W, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("offered", &self.taken)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A batch that gives up at the first error; made by [`Batch::or_first_error`].
///
/// # Cancel safety
///
/// As of [`Batch`].
#[must_use = "batches do nothing unless they are awaited or waited for"]
pub struct TryBatch<'a, W: Worker, I: Iterator<Item: Work<W>>>(Option<Batch<'a, W, I>>);

/// What comes of a batch that gives up at the first error.
type All<W, P> =
    Result<Vec<<P as Work<W>>::Answer>, BatchError<<P as Work<W>>::Back, <P as Work<W>>::Failure>>;

impl<W: Worker, I: Iterator<Item: Work<W>>> TryBatch<'_, W, I> {
    /// Waits for the answers on this thread, as [`Batch::wait`].
    ///
    /// # Errors
    ///
    /// The first error that came.
    pub fn wait(self) -> All<W, I::Item> {
        match self.0 {
            Some(batch) if !batch.waits_for_others() => {
                let answers = batch.here().map(|(index, answer)| match answer {
                    Ok(answer) => Ok((index, answer)),
                    Err(error) => Err(BatchError { index, error }),
                });
                answers.collect::<Result<_, _>>().map(in_order)
            }
            batch => block_on(Self(batch)),
        }
    }
}

impl<W: Worker, I: Iterator<Item: Work<W>>> Unpin for TryBatch<'_, W, I> {}

impl<W: Worker, I: Iterator<Item: Work<W>>> Future for TryBatch<'_, W, I> {
    type Output = All<W, I::Item>;

    /// # Panics
    ///
    /// It was ready before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let batch = self.0.as_mut().expect("a batch was polled after it was ready");
        let mut budget = BUDGET;
        loop {
            match batch.poll_next(cx, &mut budget) {
                Poll::Ready(Some((index, Err(error)))) => {
                    self.0 = None; // which cancels the rest
                    return Poll::Ready(Err(BatchError { index, error }));
                }
                Poll::Ready(Some((number, answer))) => batch.keep(number, answer),
                Poll::Ready(None) => {
                    let answers = batch.take().filter_map(Result::ok).collect();
                    self.0 = None;
                    return Poll::Ready(Ok(answers));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<W: Worker, I: Iterator<Item: Work<W>>> fmt::Debug for TryBatch<'_, W, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryBatch").field(&self.0).finish()
    }
}

/// The first error of a batch, and whose it was.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchError<Q, E> {
    /// The number of the request, from 0.
    pub index: usize,
    /// Why it has no answer.
    pub error: Error<Q, E>,
}

/// Without the work: few closures could be shown.
impl<Q, E: fmt::Debug> fmt::Debug for BatchError<Q, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchError")
            .field("index", &self.index)
            .field("error", &self.error)
            .finish()
    }
}

impl<Q, E: fmt::Display> fmt::Display for BatchError<Q, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (number {} of a batch)", self.error, self.index)
    }
}

impl<Q, E: std::error::Error + 'static> std::error::Error for BatchError<Q, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
