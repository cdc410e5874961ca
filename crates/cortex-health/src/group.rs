use crate::error::InvalidName;
use crate::name;
use crate::status::Status;
use http::StatusCode;
use std::borrow::Cow;
use std::fmt;

/// A set of checks that answers one question: may this process get traffic, should it be restarted, ...
///
/// # Examples
///
/// ```
/// use cortex_health::Group;
///
/// let payments = Group::new("payments")?;
/// assert_eq!(payments.name(), "payments");
/// assert_eq!(Group::new("ready")?, Group::READY);
/// assert!(Group::new("no spaces").is_err());
/// # Ok::<(), cortex_health::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Group(Cow<'static, str>);

impl Group {
    /// What must have worked once before the process counts as started (`/startupz`).
    pub const STARTUP: Self = Self(Cow::Borrowed("startup"));

    /// What only a restart can cure (`/livez`): heartbeats of the process itself, never a dependency.
    pub const LIVE: Self = Self(Cow::Borrowed("live"));

    /// What must work for traffic to be sent here (`/readyz`).
    pub const READY: Self = Self(Cow::Borrowed("ready"));

    /// Makes a group of one's own, answered at `/health/{name}`; equal names are the same group.
    ///
    /// # Errors
    ///
    /// The name is not 1 to 64 ASCII letters, digits, `_`, `-`, `.` or `:` starting with a letter or a digit.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self, InvalidName> {
        let name = name.into();
        if name::is_valid(&name) {
            Ok(Self(name))
        } else {
            Err(InvalidName::new(name))
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0).finish()
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a group answers in each status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    up: StatusCode,
    degraded: StatusCode,
    down: StatusCode,
}

impl Codes {
    /// Returns the answer; `Down` stands for all that a group cannot be.
    pub(crate) const fn of(self, status: Status) -> StatusCode {
        match status {
            Status::Up => self.up,
            Status::Degraded => self.degraded,
            Status::Down | Status::Unknown | Status::Skipped => self.down,
        }
    }

    /// Changes an answer; `false` if no group is in this status or no report can go with this code.
    pub(crate) fn set(&mut self, status: Status, code: StatusCode) -> bool {
        let has_body = !matches!(code, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if !(code.is_success() && has_body || code.is_client_error() || code.is_server_error()) {
            return false;
        }
        match status {
            Status::Up => self.up = code,
            Status::Degraded => self.degraded = code,
            Status::Down => self.down = code,
            Status::Unknown | Status::Skipped => return false,
        }
        true
    }
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            up: StatusCode::OK,
            degraded: StatusCode::OK,
            down: StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_its_name() {
        assert_eq!(
            format!("{:?} {:>6}", Group::LIVE, Group::READY),
            "Group(\"live\")  ready"
        );
        let error = Group::new(String::from("a b")).unwrap_err();
        assert!(
            error.to_string().starts_with("accept the name \"a b\": "),
            "{error}"
        );
    }
}
