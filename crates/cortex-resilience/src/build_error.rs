use std::fmt;

/// Why a policy was not built: a setting makes no sense.
///
/// # Examples
///
/// ```
/// use cortex_resilience::BuildError;
///
/// let error = BuildError::new("failure_rate", "1.5", "above 0 and at most 1");
/// assert_eq!(error.field(), "failure_rate");
/// assert_eq!(error.to_string(), "accept `failure_rate` = 1.5: it is above 0 and at most 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    field: &'static str,
    value: String,
    allowed: &'static str,
}

impl BuildError {
    /// Makes an error from the name of the setting, its value, and what it may be.
    pub fn new(field: &'static str, value: impl Into<String>, allowed: &'static str) -> Self {
        Self {
            field,
            value: value.into(),
            allowed,
        }
    }

    /// Returns the name of the setting, which is that of the method that sets it.
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// Returns what it was set to.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns what it may be.
    pub const fn allowed(&self) -> &'static str {
        self.allowed
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            value,
            allowed,
        } = self;
        write!(f, "accept `{field}` = {value}: it is {allowed}")
    }
}

impl std::error::Error for BuildError {}
