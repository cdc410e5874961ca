use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use cortex_core::{Clock, Context, Deadline, FutureExt, SystemClock};
use cortex_health::{Detail, Endpoint, Health, RunNowError};
use http::header::{ACCEPT, HeaderMap};
use http::{HeaderValue, StatusCode};

use super::refusal::Refusal;
use super::rules::Caller;

/// The most time that somebody waits for a run, which goes on after that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers `POST /health/checks/{name}/run`: runs the check, or joins the run in flight, and shows what it found. The
/// status says whether it was run, the body whether it passed.
pub(super) fn run_check(health: &Health) -> MethodRouter {
    let health = health.clone();
    post(
        async move |Path(name): Path<String>, Extension(caller): Extension<Caller>| match run(
            &health, &name, &caller,
        )
        .await
        {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        },
    )
}

async fn run(health: &Health, name: &str, caller: &Caller) -> Result<Response, Refusal> {
    let context = Context::current().with_deadline(Deadline::after(SystemClock.now(), PATIENCE));
    // A name that no check has is what somebody sent, and nothing that happens.
    let told = health.snapshot().check(name).is_some();
    let mut told = told.then(|| Told::asked(name, caller));
    let ran = health.run_now(name).with_context(context).await;
    if let Some(told) = &mut told {
        told.outcome = ran.as_ref().map_or("no result", |_| "run");
    }
    drop(told);
    ran.map_err(|error| {
        let (status, detail) = match error {
            RunNowError::UnknownCheck => (StatusCode::NOT_FOUND, "there is no check of this name"),
            RunNowError::DeadlineExceeded => (
                StatusCode::GATEWAY_TIMEOUT,
                "the check has not ended within 10 s, and goes on",
            ),
            RunNowError::TooManyWaiting => {
                (StatusCode::SERVICE_UNAVAILABLE, "too many wait for runs already")
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, "the checks do not run"),
        };
        let refusal = Refusal::new(status, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            refusal.retry_after(1)
        } else {
            refusal
        }
    })?;
    let mut accept = HeaderMap::new();
    accept.insert(ACCEPT, HeaderValue::from_static("application/health+json"));
    let mut response = health.respond(Endpoint::Check(name), &accept, Detail::Full);
    *response.status_mut() = StatusCode::OK;
    Ok(response.map(Body::from))
}

/// A run in the log: that it is asked for, and what came of it, also if nobody waits for it any more.
struct Told<'a> {
    check: &'a str,
    caller: &'a Caller,
    outcome: &'static str,
}

impl<'a> Told<'a> {
    fn asked(check: &'a str, caller: &'a Caller) -> Self {
        tracing::info!(
            target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, check,
            "a run of a check is asked for"
        );
        Self {
            check,
            caller,
            outcome: "goes on",
        }
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self {
            check,
            caller,
            outcome,
        } = self;
        tracing::info!(
            target: "cortex_http::admin", actor = caller.actor(), peer = %caller.peer, check, outcome,
            "the wait for a run of a check has ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_health::Check;
    use tokio::runtime::Handle;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_the_refusal_says_for_what() {
        let hour = Duration::from_hours(1);
        let hangs = Check::from_fn("hangs", std::future::pending::<bool>)
            .timeout(hour)
            .stale_after(3 * hour);
        let health = Health::builder().check(hangs).build().unwrap();
        let caller = Caller::anybody();
        let refused = async |name: &str| run(&health, name, &caller).await.unwrap_err().status();
        assert_eq!(
            refused("hangs").await,
            StatusCode::SERVICE_UNAVAILABLE,
            "not started"
        );
        assert_eq!(refused("nobody").await, StatusCode::NOT_FOUND);
        let running = health.start(&Handle::current()).unwrap();
        let began = Instant::now();
        assert_eq!(refused("hangs").await, StatusCode::GATEWAY_TIMEOUT);
        let took = began.elapsed();
        assert!(took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
        running.stop();
    }
}
