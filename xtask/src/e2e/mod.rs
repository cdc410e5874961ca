//! `e2e [filter]`: drives the storefront with real programs: curl, promtool, Prometheus, the Python client, raw sockets.

mod abuse;
mod arguments;
mod child;
mod curl;
mod ending;
mod exposition;
mod http;
mod prometheus;
mod run;
mod scenario;
mod storefront;
mod wait;

pub(crate) use self::run::run;
