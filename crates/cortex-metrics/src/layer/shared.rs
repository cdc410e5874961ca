use std::fmt;

use cortex_core::Clock;
use http::request::Parts;

use super::exchange::Ended;
use super::instruments::{ClientMetrics, Level, ServerMetrics};
use super::method::Method;
use super::origin::{Origin, is_https};
use super::route::Route;

pub(super) type RouteOf = dyn Fn(&Parts) -> Option<Route> + Send + Sync;

/// What all services of a layer have in common.
pub(super) struct Shared {
    pub(super) clock: Box<dyn Clock>,
    pub(super) route: Box<RouteOf>,
    pub(super) https: bool,
    pub(super) side: Side,
}

#[derive(Debug)]
pub(super) enum Side {
    /// Boxed: a client's is a fifth of it.
    Server(Box<ServerMetrics>),
    Client(ClientMetrics),
}

/// What is known of a request when it begins, and needed when it ends.
#[derive(Debug)]
pub(super) enum Target {
    Server {
        route: Route,
        https: bool,
    },
    Client {
        origin: Origin,
        template: Option<Route>,
        level: Level,
    },
}

impl Shared {
    /// Counts a request in.
    pub(super) fn begin(&self, method: Method, parts: &Parts) -> Target {
        let route = (self.route)(parts); // the user's code: nothing is counted before it, should it panic
        match &self.side {
            Side::Server(metrics) => {
                let https = is_https(&parts.uri, self.https);
                metrics.level(method, https).inc();
                Target::Server {
                    route: route.unwrap_or(Route::UNMATCHED),
                    https,
                }
            }
            Side::Client(metrics) => {
                let (level, origin) = metrics.level(method, Origin::of(parts, self.https));
                level.inc();
                Target::Client {
                    origin,
                    template: route,
                    level,
                }
            }
        }
    }

    /// Counts a request out.
    pub(super) fn end(&self, target: Target, ended: Ended) {
        match (&self.side, target) {
            (Side::Server(metrics), Target::Server { route, https }) => {
                metrics.level(ended.method, https).dec();
                metrics.record(route, ended);
            }
            (
                Side::Client(metrics),
                Target::Client {
                    origin,
                    template,
                    level,
                },
            ) => {
                level.dec();
                metrics.record(origin, template, ended);
            }
            _ => unreachable!("a target comes from `begin` of the same side"),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("https", &self.https)
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}
