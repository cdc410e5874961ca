use crate::access::Access;
use crate::health::Health;
use crate::respond::Endpoint;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use cortex_core::{Clock, Context, Deadline, FutureExt};
use std::sync::Arc;
use std::time::Duration;

/// Returns a router that answers probes and readers with [`Health::respond`].
///
/// `GET` and `HEAD` of `/livez`, `/readyz`, `/startupz`, `/health`, `/health/{group}` and `/health/check/{name}`. All
/// who can reach it see as much as `access` allows, a [`Detail`](crate::Detail) or an [`Access`] with bearer tokens:
/// keep [`Detail::None`](crate::Detail::None) for a public listener.
///
/// With `?verbose` the answer is [`Health::respond_verbose`]. `/health/check/{name}?fresh` runs the check before it
/// answers, or joins the run in flight, for who has a token: after 800 ms it answers with what is known by then.
/// Without a token no request runs a check.
///
/// # Examples
///
/// ```
/// use cortex_health::{Detail, Health, router};
///
/// let health = Health::builder().build()?;
/// let app: axum::Router = router(&health, Detail::None);
/// assert!(app.has_routes());
///
/// let access = cortex_health::Access::new(Detail::Status).bearer("0123456789abcdef0123456789abcdef")?;
/// let admin: axum::Router = router(&health, access);
/// # let _ = admin;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn router(health: &Health, access: impl Into<Access>) -> Router {
    let state = (health.clone(), Arc::new(access.into()));
    let fixed = |endpoint: Endpoint<'static>| -> MethodRouter<Asked> {
        get(
            move |State(asked): State<Asked>, RawQuery(query): RawQuery, headers: HeaderMap| async move {
                answer(&asked, endpoint, query.as_deref(), &headers)
            },
        )
    };
    let group = async move |State(asked): State<Asked>,
                            Path(name): Path<String>,
                            RawQuery(query): RawQuery,
                            headers: HeaderMap| {
        answer(&asked, Endpoint::Group(&name), query.as_deref(), &headers)
    };
    let check = async move |State(asked): State<Asked>,
                            Path(name): Path<String>,
                            RawQuery(query): RawQuery,
                            headers: HeaderMap| {
        if has(query.as_deref(), "fresh") && asked.1.admits(&headers) {
            refresh(&asked.0, &name).await;
        }
        answer(&asked, Endpoint::Check(&name), query.as_deref(), &headers)
    };
    Router::new()
        .route("/livez", fixed(Endpoint::Live))
        .route("/readyz", fixed(Endpoint::Ready))
        .route("/startupz", fixed(Endpoint::Startup))
        .route("/health", fixed(Endpoint::Health))
        .route("/health/{group}", get(group))
        .route("/health/check/{name}", get(check))
        .with_state(state)
}

/// The most time that a reader waits for a run; a kubelet waits for one second.
const FRESH: Duration = Duration::from_millis(800);

/// Runs a check before it is reported. An error changes nothing: the report says what is known.
async fn refresh(health: &Health, name: &str) {
    let deadline = Deadline::after(health.shared.clock.now(), FRESH);
    let context = Context::current().with_deadline(deadline);
    let _ = health.run_now(name).with_context(context).await;
}

/// Says whether the query has a parameter of this name, with a value or without.
fn has(query: Option<&str>, name: &str) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    parameters.any(|parameter| parameter.split('=').next() == Some(name))
}

/// Who is asked, and what may be told.
type Asked = (Health, Arc<Access>);

fn answer(
    (health, access): &Asked,
    endpoint: Endpoint<'_>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let detail = access.detail(headers);
    let response = if has(query, "verbose") {
        health.respond_verbose(endpoint, detail)
    } else {
        health.respond(endpoint, headers, detail)
    };
    response.map(Body::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::respond::Detail;
    use cortex_testkit::ManualClock;
    use http::Request;
    use http::header::AUTHORIZATION;
    use tower::ServiceExt;

    #[tokio::test(start_paused = true)]
    async fn a_fresh_answer_comes_in_time_however_late_the_scheduler_is() {
        let builder = Health::builder().clock(ManualClock::new());
        let health = builder.check(Check::from_fn("db", || async {})).build().unwrap();
        health.shared.take().unwrap();
        health.shared.begin_to_answer(); // and never looks into its mailbox
        let token = "0123456789abcdef";
        let app = router(&health, Access::new(Detail::None).bearer(token).unwrap());
        let request = Request::builder()
            .uri("/health/check/db?fresh")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        let began = tokio::time::Instant::now();
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 503, "nobody has run it yet");
        let took = began.elapsed();
        assert!(
            took >= FRESH && took <= FRESH + Duration::from_millis(1),
            "{took:?}"
        );
    }
}
