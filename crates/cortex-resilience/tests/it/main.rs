//! The policies as their users see them.

mod adaptive;
#[cfg(all(feature = "http", feature = "tower"))]
mod body_vote;
mod budget;
#[cfg(feature = "tokio")]
mod bulkhead;
mod call;
#[cfg(feature = "tokio")]
mod chaos;
#[cfg(feature = "tokio")]
mod clock_jumps;
#[cfg(feature = "tower")]
mod contract;
mod control;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod debug;
mod fallback;
#[cfg(feature = "tower")]
mod gate_service;
mod half_open;
#[cfg(feature = "health")]
mod health;
#[cfg(feature = "tokio")]
mod hedge;
#[cfg(all(feature = "http", feature = "tokio", feature = "tower"))]
mod http2;
mod load_shed;
#[cfg(all(feature = "metrics", feature = "tokio"))]
mod metrics;
mod misbehaviours;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod misuse;
mod model;
mod model_adaptive;
mod model_budget;
#[cfg(feature = "tokio")]
mod model_bulkhead;
#[cfg(feature = "tokio")]
mod model_rate_limit;
#[cfg(feature = "tokio")]
mod model_retry;
mod panics;
#[cfg(feature = "tokio")]
mod pipeline;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod pipeline_service;
mod rate_limit;
mod registry;
#[cfg(all(feature = "http", feature = "tokio", feature = "tower"))]
mod reqwest_client;
#[cfg(feature = "tokio")]
mod retry;
#[cfg(all(feature = "tokio", feature = "tower"))]
mod retry_service;
mod rules;
#[cfg(feature = "tower")]
mod service;
mod sharing;
mod support;
mod texts;
mod throttle;
#[cfg(feature = "tokio")]
mod timeout;
#[cfg(feature = "tokio")]
mod tokio_clock;
#[cfg(all(feature = "tokio", feature = "trace"))]
mod trace;
