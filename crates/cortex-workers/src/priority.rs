use std::fmt;

/// Which tasks are taken first of those that wait.
///
/// Within a priority the oldest comes first; [`ageing`](crate::Builder::ageing) lets what has waited long overtake.
///
/// # Examples
///
/// ```
/// use cortex_workers::Priority;
///
/// assert!(Priority::High > Priority::default());
/// assert_eq!(Priority::Low.to_string(), "low");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After all others.
    Low,
    /// What a task has that says nothing.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    /// All of them, the first to be taken first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Returns its place in [`ALL`](Self::ALL).
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
