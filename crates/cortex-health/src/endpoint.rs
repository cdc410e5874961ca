use crate::health::Health;
use crate::respond::{Detail, Endpoint};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};

/// Returns a router that answers probes and readers with [`Health::respond`].
///
/// `GET` and `HEAD` of `/livez`, `/readyz`, `/startupz`, `/health`, `/health/{group}` and `/health/check/{name}`. All
/// who can reach it see as much as `detail` allows: keep [`Detail::None`] for a public listener. With `?verbose` the answer
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
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
pub fn router(health: &Health, detail: Detail) -> Router {
    let fixed = |endpoint: Endpoint<'static>| -> MethodRouter<Health> {
        get(
            move |State(health): State<Health>, RawQuery(query): RawQuery, headers: HeaderMap| async move {
                answer(&health, endpoint, query.as_deref(), &headers, detail)
            },
        )
    };
    let group = async move |State(health): State<Health>,
                            Path(name): Path<String>,
                            RawQuery(query): RawQuery,
                            headers: HeaderMap| {
        answer(
            &health,
            Endpoint::Group(&name),
            query.as_deref(),
            &headers,
            detail,
        )
    };
    let check = async move |State(health): State<Health>,
                            Path(name): Path<String>,
                            RawQuery(query): RawQuery,
                            headers: HeaderMap| {
        answer(
            &health,
            Endpoint::Check(&name),
            query.as_deref(),
            &headers,
            detail,
        )
    };
    Router::new()
        .route("/livez", fixed(Endpoint::Live))
        .route("/readyz", fixed(Endpoint::Ready))
        .route("/startupz", fixed(Endpoint::Startup))
        .route("/health", fixed(Endpoint::Health))
        .route("/health/{group}", get(group))
        .route("/health/check/{name}", get(check))
        .with_state(health.clone())
}

fn answer(
    health: &Health,
    endpoint: Endpoint<'_>,
    query: Option<&str>,
    headers: &HeaderMap,
    detail: Detail,
) -> Response {
    let mut parameters = query.unwrap_or_default().split('&');
    let response = if parameters.any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="))
    {
        health.respond_verbose(endpoint, detail)
    } else {
        health.respond(endpoint, headers, detail)
    };
    response.map(Body::from)
}
