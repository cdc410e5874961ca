//! Everything the crate promises, seen from outside, with decoders of other crates.

#![cfg(all(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
#![expect(
    clippy::unwrap_used,
    reason = "helpers are tests, too: they end where a value is missing"
)]

mod breach;
mod case;
mod cost;
mod decode;
#[cfg(feature = "dictionary")]
mod dictionary;
mod etags;
mod headers;
mod memory;
mod offload;
mod router;
mod rules;
mod streaming;
mod support;
mod weights;

#[global_allocator]
static ALLOCATOR: cortex_testkit::CountingAllocator = cortex_testkit::CountingAllocator::new();
