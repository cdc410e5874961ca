use crate::status::Status;
use std::borrow::Cow;
use std::fmt::Display;

/// What one run of a check found.
///
/// A check seldom names it: `()`, `bool` and `Result` convert. The message of a failure may hold what an error said: it
/// is shown to nobody but readers of [`Detail::Full`](crate::Detail::Full), with the passwords of URLs masked.
///
/// # Examples
///
/// ```
/// use cortex_health::{Outcome, Status};
///
/// assert_eq!(Outcome::from(true), Outcome::up());
/// assert_eq!(Outcome::from(Err::<(), _>("connection refused")), Outcome::down("connection refused"));
///
/// let slow = Outcome::degraded("replica lag is 12 s");
/// assert_eq!(slow.status(), Status::Degraded);
/// assert_eq!(slow.message(), Some("replica lag is 12 s"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    status: Status,
    message: Option<Cow<'static, str>>,
}

impl Outcome {
    /// Says that all is well.
    pub const fn up() -> Self {
        Self {
            status: Status::Up,
            message: None,
        }
    }

    /// Says that it works, but worse than it should, and why.
    pub fn degraded(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Degraded,
            message: Some(message.into()),
        }
    }

    /// Says that it does not work, and why.
    pub fn down(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Down,
            message: Some(message.into()),
        }
    }

    /// Returns the status that was found.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Returns why it was not up.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl From<()> for Outcome {
    /// Makes [`up`](Self::up) of a check that returned.
    fn from((): ()) -> Self {
        Self::up()
    }
}

impl From<bool> for Outcome {
    /// Makes [`up`](Self::up) of `true` and [`down`](Self::down) of `false`.
    fn from(up: bool) -> Self {
        if up {
            Self::up()
        } else {
            Self::down("the check said no")
        }
    }
}

impl<T: Into<Self>, E: Display> From<Result<T, E>> for Outcome {
    /// Takes the value's outcome, or makes [`down`](Self::down) of the error's text.
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => Self::down(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_convert() {
        assert_eq!(Outcome::from(()), Outcome::up());
        assert_eq!(Outcome::from(false).status(), Status::Down);
        assert_eq!(Outcome::up().message(), None);
    }

    #[test]
    fn a_result_keeps_what_its_value_says() {
        assert_eq!(Outcome::from(Ok::<_, &str>(())), Outcome::up());
        assert_eq!(Outcome::from(Ok::<_, &str>(false)).status(), Status::Down);
        let degraded = Outcome::degraded("slow");
        assert_eq!(Outcome::from(Ok::<_, &str>(degraded.clone())), degraded);
        assert_eq!(Outcome::from(Err::<bool, _>(7)).message(), Some("7"));
    }
}
