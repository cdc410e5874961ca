/// Who comes first where calls wait.
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::Priority;
///
/// assert!(Priority::Critical > Priority::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What nobody waits for, such as a refresh of a cache.
    Low,
    /// What most calls are.
    #[default]
    Normal,
    /// What comes before most calls.
    High,
    /// What keeps the service alive. As long as such calls wait, no others have their turn.
    Critical,
}

impl Priority {
    pub(super) const COUNT: usize = 4;
}
