use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cortex_health::{Detail, Health};
use cortex_metrics::{Registry, negotiate};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use crate::Routes;
use crate::problem::problem;

/// Prometheus gives a scrape 10 s; the answer that it took too long has to arrive before.
const SCRAPE_LIMIT: Duration = Duration::from_secs(5);
/// Scrapes encoded at once: two scrapers may overlap, a flood may not.
const SCRAPES: usize = 2;

const INDEX: &str = "/livez\n/readyz\n/startupz\n/health\n/metrics\n";

pub(crate) fn routes(health: &Health, detail: Detail, registry: Option<&Registry>) -> Routes {
    let routes = Routes::new().route("/", get(|| async { INDEX }));
    let health = cortex_health::router(health, detail);
    let routes = routes.map(|router| router.merge(health));
    match registry {
        None => routes,
        Some(registry) => {
            let (registry, permits) = (registry.clone(), Arc::new(Semaphore::new(SCRAPES)));
            routes.route("/metrics", get(move |headers| scrape(registry, permits, headers)))
        }
    }
}

/// Encodes on a thread of its own: a collector is somebody's code, and a probe must not wait for it.
async fn scrape(registry: Registry, permits: Arc<Semaphore>, headers: HeaderMap) -> Response {
    let busy = || {
        (
            [(RETRY_AFTER, "1")],
            problem::<Body>(StatusCode::SERVICE_UNAVAILABLE),
        )
            .into_response()
    };
    let Ok(permit) = permits.try_acquire_owned() else {
        return busy();
    };
    let format = negotiate(&headers);
    let encoding = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        registry.encode(format, &mut text);
        drop(permit); // held by the encoding itself: one that hangs goes on counting
        text
    });
    match tokio::time::timeout(SCRAPE_LIMIT, encoding).await {
        Err(_) => busy(),
        Ok(Err(_)) => problem::<Body>(StatusCode::INTERNAL_SERVER_ERROR),
        Ok(Ok(text)) => {
            let headers = [
                (CONTENT_TYPE, format.content_type()),
                (CACHE_CONTROL, "no-store"),
                (VARY, "Accept"),
            ];
            (headers, text).into_response()
        }
    }
}
