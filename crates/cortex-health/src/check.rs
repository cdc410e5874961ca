use crate::context::CheckCtx;
use crate::group::Group;
use crate::heartbeat::{Heartbeat, Pulse};
use crate::outcome::Outcome;
use crate::source::{Glance, Source};
use crate::status::Criticality;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// One thing to look at again and again, and what its failure means.
///
/// | setting | default |
/// |---|---|
/// | [`critical`](Self::critical), [`degrades`](Self::degrades) or [`informational`](Self::informational) | critical |
/// | [`groups`](Self::groups) | [`Group::READY`] |
/// | [`timeout`](Self::timeout) | 2 s |
/// | [`every`](Self::every) | 10 s, 10 % more or less |
/// | [`stale_after`](Self::stale_after) | twice the interval and the timeout |
/// | [`fall`](Self::fall), [`rise`](Self::rise) | 2, 1 |
/// | [`depends_on`](Self::depends_on) | nothing |
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Group, Health};
/// use std::time::Duration;
///
/// async fn ping() -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// let health = Health::builder()
///     .check(Check::from_fn("db", ping).groups([Group::READY, Group::STARTUP]))
///     .check(Check::blocking("nfs", || std::fs::metadata("/").map(drop)).degrades().every(Duration::from_secs(30)))
///     .build()?;
/// assert!(health.snapshot().check("nfs").is_some());
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "a check does nothing until `Builder::check` takes it"]
pub struct Check {
    pub(crate) name: Cow<'static, str>,
    pub(crate) source: Source,
    pub(crate) criticality: Criticality,
    pub(crate) groups: Vec<Group>,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
    pub(crate) depends_on: Vec<Cow<'static, str>>,
    pub(crate) always_run: bool,
    pub(crate) hold_down: bool,
}

