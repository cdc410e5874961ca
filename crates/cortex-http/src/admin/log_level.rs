use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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
    blocking: Blocking,
    turn: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// The filter that is set for a time; dropping it sets the one before, should the port close first.
struct Temporary {
    filter: Filter,
    state: Mutex<State>,
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
    pub(super) fn new(filter: Filter, blocking: Blocking, clock: Arc<dyn Clock>) -> Self {
        Self {
            temporary: Arc::new(Temporary {
                filter: filter.clone(),
                state: Mutex::default(),
            }),
            filter,
            blocking,
            turn: Arc::new(Semaphore::new(1)),
            clock,
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
            let left = until.saturating_duration_since(self.clock.now());
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
        let until = term.map(|term| self.clock.now() + term);
        let (temporary, caller) = (Arc::clone(&self.temporary), caller.clone());
        let call = move || temporary.set(&directives, until, &caller);
        let changes = self.blocking.run(&self.turn, PATIENCE, call).await??;
        if let Some(term) = term {
            let (temporary, turn) = (Arc::downgrade(&self.temporary), Arc::clone(&self.turn));
            let timer = tokio::spawn(async move {
                tokio::time::sleep(term).await;
                let Ok(turn) = turn.acquire_owned().await else {
                    return;
                };
                let Some(temporary) = temporary.upgrade() else {
                    return;
                };
                tokio::task::spawn_blocking(move || {
                    temporary.end(Some(changes));
                    drop(turn);
                });
            });
            if let Some(earlier) = self.temporary.state().timer.replace(timer.abort_handle()) {
                earlier.abort();
            }
        }
        Ok(())
    }
}

impl Temporary {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a filter, until a time or for good; returns the number of the change.
    fn set(&self, directives: &str, until: Option<Instant>, caller: &Caller) -> Result<u64, Refusal> {
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
        self.filter
            .set(directives)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        if !told {
            tell();
        }
        let mut state = self.state();
        state.changes += 1;
        state.after = until.map(|until| {
            let after = state.after.take().map_or(old, |(after, _)| after);
            (after, until)
        });
        Ok(state.changes)
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
