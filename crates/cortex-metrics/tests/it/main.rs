//! Tests of what is exposed, read back by a strict parser.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod collectors;
mod concurrency;
mod embedded;
#[cfg(feature = "tower")]
mod endpoint;
mod exposition;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "otlp")]
mod otlp;
mod parser;
mod properties;
#[cfg(feature = "protobuf")]
mod protobuf;
mod timer;

use cortex_metrics::{Format, Registry};

fn encode(registry: &Registry, format: Format) -> String {
    let mut text = Vec::new();
    registry.encode(format, &mut text);
    String::from_utf8(text).unwrap()
}
