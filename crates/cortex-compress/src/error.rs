use std::error::Error;
use std::fmt;

/// Why a [`CompressBody`](crate::CompressBody) broke off.
///
/// In each case the encoded stream has no valid end, so that a client cannot take it for complete.
///
/// # Examples
///
/// ```
/// use cortex_compress::CompressError;
/// use std::error::Error;
///
/// let error = CompressError::Inner(std::io::Error::other("the disk is gone"));
/// assert_eq!(error.to_string(), "read the response body");
/// assert_eq!(error.source().unwrap().to_string(), "the disk is gone");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CompressError<E> {
    /// The body of the inner service failed.
    Inner(E),
    /// The encoder failed.
    Encode(EncodeError),
    /// The body of the inner service ended before the length that it had promised by itself or, where it did not know
    /// one, in the `Content-Length` of its response.
    #[non_exhaustive]
    Incomplete {
        /// The length that it had promised.
        promised: u64,
        /// The length that it had.
        received: u64,
    },
}

impl<E> fmt::Display for CompressError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(_) => f.write_str("read the response body"),
            Self::Encode(_) => f.write_str("compress the response body"),
            Self::Incomplete { promised, received } => {
                write!(
                    f,
                    "read all {promised} bytes of the response body, which ended after {received}"
                )
            }
        }
    }
}

impl<E: Error + 'static> Error for CompressError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Incomplete { .. } => None,
        }
    }
}

impl<E> From<EncodeError> for CompressError<E> {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// An encoder reported an error, or stopped making progress.
///
/// None of the codings fails on account of its input; what remains is want of memory and defects.
///
/// # Examples
///
/// ```
/// use cortex_compress::{CompressError, EncodeError};
///
/// fn is_ours<E>(error: &CompressError<E>) -> bool {
///     matches!(error, CompressError::Encode(EncodeError { .. }))
/// }
/// assert!(!is_ours(&CompressError::Inner(())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodeError {
    coding: &'static str,
    what: &'static str,
}

impl EncodeError {
    pub(crate) const fn new(coding: &'static str, what: &'static str) -> Self {
        Self { coding, what }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encode as {}: {}", self.coding, self.what)
    }
}

impl Error for EncodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_failed_and_keep_their_source() {
        let error = CompressError::<std::io::Error>::from(EncodeError::new("gzip", "no progress"));
        assert_eq!(error.to_string(), "compress the response body");
        assert_eq!(error.source().unwrap().to_string(), "encode as gzip: no progress");
        let error = CompressError::<std::io::Error>::Incomplete {
            promised: 10,
            received: 3,
        };
        assert_eq!(
            format!("failed to {error}"),
            "failed to read all 10 bytes of the response body, which ended after 3"
        );
        assert!(error.source().is_none());
    }
}
