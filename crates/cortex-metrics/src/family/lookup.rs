use std::hash::Hash;

use crate::labels::Rendered;

/// What a series is looked up by: its key, or something that stands for one without owning it.
pub(super) trait Lookup<K>: Hash {
    /// Whether it stands for this key.
    fn is(&self, key: &K) -> bool;

    /// Makes the key it stands for, which has the same hash.
    fn key(&self) -> K;

    /// Renders the labels.
    fn render(&self) -> Rendered;
}
