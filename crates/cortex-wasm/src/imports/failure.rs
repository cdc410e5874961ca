use crate::error::Error;
use std::error::Error as StdError;
use std::fmt;

/// Why a host function ends the call of its guest: any error, by `?` or by [`new`](Self::new).
///
/// An [`Error`] of this crate is what the call then fails with, as it is; any other error is in an [`Error::Host`],
/// which names the function. The guest sees nothing of either: its call is over. What it may know and go on from is a
/// result, a number that the two agree on.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{HostCx, HostError, Imports};
///
/// let imports = Imports::new().function(
///     "settings",
///     "number",
///     |cx: &mut HostCx<'_>, name: u32, length: u32| -> Result<i64, HostError> {
///         let name = cx.text(name, length)?; // an Error of this crate
///         match name {
///             "limit" => Ok("12".parse()?), // any other one
///             _ => Err(HostError::new(format!("there is no setting {name:?}"))),
///         }
///     },
/// );
/// # drop(imports);
/// ```
pub struct HostError(Box<dyn StdError + Send + Sync>);

impl HostError {
    /// Makes one of an error or a text.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Returns what the call fails with.
    pub(super) fn into_error(self, import: &str) -> Error {
        match self.0.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => Error::Host {
                import: import.into(),
                source,
            },
        }
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for HostError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostError").field(&self.0).finish()
    }
}
