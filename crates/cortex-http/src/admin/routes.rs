use axum::routing::get;
use cortex_health::{Detail, Health};
use cortex_metrics::{Registry, ScrapeService};

use crate::Routes;

const INDEX: &str = "/livez\n/readyz\n/startupz\n/health\n/metrics\n";

pub(crate) fn routes(health: &Health, detail: Detail, registry: Option<&Registry>) -> Routes {
    let routes = Routes::new().route("/", get(|| async { INDEX }));
    let health = cortex_health::router(health, detail);
    let scrapes = registry.map(|registry| ScrapeService::new(registry).into_router());
    let routes = routes.map(|router| router.merge(health));
    match scrapes {
        None => routes,
        Some(scrapes) => routes.map(|router| router.merge(scrapes)),
    }
}
