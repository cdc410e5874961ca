//! Looking back: what is kept of a local trace when it is over.

mod head;
mod kept;
mod segment;
mod shard;
pub(crate) mod size;
mod stats;
mod store;
mod tail_rules;

pub(crate) use self::head::Head;
pub use self::segment::Segment;
pub use self::stats::TailStats;
pub(crate) use self::store::{Root, Store};
pub use self::tail_rules::Tail;
pub(crate) use self::tail_rules::is_judging;
