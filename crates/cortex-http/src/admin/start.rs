use std::sync::Arc;
use std::time::Duration;

use cortex_core::Clock;
use cortex_health::Health;
use cortex_metrics::{RegisterError, Registry, ScrapeService};
use cortex_trace::Tracer;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY};

use super::builder::Admin;
use super::drain::DrainSwitch;
use super::guesses::Guesses;
use super::input::BODY_BYTES;
use super::listener::{Listener, Served};
use super::metrics::AdminMetrics;
use super::routes::{Parts, admin_routes, probe_routes};
use super::rules::Rules;
use super::thread::AdminThread;
use crate::access::AccessLog;
use crate::error::Error;
use crate::guard::SecurityHeaders;
use crate::limits::Limits;
use crate::routes::Routes;
use crate::shared::Shared;

/// Opens the port and serves it on a thread of its own.
///
/// # Errors
///
/// It cannot be listened on, others than this machine could reach it and nobody has a token, the thread cannot be started,
/// or, as `taken` makes of it, the metrics of the endpoint are registered already.
pub(crate) fn start(
    admin: &Admin,
    health: &Health,
    registry: Option<&Registry>,
    clock: &Arc<dyn Clock>,
    taken: impl Fn(&RegisterError) -> Error,
) -> Result<AdminThread, Error> {
    let listener = Listener::bind(&admin.addr)?;
    if !listener.is_loopback() && !admin.operators.has_tokens() && !admin.access.has_tokens() {
        return Err(Error::open_admin(listener.addr));
    }
    let probes = admin.probes.as_deref().map(Listener::bind).transpose()?;
    let scrapes = match registry {
        None => None,
        Some(registry) => {
            let scrapes = ScrapeService::new(registry).observe(registry);
            Some(scrapes.map_err(|error| taken(&error))?)
        }
    };
    let metrics = registry.map(AdminMetrics::register).transpose();
    let metrics = metrics.map_err(|error| taken(&error))?;
    let parts = Parts {
        health,
        scrapes,
        drain: DrainSwitch::default(),
    };
    let [guesses, noticed] = [(); 2].map(|()| Arc::new(Guesses::default()));
    let rules = |listener: &Listener| {
        Arc::new(Rules {
            hosts: admin.hosts.clone(),
            viewers: admin.access.clone(),
            operators: admin.operators.clone(),
            loopback: listener.is_loopback(),
            guesses: Arc::clone(&guesses),
            noticed: Arc::clone(&noticed),
            clock: Arc::clone(clock),
            metrics: metrics.clone(),
        })
    };
    let admin_rules = rules(&listener);
    let served = Served {
        app: admin_routes(admin, &parts, &admin_rules),
        rules: admin_rules,
    };
    let probes = probes.map(|listener| {
        let served = Served {
            app: probe_routes(admin, &parts),
            rules: rules(&listener),
        };
        (listener, served)
    });
    let limits = limits().checked()?;
    let (_, table) = Routes::new().into_parts();
    let mut shared = Shared::new(
        table,
        limits,
        Tracer::propagate_only(),
        AccessLog::off(),
        Arc::clone(clock),
    );
    shared.guards.security = Some(for_browsers());
    AdminThread::start((listener, served), probes, parts.drain, shared)
}

/// What one client of the port may cost. How many there may be is the listener's business.
fn limits() -> Limits {
    Limits::new()
        .header_bytes(16 << 10)
        .body_bytes(BODY_BYTES as u64)
        .body(Duration::from_secs(5))
        .write_stall(Duration::from_secs(10))
        .streams(32)
}

/// What keeps a browser from showing, running, keeping or passing on what it was made to fetch.
fn for_browsers() -> SecurityHeaders {
    let nothing = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let same_origin = HeaderValue::from_static("same-origin");
    SecurityHeaders::new()
        .set(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .set(CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing))
        .set(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .set(
            HeaderName::from_static("cross-origin-resource-policy"),
            same_origin.clone(),
        )
        .set(HeaderName::from_static("cross-origin-opener-policy"), same_origin)
}
