use std::fmt;

/// A setting that makes no sense: which, what it was, and what is allowed.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool};
///
/// let error = Pool::<Closures>::builder("none").threads(0).check().unwrap_err();
/// assert_eq!(error.to_string(), "accept `threads` = 0..=0: 1 to 4096, and the least is not above the most");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    value: String,
    allowed: &'static str,
}

impl InvalidSetting {
    pub(crate) const fn new(setting: &'static str, value: String, allowed: &'static str) -> Self {
        Self {
            setting,
            value,
            allowed,
        }
    }

    /// Returns the name of the setting.
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accept `{}` = {}: {}", self.setting, self.value, self.allowed)
    }
}

impl std::error::Error for InvalidSetting {}
