//! `e2e [filter]`: drives the storefront and examples with real programs: curl, wrk, h2load, slowhttptest, promtool,
//! Prometheus, Python, Node, Chromium, raw sockets.

mod abuse;
mod arguments;
mod bodies;
mod child;
mod compress;
mod curl;
mod dashboard;
mod ending;
mod exposition;
mod health;
mod hostile;
mod http;
mod kubelet;
mod load;
mod monitoring;
mod names;
mod probes;
mod prometheus;
mod promql;
mod proxy;
mod random;
mod rolling;
mod run;
mod scenario;
mod service;
mod signals;
mod slow;
mod storefront;
mod trace;
mod transports;
mod versions;
mod wait;

pub(crate) use self::run::run;
