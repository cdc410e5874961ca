#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use cortex_core::{Clock, Context, Deadline};

#[doc(inline)]
pub use cortex_core as core;

#[cfg(feature = "compress")]
#[doc(inline)]
pub use cortex_compress as compress;
#[cfg(feature = "health")]
#[doc(inline)]
pub use cortex_health as health;
#[cfg(feature = "http")]
#[doc(inline)]
pub use cortex_http as http;
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use cortex_metrics as metrics;
#[cfg(feature = "resilience")]
#[doc(inline)]
pub use cortex_resilience as resilience;
#[cfg(feature = "trace")]
#[doc(inline)]
pub use cortex_trace as trace;
#[cfg(feature = "wasm")]
#[doc(inline)]
pub use cortex_wasm as wasm;
#[cfg(feature = "workers")]
#[doc(inline)]
pub use cortex_workers as workers;
