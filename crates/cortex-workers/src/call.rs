use crate::adaptive::Adaptive;
use crate::block_on::block_on;
use crate::cancel::{self, CancelToken, Underway};
use crate::error::{Error, Stage};
use crate::event::Event;
use crate::hub::{Offered, Task};
use crate::job::{Entry, Job, Unstarted, Work, drop_quietly};
use crate::overflow::Overflow;
use crate::priority::Priority;
use crate::shared::Shared;
use crate::span::TaskSpan;
use crate::stop::Stop;
use crate::ticket::{NEVER, Phase, Ticket, Turnstile, later};
use crate::worker::Worker;
use cortex_core::{Context, Deadline};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// A call to a worker; made by [`Pool::call`](crate::Pool::call) and [`Pool::run`](crate::Pool::run).
///
/// It is offered to the pool at its first poll, by [`wait`](Self::wait) or by [`detach`](Self::detach). The caller's
/// [`Context`] at that moment is attached while the task runs, and its deadline counts as that of the call.
///
/// # Cancel safety
///
/// Dropping it cancels the task: one that waits never runs and makes room at once, one that runs is told so
/// ([`TaskCx::check`](crate::TaskCx::check)), and its answer is dropped. So does a [`CancelToken`], also from elsewhere.
#[must_use = "calls do nothing unless they are awaited, waited for or detached"]
pub struct Call<'a, W: Worker, P: Work<W>> {
    shared: Link<'a, W>,
    stage: At<W, P>,
    pub(crate) options: Options,
    turnstile: Option<Arc<Turnstile>>,
    pub(crate) token: Option<CancelToken>,
}

enum Link<'a, W: Worker> {
    Borrowed(&'a Arc<Shared<W>>),
    Owned(Arc<Shared<W>>),
}

enum At<W, P: Work<W>> {
    New(P),
    Sent(Arc<Job<W, P>>),
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) overflow: Option<Overflow>,
    pub(crate) submitter: Option<u64>,
    /// Where it comes from, if that may have it run on the thread of the caller.
    pub(crate) site: Option<&'static Adaptive>,
    /// It waits in the queue also while all workers wait to make their states again.
    pub(crate) outlasts: bool,
    /// It came from a source, which hears what becomes of it.
    pub(crate) is_fed: bool,
}

pub(crate) type Answer<W, P> =
    Result<<P as Work<W>>::Answer, Error<<P as Work<W>>::Back, <P as Work<W>>::Failure>>;

