//! The encoders behind one trait. Each is in a file of its own, behind its feature.

#[cfg(feature = "brotli")]
mod brotli;
mod cost;
mod encode;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod gzip;
#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
mod padded;
#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
mod padding;
#[cfg(feature = "zstd")]
mod zstd;

pub(crate) use self::cost::{BUDGET, Cost, Grain, Rate, grain};
#[cfg(test)]
pub(crate) use self::encode::Drained;
pub(crate) use self::encode::{Encoder, OnePass, Pace, Size, create, footprint};
