//! The encoders behind one trait. Each is in a file of its own, behind its feature.

#[cfg(feature = "brotli")]
mod brotli;
mod encode;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod gzip;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(test)]
pub(crate) use self::encode::Drained;
pub(crate) use self::encode::{Encoder, Size, create, slice};
