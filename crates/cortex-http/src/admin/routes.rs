use axum::routing::get;
use cortex_health::Health;
use cortex_metrics::{RegisterError, Registry, ScrapeService};

use super::builder::Admin;
use crate::Routes;

const INDEX: &str = "/livez\n/readyz\n/startupz\n/health\n/metrics\n";

pub(crate) fn routes(
    admin: Admin,
    health: &Health,
    registry: Option<&Registry>,
) -> Result<Routes, RegisterError> {
    let routes = Routes::new().route("/", get(|| async { INDEX }));
    #[cfg(feature = "grpc")]
    let routes = if admin.grpc {
        use cortex_health::GrpcHealth;

        let path = format!("/{}/{{method}}", GrpcHealth::NAME);
        routes.map(|router| router.route_service(&path, GrpcHealth::new(health)))
    } else {
        routes
    };
    let probes = cortex_health::router(health, admin.access);
    let routes = routes.map(|router| router.merge(probes));
    Ok(match registry {
        None => routes,
        Some(registry) => {
            let scrapes = ScrapeService::new(registry).observe(registry)?.into_router();
            routes.map(|router| router.merge(scrapes))
        }
    })
}
