use std::fmt;
use std::path::Path;

/// Something that breaks a rule: where, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) place: String,
    pub(super) says: String,
}

impl Finding {
    pub(super) fn new(place: impl AsRef<Path>, says: impl Into<String>) -> Self {
        Self {
            place: place.as_ref().display().to_string(),
            says: says.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.says)
    }
}

/// Writes findings for a test to compare with.
#[cfg(test)]
pub(super) fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