impl Check {
    /// Makes a check of an async function, run on the application's runtime.
    ///
    /// A run that panics is a failure. One that outlasts the timeout is aborted, and there is no second run before
    /// the first is gone; the function sees the timeout as the deadline of [`Context`](cortex_core::Context).
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the timeout and at the stop of the scheduler.
    pub fn from_fn<F, Fut>(name: impl Into<Cow<'static, str>>, function: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Into<Outcome>> + Send + 'static,
    {
        Self::with_context(name, move |_| function())
    }

    /// Makes a check of an async function that wants to know about its run; else like [`from_fn`](Self::from_fn).
    pub fn with_context<F, Fut>(name: impl Into<Cow<'static, str>>, function: F) -> Self
    where
        F: Fn(CheckCtx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Into<Outcome>> + Send + 'static,
    {
        let function = Arc::new(function);
        let source = Source::Async(Arc::new(move |cx| {
            let function = Arc::clone(&function);
            Box::pin(async move { function(cx).await.into() }) // called in the task: a panic of `function` itself is caught
        }));
        Self::new(name, source)
    }

    /// Makes a check of a function that blocks, run on a thread of its own.
    ///
    /// A call that outlasts the timeout cannot be ended: it counts as failed, and it is not called again before it
    /// has returned. So a check that hangs costs one thread, for ever, and keeps no other check waiting. Threads are
    /// made when they are needed, never more than there are blocking checks, and leave after a minute without work.
    /// Their stacks have 512 KiB.
    pub fn blocking<F, O>(name: impl Into<Cow<'static, str>>, function: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Into<Outcome>,
    {
        Self::blocking_with_context(name, move |_| function())
    }

    /// Makes a check of a function that blocks and wants to know about its run; else like [`blocking`](Self::blocking).
    ///
    /// A long one looks at [`CheckCtx::is_cancelled`] between its steps, so that it does not outlive its timeout by
    /// much.
    pub fn blocking_with_context<F, O>(name: impl Into<Cow<'static, str>>, function: F) -> Self
    where
        F: Fn(&CheckCtx) -> O + Send + Sync + 'static,
        O: Into<Outcome>,
    {
        Self::new(name, Source::Blocking(Arc::new(move |cx| function(cx).into())))
    }

    /// Makes a check that fails when nobody called [`Heartbeat::beat`] for longer than `limit`.
    ///
    /// The counter is looked at every half of the limit, so a silence is seen at most that much later. A time in which the
    /// whole process was stopped does not count. It needs no runtime: it is what to put into [`Group::LIVE`].
    pub fn heartbeat(name: impl Into<Cow<'static, str>>, limit: Duration) -> (Heartbeat, Self) {
        let (heartbeat, pulse) = Pulse::new(limit);
        let check = Self::new(name, Source::Pulse(pulse)).every(limit / 2).fall(1);
        (heartbeat, check)
    }

    pub(crate) fn inline(
        name: impl Into<Cow<'static, str>>,
        function: impl Fn(Glance) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Source::Inline(Arc::new(function)))
    }

    fn new(name: impl Into<Cow<'static, str>>, source: Source) -> Self {
        Self {
            name: name.into(),
            source,
            criticality: Criticality::Critical,
            groups: vec![Group::READY],
            timeout: Duration::from_secs(2),
            interval: Duration::from_secs(10),
            stale_after: None,
            fall: 2,
            rise: 1,
            depends_on: Vec::new(),
            always_run: false,
            hold_down: false,
        }
    }

    /// Takes its groups down with it.
    pub fn critical(mut self) -> Self {
        self.criticality = Criticality::Critical;
        self
    }

    /// Degrades its groups at most.
    pub fn degrades(mut self) -> Self {
        self.criticality = Criticality::Degrades;
        self
    }

    /// Is listed and changes no group.
    pub fn informational(mut self) -> Self {
        self.criticality = Criticality::Informational;
        self
    }

    /// Belongs to these groups and no others.
    pub fn groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// Fails a run that takes longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the time from start to start. While a change is being confirmed a run starts after 2 s at most.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the age at which a result is believed no more and the status becomes
    /// [`Unknown`](crate::Status::Unknown).
    ///
    /// `build` refuses what is shorter than the time that may pass between two results where all is well: the interval, 10 %
    /// more, and the timeout.
    pub fn stale_after(mut self, limit: Duration) -> Self {
        self.stale_after = Some(limit);
        self
    }

    /// Sets how many results in a row it takes to get worse.
    pub fn fall(mut self, results: u32) -> Self {
        self.fall = results;
        self
    }

    /// Sets how many results in a row it takes to get better.
    pub fn rise(mut self, results: u32) -> Self {
        self.rise = results;
        self
    }

    /// Keeps the worst status that it had since it began to flap, until it is steady again.
    ///
    /// A check flaps when many of its last 21 results differ from the one before
    /// ([`CheckReport::is_flapping`](crate::CheckReport::is_flapping)). Without this it is only marked, and its changes
    /// are logged once. [`Group::LIVE`] is not taken down by a check that flaps, unless its last six results were failures,
    /// or its last [`fall`](Self::fall) if that is more.
    pub fn hold_down_on_flap(mut self) -> Self {
        self.hold_down = true;
        self
    }

    /// Names checks that this one needs, besides those named before: it is not run while one of them fails.
    ///
    /// It fails with them, as [`Skipped`](crate::Status::Skipped) and with the blame on the topmost that fails, however
    /// long the chain is. It runs at once when they have recovered. The first run waits for the first results of those
    /// it depends on.
    ///
    /// Whoever looks first is not blamed for that: a result that makes it worse starts those it depends on, and counts
    /// once each of them has answered, at the latest when they must have: after their [`timeout`](Self::timeout), and that
    /// of a run that was in flight already. One whose last result was a failure has answered, and is confirmed by its own
    /// next run alone. If one of them failed, also if that is not yet as often as its [`fall`](Self::fall), a check that
    /// failed is skipped for it; one that is merely degraded is not, before that is down. Else the result is its own.
    ///
    /// Those that it depends on do not run at its rate for that: one that [flaps](crate::CheckReport::is_flapping) is answered
    /// by a run of the last two seconds, and no more than eight runs in an interval are for the sake of others, in the long
    /// run. What was asked more often than that answers with its last result.
    ///
    /// In [`Group::LIVE`] it would restart the process for a failure that is not its own: `build` refuses that, unless it
    /// [always runs](Self::always_run).
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_health::{BuildErrorKind, Check, Health};
    ///
    /// let orders = || Check::from_fn("orders", || async { true }).depends_on(["db"]);
    /// let db = Check::from_fn("db", || async { true });
    /// assert!(Health::builder().check(orders()).check(db).build().is_ok());
    ///
    /// let error = Health::builder().check(orders()).build().unwrap_err();
    /// assert_eq!(error.kind(), BuildErrorKind::UnknownDependency);
    /// assert_eq!(error.to_string(), r#"accept the check "orders": it depends on a check that there is not: "db""#);
    /// ```
    pub fn depends_on(mut self, names: impl IntoIterator<Item = impl Into<Cow<'static, str>>>) -> Self {
        for name in names.into_iter().map(Into::into) {
            if !self.depends_on.contains(&name) {
                self.depends_on.push(name);
            }
        }
        self
    }

    /// Runs it even while something that it depends on fails. Its status is that of its own results; the blame for its
    /// failure is still on what it depends on, which is [asked](Self::depends_on) before it gets worse.
    pub fn always_run(mut self) -> Self {
        self.always_run = true;
        self
    }
}
