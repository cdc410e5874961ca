//! Encoded bodies that are kept for the responses to come.

mod flight;
mod key;
mod recorder;
mod recordings;
mod shard;
mod slot;
mod variant_cache;

pub(crate) use self::flight::{Done, Work};
pub(crate) use self::key::Resource;
pub(crate) use self::recorder::Recorder;
pub(crate) use self::shard::Kept;
pub(crate) use self::slot::{Slot, serve};
pub use self::variant_cache::{CacheStats, VariantCache};
