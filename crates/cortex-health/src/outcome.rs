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
///
/// let full = Outcome::degraded("disk is filling up").observed(0.93, "ratio").detail("mount", "/var");
/// assert_eq!(full.details().collect::<Vec<_>>(), [("mount", "/var")]);
/// ```
///
/// # Bounds
///
/// What a report keeps is cut: the message after 512 characters, a unit after 32, and of the first 16 details the key
/// after 64 and the value after 256.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    status: Status,
    message: Option<Cow<'static, str>>,
    observed: Option<(f64, Cow<'static, str>)>,
    details: Vec<(Cow<'static, str>, String)>,
}

/// The most details that are kept.
const MOST_DETAILS: usize = 16;

impl Outcome {
    /// Says that all is well.
    pub const fn up() -> Self {
        Self {
            status: Status::Up,
            message: None,
            observed: None,
            details: Vec::new(),
        }
    }

    /// Says that it works, but worse than it should, and why.
    pub fn degraded(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Degraded,
            message: Some(message.into()),
            ..Self::up()
        }
    }

    /// Says that it does not work, and why.
    pub fn down(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: Status::Down,
            message: Some(message.into()),
            ..Self::up()
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

    /// Adds what was measured, shown at [`Detail::Full`](crate::Detail::Full).
    #[must_use]
    pub fn observed(mut self, value: f64, unit: impl Into<Cow<'static, str>>) -> Self {
        self.observed = Some((value, unit.into()));
        self
    }

    /// Adds something to know, shown at [`Detail::Full`](crate::Detail::Full) with what looks like a secret masked. A
    /// key that is there is replaced; what exceeds 16 keys is left out.
    #[must_use]
    pub fn detail(mut self, key: impl Into<Cow<'static, str>>, value: impl Display) -> Self {
        let (key, value) = (key.into(), value.to_string());
        if let Some((_, old)) = self.details.iter_mut().find(|(other, _)| *other == key) {
            *old = value;
        } else if self.details.len() < MOST_DETAILS {
            self.details.push((key, value));
        }
        self
    }

    /// Returns what was measured, and its unit.
    pub fn observation(&self) -> Option<(f64, &str)> {
        let (value, unit) = self.observed.as_ref()?;
        Some((*value, unit))
    }

    /// Returns what else there is to know.
    pub fn details(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.details.iter().map(|(key, value)| (&**key, &**value))
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
    fn details_are_few_and_the_last_of_a_key_counts() {
        let mut outcome = Outcome::up().detail("k3", "old");
        for index in 0..100 {
            outcome = outcome.detail(format!("k{index}"), index);
        }
        let details: Vec<_> = outcome.details().collect();
        assert_eq!((details.len(), details[0]), (MOST_DETAILS, ("k3", "3")));
        assert_eq!(outcome.observed(0.5, "ratio").observation(), Some((0.5, "ratio")));
        assert_eq!(Outcome::up().observation(), None);
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
