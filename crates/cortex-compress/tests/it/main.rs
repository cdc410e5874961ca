//! Everything the crate promises, seen from outside, with decoders of other crates.

#![cfg(all(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
#![expect(
    clippy::unwrap_used,
    reason = "helpers are tests, too: they end where a value is missing"
)]

mod adaptive;
mod breach;
mod budget;
mod cache;
mod case;
mod cost;
mod decode;
#[cfg(feature = "dictionary")]
mod dictionary;
mod etags;
mod flush;
mod headers;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod observed;
mod offload;
mod recordings;
mod router;
mod rules;
mod streaming;
mod support;
mod together;
mod weights;
mod wire;

#[global_allocator]
static ALLOCATOR: cortex_testkit::CountingAllocator = cortex_testkit::CountingAllocator::new();
