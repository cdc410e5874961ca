use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use cortex_core::Clock;
use cortex_trace::Filter;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::blocking::Blocking;
use super::input::{Input, Term};
use super::json::Object;
use super::refusal::Refusal;
use super::rules::Caller;

/// How long a filter holds if nobody says: a service that was asked to tell everything stops by itself.
const DEFAULT: Duration = Duration::from_mins(10);
/// The longest time to set it, which makes every layer of the subscriber look at every callsite.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest filter.
const BYTES: usize = 4 << 10;

/// Shows and sets what is logged, for a time.
#[derive(Clone)]
pub(super) struct LogLevel {
    filter: Filter,
    temporary: Arc<Temporary>,
    /// One thread of its own: parts that hang keep nobody from setting the filter.
    blocking: Blocking,
}

/// The filter that is set for a time; dropping it sets the one before, should the port close first.
struct Temporary {
    filter: Filter,
    state: Mutex<State>,
    /// Who sets the filter, one at a time.
    turn: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    /// What holds after that, and from when on.
    after: Option<(String, Instant)>,
    /// Counts changes, so that the end of an earlier one ends nothing.
    changes: u64,
    /// What waits for that time; there is one.
    timer: Option<AbortHandle>,
}

impl LogLevel {
    pub(super) fn new(filter: Filter, clock: Arc<dyn Clock>) -> Self {
        Self {
            temporary: Arc::new(Temporary {
                filter: filter.clone(),
                state: Mutex::default(),
                turn: Arc::new(Semaphore::new(1)),
                clock,
            }),
            filter,
            blocking: Blocking::new(1),
        }
    }

    /// `GET /loglevel`.
    pub(super) fn reader(&self) -> MethodRouter {
        let this = self.clone();
        get(async move || this.shown())
    }

    /// `POST /loglevel`.
    pub(super) fn writer(&self) -> MethodRouter {
        let this = self.clone();
        post(async move |Extension(caller): Extension<Caller>, body: Body| {
            match this.set(&caller, body).await {
                Ok(()) => this.shown(),
                Err(refusal) => refusal.into_response(),
            }
        })
    }

    fn shown(&self) -> Response {
        let mut object = Object::new();
        object.text("filter", &self.filter.to_string());
        let state = self.temporary.state();
        if let Some((after, until)) = &state.after {
            let left = until.saturating_duration_since(self.temporary.clock.now());
            object.literal("reverts_in_seconds", left.as_secs());
            object.text("reverts_to", after);
        }
        drop(state);
        ([(CONTENT_TYPE, "application/json")], object.finish()).into_response()
    }

    async fn set(&self, caller: &Caller, body: Body) -> Result<(), Refusal> {
        let input = Input::read(body, &["filter", "for_seconds"]).await?;
        let (directives, term) = (input.text("filter")?.to_owned(), input.term()?);
        if directives.len() > BYTES {
            let detail = "the filter has more than 4096 bytes";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
        }
        let term = match term {
            Term::Default => Some(DEFAULT),
            Term::For(term) => Some(term),
            Term::Unlimited => None,
        };
        let (temporary, caller) = (Arc::clone(&self.temporary), caller.clone());
        let call = move || temporary.set(&directives, term, &caller);
        self.blocking.run(&self.temporary.turn, PATIENCE, call).await?
    }
}

