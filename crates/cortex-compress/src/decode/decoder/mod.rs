//! The decoders behind one trait. Each is in a file of its own, behind its feature.

#[cfg(feature = "brotli")]
mod brotli;
mod decode;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "gzip")]
mod gzip_header;
#[cfg(any(feature = "deflate", feature = "gzip"))]
mod inflate;
#[cfg(feature = "zstd")]
mod zstd;

pub(super) use self::decode::{Decoder, Fault, create};
