use std::future::ready;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::{Registry, negotiate};

/// Returns a router that answers scrapes at `/metrics`, in the format that the scraper prefers.
///
/// It answers `GET` and `HEAD`, and anything else with 405. Answers are made on the spot and must not be stored by
/// anybody on the way.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, router};
///
/// let registry = Registry::default();
/// let app: axum::Router = router(&registry);
/// assert!(app.has_routes());
/// ```
pub fn router(registry: &Registry) -> Router {
    let registry = registry.clone();
    let scrape = move |headers: HeaderMap| ready(answer(&registry, &headers));
    Router::new().route("/metrics", get(scrape))
}

fn answer(registry: &Registry, headers: &HeaderMap) -> impl IntoResponse + use<> {
    let format = negotiate(headers);
    let mut text = Vec::new();
    registry.encode(format, &mut text);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.content_type())),
        (CONTENT_LENGTH, HeaderValue::from(text.len())),
        (VARY, HeaderValue::from_static("accept")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, text)
}
