use crate::access::Access;
use crate::health::Health;
use crate::respond::Endpoint;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use std::sync::Arc;

/// Returns a router that answers probes and readers with [`Health::respond`].
///
/// `GET` and `HEAD` of `/livez`, `/readyz`, `/startupz`, `/health`, `/health/{group}` and `/health/check/{name}`. All
/// who can reach it see as much as `access` allows, a [`Detail`](crate::Detail) or an [`Access`] with bearer tokens: keep
/// [`Detail::None`](crate::Detail::None) for a public listener. With `?verbose` the answer
/// is [`Health::respond_verbose`].
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

/// Who is asked, and what may be told.
type Asked = (Health, Arc<Access>);

fn answer(
    (health, access): &Asked,
    endpoint: Endpoint<'_>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let detail = access.detail(headers);
    let mut parameters = query.unwrap_or_default().split('&');
    let response = if parameters.any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="))
    {
        health.respond_verbose(endpoint, detail)
    } else {
        health.respond(endpoint, headers, detail)
    };
    response.map(Body::from)
}
