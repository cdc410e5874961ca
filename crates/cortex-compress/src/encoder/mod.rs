//! The encoders behind one trait. Each is in a file of its own, behind its feature.

#[cfg(feature = "brotli")]
mod brotli;
#[cfg(all(feature = "brotli", feature = "dictionary"))]
mod brotli_dictionary;
mod cost;
mod encode;
#[cfg(feature = "dictionary")]
mod framed;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod gzip;
#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
mod padded;
#[cfg(any(feature = "brotli", feature = "deflate", feature = "gzip", feature = "zstd"))]
mod padding;
#[cfg(feature = "brotli")]
mod recycler;
#[cfg(feature = "zstd")]
mod zstd;

pub(crate) use self::cost::{BUDGET, Cost, Grain, MIN_SAMPLE, Rate, grain};
#[cfg(test)]
pub(crate) use self::encode::Drained;
#[cfg(feature = "dictionary")]
pub(crate) use self::encode::max_dictionary;
pub(crate) use self::encode::{
    Encoder, OnePass, Size, create, footprint, keeps_dictionary, level_with_dictionary,
};
