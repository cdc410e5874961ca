use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{MethodRouter, get};
use cortex_health::{Detail, Endpoint, Health};
use cortex_metrics::ScrapeService;

use super::builder::Admin;
use super::controls::ControlEndpoints;
use super::drain::DrainSwitch;
use super::gate::{only, only_but};
use super::index::index;
use super::rules::{Class, Rules};
use super::run_check::run_check;

/// What the listeners of the port tell everybody.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/startupz"];

/// What the listeners of the port serve: who made them and what they show.
pub(super) struct Parts<'a> {
    pub(super) health: &'a Health,
    pub(super) scrapes: Option<ScrapeService>,
    pub(super) drain: DrainSwitch,
}

/// Returns all that the port serves.
///
/// Probes, and what answers 404 and 405, are for everybody, and on loopback what shows states and metrics; all else says
/// here whom it is for.
pub(super) fn admin_routes(admin: &Admin, parts: &Parts<'_>, rules: &Arc<Rules>) -> Router {
    let mut all = Endpoints::new();
    let access = admin.access.clone().and_tokens_of(&admin.operators);
    let health = if rules.loopback {
        cortex_health::router(parts.health, access)
    } else {
        // Probes say whether it passes; what else they could say takes a token here.
        let router = cortex_health::router(parts.health, access.at_most(Detail::None));
        only_but(&PROBES, rules, Class::Read, router)
    };
    all.router = all.router.merge(health);
    all.listed.extend(PROBES);
    all.listed
        .extend(["/health", "/health/{group}", "/health/check/{name}"]);
    let run = only(rules, Class::Act, run_check(parts.health));
    all.add("/health/checks/{name}/run", "POST /health/checks/{name}/run", run);
    all.scrapes(parts.scrapes.clone(), |router| {
        if rules.loopback {
            router
        } else {
            only_but(&[], rules, Class::Read, router)
        }
    });
    if let Some(controls) = &admin.controls {
        let controls = ControlEndpoints::new(controls.clone());
        all.add(
            "/controls",
            "/controls",
            only(rules, Class::Read, controls.list()),
        );
        let one = only(rules, Class::Read, controls.one());
        all.add("/controls/{kind}/{name}", "/controls/{kind}/{name}", one);
        let (path, act) = (
            "/controls/{kind}/{name}/{action}",
            only(rules, Class::Act, controls.action()),
        );
        all.add(path, "POST /controls/{kind}/{name}/{action}", act);
    }
    #[cfg(feature = "logs")]
    if let Some(filter) = &admin.log_filter {
        let level = super::log_level::LogLevel::new(filter.clone(), Arc::clone(&rules.clock));
        let methods = only(rules, Class::Read, level.reader()).merge(only(rules, Class::Act, level.writer()));
        all.add("/loglevel", "/loglevel", methods);
    }
    let drain = only(rules, Class::Act, parts.drain.clone().endpoint());
    all.add("/drain", "POST /drain", drain);
    #[cfg(feature = "grpc")]
    if admin.grpc {
        all.grpc(parts.health);
    }
    all.finish()
}

/// Returns what the listener for probes serves: whether the process passes, and nothing about why.
pub(super) fn probe_routes(admin: &Admin, parts: &Parts<'_>) -> Router {
    let mut all = Endpoints::new();
    for (path, endpoint) in [
        ("/livez", Endpoint::Live),
        ("/readyz", Endpoint::Ready),
        ("/startupz", Endpoint::Startup),
    ] {
        let health = parts.health.clone();
        let answer = async move |State(health): State<Health>, headers: HeaderMap| {
            health
                .respond(endpoint, &headers, Detail::None)
                .map(axum::body::Body::from)
        };
        all.add(path, path, get(answer).with_state(health));
    }
    if admin.probe_metrics {
        all.scrapes(parts.scrapes.clone(), |router| router);
    }
    #[cfg(feature = "grpc")]
    if admin.grpc {
        all.grpc(parts.health);
    }
    all.finish()
}

struct Endpoints {
    router: Router,
    /// As the index lists them.
    listed: Vec<&'static str>,
}

impl Endpoints {
    fn new() -> Self {
        Self {
            router: Router::new(),
            listed: Vec::new(),
        }
    }

    fn add(&mut self, path: &str, listed: &'static str, methods: MethodRouter) {
        self.router = std::mem::take(&mut self.router).route(path, methods);
        self.listed.push(listed);
    }

    fn scrapes(&mut self, scrapes: Option<ScrapeService>, guard: impl FnOnce(Router) -> Router) {
        if let Some(scrapes) = scrapes {
            self.router = std::mem::take(&mut self.router).merge(guard(scrapes.into_router()));
            self.listed.push("/metrics");
        }
    }

    #[cfg(feature = "grpc")]
    fn grpc(&mut self, health: &Health) {
        use cortex_health::GrpcHealth;

        let path = format!("/{}/{{method}}", GrpcHealth::NAME);
        self.router = std::mem::take(&mut self.router).route_service(&path, GrpcHealth::new(health));
    }

    fn finish(self) -> Router {
        self.router.route("/", index(&self.listed))
    }
}
