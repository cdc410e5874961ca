//! The encoders behind one trait. Each is in a file of its own, behind its feature.

#[cfg(feature = "brotli")]
mod brotli;
mod cost;
mod encode;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod gzip;
#[cfg(feature = "brotli")]
mod recycler;
#[cfg(feature = "zstd")]
mod zstd;

pub(crate) use self::cost::{BUDGET, Cost, Grain, MIN_SAMPLE, Rate, grain};
#[cfg(test)]
pub(crate) use self::encode::Drained;
pub(crate) use self::encode::{Encoder, OnePass, Size, create, footprint};
