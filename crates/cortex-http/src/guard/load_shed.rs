use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cortex_resilience::load_shed::RuntimeLag;
use tokio::runtime::Handle;

use super::{Admission, AdmissionRequest, AdmissionStage, Permit, Refused};
use crate::admin::{ControlState, Controllable};

/// Refuses requests with 503 while the runtime is late: more is ready to run than its workers get done.
///
/// A task on the runtime wakes every 25 ms, and how much later than that it runs is how long everything on it waits for
/// a worker before it runs at all. That is the delay that all requests suffer and that no handler can see. It needs no
/// knowledge of what the handlers do, and is zero however many of them wait for something else. Above the bound,
/// requests are refused until a later beat was in time; one that is overdue counts as late already.
///
/// Refusing costs a small part of what most handlers do, so that those who are served are served in time. It cannot
/// help against a handler that blocks its worker: that one is to be mended.
///
/// Without the task, because the runtime has ended or has no timer, nobody knows how late anything is: it lets all in, and
/// warns of it once.
///
/// It is a [`RuntimeLag`] in front of a service: take that where calls are to be shed that are no requests.
///
/// Put a [`ConcurrencyLimit`](crate::ConcurrencyLimit) beside it where handlers wait for what has limits of its own.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::{LoadShed, Routes, Server};
/// use std::time::Duration;
/// use tokio::runtime::Handle;
///
/// let shed = LoadShed::new(&Handle::current(), Duration::from_millis(100));
/// let server = Server::new(Routes::new()).admission(shed);
/// # drop(server);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LoadShed {
    lag: RuntimeLag,
    retry_after: Duration,
    refused: AtomicU64,
    /// Somebody was told that nothing will be refused any more.
    is_told: AtomicBool,
}

impl LoadShed {
    /// Watches this runtime, which is to be the one that serves, and refuses while it is later than `max_lag`; 100 ms
    /// is a lot. The task ends when this is dropped.
    ///
    /// Without a timer in the runtime the task panics, and nothing is ever refused.
    pub fn new(runtime: &Handle, max_lag: Duration) -> Self {
        Self {
            lag: RuntimeLag::new(runtime, max_lag),
            retry_after: Duration::from_secs(1),
            refused: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        }
    }

    /// Tells those who are refused to wait so long. Default 1 s.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// Returns how many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn is_late(&self, now: Instant) -> bool {
        if let Some(lag) = self.lag.lag_at(now) {
            return lag > self.lag.max_lag();
        }
        if self.lag.has_ended() && !self.is_told.swap(true, Ordering::Relaxed) {
            warn();
        }
        false
    }
}

#[cold]
fn warn() {
    tracing::warn!(
        "the runtime that LoadShed watches has ended or has no timer: no request is refused for its lag"
    );
}

impl Admission for LoadShed {
    fn admit(&self, request: &AdmissionRequest<'_>) -> Result<Permit, Refused> {
        if self.is_late(request.received_at()) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::overloaded().retry_after(self.retry_after));
        }
        Ok(Permit::untracked())
    }

    fn stage(&self) -> AdmissionStage {
        AdmissionStage::LoadShed
    }
}

impl Controllable for LoadShed {
    fn state(&self) -> ControlState {
        let (lag, max_lag) = (self.lag.lag(), self.lag.max_lag());
        ControlState::new(match lag {
            None => "unwatched",
            Some(lag) if lag > max_lag => "shedding",
            Some(_) => "admitting",
        })
        .field("lag", lag.unwrap_or_default())
        .field("max_lag", max_lag)
        .field("refused", self.refused())
    }
}

impl fmt::Debug for LoadShed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShed")
            .field("max_lag", &self.lag.max_lag())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::advance;

    const BEAT: Duration = Duration::from_millis(25);

    fn ask(shed: &LoadShed, later: Duration) -> Result<Permit, Refused> {
        let (head, ()) = http::Request::new(()).into_parts();
        let now = tokio::time::Instant::now().into_std() + later;
        shed.admit(&AdmissionRequest::new(&head, now))
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_from_a_late_beat_until_one_that_is_in_time() {
        let max_lag = Duration::from_millis(100);
        let shed = LoadShed::new(&Handle::current(), max_lag).retry_after(Duration::from_secs(3));
        for _ in 0..5 {
            assert_eq!(ask(&shed, Duration::ZERO), Ok(Permit::untracked()));
            advance(BEAT).await;
            tokio::task::yield_now().await;
        }
        advance(BEAT + max_lag + Duration::from_millis(9)).await; // the workers were busy
        let refused = Refused::overloaded().retry_after(Duration::from_secs(3));
        assert_eq!(ask(&shed, Duration::ZERO), Err(refused));
        assert!(format!("{:?}", shed.state()).contains("shedding") && shed.refused() == 1);
        tokio::time::sleep(BEAT * 2).await;
        assert!(ask(&shed, Duration::ZERO).is_ok());
        // No beat comes at all.
        assert!(ask(&shed, max_lag).is_ok());
        assert!(ask(&shed, max_lag + BEAT * 2).is_err());
        assert_eq!(format!("{shed:?}"), "LoadShed { max_lag: 100ms, .. }");
    }

    /// Counts the events of this module.
    struct Warnings(Arc<AtomicU64>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let counts =
                *event.metadata().level() == tracing::Level::WARN && event.metadata().target() == module();
            self.0.fetch_add(u64::from(counts), Ordering::Relaxed);
        }
    }

    fn module() -> &'static str {
        module_path!().trim_end_matches("::tests")
    }

    #[test]
    fn lets_all_in_and_says_so_once_when_its_task_is_gone() {
        use tokio::runtime::Builder;
        use tracing_subscriber::layer::SubscriberExt;

        let warnings = Arc::new(AtomicU64::new(0));
        let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
        let _logging = cortex_testkit::subscribe(subscriber);
        let far = Duration::from_hours(1);
        let ended = |build: &mut Builder, is_watched: bool, before: bool| {
            let runtime = build.build().unwrap();
            let shed = LoadShed::new(runtime.handle(), Duration::from_secs(1));
            if before {
                runtime.block_on(tokio::task::yield_now());
                assert_eq!(ask(&shed, far).is_err(), is_watched);
            }
            drop(runtime);
            let said = warnings.load(Ordering::Relaxed);
            for _ in 0..3 {
                assert_eq!(ask(&shed, far), Ok(Permit::untracked()));
            }
            assert!(format!("{:?}", shed.state()).contains("unwatched"));
            warnings.load(Ordering::Relaxed) - said
        };
        assert_eq!(ended(Builder::new_current_thread().enable_all(), true, true), 1);
        assert_eq!(ended(Builder::new_current_thread().enable_all(), true, false), 1);
        // Without a timer its task panics at the first beat.
        assert_eq!(ended(&mut Builder::new_current_thread(), false, true), 0);
        assert_eq!(warnings.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_its_owner() {
        let runtime = Handle::current();
        let shed = LoadShed::new(&runtime, Duration::ZERO);
        tokio::time::sleep(BEAT * 3).await;
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);
        drop(shed);
        tokio::task::yield_now().await;
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
}
