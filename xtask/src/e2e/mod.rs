//! `e2e [filter]`: drives the storefront with real programs: curl, promtool, Prometheus, the Python client, raw sockets.

mod abuse;
mod arguments;
mod bodies;
mod child;
mod curl;
mod dashboard;
mod ending;
mod exposition;
mod health;
mod hostile;
mod http;
mod kubelet;
mod monitoring;
mod names;
mod probes;
mod prometheus;
mod promql;
mod proxy;
mod run;
mod scenario;
mod storefront;
mod trace;
mod wait;

pub(crate) use self::run::run;
