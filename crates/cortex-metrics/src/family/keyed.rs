use std::sync::Arc;

use super::index::Entry;
use super::lookup::Probe;

/// A series by one of its keys.
#[derive(Debug)]
pub(super) struct Keyed<K, M> {
    pub(super) hash: u64,
    pub(super) key: K,
    pub(super) entry: Arc<Entry<M>>,
}

impl<K, M> Keyed<K, M> {
    /// Whether it is what is looked for.
    #[inline]
    pub(super) fn is<Q: Probe<K>>(&self, lookup: &Q) -> bool {
        self.hash == lookup.hash() && lookup.is(&self.key)
    }
}
