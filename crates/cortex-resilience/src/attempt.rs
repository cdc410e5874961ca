use cortex_core::Deadline;

/// One attempt of a call, as the operation is told of it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::Retry;
/// use std::time::Duration;
///
/// let retry = Retry::builder("payments").max_attempts(3).build()?;
/// let mut numbers = Vec::new();
/// let result = retry.call_blocking(
///     |attempt| {
///         numbers.push(attempt.number());
///         if attempt.is_retry() { Ok(attempt.number()) } else { Err("no route") }
///     },
///     &|_: Duration| (),
/// );
/// assert_eq!((result, numbers), (Ok(2), vec![1, 2]));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) deadline: Option<Deadline>,
    /// Whether no other one may follow, if that is known.
    pub(crate) is_last: bool,
}

impl Attempt {
    /// Returns the one of a call that is made once.
    #[cfg(feature = "tokio")]
    pub(crate) fn only() -> Self {
        Self {
            number: 1,
            deadline: cortex_core::Context::current().deadline(),
            is_last: true,
        }
    }

    /// Returns one of which not more is known than its number and the context that it is made in.
    #[cfg(feature = "http")]
    pub(crate) fn numbered(number: u32) -> Self {
        Self {
            number,
            deadline: cortex_core::Context::current().deadline(),
            is_last: false,
        }
    }

    /// Returns which attempt it is; the first is 1.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Says whether there was one before.
    pub const fn is_retry(&self) -> bool {
        self.number > 1
    }

    /// Returns until when somebody waits for the call: the earlier of what the policy and the caller's context say.
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }
}