impl<'a, W: Worker, P: Work<W>> Call<'a, W, P> {
    pub(crate) const fn new(shared: &'a Arc<Shared<W>>, work: P) -> Self {
        Self {
            shared: Link::Borrowed(shared),
            stage: At::New(work),
            options: Options {
                priority: Priority::Normal,
                deadline: None,
                run_timeout: None,
                overflow: None,
                submitter: None,
                site: None,
                outlasts: false,
                is_fed: false,
            },
            turnstile: None,
            token: None,
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared<W>> {
        self.shared.shared()
    }

    pub(crate) const fn with(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Has it counted when a worker takes it.
    pub(crate) fn counted(mut self, turnstile: &Arc<Turnstile>) -> Self {
        self.turnstile = Some(Arc::clone(turnstile));
        self
    }

    /// Has it cancelled with this token, if there is one.
    pub(crate) fn below(mut self, token: Option<&CancelToken>) -> Self {
        self.token = token.cloned();
        self
    }

    /// Returns what is to be done, if it was not offered yet.
    #[cfg(feature = "rayon")]
    pub(crate) const fn work(&mut self) -> Option<&mut P> {
        match &mut self.stage {
            At::New(work) => Some(work),
            At::Sent(_) | At::Over => None,
        }
    }

    /// Says whether it was offered, and no worker has taken it yet.
    pub(crate) fn is_waiting(&self) -> bool {
        let At::Sent(job) = &self.stage else {
            return false;
        };
        matches!(job.ticket().phase(), Phase::Outside | Phase::Queued)
    }

    /// Sets which tasks it comes before; [`Priority::Normal`] by default.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Sets until when somebody waits for the answer; the earlier of this and the deadline of the context counts.
    pub fn deadline(mut self, deadline: Deadline) -> Self {
        self.options.deadline = Some(deadline);
        self
    }

    /// Sets how long it may run, counted from when a worker takes it; in place of the pool's.
    pub fn run_timeout(mut self, time: Duration) -> Self {
        self.options.run_timeout = Some(time);
        self
    }

    /// Sets what happens if the queue is full; in place of the pool's.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.options.overflow = Some(overflow);
        self
    }

    /// Has it cancelled with this token, also once it is detached; in place of one that was given before. What was not begun comes back
    /// with [`Error::Cancelled`] to whoever awaits it.
    pub fn cancel_with(self, token: &CancelToken) -> Self {
        self.below(Some(token))
    }

    /// Says whose task it is, by any number: that of a tenant, or of a connection. Whoever has much in the queue delays
    /// others by one task at a time then, and leaves places to them.
    ///
    /// Among the tasks of a priority submitters get their turns, one task each, in the queue and where calls wait for a
    /// place; all that are not named are one together. No submitter that is named has more of a priority in the queue
    /// than there are places free: one alone fills half of it, a second one half of the rest, and so on. When that is
    /// reached it is for this one as if the queue were full; with [`Overflow::DropOldest`] it gives up its own oldest
    /// one.
    pub fn submitter(mut self, number: u64) -> Self {
        self.options.submitter = Some(number);
        self
    }

    /// Returns the same call with a handle of its own on the pool, as a task that is spawned needs.
    pub fn owned(mut self) -> Call<'static, W, P> {
        let shared = Arc::clone(self.shared.shared());
        let stage = std::mem::replace(&mut self.stage, At::Over);
        Call {
            shared: Link::Owned(shared),
            stage,
            options: self.options,
            turnstile: self.turnstile.take(),
            token: self.token.take(),
        }
    }

    /// Waits for the answer on this thread.
    ///
    /// # Errors
    ///
    /// As a call that is awaited, and [`Error::WouldDeadlock`] on a thread of the same pool: all of them could wait for one another.
    ///
    /// There, a closure of a pool without state runs at once, as it does in any caller who finds the queue full under
    /// [`Overflow::CallerRuns`]. A call that was polled before and still waits is taken back for that, and counts as cancelled. What runs
    /// here sees in [`TaskCx::check`](crate::TaskCx::check) that its time is over, and the answer of one that is late is that error; the
    /// end of the pool does not stop it.
    pub fn wait(mut self) -> Answer<W, P> {
        let shared = self.shared.shared();
        let is_own = shared.is_own_thread();
        let runs_here =
            is_own || self.options.overflow.unwrap_or(shared.settings.overflow) == Overflow::CallerRuns;
        if !runs_here {
            return block_on(self);
        }
        let work = match std::mem::replace(&mut self.stage, At::Over) {
            At::New(work) => work,
            At::Sent(job) => {
                let work = if is_own { self.take_back(&job) } else { None };
                let Some(work) = work else {
                    self.stage = At::Sent(job);
                    return block_on(self);
                };
                work
            }
            At::Over => return block_on(self), // which panics
        };
        match W::stateless() {
            Some(state) if is_own => self.run_here(state, work, TaskSpan::default()),
            None if is_own => Err(Error::WouldDeadlock(work.back())),
            None => {
                self.stage = At::New(work);
                block_on(self)
            }
            Some(state) => match self.send(work, None, How::OR_HERE, TaskSpan::default()) {
                Sent::Here(work, span) => self.run_here(state, work, span),
                Sent::Over(answer) => back(answer),
                Sent::In(job) => {
                    self.stage = At::Sent(job);
                    block_on(self)
                }
            },
        }
    }

    /// Has the task done without waiting for the answer; it ends on its own. It never waits for a place in the queue.
    ///
    /// # Errors
    ///
    /// It was not accepted.
    pub fn detach(mut self) -> Result<(), Error<P::Back, P::Failure>> {
        let work = match std::mem::replace(&mut self.stage, At::Over) {
            At::New(work) => work,
            At::Sent(job) => {
                job.detach(); // it was offered, and goes on
                return Ok(());
            }
            At::Over => return Ok(()),
        };
        match self.send(work, None, How::DETACHED, TaskSpan::default()) {
            Sent::In(_) => Ok(()),
            Sent::Over(answer) => back(answer).map(drop),
            Sent::Here(..) => unreachable!("only whoever waits does it"),
        }
    }

    /// Runs the task on this thread; it may have a span already.
    fn run_here(&self, state: W, work: P, span: TaskSpan) -> Answer<W, P> {
        match self.ticket() {
            Ok(mut ticket) => {
                ticket.span = self.span_or(span);
                self.run_now(ticket, state, work)
            }
            Err(late) => {
                span.end_unstarted(not_offered(matches!(late, Error::Cancelled { .. })));
                Err(late.map_work(|()| work.back()))
            }
        }
    }

    /// Offers it, or runs it on this thread if that is better; the answer, if it is there.
    fn begin(&mut self, work: P, cx: &mut task::Context<'_>) -> Poll<Answer<W, P>> {
        if let Some(site) = self.options.site
            && self.shared().hub.is_open()
            && let Some(state) = W::stateless()
        {
            let mut ticket = match self.ticket() {
                Ok(ticket) => ticket,
                Err(late) => return Poll::Ready(Err(late.map_work(|()| work.back()))),
            };
            if site.decide(ticket.submitted) {
                #[cfg(feature = "tokio")]
                match tokio::task::coop::poll_proceed(cx) {
                    Poll::Ready(budget) => budget.made_progress(),
                    Poll::Pending => {
                        self.stage = At::New(work);
                        return Poll::Pending;
                    }
                }
                ticket.span = self.span_or(TaskSpan::default());
                return Poll::Ready(self.run_now(ticket, state, work));
            }
        }
        // Whoever looks for the answer once the task is offered has no need to be woken for one that is there; only a
        // turnstile rings before that.
        let waker = self.turnstile.is_some().then(|| cx.waker().clone());
        #[cfg(feature = "tokio")]
        let sent = if self.options.overflow.unwrap_or(self.shared().settings.overflow) == Overflow::CallerRuns
            && let Some(state) = W::stateless()
        {
            match self.send(work, waker.clone(), How::OR_HERE, TaskSpan::default()) {
                Sent::Here(work, span) => {
                    let run = |(work, span)| self.run_here(state, work, span);
                    match crate::inline::in_place((work, span), run) {
                        Ok(answer) => return Poll::Ready(answer),
                        Err((work, span)) => self.send(work, waker, How::AWAITED, span),
                    }
                }
                sent => sent,
            }
        } else {
            self.send(work, waker, How::AWAITED, TaskSpan::default())
        };
        #[cfg(not(feature = "tokio"))]
        let sent = self.send(work, waker, How::AWAITED, TaskSpan::default());
        match sent {
            Sent::Over(answer) => Poll::Ready(back(answer)),
            Sent::Here(..) => unreachable!("only whoever waits does it"),
            Sent::In(job) => {
                self.stage = At::Sent(job);
                if self.turnstile.is_some() {
                    return Poll::Pending; // it rings, after those before it
                }
                self.look(cx)
            }
        }
    }

    /// Takes the answer, if it is there; if not, the caller is woken once it is.
    fn look(&mut self, cx: &task::Context<'_>) -> Poll<Answer<W, P>> {
        let At::Sent(job) = &self.stage else {
            panic!("a call was polled after it was ready");
        };
        let polled = job.poll(cx); // a waker may panic: then the call is cancelled with what holds it
        if polled.is_ready() {
            self.stage = At::Over;
        }
        polled.map(back)
    }

    /// Takes back what is to be done of a task that no worker has taken.
    fn take_back(&self, job: &Arc<Job<W, P>>) -> Option<P> {
        if self.withdraw(job) { job.take_back() } else { None }
    }

    /// Takes a task out of the queue; says whether that was in time.
    fn withdraw(&self, job: &Arc<Job<W, P>>) -> bool {
        let shared = self.shared.shared();
        let Some(stage) = cancel::withdraw(&shared.hub, job, |after| shared.handle(after)) else {
            return false;
        };
        let why = Unstarted::Cancelled(stage);
        shared.tell(|| Event::of_unstarted(why, job.ticket(), shared.clock.nanos()));
        true
    }

    /// Has a task that was offered cancelled with its token, or now.
    fn enrol(&self, job: &Arc<Job<W, P>>) {
        if let Some(token) = &self.token {
            match token.enrol(Box::new(Underway::new(self.shared.shared(), job))) {
                Ok(enrolment) => job.enrolled(enrolment),
                Err(late) => late.cancel(),
            }
        }
    }

    /// Makes the ticket of a task that is offered now.
    fn ticket(&self) -> Result<Ticket, Error<(), P::Failure>> {
        let shared = self.shared.shared();
        let options = &self.options;
        let now = shared.clock.nanos();
        let context = Context::current();
        let mut ticket = Ticket::new(options.priority, context, now);
        let deadlines = [options.deadline, context.deadline()];
        ticket.deadline = deadlines
            .into_iter()
            .flatten()
            .map(Deadline::nanos)
            .min()
            .unwrap_or(NEVER);
        let (stage, work) = (Stage::Submitting, Some(()));
        let is_cancelled = self.token.as_ref().is_some_and(CancelToken::is_cancelled);
        if is_cancelled || ticket.deadline <= now {
            self.refused(&ticket, is_cancelled);
            return Err(if is_cancelled {
                Error::Cancelled { stage, work }
            } else {
                Error::Deadline { stage, work }
            });
        }
        ticket.submitter = options.submitter;
        ticket.site = options.site;
        ticket.outlasts = options.outlasts;
        ticket.is_fed = options.is_fed;
        ticket.run_timeout = options.run_timeout.or(shared.settings.run_timeout);
        Ok(ticket)
    }

    /// Takes note of a task that is not offered, as it comes too late, or was cancelled before.
    pub(crate) fn refused(&self, ticket: &Ticket, is_cancelled: bool) {
        let shared = self.shared.shared();
        shared.hub.refused(is_cancelled);
        let why = not_offered(is_cancelled);
        ticket.span.end_unstarted(why);
        shared.tell(|| Event::of_unstarted(why, ticket, ticket.submitted));
    }

    /// Begins the span of the task, if it is to have one and does not have it.
    fn span_or(&self, span: TaskSpan) -> TaskSpan {
        let shared = self.shared.shared();
        if !span.is_none() {
            span
        } else if shared.settings.is_traced {
            TaskSpan::begin(&shared.name, self.options.priority)
        } else {
            TaskSpan::default()
        }
    }

    /// Offers the task; it may have a span already.
    fn send(&self, work: P, waker: Option<Waker>, how: How, span: TaskSpan) -> Sent<W, P> {
        let shared = self.shared.shared();
        let mut ticket = match self.ticket() {
            Ok(ticket) => ticket,
            Err(late) => {
                span.end_unstarted(not_offered(matches!(late, Error::Cancelled { .. })));
                return Sent::Over(Err(late.map_work(|()| work)));
            }
        };
        let overflow = self.options.overflow.unwrap_or(shared.settings.overflow);
        ticket.turnstile.clone_from(&self.turnstile);
        ticket.span = self.span_or(span);
        if let Overflow::Timeout(patience) = overflow {
            ticket.patience = later(ticket.submitted, patience);
        }
        let may_wait = how.may_wait
            && !shared.is_own_thread() // it would hold up those that make room
            && matches!(overflow, Overflow::Wait | Overflow::Timeout(_) | Overflow::CallerRuns);
        let job = Arc::new(Job::new(ticket, work, waker, how.is_awaited));
        let task: Task<W> = Arc::clone(&job) as Task<W>;
        let (offered, after) = if how.or_here {
            shared.hub.offer_or_run(task)
        } else {
            shared.hub.offer(task, overflow, may_wait)
        };
        shared.handle(after);
        match offered {
            Offered::In | Offered::Waits => {
                self.enrol(&job);
                Sent::In(job)
            }
            Offered::Refused(Unstarted::Full) if how.or_here => {
                let span = job.ticket().span.hand_on();
                job.take_back()
                    .map_or_else(|| unreachable!("it was not begun"), |work| Sent::Here(work, span))
            }
            Offered::Refused(why) => {
                let ticket = job.ticket();
                shared.tell(|| Event::of_unstarted(why, ticket, ticket.submitted));
                job.keep(); // also where nobody awaits it: the work comes back
                job.end(why);
                job.answer()
                    .map_or_else(|| unreachable!("it was ended"), Sent::Over)
            }
        }
    }

    fn cancel(&self, job: &Arc<Job<W, P>>) {
        if self.withdraw(job) {
            job.leave();
            return;
        }
        let (shared, ticket) = (self.shared.shared(), job.ticket());
        ticket.tell(Stop::Cancelled);
        if job.leave() && ticket.stop().is_some() {
            let time = shared.hub.told(ticket, shared.clock.nanos());
            shared.arm(time);
        }
    }
}

/// Says why a task is not offered: it was cancelled before, or comes too late.
const fn not_offered(is_cancelled: bool) -> Unstarted {
    if is_cancelled {
        Unstarted::Cancelled(Stage::Submitting)
    } else {
        Unstarted::Deadline(Stage::Submitting)
    }
}

/// How a task is offered.
#[derive(Clone, Copy)]
struct How {
    may_wait: bool,
    is_awaited: bool,
    /// Where there is no place for it the caller does it.
    or_here: bool,
}

impl How {
    const AWAITED: Self = Self {
        may_wait: true,
        is_awaited: true,
        or_here: false,
    };
    const OR_HERE: Self = Self {
        may_wait: false,
        is_awaited: true,
        or_here: true,
    };
    const DETACHED: Self = Self {
        may_wait: false,
        is_awaited: false,
        or_here: false,
    };
}

enum Sent<W: Worker, P: Work<W>> {
    In(Arc<Job<W, P>>),
    Over(Raw<W, P>),
    /// There is no place for it, and the caller does it.
    Here(P, TaskSpan),
}

/// An answer with the work as it was offered.
type Raw<W, P> = Result<<P as Work<W>>::Answer, Error<P, <P as Work<W>>::Failure>>;

fn back<W, P: Work<W>>(answer: Raw<W, P>) -> Answer<W, P> {
    answer.map_err(|error| error.map_work(P::back))
}

impl<W: Worker> Link<'_, W> {
    const fn shared(&self) -> &Arc<Shared<W>> {
        match self {
            Self::Borrowed(shared) => shared,
            Self::Owned(shared) => shared,
        }
    }
}

/// What it holds is never pinned.
impl<W: Worker, P: Work<W>> Unpin for Call<'_, W, P> {}

impl<W: Worker, P: Work<W>> Future for Call<'_, W, P> {
    type Output = Answer<W, P>;

    /// # Panics
    ///
    /// It was ready before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.stage, At::Over) {
            At::New(work) => self.begin(work, cx),
            sent => {
                self.stage = sent;
                self.look(cx)
            }
        }
    }
}

impl<W: Worker, P: Work<W>> Drop for Call<'_, W, P> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.stage, At::Over) {
            At::Sent(job) => {
                self.cancel(&job);
                drop_quietly(job);
            }
            At::New(_) | At::Over => {}
        }
    }
}

impl<W: Worker, P: Work<W>> fmt::Debug for Call<'_, W, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            At::New(_) => "new",
            At::Sent(_) => "sent",
            At::Over => "over",
        };
        f.debug_struct("Call")
            .field("pool", &self.shared.shared().name)
            .field("stage", &stage)
            .field("options", &self.options)
            .finish()
    }
}
