use axum::routing::get;
use cortex_health::{Access, Health};
use cortex_metrics::{RegisterError, Registry, ScrapeService};

use crate::Routes;

const INDEX: &str = "/livez\n/readyz\n/startupz\n/health\n/metrics\n";

pub(crate) fn routes(
    health: &Health,
    access: Access,
    registry: Option<&Registry>,
) -> Result<Routes, RegisterError> {
    let routes = Routes::new().route("/", get(|| async { INDEX }));
    let health = cortex_health::router(health, access);
    let routes = routes.map(|router| router.merge(health));
    Ok(match registry {
        None => routes,
        Some(registry) => {
            let scrapes = ScrapeService::new(registry).observe(registry)?.into_router();
            routes.map(|router| router.merge(scrapes))
        }
    })
}
