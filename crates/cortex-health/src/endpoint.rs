use crate::health::Health;
use crate::respond::{Detail, Endpoint};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};

/// Returns a router that answers probes and readers with [`Health::respond`].
///
/// `GET` and `HEAD` of `/livez`, `/readyz`, `/startupz`, `/health`, `/health/{group}` and `/health/check/{name}`. All
/// who can reach it see as much as `detail` allows: keep [`Detail::None`] for a public listener.
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
            move |State(health): State<Health>, headers: HeaderMap| async move {
                answer(&health, endpoint, &headers, detail)
            },
        )
    };
    let group = move |State(health): State<Health>, Path(name): Path<String>, headers: HeaderMap| async move {
        answer(&health, Endpoint::Group(&name), &headers, detail)
    };
    let check = move |State(health): State<Health>, Path(name): Path<String>, headers: HeaderMap| async move {
        answer(&health, Endpoint::Check(&name), &headers, detail)
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

fn answer(health: &Health, endpoint: Endpoint<'_>, headers: &HeaderMap, detail: Detail) -> Response {
    health.respond(endpoint, headers, detail).map(Body::from)
}
