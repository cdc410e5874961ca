//! The crate from outside: spans from a request to an exporter, and every destination.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "bridge")]
mod bridge;
#[cfg(feature = "bridge")]
mod bridge_bound;
#[cfg(feature = "bridge")]
mod bridge_events;
mod carrier;
#[cfg(feature = "console")]
mod console;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "tower")]
mod layer;
mod links;
#[cfg(feature = "logs")]
mod log_background;
#[cfg(feature = "logs")]
mod log_duplicates;
#[cfg(feature = "logs")]
mod log_filter;
#[cfg(feature = "logs")]
mod log_redaction;
#[cfg(feature = "logs")]
mod log_support;
#[cfg(feature = "logs")]
mod log_text;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "otel")]
mod otel;
#[cfg(feature = "otlp")]
mod otlp;
mod pipeline;
mod propagation;
#[cfg(feature = "bridge")]
mod redaction;
#[cfg(feature = "bridge")]
mod reentrant;
mod sampling;
mod spans;
mod support;
mod tail;
mod tail_threads;
#[cfg(feature = "telemetry")]
mod telemetry;
#[cfg(feature = "tower")]
mod wire;
