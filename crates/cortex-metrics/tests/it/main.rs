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
mod utf8;

use cortex_metrics::{ContentType, Registry};

fn encode(registry: &Registry, content_type: impl Into<ContentType>) -> String {
    let mut text = Vec::new();
    registry.encode(content_type, &mut text);
    String::from_utf8(text).unwrap()
}
