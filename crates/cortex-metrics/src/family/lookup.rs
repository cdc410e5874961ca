use crate::labels::Rendered;

/// What tells the key of a series from others.
pub(super) trait Probe<K> {
    /// Returns the hash, which is that of every probe for the same key.
    fn hash(&self) -> u64;

    /// Whether it stands for this key.
    fn is(&self, key: &K) -> bool;
}

/// What a series is looked up by: its key, or something that stands for one without owning it.
pub(super) trait Lookup<K>: Probe<K> {
    /// Makes the key it stands for.
    fn key(&self) -> K;

    /// Renders the labels.
    fn render(&self) -> Rendered;
}
