use axum::Router;

use super::ScrapeService;
use crate::Registry;

/// Returns a router that answers scrapes at `/metrics` with a [`ScrapeService`] as it is by default.
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
    ScrapeService::new(registry).into_router()
}

impl ScrapeService {
    /// Returns a router that answers scrapes at `/metrics`; `route_service` of any router takes the service to other
    /// paths.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Registry, ScrapeService};
    ///
    /// let service = ScrapeService::new(&Registry::default()).max_in_flight(2);
    /// let app: axum::Router = service.clone().into_router();
    /// assert!(app.has_routes());
    /// let elsewhere: axum::Router = axum::Router::new().route_service("/internal/metrics", service);
    /// assert!(elsewhere.has_routes());
    /// ```
    pub fn into_router(self) -> Router {
        Router::new().route_service("/metrics", self)
    }
}
