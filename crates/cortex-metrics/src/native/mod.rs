//! Native histograms: buckets whose bounds are powers of a base, made when they are first used.

mod config;
mod index;
mod outside;
mod snapshot;
mod store;

pub use self::config::{NativeBuckets, NativeBucketsError};
pub use self::snapshot::NativeSnapshot;
pub(crate) use self::store::{Native, Spot};