impl Temporary {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a filter, for a time or for good, also if nobody waits for it any more. It may block.
    fn set(
        self: &Arc<Self>,
        directives: &str,
        term: Option<Duration>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        let old = self.filter.to_string();
        let told = tracing::enabled!(target: "cortex_http::admin", tracing::Level::INFO);
        let tell = || {
            tracing::info!(
                target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, from = old, to = directives,
                "the log filter is set"
            );
        };
        let valid = Filter::new(directives).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            let detail = format!(
                "the directive {:?} is wrong: {}",
                error.directive(),
                why.unwrap_or_default()
            );
            Refusal::new(StatusCode::BAD_REQUEST, detail)
        });
        drop(valid?);
        if told {
            tell(); // the new filter may be for nothing of that kind
        }
        self.arm(&old, term); // first: whatever becomes of this call, its filter ends
        self.filter
            .set(directives)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if !told {
            tell();
        }
        Ok(())
    }

    /// Sees to it that `old`, or what was to come after that, holds again after the time. The timer of an earlier change
    /// ends.
    fn arm(self: &Arc<Self>, old: &str, term: Option<Duration>) {
        let mut state = self.state();
        state.changes += 1;
        let timer = term.map(|term| {
            let after = state
                .after
                .take()
                .map_or_else(|| old.to_owned(), |(after, _)| after);
            state.after = Some((after, self.clock.now() + term));
            let (this, turn) = (Arc::downgrade(self), Arc::clone(&self.turn));
            tokio::spawn(Self::end_after(this, turn, term, state.changes)).abort_handle()
        });
        if timer.is_none() {
            state.after = None;
        }
        if let Some(earlier) = std::mem::replace(&mut state.timer, timer) {
            earlier.abort();
        }
    }

    async fn end_after(this: Weak<Self>, turn: Arc<Semaphore>, term: Duration, changes: u64) {
        tokio::time::sleep(term).await;
        let Ok(turn) = turn.acquire_owned().await else {
            return;
        };
        let Some(this) = this.upgrade() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            this.end(Some(changes));
            drop(turn);
        });
    }

    /// Sets the filter from before, unless there was another change.
    fn end(&self, changes: Option<u64>) {
        let mut state = self.state();
        if changes.is_some_and(|changes| changes != state.changes) {
            return;
        }
        let Some((after, _)) = state.after.take() else {
            return;
        };
        drop(state);
        match self.filter.set(&after) {
            Ok(()) => {
                tracing::info!(target: "cortex_http::admin", to = after, "the log filter is as it was before");
            }
            Err(error) => {
                tracing::error!(target: "cortex_http::admin", %error, "the log filter stays as it is");
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::SystemClock;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    fn level() -> (LogLevel, Filter) {
        let filter = Filter::new("info").expect("a filter");
        (LogLevel::new(filter.clone(), Arc::new(SystemClock)), filter)
    }

    fn minutes() -> Body {
        Body::from(r#"{"filter":"debug","for_seconds":600}"#)
    }

    #[tokio::test(start_paused = true)]
    async fn a_filter_ends_though_who_set_it_went_away() {
        let (level, filter) = level();
        let caller = Caller::anybody();
        {
            let _held = level.temporary.state(); // its thread waits for that
            let setting = pin!(level.set(&caller, minutes()));
            let first = setting.poll(&mut Context::from_waker(Waker::noop()));
            assert!(first.is_pending(), "its thread has begun");
        }
        tokio::time::sleep(Duration::from_secs(1)).await; // of paused time, which waits for threads
        assert_eq!(filter.to_string(), "debug");
        tokio::time::sleep(Duration::from_mins(10)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(filter.to_string(), "info");
    }

    #[tokio::test(start_paused = true)]
    async fn a_filter_ends_though_it_was_set_too_late_for_who_waited() {
        let (level, filter) = level();
        let (release, released) = mpsc::channel::<()>();
        let (locked, is_locked) = mpsc::channel();
        let temporary = Arc::clone(&level.temporary);
        let holder = std::thread::spawn(move || {
            let _state = temporary.state();
            locked.send(()).expect("it is waited for");
            released.recv().expect("it is released");
        });
        is_locked.recv().unwrap();
        let caller = Caller::anybody();
        let setting = async {
            let mut setting = pin!(level.set(&caller, minutes()));
            let first = poll_fn(|cx| Poll::Ready(setting.as_mut().poll(cx))).await;
            assert!(first.is_pending());
            tokio::time::advance(PATIENCE).await;
            setting.await.unwrap_err().status()
        };
        assert_eq!(setting.await, StatusCode::GATEWAY_TIMEOUT);
        release.send(()).unwrap();
        holder.join().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(filter.to_string(), "debug");
        tokio::time::sleep(Duration::from_mins(10)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(filter.to_string(), "info");
    }
}
